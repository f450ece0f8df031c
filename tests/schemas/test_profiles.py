"""The templates of the other profiles: our record in names of ECS alone, and what other programs write."""

import json

import jsonschema
import pytest

from jsonlog.record.shape import PROFILES, apply_moves
from schemas.build import ROOT, example
from schemas.fields import FIELDS, ecs_rows, moves
from schemas.templates import PLACES
from tests.schemas.records import MINIMAL, changed
from tests.schemas.streams import Stream

FULL = example("formatter", "relay", "handler")


def in_ecs(record):
    """The record as profile `ecs` of the formatter writes it."""
    record = json.loads(json.dumps(record))
    apply_moves(record, PROFILES["ecs"])
    return record


def test_the_table_moves_what_the_formatter_moves():
    """Formatter and templates agree on where each field is in profile `ecs`."""
    assert moves() == PROFILES["ecs"]


def test_no_field_of_ours_is_left_under_a_name_that_ecs_has_not():
    """In profile `ecs` only `extra`, `run` and what stands under `jsonlog` and `shipper` are not names of ECS."""
    own = {row.name.partition(".")[0] for row in ecs_rows() if row.name not in {r.name for r in FIELDS if r.ecs == "="}}
    assert own - {"error"} == {"jsonlog", "extra", "sender", "run", "log", "shipper"}
    assert {row.name for row in ecs_rows() if row.name.startswith("log.") and row.ecs == ""} == {"log.offset"}


def test_the_ecs_record_is_valid():
    """The full record in profile `ecs` keeps its own schema, and breaks it where an ordinary record has a field it lacks."""
    schema = json.loads((ROOT / "schemas/record-ecs.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(in_ecs(FULL))] == []
    assert not validator.is_valid(FULL)


def test_no_two_templates_have_one_priority():
    """The patterns of two profiles can overlap for odd names, which the stores allow only with different priorities."""
    assert len({place.priority for place in PLACES.values()}) == len(PLACES)


@pytest.fixture
def streams(store, unique_service):
    with (
        Stream(store, unique_service) as ours,
        Stream(store, unique_service, "ecs") as ecs,
        Stream(store, unique_service, "foreign") as foreign,
    ):
        yield {"jsonlog": ours, "ecs": ecs, "foreign": foreign}


def template_of(stream):
    (found,) = stream.ask("GET", f"/_data_stream/{stream.name}")["data_streams"]
    return found["template"]


@pytest.mark.server
def test_each_profile_has_its_own_streams(streams):
    """Three templates live side by side, and each stream is under its own."""
    assert {name: template_of(stream) for name, stream in streams.items()} == {
        "jsonlog": "jsonlog",
        "ecs": "jsonlog-ecs",
        "foreign": "jsonlog-foreign",
    }


BOTH = {
    "exc.type": "CardError",
    "error.type": "CardError",
    "exc.fingerprint": FULL["exc"]["fingerprint"],
    "exc.chain.type": "TimeoutError",
    "service.name": "shop",
    "trace.id": FULL["trace"]["id"],
}
PHRASES = {
    "exc.traceback": "in charge",
    "error.stack_trace": "in charge",
    "stack": "in charge",
    "exc.message": "declined",
}


@pytest.mark.server
def test_one_question_finds_the_record_in_both_profiles(streams):
    """A record in profile `ecs` is found by the names of ours and of ECS alike, as one of ours is."""
    for name, record in (("jsonlog", FULL), ("ecs", in_ecs(FULL))):
        stream = streams[name]
        assert stream.create({"1": record, "2": changed(MINIMAL, ("msecs", 1))})["1"] == (201, '""')
        assert stream.ignored("1") == []
        for field, value in BOTH.items():
            assert stream.ids({"term": {field: value}}) == {"1"}, (name, field)
        for field, value in PHRASES.items():
            assert stream.ids({"match_phrase": {field: value}}) == {"1"}, (name, field)


FOREIGN = {
    "flat names": {"@timestamp": "2026-11-22T05:02:17.220Z", "level": "error", "msg": "card declined", "ms": 3},
    "fraction": {"@timestamp": "2026-11-22T05:02:17.221Z", "level": "info", "msg": "ok", "ms": 3.5},
    "dotted keys": {"@timestamp": "2026-11-22T05:02:17.222Z", "log.level": "ERROR", "message": "no route", "a.b": True},
    "ECS": {"@timestamp": "2026-11-22T05:02:17.223Z", "log": {"level": "error"}, "error": {"type": "E"}},
    "ours with extras on top": changed(FULL, ("order", 17)),
}
ASKED = {
    "level in any letters": ({"term": {"log.level": "error"}}, {"dotted keys", "ECS", "ours with extras on top"}),
    "a level of its own": ({"term": {"level": "error"}}, {"flat names"}),
    "words in its message": ({"match_phrase": {"msg": "card declined"}}, {"flat names"}),
    "fraction after a whole number": ({"range": {"ms": {"gt": 3, "lt": 4}}}, {"fraction"}),
    "key with a dot": ({"term": {"a.b": True}}, {"dotted keys"}),
    "name of ECS": ({"term": {"error.type": "E"}}, {"ECS"}),
    "our name": ({"term": {"exc.type": "CardError"}}, {"ours with extras on top"}),
    "extra at the top": ({"range": {"order": {"gte": 17}}}, {"ours with extras on top"}),
}


@pytest.mark.server
def test_lines_of_other_programs_are_searchable(streams):
    """Any field of a foreign line is found under its own name, and core names are typed as ours are."""
    stream = streams["foreign"]
    assert {status for status, _ in stream.create(FOREIGN).values()} == {201}
    for name, (query, found) in ASKED.items():
        assert stream.ids(query) == found, name


@pytest.mark.server
def test_an_error_that_is_a_text_stands_beside_one_that_is_an_object(store, streams):
    """On Elasticsearch both are searchable; OpenSearch refuses the text, which the shipper has to put aside."""
    line = {"@timestamp": "2026-11-22T05:02:17.220Z", "error": "boom"}
    status, _ = streams["foreign"].create({"text": line, "object": {**line, "error": {"type": "E"}}})["text"]
    assert status == (201 if store.kind == "elasticsearch" else 400)
    assert streams["foreign"].ids({"term": {"error.type": "E"}}) == {"object"}

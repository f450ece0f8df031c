import json

import pytest
from jsonschema import Draft202012Validator

from schemas.build import LINE_FIELDS, ROOT, example
from schemas.fields import MARKS, RELATIONS
from tests.schemas.records import GONE, MINIMAL, changed

SCHEMA = json.loads((ROOT / "schemas/record.schema.json").read_text())
LINE = Draft202012Validator(SCHEMA)
RECORD = Draft202012Validator({"$ref": "#/$defs/record", "$defs": SCHEMA["$defs"]})
FULL = example("formatter", "relay", "handler")


def complaints(validator, record):
    """What the schema has against *record*: pairs of the JSON path and the keyword."""
    return {(error.json_path, error.validator) for error in validator.iter_errors(record)}


def test_the_schema_is_a_valid_schema_of_its_draft():
    """The committed file is itself valid by the meta-schema of JSON Schema 2020-12."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


ACCEPTED = {
    "the least there can be": (MINIMAL,),
    "every field at once, with the examples of the table": (FULL,),
    "six decimals": (MINIMAL, ("@timestamp", "2026-11-22T05:02:17.220001Z")),
    "the last millisecond of a leap day": (MINIMAL, ("@timestamp", "2028-02-29T23:59:59.999Z"), ("msecs", 999)),
    "an empty message": (MINIMAL, ("message", "")),
    "a level of the user's own": (MINIMAL, ("log.level", "Level 35")),
    "an exception of which only the text is left": (MINIMAL, ("exc", {"traceback": "ValueError: x"})),
    "a chain of every relation": (
        FULL,
        ("exc.chain", [{"relation": relation, "type": "E", "message": ""} for relation in RELATIONS]),
    ),
    "every mark": (MINIMAL, ("tags", list(MARKS))),
    "a tag of the user's own": (MINIMAL, ("tags", ["nightly"])),
    "anything in extra": (
        MINIMAL,
        ("extra", {"a": None, "a.b": [1, {"c": [[]]}], "ключ": 10**30, " d": {}, "e": -0.5}),
    ),
    "the largest number of a record": (MINIMAL, ("event.sequence", 2**63 - 1)),
    "a pid of 0, as some sandboxes have it": (MINIMAL, ("process.pid", 0)),
}


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_accepts(case):
    """A record as the formatter and the handler write it is valid."""
    assert complaints(LINE, changed(*case)) == set()


# What is changed in the full record, the path that the complaint names, and the keyword that refuses it.
REFUSED = {
    "time with an offset": ("@timestamp", "2026-11-22T05:02:17.220+00:00", "$['@timestamp']", "pattern"),
    "time without a zone": ("@timestamp", "2026-11-22T05:02:17.220", "$['@timestamp']", "pattern"),
    "time without decimals": ("@timestamp", "2026-11-22T05:02:17Z", "$['@timestamp']", "pattern"),
    "time with four decimals": ("@timestamp", "2026-11-22T05:02:17.2200Z", "$['@timestamp']", "pattern"),
    "time with a space": ("@timestamp", "2026-11-22 05:02:17.220Z", "$['@timestamp']", "pattern"),
    "time with a comma": ("@timestamp", "2026-11-22T05:02:17,220Z", "$['@timestamp']", "pattern"),
    "time in month 13": ("@timestamp", "2026-13-22T05:02:17.220Z", "$['@timestamp']", "pattern"),
    "time at 24 o'clock": ("@timestamp", "2026-11-22T24:02:17.220Z", "$['@timestamp']", "pattern"),
    "time in other digits": ("@timestamp", "\uff12026-11-22T05:02:17.220Z", "$['@timestamp']", "pattern"),
    "time with a newline": ("@timestamp", "2026-11-22T05:02:17.220Z\n", "$['@timestamp']", "pattern"),
    "msecs of a whole second": ("msecs", 1000, "$.msecs", "maximum"),
    "msecs below zero": ("msecs", -1, "$.msecs", "minimum"),
    "msecs with a fraction": ("msecs", 220.5, "$.msecs", "type"),
    "msecs as text": ("msecs", "220", "$.msecs", "type"),
    "level as a number": ("log.level", 40, "$.log.level", "type"),
    "empty level": ("log.level", "", "$.log.level", "minLength"),
    "line below zero": ("log.origin.file.line", -1, "$.log.origin.file.line", "minimum"),
    "no message": ("message", GONE, "$", "required"),
    "message as null": ("message", None, "$.message", "type"),
    "message as an object": ("message", {"a": 1}, "$.message", "type"),
    "an unknown field": ("levelname", "ERROR", "$", "additionalProperties"),
    "an ECS field that we name otherwise": ("error", {"type": "E"}, "$", "additionalProperties"),
    "a field of the shipper's": ("data_stream", {"type": "logs"}, "$", "additionalProperties"),
    "an unknown member of an object": ("process.title", "x", "$.process", "additionalProperties"),
    "an exception without its text": ("exc.traceback", GONE, "$.exc", "required"),
    "a chain of texts": ("exc.chain.0", "cause", "$.exc.chain[0]", "type"),
    "an unknown relation": ("exc.chain.0.relation", "parent", "$.exc.chain[0].relation", "enum"),
    "a nested chain": ("exc.chain.0.chain", [], "$.exc.chain[0]", "additionalProperties"),
    "an empty chain": ("exc.chain", [], "$.exc.chain", "minItems"),
    "notes as text": ("exc.notes", "x", "$.exc.notes", "type"),
    "empty service": ("service", {}, "$.service", "minProperties"),
    "empty service name": ("service.name", "", "$.service.name", "minLength"),
    "pid as text": ("process.pid", "7", "$.process.pid", "type"),
    "pid below zero": ("process.pid", -1, "$.process.pid", "minimum"),
    "no pid": ("process.pid", GONE, "$.process", "required"),
    "a label that is a number": ("labels", {"floor": 4}, "$.labels.floor", "type"),
    "a label longer than the stores take": ("labels", {"a": "x" * 1025}, "$.labels.a", "maxLength"),
    "a blank label": ("labels", {" ": "x"}, "$.labels", "pattern"),
    "ECS version in words": ("ecs.version", "nine", "$.ecs.version", "pattern"),
    "an unknown mark of ours": ("tags", ["jsonlog.lost"], "$.tags[0]", "anyOf"),
    "a tag twice": ("tags", ["a", "a"], "$.tags", "uniqueItems"),
    "extra as a list": ("extra", [1], "$.extra", "type"),
    "empty extra": ("extra", {}, "$.extra", "minProperties"),
    "an empty key": ("extra", {"": 1}, "$.extra", "pattern"),
    "a blank key deep within lists": ("extra", {"a": [[{"b": {"\t": 1}}]]}, "$.extra.a[0][0].b", "pattern"),
    "a run of 15": ("run", "k3v9q7m2c4x8w5t", "$.run", "pattern"),
    "a run with a letter like a digit": ("run", "k3v9q7m2c4x8w5tl", "$.run", "pattern"),
    "an event without its number": ("event", {}, "$.event", "required"),
    "a number below zero": ("event.sequence", -1, "$.event.sequence", "minimum"),
    "a number beyond what the stores hold": ("event.sequence", 2**63, "$.event.sequence", "maximum"),
}


@pytest.mark.parametrize(("path", "value", "where", "keyword"), REFUSED.values(), ids=REFUSED)
def test_refuses(path, value, where, keyword):
    """One thing wrong makes the record invalid, for just that reason."""
    assert complaints(LINE, changed(FULL, (path, value))) == {(where, keyword)}


@pytest.mark.parametrize("row", LINE_FIELDS, ids=lambda row: row.name)
def test_refuses_null_and_a_foreign_type_in_every_field(row):
    """A field that does not apply is absent, never null; and no field takes a value of another type."""
    path = row.name.replace("exc.chain.", "exc.chain.0.")
    assert complaints(LINE, changed(FULL, (path, None)))
    assert complaints(LINE, changed(FULL, (path, True)))
    assert complaints(LINE, changed(FULL, (path, [1])))


@pytest.mark.parametrize("row", LINE_FIELDS, ids=lambda row: row.name)
def test_demands_what_is_always_there(row):
    """Without a field that stands in every record the record is invalid; without any other it is valid."""
    path = row.name.replace("exc.chain.", "exc.chain.0.")
    without = changed(FULL, (path, GONE))
    single = {"host.name": "host", "trace.id": "trace", "span.id": "span", "transaction.id": "transaction"}
    if row.name in single | {"process.task.name": "process.task", "service.node.name": "service.node"}:
        without = changed(FULL, (path.rpartition(".")[0], GONE))
    needed = row.presence != "when it applies" or row.writer == "handler"
    assert bool(complaints(LINE, without)) == needed


def test_a_record_is_whole_before_it_is_numbered():
    """`$defs/record` accepts what `format()` gives, which has no number, and the file's schema refuses it."""
    unnumbered = changed(FULL, ("run", GONE), ("event", GONE))
    assert complaints(RECORD, unnumbered) == set()
    assert complaints(LINE, unnumbered) == {("$", "required")}


@pytest.mark.parametrize("half", ["run", "event"])
def test_half_a_number_is_none(half):
    """A record has both run and number, or neither; a line has both."""
    assert complaints(RECORD, changed(FULL, (half, GONE))) == {("$", "dependentRequired")}
    assert complaints(LINE, changed(FULL, (half, GONE))) == {("$", "dependentRequired"), ("$", "required")}

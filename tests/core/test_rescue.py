"""Rescue: the offending key alone leaves its place, nothing of a record is lost, and it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.faults import Fault, Mapped, find_fault, read_mapping
from shipper.core.rescue import MAX_MOVES, is_rescued, is_same, rescue

NOW = "2026-02-03T04:05:06.789Z"
SOURCE = '\n at [Source: (byte[])"{"secret": 1}"; line: 1, column: 47]'

# What Elasticsearch 9.5.3 and OpenSearch 3.8.0 said when they were asked, reason and cause as `_bulk` answers are read here.
SAID = [
    ("[1:45] failed to parse field [n] of type [long] in document with id 'x'. Preview of field's value: 'abc': For input", Fault("field", "n")),
    ("failed to parse field [o.x] of type [long] in document with id 'x'. Preview of field's value: 'y'", Fault("field", "o.x")),
    ("[1:45] failed to parse field [g] of type [geo_point]: unsupported symbol [o] in geohash", Fault("field", "g")),
    ("[1:45] object mapping for [o] tried to parse field [o] as object, but found a concrete value", Fault("field", "o")),
    ("object mapping for [o] tried to parse field [null] as object, but found a concrete value", Fault("field", "o")),
    ("[1:61] object mapping for [extra.u.v] tried to parse field [v] as object, but found a concrete value",
     Fault("field", "extra.u.v")),
    ("[1:46] Cannot write to a field alias [al].", Fault("field", "al")),
    ("failed to parse: Cannot write to a field alias [al].", Fault("field", "al")),
    ("[1:54] mapping set to strict, dynamic introduction of [new] within [st] is not allowed", Fault("field", "st.new")),
    ("mapping set to strict, dynamic introduction of [r] within [_doc] is not allowed", Fault("field", "r")),
    ("can't merge a non object mapping [extra.m] with an object mapping", Fault("field", "extra.m")),
    ("mapper [extra.m2] cannot be changed from type [text] to [long]", Fault("field", "extra.m2")),
    ('Document contains at least one immense term in field="k" (whose UTF8 encoding is longer than the max length 32766)',
     Fault("field", "k")),
    ("[1:141] failed to parse: Limit of mapping depth [20] has been exceeded due to object field [extra.a.a]",
     Fault("field", "extra.a.a")),
    ("failed to parse: The depth of the field has exceeded the allowed limit of [20]. This limit can be set by", Fault("depth", "", 20)),
    ("[1:1730] failed to parse: Limit of total fields [200] has been exceeded while adding new fields [163]", Fault("limit")),
    ("Limit of total fields [200] has been exceeded", Fault("limit")),
    ("[1:50] failed to parse: field name cannot be an empty string", Fault("names")),
    ("[1:50] Field name cannot contain only whitespace: [extra. ]", Fault("names")),
    ("object field cannot contain only whitespace: ['extra. ']", Fault("names")),
    ("failed to parse: object field starting or ending with a [.] makes object resolution ambiguous: [a..b]", Fault("names")),
    ("failed to parse: field name cannot contain only the character [.]", Fault("names")),
    ("[1:50] failed to parse: field name cannot contain only dots", Fault("names")),
    ("[1:8] failed to parse: data stream timestamp field [@timestamp] is missing", Fault("field", "@timestamp")),
    ("failed to parse: documents must contain a single-valued timestamp field '@timestamp' of date type", Fault("field", "@timestamp")),
    ("[1:47] failed to parse field [_id] of type [_id] in document with id 'x': Field [_id] is a metadata field", Fault("field", "_id")),
    ("failed to parse: Number value length (1500) exceeds the maximum allowed (1000", Fault("whole")),
    ("failed to parse: Duplicate field 'n'" + SOURCE, Fault("whole")),
    ("failed to parse: unknown field name [a], must be one of [weight, input, contexts]", Fault("whole")),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "fault"), SAID, ids=range(len(SAID)))
def test_what_stores_say_is_understood(reason: str, fault: Fault) -> None:
    """Each sentence of a real store leads to the field at fault, or to what else has to be looked for."""
    assert find_fault(f"some_exception: {reason}") == fault


def rescued(record: Any, reason: str, **more: Any) -> Any:
    line = record if isinstance(record, bytes) else json.dumps(record).encode()
    result = rescue(line, reason, now=NOW, **more)
    return None if result is None else json.loads(result)


def refused(path: str) -> str:
    return f"failed to parse field [{path}] of type [long] in document with id '1'"


@pytest.mark.parametrize(
    ("record", "path", "left", "moved"),
    [
        ({"n": "x", "m": 1}, "n", {"m": 1}, {"n": "x"}),
        ({"extra": {"n": {"a": 1}, "b": 2}}, "extra.n", {"extra": {"b": 2}}, {"extra.n": {"a": 1}}),
        ({"extra": {"a.n": 1, "a": {"b": 1}}}, "extra.a.n", {"extra": {"a": {"b": 1}}}, {"extra.a.n": 1}),
        ({"extra.n": 1, "extra": {"n": 2}}, "extra.n", {"extra": {}}, {"extra.n": 1, "extra.n~": 2}),
        ({"k": "text"}, "k.raw", {}, {"k": "text"}),
        ({"a.b": 1}, "a", {}, {"a.b": 1}),
        ({"exc": {"chain": [{"type": 1, "x": 1}, {"x": 2}, {"type": 3}]}}, "exc.chain.type",
         {"exc": {"chain": [{"x": 1}, {"x": 2}, {}]}}, {"exc.chain[0].type": 1, "exc.chain[2].type": 3}),
    ],
)  # fmt: skip
def test_the_key_alone_is_moved(record: Any, path: str, left: Any, moved: Any) -> None:
    """Whatever way a path is written in the record, its key goes and everything else stays."""
    result = rescued({"@timestamp": NOW, **record}, refused(path))
    shipper = result.pop("shipper")["rescued"]
    assert result == {"@timestamp": NOW, **left}
    assert moved.items() <= json.loads(shipper["json"]).items()
    assert shipper["reason"] == [refused(path)]
    assert all(p == path or p.startswith((f"{path}.", path.partition(".")[0])) for p in shipper["field"])


def test_two_ways_to_write_one_path() -> None:
    """Where one path of the mapping stands twice in a record, both values can be read back."""
    result = rescued({"@timestamp": "t", "a.b": 1, "a": {"b": 2}}, refused("a.b"))
    assert sorted(json.loads(result["shipper"]["rescued"]["json"]).values()) == [1, 2]


def test_numbers_keep_their_digits() -> None:
    """Values are moved, and left alone, as bytes: no number is rounded, neither the one at fault nor its neighbours."""
    line = b'{"@timestamp":"t","extra":{"n":1e999,"big":123456789012345678901234567890,"f":1.10}}'
    result = rescue(line, refused("extra.n"), now=NOW)
    assert b'"big":123456789012345678901234567890,"f":1.10' in result
    assert rb"{\"extra.n\":1e999}" in result


def test_several_conflicts_of_one_record() -> None:
    """Each one that the store names is moved in its turn, and all of them can be read back."""
    line = json.dumps({"@timestamp": "t", "a": 1, "b": [2], "c": {"d": 3}, "e": "stays"}).encode()
    for path in ("a", "b", "c.d"):
        line = rescue(line, refused(path), now=NOW)
    result = json.loads(line)
    assert json.loads(result["shipper"]["rescued"]["json"]) == {"a": 1, "b": [2], "c.d": 3}
    assert result["shipper"]["rescued"]["field"] == ["a", "b", "c.d"]
    assert (result["e"], result["c"]) == ("stays", {})


def test_the_timestamp_is_replaced() -> None:
    """A data stream wants a time: one that is missing, doubled or no time at all gives way to the time of rescue."""
    result = rescued({"@timestamp": "never", "n": 1}, refused("@timestamp"))
    assert (result["@timestamp"], json.loads(result["shipper"]["rescued"]["json"])) == (NOW, {"@timestamp": "never"})
    assert rescued({"n": 1}, "data stream timestamp field [@timestamp] is missing")["@timestamp"] == NOW


def test_unusable_names() -> None:
    """Keys that no mapping allows are moved, wherever they stand."""
    record = {"@timestamp": "t", "extra": {"": 1, " ": 2, "a..b": 3, ".c": 4, "ok": [{"": 5, "fine": 6}]}}
    result = rescued(record, "field name cannot be an empty string")
    assert result["extra"] == {"ok": [{"fine": 6}]}
    assert json.loads(result["shipper"]["rescued"]["json"]) == {
        "extra.": 1, "extra. ": 2, "extra.a..b": 3, "extra..c": 4, "extra.ok[0].": 5,
    }  # fmt: skip


def test_depth() -> None:
    """What lies deeper than the store allows is moved, the rest of the way stays."""
    record: Any = {"@timestamp": "t", "a": {"b": {"c": {"d": 1}}, "x": 1}}
    result = rescued(record, "The depth of the field has exceeded the allowed limit of [3]")
    assert result["a"] == {"b": {}, "x": 1}
    assert json.loads(result["shipper"]["rescued"]["json"]) == {"a.b.c": {"d": 1}}


MAPPING = {
    "dynamic": "false",
    "properties": {
        "@timestamp": {"type": "date"},
        "labels": {"type": "flattened"},
        "extra": {"dynamic": "true", "properties": {"n": {"type": "long"}, "o": {"properties": {"x": {"type": "long"}}}, "d.e": {"type": "long"}}},
    },
}  # fmt: skip


def test_at_the_limit_only_unmapped_keys_move() -> None:
    """Keys with a mapping stay, so do those that need none; the others move, and their neighbours stay right."""
    record = {
        "@timestamp": "t", "unknown": {"q": 1}, "labels": {"any": "thing"},
        "extra": {"n": 1, "new": 2, "o": {"x": 3, "y": 4}, "d": {"e": 5}, "d.f": 6, "list": [{"z": 1}], "none": None},
    }  # fmt: skip
    result = rescued(record, "Limit of total fields [9] has been exceeded", mapped=read_mapping(MAPPING))
    assert result["unknown"] == {"q": 1}, "where the mapping is not dynamic nothing needs a field"
    assert result["labels"] == {"any": "thing"}
    assert result["extra"] == {"n": 1, "o": {"x": 3}, "d": {"e": 5}, "none": None}
    moved = json.loads(result["shipper"]["rescued"]["json"])
    assert moved == {"extra.new": 2, "extra.o.y": 4, "extra.d.f": 6, "extra.list": [{"z": 1}]}


def test_at_the_limit_a_mapping_that_has_grown_meanwhile_costs_one_key() -> None:
    """Where nothing needs a field any more, an object at a place that is a value by now goes, and nothing else does."""
    record = {"@timestamp": "t", "message": "m", "extra": {"n": {f"w{i}": i for i in range(2000)}, "o": {"x": 3}}}
    result = rescued(record, "Limit of total fields [9] has been exceeded", mapped=read_mapping(MAPPING))
    assert (result["message"], result["extra"]) == ("m", {"o": {"x": 3}})
    assert list(json.loads(result["shipper"]["rescued"]["json"])) == ["extra.n"]


def test_the_second_stage_keeps_the_line_and_its_core() -> None:
    """Where no field is named, the whole line is kept as text, with those core fields that are plain values."""
    record = {"@timestamp": "2026-01-01T00:00:00Z", "message": "m", "log": {"level": "INFO", "logger": {"a": 1}},
              "service": {"name": "s"}, "run": "r", "event": {"sequence": 7}, "extra": {"x": 1}}  # fmt: skip
    line = json.dumps(record)
    result = rescued(line.encode(), "something else entirely")
    assert result["event"] == {"sequence": 7, "original": line}
    assert result["log"] == {"level": "INFO"}
    assert (result["message"], result["service"], result["run"]) == ("m", {"name": "s"}, "r")
    assert "extra" not in result
    assert "json" not in result["shipper"]["rescued"]


def test_a_duplicate_key_is_not_decided_by_us() -> None:
    """A line with one key twice is kept as it stands, both values readable."""
    line = b'{"@timestamp":"2026-01-01T00:00:00Z","n":1,"n":2}'
    assert json.loads(rescue(line, "Duplicate field 'n'", now=NOW))["event"]["original"].encode() == line


def test_moved_in_vain() -> None:
    """A key that was moved and is refused again leads to the second stage, which holds what was moved."""
    once = rescue(b'{"@timestamp":"t","a":1,"b":2}', refused("a"), now=NOW)
    twice = json.loads(rescue(once, refused("a"), now=NOW))
    original = json.loads(twice["event"]["original"])
    assert (original["b"], original["shipper"]["rescued"]) == (2, {"a": 1})


def test_a_core_field_may_be_at_fault_too() -> None:
    """In the second stage a core field that is refused goes, since the line holds it; then the rescue ends."""
    whole = rescue(b'{"@timestamp":"t","message":"m","run":"r"}', "who knows", now=NOW)
    less = rescue(whole, refused("message"), now=NOW)
    assert "message" not in json.loads(less)
    assert json.loads(less)["event"]["original"] == '{"@timestamp":"t","message":"m","run":"r"}'
    assert rescue(less, refused("message"), now=NOW) is None
    assert rescue(less, "who knows", now=NOW) is None


def test_somebody_elses_shipper_key() -> None:
    """A record that has a `shipper` of its own keeps it among what was moved, also when it looks like ours."""
    for own in (5, {"name": "x"}, {"rescued": 1}, [1]):
        result = rescued({"@timestamp": "t", "a": 1, "shipper": own}, refused("a"))
        moved = json.loads(result["shipper"]["rescued"]["json"])
        assert moved == {"a": 1, "shipper": own}


def test_a_rescued_record_is_known_again() -> None:
    """What a rescue made of a line is the same record as the line, in both stages; another record is not."""
    line = b'{"@timestamp":"t","a":1,"b":{"c":2},"message":"m"}'
    other = line.replace(b'"m"', b'"other"')
    for stored in (
        line,
        line.replace(b",", b", "),
        rescue(line, refused("b.c"), now=NOW),
        rescue(line, "who knows", now=NOW),
    ):
        assert is_same(line, stored)
        assert not is_same(other, stored)
    whole = rescue(rescue(line, refused("b.c"), now=NOW), "who knows", now=NOW)
    assert is_same(line, whole)
    assert not is_same(other, whole)


@pytest.mark.parametrize("line", [b"", b"[]", b"5", b"\xff", b"{", b'{"a":'])
def test_what_is_no_record_cannot_be_rescued(line: bytes) -> None:
    """Such a line goes to the dead letters."""
    assert rescue(line, refused("a"), now=NOW) is None
    assert not is_rescued(line)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab. ", max_size=3), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(
    st.sampled_from(["a", "b", "a.b", "message", "event", "shipper", "@timestamp", "", "log"]), values
)
reasons = st.sampled_from(
    [*(reason for reason, _ in SAID), *map(refused, ["a", "b", "a.b", "message", "event", "log.level"])]
)


@given(records, st.lists(reasons, min_size=1, max_size=60))
def test_any_record_is_rescued_or_given_up_in_bounded_steps(record: dict[str, Any], said: list[str]) -> None:
    """Whatever a store says, in any order: each step yields a record, nothing of the line is missing, and it ends."""
    line = json.dumps(record).encode()
    strings = {text for text in _texts(record) if text.isalnum()}
    for number, reason in enumerate(said):
        result = rescue(line, reason, now=NOW, mapped=Mapped())
        if result is None:
            assert number > 0
            return
        decoded = json.loads(result)
        assert is_rescued(result)
        text = result.decode().replace("\\", "")
        assert all(string in text for string in strings if string.isascii())
        assert set(decoded["shipper"]["rescued"]) <= {"json", "field", "reason"}
        line = result
        assert number < MAX_MOVES + 25


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for v in value.values() for text in _texts(v)]
    if isinstance(value, list):
        return [text for v in value for text in _texts(v)]
    return [value] if isinstance(value, str) else []

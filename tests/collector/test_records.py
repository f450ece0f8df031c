from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.collector.records import Arrival, BodyError, Row, Run, Spans, parse_runs, read_rows
from tests.collector.conftest import record

ARRIVAL = Arrival(1_790_000_000_000_000, "anonymous-")


def rows(body: bytes, *runs: Run) -> list[Row]:
    return list(read_rows(body, runs or None, ARRIVAL))


def row(line: bytes) -> Row:
    (only,) = rows(line)
    return only


def test_header_of_the_design_document() -> None:
    """The example of the design document is read as it says."""
    runs = parse_runs("shop-web%2D1-7-k3v9.0:1a0+512, 9f0c27d1e4b35a68:0+3")
    assert runs == (Run("shop-web%2D1-7-k3v9.0", 0x1A0, 512), Run("9f0c27d1e4b35a68", 0, 3))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "a",
        "a:0",
        "a:0+0",
        "a:0+-1",
        "a:g+1",
        ":0+1",
        "a:0+1,",
        "a b:0+1",
        "a:0x1+1",
        "a:7fffffffffffffff+2",
        "k" * 500 + ":0+1",
    ],
)
def test_bad_header(header: str) -> None:
    """A header that is not what it has to be is refused, and the message says which header."""
    with pytest.raises(BodyError, match=r"^Shipper-Lines: "):
        parse_runs(header)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[A-Za-z0-9_.%-]{1,60}", fullmatch=True), st.integers(0, 2**62), st.integers(1, 10**9)
        ),
        min_size=1,
    )
)
def test_header_round_trip(runs: list[tuple[str, int, int]]) -> None:
    """What a sender writes by the rule is read as it was meant."""
    header = ", ".join(f"{key}:{first:x}+{count}" for key, first, count in runs)
    assert parse_runs(header) == tuple(Run(*run) for run in runs)


def test_lines_end_with_newlines_only() -> None:
    """Characters that other tools take for line ends stand inside a record, and a carriage return before the end is dropped."""
    text = "a\u2028b\u2029c\x85d"
    assert row(f'{{"message":"{text}"}}\r\n'.encode()).message == text


def test_blank_lines_count_for_ids() -> None:
    """A blank line is no record, but it has a number."""
    found = rows(b'{"a":1}\n\n \r\n{"a":2}', Run("k", 0xE, 4))
    assert [(r.source, r.number) for r in found] == [("k-", 0xE), ("k-", 0x11)]


@given(st.lists(st.sampled_from([b"{}", b"", b" "])), st.booleans())
def test_lines_are_counted_alike(lines: list[bytes], ended: bool) -> None:
    """The number of lines that must match the header is the number of lines that are read, blank ends included."""
    body = b"\n".join(lines) + (b"\n" if ended else b"")
    split = body.split(b"\n")
    expected = split if split[-1] else split[:-1]
    assert len(rows(body, Run("k", 0, len(expected)))) == expected.count(b"{}") if expected else rows(body) == []


def test_counts_that_do_not_match() -> None:
    """Ids that are more or fewer than the lines are refused."""
    with pytest.raises(BodyError, match="counts 3 lines, the body has 1"):
        rows(b"{}\n", Run("k", 0, 3))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nope", "not JSON"), (b'{"a":NaN}', "not JSON"), (b'{"a":1,}', "not JSON"), (b'{"a":1}{"b":2}', "not JSON"), (b'{"a":"\t"}', "not JSON"),
        (b"[1]", "an array"), (b"1", "a number"), (b'"a"', "a string"), (b"null", "null"), (b"true", "a boolean"),
        (b'{"a":"\xff"}', "not UTF-8"), (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "nested too deep"), (b"\x00", "not JSON"),
    ],
)  # fmt: skip
def test_bad_line(line: bytes, reason: str) -> None:
    """A line that is no JSON object is refused by its number."""
    with pytest.raises(BodyError, match=f"^line 2: .*{reason}"):
        rows(b"{}\n" + line + b"\n{}\n")


@pytest.mark.parametrize(
    "time",
    [
        None,
        17,
        "soon",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        ["2026"],
        {},
        "",
        "1969-12-31T23:59:59Z",
    ],
)
def test_absurd_time(time: object) -> None:
    """A time that is missing, unreadable or out of this world is replaced by the time of arrival."""
    assert row(orjson.dumps({"@timestamp": time})).time == ARRIVAL.received


@pytest.mark.parametrize(
    "time", ["1970-01-01T00:00:02.5Z", "1970-01-01T02:00:02.500000999+02:00", "1970-01-01T00:00:02.500"]
)
def test_time(time: str) -> None:
    """A time is taken in UTC, to the microsecond, whatever its zone."""
    assert row(orjson.dumps({"@timestamp": time})).time == 2_500_000


def test_columns_of_our_record() -> None:
    """Every column is taken from its field."""
    found = row(orjson.dumps(record(3, exc={"type": "E", "message": "m", "traceback": "t"}, trace={"id": "x"})))
    assert (found.level, found.logger, found.message, found.service, found.environment, found.host) == (
        "INFO",
        "shop.pay",
        "charge 3",
        "shop",
        "prod",
        "web-1",
    )
    assert (found.exc_type, found.exc_message, found.traceback, found.trace_id, found.pid) == ("E", "m", "t", "x", 7)
    assert (found.run, found.sequence, found.source, found.number, found.original) == ("k3v9", 3, "k3v9:", 3, None)


def test_columns_of_foreign_records() -> None:
    """The common names of other programs' logs, and dotted names, are understood."""
    found = row(b'{"timestamp":"1970-01-01T00:00:01Z","level":"warn","logger":"x","msg":"hi","service.name":"s"}')
    assert (found.time, found.level, found.logger, found.message, found.service) == (1_000_000, "WARN", "x", "hi", "s")


def test_fields_of_other_types() -> None:
    """A field of another type becomes text, or nothing where a number is needed; nothing raises."""
    found = row(
        b'{"message":{"a":[1]},"log":7,"run":5,"event":{"sequence":"x"},"process":{"pid":12345678901234567890},"host":[]}'
    )
    assert (found.message, found.level, found.run, found.sequence, found.pid, found.host) == (
        '{"a":[1]}',
        None,
        "5",
        None,
        None,
        None,
    )


def test_lone_surrogates() -> None:
    """A lone surrogate is kept in the original and replaced where text is needed; pairs and escaped backslashes stay."""
    line = rb'{"message":"a\ud800b \ud83d\ude00 \\ud800","run":"r","event":{"sequence":3}}'
    found = row(line)
    assert found.original == line.decode()
    assert found.message == "a\ufffdb \U0001f600 \\ud800"
    assert (found.source, found.number) == ("r:", 3)


@pytest.mark.parametrize(
    "value", ["1e400", "123456789012345678901234567890", "9" * 5000, "-0", '"\\u0000"', '{"a":' * 300 + "1" + "}" * 300]
)
def test_awkward_values(value: str) -> None:
    """Valid JSON that some parser stumbles over is kept as it came."""
    line = f'{{"message":"m","extra":{value}}}'
    found = row(line.encode())
    assert (found.record, found.message) == (line, "m")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
names = st.sampled_from(
    ["@timestamp", "log", "message", "exc", "service", "run", "event", "process", "level", "a.b", ""]
)


@given(st.dictionaries(names, json_values))
def test_any_object_is_a_row(value: dict[str, object]) -> None:
    """Whatever stands in an object, it makes a row, and its text is kept byte for byte."""
    import json

    for ascii_only in (True, False):
        line = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert row(line).record.encode() == line


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(0, 6))))
def test_spans_are_a_set(steps: list[tuple[str, int, int]]) -> None:
    """Ranges behave as the set of their numbers, and stay merged and in order."""
    spans, model = Spans(), set()
    for source, first, length in steps:
        spans.add(source, first, first + length)
        model |= {(source, number) for number in range(first, first + length + 1)}
    for source in "abc":
        assert [(source, n) in spans for n in range(40)] == [(source, n) in model for n in range(40)]
    kept = list(spans)
    assert len(kept) == len(spans)
    assert all(a[0] != b[0] or a[2] + 1 < b[1] for a, b in pairwise(kept))

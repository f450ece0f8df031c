"""Bytes to lines: nothing is lost, doubled or taken for good that is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from shipper.core import framing
from shipper.core.enrich import Rules
from shipper.core.framing import check, check_cut, whole_lines
from shipper.core.model import Checked, Chunk, Fate, Lines, Piece, Position, Source
from shipper.core.rescue import is_same
from tests.core.support import AT, SOURCE, STRICT, checked

AWKWARD = [
    b'{"a":1}', b"{}", b'{"s":"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85"}', b'{"s":"a\\nb"}', b" {} ", b"{}\r", b"\r", b"", b" ",
    b"\xef\xbb\xbf{}", b"\0\0\0{}", b"\0\0", b"{}\0", b"{}{}", b'{"a":', b"1}", b"[]", b"1", b"null", b'"{}"', b"{", b"}",
    b'{"s":"\xff"}', b'{"a":1,"a":2}', b'{"a":NaN}', b'{"s":"\x01"}', b"text", b'{"a":{"b":[1,2]}}', b"[" * 50,
]  # fmt: skip
FOREIGN = Source("9f0c27d1e4b35a68", "logs-generic.jsonlog_foreign-default", "/var/log/app.log", foreign=True)
WRAPPING = Rules()
STAMP = b'"@timestamp":"2026-11-22T05:02:17.220Z"'
any_lines = st.lists(st.sampled_from(AWKWARD) | st.binary(max_size=12), max_size=8)


def content(of: Checked) -> dict[int, tuple[str, bytes]]:
    """What each line was taken for, by its number."""
    found: dict[int, tuple[str, bytes]] = {}
    for piece in of.pieces:
        for number, line in enumerate(piece.lines, piece.first):
            assert number not in found
            assert line.count(b"\n") == line.endswith(b"\n") == 1
            found[number] = ("good", line[:-1])
    for refused in of.bad:
        assert refused.line not in found
        found[refused.line] = ("bad", refused.data)
    return found


def slowly(data: bytes, rules: Rules = STRICT, *, source: Source = SOURCE) -> Checked:
    lines = [line + b"\n" for line in data.removesuffix(b"\n").split(b"\n")]
    return framing._check_each(checked(data, source=source).chunk, lines, rules, AT)


def is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode(), parse_constant=lambda _: 1 / 0), dict)
    except (ValueError, ZeroDivisionError, RecursionError):
        return False


@given(any_lines, st.booleans(), st.integers(0, 3), st.integers(0, 10))
@example([b'{"s":"\xe2\x80\xa8"}', b"{}"], True, 0, 0)
@example([b"{}{}"], True, 0, 0)
@example([b'{"a":', b"1}"], True, 0, 0)
@example([b'{"a":', b"{}}", b"{}{}"], True, 0, 0)  # as many values as lines, each after a newline
@example([b"{}", b"{}\r", b"{}"], True, 0, 0)
def test_each_line_is_good_bad_or_empty(lines: list[bytes], ended: bool, offset: int, first: int) -> None:
    """Each line of any bytes is in exactly one of good, bad and empty, under the count of the newlines before it."""
    data = b"\n".join(lines) + b"\n" * ended
    if not data:
        return
    taken = checked(data, offset=offset, line=first)
    found = content(taken)
    parts = data.split(b"\n")
    if not parts[-1]:
        parts.pop()
    place = offset
    for number, line in enumerate(parts, first):
        bare = (line.removeprefix(b"\xef\xbb\xbf") if place == 0 else line).strip(b" \t\r\0")
        kind, kept = found.pop(number, ("empty", b""))
        if kind == "good":
            assert is_object(kept)
            if kept != bare:  # the one thing that is always repaired
                assert json.loads(kept)["tags"][0] == "shipper.utf8"
                assert is_object(bare.decode(errors="replace").encode())
        elif kind == "bad":
            assert kept == line
            assert not is_object(bare)
        else:
            assert not bare
        place += len(line) + 1
    assert not found
    assert taken.chunk.end == Position(offset + len(data), first + len(parts))
    assert all(p.size >= sum(len(x) for x in p.lines) for p in taken.pieces)


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.none(), max_size=3), min_size=1, max_size=9)
)
def test_fast_and_slow_agree(records: list[dict[str, str | None]]) -> None:
    """The fast check and the look at each line find the same pieces in good lines."""
    data = b"".join(json.dumps(r, ensure_ascii=False).encode("utf-8", "ignore") + b"\n" for r in records)
    fast, slow = checked(data), slowly(data)
    assert content(fast) == content(slow)
    assert [(p.first, p.size) for p in fast.pieces] == [(p.first, p.size) for p in slow.pieces]


@given(any_lines)
def test_the_fast_check_takes_nothing_the_slow_one_refuses(lines: list[bytes]) -> None:
    """Whatever the fast check lets through is what the look at each line finds."""
    data = b"\n".join(lines) + b"\n"
    assert content(checked(data)) == content(slowly(data))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, "nested too deeply"),
        (b"\xff", "not UTF-8: byte 1"),
        (b"[1]", "not an object"),
        (b"{}{}", "not JSON"),
        (b"plain text", "not JSON"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_spares_its_neighbours(line: bytes, reason: str) -> None:
    """A bad line is refused with its reason and place, and the lines around it are good."""
    taken = checked(b"{}\n" + line + b"\n{}\n", offset=10, line=3)
    (refused,) = taken.bad
    assert reason in refused.reason
    assert (refused.line, refused.offset, refused.data) == (4, 13, line)
    assert [(p.first, list(p.lines)) for p in taken.pieces] == [(3, [b"{}\n"]), (5, [b"{}\n"])]


def test_duplicate_keys_are_the_stores_business() -> None:
    """A line with a key twice is sent as it is."""
    assert checked(b'{"a":1,"a":2}\n').pieces[0].record(0) == b'{"a":1,"a":2}'


def test_a_byte_order_mark_is_taken_only_at_the_start() -> None:
    """A BOM before the first line of a file is left out; elsewhere it makes a line bad."""
    assert checked(b"\xef\xbb\xbf{}\n").pieces[0].record(0) == b"{}"
    assert checked(b"\xef\xbb\xbf{}\n", offset=5).bad


def test_nul_runs_are_no_part_of_a_line() -> None:
    """A run of NULs before a record, as a stale writer leaves it, does not cost the record."""
    taken = checked(b'\0\0\0\0{"a":1}\n\0\0\n')
    assert content(taken) == {0: ("good", b'{"a":1}')}


@given(st.lists(st.sampled_from([b"\n", b"a", b"\r\n"])).map(b"".join))
def test_whole_lines_ends_at_the_last_newline(data: bytes) -> None:
    """What is taken of a block ends with its last newline, and the rest holds none."""
    size = whole_lines(data)
    assert data[:size][-1:] in (b"", b"\n")
    assert b"\n" not in data[size:]


def test_pieces_can_be_cut() -> None:
    """A part of a piece has its lines' numbers and bytes, and all that is known of the piece: above all that it may be in the store."""
    piece = Piece(SOURCE, 5, [b"a\n", b"bc\n", b"d\n"], 7, Fate.WRAPPED, "~1", "logs-000001", b"A")
    cut = piece.sub(1, 3)
    assert cut == Piece(SOURCE, 6, [b"bc\n", b"d\n"], 5, Fate.WRAPPED, "~1", "logs-000001", b"A")


@given(st.lists(st.sampled_from([b"{}", b'{"a":1}']), min_size=1, max_size=5), st.data())
def test_lines_in_one_block_are_like_a_list(bare: list[bytes], draw: st.DataObject) -> None:
    """Lines that are taken apart late are the same, in whatever order one looks at them."""
    listed = [line + b"\n" for line in bare]
    index = st.integers(-len(bare), len(bare) - 1)
    asked = draw.draw(st.lists(index | st.builds(slice, index, index), max_size=4))
    lines = Lines(b"".join(listed), len(listed))
    assert [lines[one] for one in asked] == [listed[one] for one in asked]
    assert (list(lines), len(lines)) == (listed, len(listed))
    assert Piece(SOURCE, 0, lines, 1).data == Piece(SOURCE, 0, listed, 1).data
    assert Piece(SOURCE, 0, lines, 1).record(0) == bare[0]


def records(data: bytes, rules: Rules = WRAPPING, *, source: Source = FOREIGN, offset: int = 0) -> list[dict]:
    """What becomes of lines, as objects, in order."""
    taken = checked(data, rules, offset=offset, source=source)
    assert not taken.bad
    return [json.loads(line) for piece in taken.pieces for line in piece.lines]


def record(line: bytes, rules: Rules = WRAPPING, *, source: Source = FOREIGN) -> dict:
    (one,) = records(line + b"\n", rules, source=source)
    return one


WHERE = {"file": {"path": "/var/log/app.log"}}


def test_a_foreign_record_says_which_file_it_came_from() -> None:
    """A good line of another program is sent as it is, with the path of its file."""
    assert record(b'{%s,"a":1}' % STAMP) == {"@timestamp": "2026-11-22T05:02:17.220Z", "a": 1, "log": WHERE}
    assert record(b'{%s,"log":{"level":"info"}}' % STAMP)["log"] == {"level": "info", **WHERE}
    assert record(b'{%s,"log.level":"info"}' % STAMP)["log.file.path"] == "/var/log/app.log"
    both = b"".join(b'{%s,"log":{"level":"%s"}}\n' % (STAMP, level) for level in (b"info", b"error"))
    assert [one["log.file.path"] for one in records(both)] == ["/var/log/app.log"] * 2


@pytest.mark.parametrize(
    "said", [b'"log":{"file":{"path":"/x"}}', b'"log.file.path":"/x"', b'"log":{"file.path":"/x"}']
)
def test_a_path_that_is_there_stays(said: bytes) -> None:
    """A record that names its file keeps the name, however it writes it."""
    assert "/var/log/app.log" not in json.dumps(record(b"{%s,%s}" % (STAMP, said)))


@pytest.mark.parametrize(
    "line", [b"plain text", b"[1,2]", b"17", b"null", b'"text"', b'{"a":', b"{}{}", b'{"a":NaN}', b"[" * 100_000]
)
@pytest.mark.parametrize("source", [FOREIGN, SOURCE])
def test_what_is_no_object_is_wrapped(line: bytes, source: Source) -> None:
    """Any other line becomes a record whose message it is, with its place; the lines around it are what they were."""
    good = b"{%s}" % STAMP
    data = b"\n".join([good, line, good, b""])
    before, made, after = records(data, source=source, offset=100)
    assert made == {
        "@timestamp": AT,
        "message": line.decode(),
        "event": {"kind": "pipeline_error"},
        "log": {"file": {"path": source.path}, "offset": 100 + len(good) + 1},
        "tags": ["shipper.wrapped"],
    }
    assert before == after
    pieces = checked(data, WRAPPING, source=source).pieces
    assert [piece.fate for piece in pieces] == [Fate.DELIVERED, Fate.WRAPPED, Fate.DELIVERED]


@pytest.mark.parametrize("line", [b"plain text", b"\xff", b'{"a":'])
def test_what_is_no_object_is_refused_if_asked(line: bytes) -> None:
    """With `wrap` off such a line is refused with its bytes, and nothing is made of it."""
    taken = checked(b"{}\n" + line + b"\n", source=FOREIGN)
    assert [refused.data for refused in taken.bad] == [line]
    assert [piece.fate for piece in taken.pieces] == [Fate.DELIVERED]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("2026-11-22T05:02:17.220Z", None), ("2026-11-22", None), ("2026-11-22T05:02", None), ("2024-02-29T00:00:00.123456789+01:00", None),
        ("2000-02-29", None), ("2026-11-22T05:02:17-0330", None), (1_700_000_000_000, None),
        ("2026-11-22 05:02:17,220", "2026-11-22T05:02:17.220"), ("2026-11-22t05:02:17z", "2026-11-22T05:02:17Z"),
        ("2026-11-22 05:02:17 +0100", "2026-11-22T05:02:17+0100"),
    ],
)  # fmt: skip
def test_a_usable_timestamp_stays(said: object, kept: str | None) -> None:
    """What a store can read stays as it is; where only a separator is another, that is put right."""
    made = record(json.dumps({"@timestamp": said}).encode())
    assert made["@timestamp"] == (kept or said)
    assert "tags" not in made


@pytest.mark.parametrize(
    "said",
    [
        "yesterday", "", "2026-13-01T00:00:00Z", "2026-02-29", "1900-02-29", "2026-04-31", "2026-11-22T24:00:00Z", "2026-11-22T05:02:60Z",
        "22/Nov/2026:05:02:17", 1_700_000_000, 1_700_000_000.5, -1, True, [], {}, {"a": 1}, "2026-11-22T05:02:17.220Z\n",
    ],
)  # fmt: skip
def test_an_unusable_timestamp_is_replaced(said: object) -> None:
    """The time of reading takes its place, with a mark, and the line is kept as it was."""
    line = json.dumps({"@timestamp": said, "a": 1})
    made = record(line.encode())
    assert (made["@timestamp"], made["tags"], made["event.original"]) == (AT, ["shipper.timestamp"], line)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("line", [b'{"a":1}', b'{"a":1,"@timestamp":null}', b"{}", b"{ }", b'{"x":{}}'])
def test_a_missing_timestamp_is_put_in(line: bytes, count: int) -> None:
    """A line without a timestamp gets the time of reading, and a mark."""
    for made in records((line + b"\n") * count):
        assert (made["@timestamp"], made["tags"], made["log"]) == (AT, ["shipper.timestamp"], WHERE)
        assert "event.original" not in made


@pytest.mark.parametrize("tags", [["a"], "a", None])
def test_tags_that_are_there_stay(tags: object) -> None:
    """A mark stands beside the record's own tags."""
    assert record(json.dumps({"tags": tags}).encode())["tags"] == [*(["a"] if tags else []), "shipper.timestamp"]


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    """U+FFFD stands where they were, with a mark, in records and in wrapped lines."""
    made = record(b'{%s,"s":"\xffa\xc3"}' % STAMP)
    assert (made["s"], made["tags"]) == ("\ufffda\ufffd", ["shipper.utf8"])
    made = record(b"\xff text")
    assert (made["message"], made["tags"]) == ("\ufffd text", ["shipper.utf8", "shipper.wrapped"])


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":1,"a":2}', b'{"a":2,"b":{"c":1,"c":1}}', b'{"b":[{"c":1,"c":1}],"a":2}', b'{"a":"\\u0022\\u0022","a":2}',
        b'{"a":1,"\\u0061":2}', b'{"a":2, "x":{"":1,"":1}}',
    ],
)  # fmt: skip
def test_a_key_that_stands_twice(line: bytes) -> None:
    """Its last value is kept, with a mark and the whole line beside it, since stores refuse such an object."""
    made = record(line[:-1] + b"," + STAMP + b"}")
    assert (made["a"], made["tags"]) == (2, ["shipper.keys"])
    assert made["event.original"] == (line[:-1] + b"," + STAMP + b"}").decode()


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=4) | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)))  # fmt: skip
@example({"log": None})
def test_no_key_is_taken_to_stand_twice_that_does_not(value: object) -> None:
    """Whatever a record holds, it is not changed when each key stands once, however it is written."""
    for separators, ascii_only in (((",", ":"), True), ((", ", ": "), False)):
        try:
            line = json.dumps(
                {"@timestamp": "2026-11-22", "v": value}, separators=separators, ensure_ascii=ascii_only
            ).encode()
        except UnicodeEncodeError:
            return
        if framing._fault(line):
            return  # a lone surrogate, or a number that is too large
        made = record(line)
        # Where `log` stands anywhere in the line, the path is added under its dotted name.
        assert (made.pop("log", None) or {"file": {"path": made.pop("log.file.path")}}) == WHERE
        assert made == json.loads(line)


def test_each_foreign_line_chooses_its_stream() -> None:
    """A file with lines of several services goes to their streams, under the same ids; what is ours by content to ours."""
    ours = b'{%s,"msecs":220,"service":{"name":"pay"},"run":"r1","event":{"sequence":7}}'
    data = b"\n".join([
        b'{%s,"service":{"name":"Shop"}}', b'{%s,"service.name":"shop"}', b'{%s,"service":"web"}', b'{%s,"service":{"name":5}}', ours, b""
    ]).replace(b"%s", STAMP)  # fmt: skip
    taken = checked(data, WRAPPING, source=FOREIGN)
    assert [(p.source.target, p.first, len(p.lines)) for p in taken.pieces] == [
        ("logs-shop.jsonlog_foreign-default", 0, 2),
        ("logs-web.jsonlog_foreign-default", 2, 1),
        ("logs-generic.jsonlog_foreign-default", 3, 1),
        ("logs-pay.jsonlog-default", 4, 1),
    ]
    assert {piece.source.key for piece in taken.pieces} == {FOREIGN.key}
    slow = slowly(data, WRAPPING, source=FOREIGN)
    assert content(slow).keys() == content(taken).keys()
    assert [p.source.target for p in slow.pieces] == [p.source.target for p in taken.pieces]


def test_lines_cannot_choose_any_number_of_streams() -> None:
    """A field that differs in each line does not make as many streams."""
    data = b"".join(b'{%s,"service":{"name":"s%d"}}\n' % (STAMP, n) for n in range(1000))
    for data_of_kind in (data, data + b"bad\n"):
        taken = checked(data_of_kind, WRAPPING, source=FOREIGN)
        assert len({piece.source.target for piece in taken.pieces}) <= 17
        assert sum(len(piece.lines) for piece in taken.pieces) == data_of_kind.count(b"\n")


ENRICHED = Rules(
    fields={"labels": {"team": "a"}, "kubernetes": {"pod": {"name": "p"}}, "host": {"ip": "::1", "name": "other"}},
    stream_fields=True,
)
OURS = b'{"@timestamp":"2026-11-22T05:02:17.220Z","msecs":220,"message":"m %d","host":{"name":"web-1"},%s"run":"r","event":{"sequence":%d}}\n'


@pytest.mark.parametrize("labels", [b"", b'"labels":{"v":"1"},'])
def test_configured_fields_are_put_into_records_of_ours(labels: bytes) -> None:
    """Without a look at single lines, and without taking the place of anything that the record says."""
    data = b"".join(OURS % (n, labels, n) for n in range(100))
    assert framing._check_own(checked(data).chunk, data, data.split(b"\n")[:-1], ENRICHED) is not None
    for number, made in enumerate(records(data, ENRICHED, source=SOURCE)):
        assert made["labels"] == ({"v": "1", "team": "a"} if labels else {"team": "a"})
        assert made["kubernetes"] == {"pod": {"name": "p"}}
        assert made["host"] == {"name": "web-1", "ip": "::1"}
        assert made["data_stream"] == {"type": "logs", "dataset": "shop.jsonlog", "namespace": "prod"}
        assert (made["event.dataset"], made["event"]) == ("shop.jsonlog", {"sequence": number})


def test_configured_fields_where_records_differ() -> None:
    """Where only some records of a file have a field, each gets what it lacks."""
    some = [b"", b'"labels":{"v":"1"},', b'"labels":{"team":"mine"},', b'"extra":{"labels":{}},', b'"host.ip":"::2",']
    made = records(b"".join(OURS % (n, more, n) for n, more in enumerate(some)), ENRICHED, source=SOURCE)
    assert [one["labels"] for one in made] == [
        {"team": "a"},
        {"v": "1", "team": "a"},
        {"team": "mine"},
        {"team": "a"},
        {"team": "a"},
    ]
    assert made[3]["extra"] == {"labels": {}}
    assert (made[4]["host.ip"], made[4]["host"]) == ("::2", {"name": "web-1"})
    assert all(one["kubernetes"] == {"pod": {"name": "p"}} for one in made)


def test_empty_records_are_enriched() -> None:
    """An empty object gets fields without a stray comma."""
    lines = b'{}\n{"a":{}}\n{"a":1}\n'
    assert [one["labels"] for one in records(lines, ENRICHED, source=SOURCE)] == [{"team": "a"}] * 3


@given(any_lines)
def test_fields_change_nothing_else(lines: list[bytes]) -> None:
    """With fields to add, the same lines are taken and refused as without, and each keeps what it had."""
    data = b"\n".join(lines) + b"\n"
    rules = Rules(wrap=False, fields={"labels": {"team": "a"}})
    plain, rich = content(checked(data)), content(checked(data, rules))
    assert {n: kind for n, (kind, _) in plain.items()} == {n: kind for n, (kind, _) in rich.items()}
    for number, (kind, line) in rich.items():
        if kind == "good":
            made = json.loads(line)
            assert made.pop("labels") == {"team": "a"}
            assert made == json.loads(plain[number][1])


@given(any_lines, st.booleans())
def test_no_foreign_line_is_lost(lines: list[bytes], wrapping: bool) -> None:
    """Each foreign line that is not blank is a record that a store takes, or refused, under its number."""
    data = b"\n".join(lines) + b"\n"
    taken = checked(data, Rules(wrap=wrapping), source=FOREIGN)
    found = content(taken)
    for number, line in enumerate(data.split(b"\n")[:-1]):
        bare = (line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).strip(b" \t\r\0")
        assert (number in found) == bool(bare)
    for kind, line in found.values():
        assert kind == "good" or not wrapping
        assert kind == "bad" or ("@timestamp" in json.loads(line) and b"\n" not in line)
    assert taken.empty == taken.chunk.lines - len(found)
    assert taken.held == sum(len(line) + (kind == "good") for kind, line in found.values())


def test_an_over_long_line_is_cut_into_a_record() -> None:
    """Its head is the message, with the size, a mark, its place, and its own time where it begins with one."""
    place = Chunk(FOREIGN, Position(10, 3), Position(5_000_010, 4), b"")
    head = b'{"@timestamp":"2026-11-22T05:02:17.220Z","message":"\xc3'
    (piece,) = (taken := check_cut(place, head, at=AT)).pieces
    made = json.loads(piece.lines[0])
    assert made["message"] == head[:-1].decode() + "\ufffd… [cut: 5000000 bytes]"
    assert (made["@timestamp"], made["tags"]) == ("2026-11-22T05:02:17.220Z", ["shipper.cut"])
    assert made["log"] == {"file": {"path": FOREIGN.path}, "offset": 10}
    assert (piece.first, piece.fate, taken.bad) == (3, Fate.WRAPPED, ())
    assert json.loads(check_cut(place, b"text", at=AT).pieces[0].lines[0])["@timestamp"] == AT
    (refused,) = check_cut(place, head, STRICT).bad
    assert (refused.line, refused.offset, refused.data) == (3, 10, head)


@pytest.mark.parametrize(
    "line", [b'{"a":1}', b"plain", b"\xff", b'{"a":1,"log":{"level":"x"}}', b'{"@timestamp":"yesterday"}']
)
def test_a_line_that_is_read_again_is_the_same_record(line: bytes) -> None:
    """A record is known again although it was read at another time, under another name of its file; another line is not."""
    renamed = replace(FOREIGN, path="/var/log/app.log.1")
    first = checked(line + b"\n", WRAPPING, source=FOREIGN).pieces[0].record(0)
    again = check(renamed, Position(), line + b"\n", WRAPPING, at="2027-01-01T00:00:00.000Z").pieces[0].record(0)
    assert first != again
    assert is_same(first, again)
    other = checked(line.replace(b"a", b"b") + b" \n", WRAPPING, source=FOREIGN).pieces[0].record(0)
    assert b"a" not in line or not is_same(first, other)
    assert not is_same(first, first.replace(b"2026", b"2025")) or b"shipper." in first

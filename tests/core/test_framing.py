"""Bytes to lines: nothing is lost, doubled or taken for good that is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.core import framing
from shipper.core.framing import whole_lines
from shipper.core.model import Checked, Piece, Position
from tests.core.support import SOURCE, checked

AWKWARD = [
    b'{"a":1}', b"{}", b'{"s":"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85"}', b'{"s":"a\\nb"}', b" {} ", b"{}\r", b"\r", b"", b" ",
    b"\xef\xbb\xbf{}", b"\0\0\0{}", b"\0\0", b"{}\0", b"{}{}", b'{"a":', b"1}", b"[]", b"1", b"null", b'"{}"', b"{", b"}",
    b'{"s":"\xff"}', b'{"a":1,"a":2}', b'{"a":NaN}', b'{"s":"\x01"}', b"text", b'{"a":{"b":[1,2]}}', b"[" * 50,
]  # fmt: skip
any_lines = st.lists(st.sampled_from(AWKWARD) | st.binary(max_size=12), max_size=8)


def content(of: Checked) -> dict[int, tuple[str, bytes]]:
    """What each line was taken for, by its number."""
    found: dict[int, tuple[str, bytes]] = {}
    for piece in of.pieces:
        for number, line in enumerate(piece.lines, piece.first):
            assert number not in found
            found[number] = ("good", line)
    for refused in of.bad:
        assert refused.line not in found
        found[refused.line] = ("bad", refused.data)
    return found


def slowly(data: bytes) -> Checked:
    lines = data.removesuffix(b"\n").split(b"\n")
    return framing._check_each(checked(data).chunk, lines)


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
            assert kept == bare
            assert is_object(kept)
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
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"s":"\xff"}', "not UTF-8: byte 7"),
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
    assert [(p.first, list(p.lines)) for p in taken.pieces] == [(3, [b"{}"]), (5, [b"{}"])]


def test_duplicate_keys_are_the_stores_business() -> None:
    """A line with a key twice is sent as it is."""
    assert checked(b'{"a":1,"a":2}\n').pieces[0].lines[0] == b'{"a":1,"a":2}'


def test_a_byte_order_mark_is_taken_only_at_the_start() -> None:
    """A BOM before the first line of a file is left out; elsewhere it makes a line bad."""
    assert checked(b"\xef\xbb\xbf{}\n").pieces[0].lines[0] == b"{}"
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
    """A part of a piece has its lines' numbers and bytes."""
    piece = Piece(SOURCE, 5, [b"a", b"bc", b"d"], 7)
    cut = piece.sub(1, 3)
    assert (cut.first, list(cut.lines)) == (6, [b"bc", b"d"])

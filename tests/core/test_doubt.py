"""Reservations: what may have been sent is on disk before it is, and nothing else is in doubt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.core.doubt import AHEAD_BYTES, ANY_TARGET, UNKNOWN, Reservation, Reserved, in_doubt
from shipper.core.model import Batch, Source
from tests.core.support import checked, piece

LINE = b'{"n":1}\n'


def batch(*places: tuple[str, int], target: str = "t") -> Batch:
    """A batch of one line each, by key and offset."""
    return Batch(tuple(checked(LINE, offset=offset, source=Source(key, target, "/f")) for key, offset in places))


def index_1(_: str) -> str:
    return "index-1"


def test_the_first_line_is_reserved_and_the_next_ones_are_covered() -> None:
    """One commit covers 64 MB of a file; the write index is that of before."""
    reserved = Reserved()
    (one,) = reserved.due(batch(("a", 0)), index_1)
    assert one == Reservation("a", "t", len(LINE) + AHEAD_BYTES, "index-1")
    assert reserved.due(batch(("a", 0)), index_1) == [one], "not yet on disk"
    reserved.written([one])
    assert reserved.due(batch(("a", AHEAD_BYTES)), index_1) == []
    (two,) = reserved.due(batch(("a", AHEAD_BYTES + 1)), index_1)
    assert two.until > one.until


def test_each_file_and_each_target_has_its_own() -> None:
    """What is reserved for one file or stream says nothing of another."""
    reserved = Reserved()
    reserved.written(reserved.due(batch(("a", 0)), index_1))
    assert [one.key for one in reserved.due(batch(("a", 0), ("b", 0)), index_1)] == ["b"]
    assert [one.target for one in reserved.due(batch(("a", 0), target="u"), index_1)] == ["u"]


def test_what_an_earlier_run_reserved_is_in_doubt() -> None:
    """Up to the reserved offset lines are in doubt since the index of the reservation that covers them; beyond it not."""
    reserved = Reserved.of([Reservation("a", "t", 100, "index-1"), Reservation("a", "t", 200, "index-2")])
    marked = reserved.mark(batch(("a", 0), ("a", 99), ("a", 100), ("a", 199), ("a", 200), ("b", 0)))
    assert [p.since for p in marked.pieces] == ["index-1", "index-1", "index-2", "index-2", None, None]
    assert [p.since for p in reserved.mark(batch(("a", 0), target="other")).pieces] == [None]
    assert reserved.due(batch(("a", 150)), index_1) == [], "it is reserved already, since an older index"


def test_a_file_from_before_the_checkpoint_is_in_doubt_for_any_stream() -> None:
    """Nobody knows since when."""
    reserved = Reserved.of([Reservation("a", ANY_TARGET, 100, UNKNOWN)])
    assert [p.since for p in reserved.mark(batch(("a", 0), target="x")).pieces] == [UNKNOWN]


def test_what_this_run_reserves_casts_no_doubt_in_it() -> None:
    """A run knows what it sends."""
    reserved = Reserved()
    reserved.written(reserved.due(batch(("a", 0)), index_1))
    assert [p.since for p in reserved.mark(batch(("a", 0))).pieces] == [None]


def test_a_forgotten_file_is_reserved_anew() -> None:
    """After a file was given up its key means nothing."""
    reserved = Reserved.of([Reservation("a", "t", 100, "i")])
    reserved.written(reserved.due(batch(("a", 200)), index_1))
    reserved.forget("a")
    assert [p.since for p in reserved.mark(batch(("a", 0))).pieces] == [None]
    assert len(reserved.due(batch(("a", 0)), index_1)) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3 * AHEAD_BYTES), st.booleans()), max_size=30))
def test_nothing_is_sent_that_is_not_reserved(program: list[tuple[str, int, bool]]) -> None:
    """For any order of batches and crashes: what was sent before a crash is in doubt after it."""
    reserved, disk, sent = Reserved(), [], set()
    for key, offset, crash in program:
        one = batch((key, offset))
        due = reserved.due(one, index_1)
        disk += due
        reserved.written(due)
        sent.add((key, offset))
        if crash:
            reserved = Reserved.of(disk)
            for before in sent:
                assert reserved.mark(batch(before)).pieces[0].since is not None


def test_doubt_keeps_its_oldest_index() -> None:
    """A line that was in doubt since an older index stays so."""
    one, two = piece(b"{}"), piece(b"{}")
    (first,) = in_doubt([one], {"logs-a.jsonlog-b": "index-1"})
    (again,) = in_doubt([first], {"logs-a.jsonlog-b": "index-2"})
    assert (first.since, again.since) == ("index-1", "index-1")
    assert in_doubt([two], {})[0].since == UNKNOWN

"""The accounting: sums that close are silent, and any line too few or too many is found."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shipper.core.accounting import Imbalance, imbalances, open_ledger, taken
from shipper.core.framing import check
from shipper.core.model import Batch, Ended, Fate, Source
from shipper.core.model import Position as At
from tests.core.support import STRICT

LINES = st.sampled_from([b'{"a":1}', b"", b" \r", b"\0\0", b"not json", b"[]", b"\xff", b'{"b":"\xe2\x80\xa8"}'])


@st.composite
def batches_and_lines(draw: st.DrawFn) -> tuple[Batch, list[bytes]]:
    """Chunks of a few files with good, bad and empty lines, as they are read."""
    chunks, lines = [], []
    ends = {"a": At(), "b": At(), "c": At()}
    for key in draw(st.lists(st.sampled_from(sorted(ends)), min_size=1, max_size=5)):
        drawn = draw(st.lists(LINES, min_size=1, max_size=6))
        data = b"".join(line + b"\n" for line in drawn)
        lines += drawn
        checked = check(Source(key, "t", f"/{key}"), ends[key], data, STRICT)
        ends[key] = checked.chunk.end
        chunks.append(checked)
    return Batch(tuple(chunks)), lines


def batches() -> st.SearchStrategy[Batch]:
    return batches_and_lines().map(lambda both: both[0])


@given(batches_and_lines())
def test_a_ledger_closes(both: tuple[Batch, list[bytes]]) -> None:
    """When all good lines are taken and all bad ones put aside, the sums close, per file and in total."""
    batch, lines = both
    ledger = open_ledger(batch)
    ledger.add(taken(batch.pieces))
    ledger.add(Ended(bad.source.key, Fate.DEAD_LETTERED, 1) for bad in batch.bad)
    assert imbalances(batch, ledger) == []
    good = sum(line.startswith(b"{") for line in lines)
    empty = sum(not line.strip(b" \r\0") for line in lines)
    dead = len(lines) - good - empty
    assert ledger.total == +Counter({Fate.DELIVERED: good, Fate.EMPTY: empty, Fate.DEAD_LETTERED: dead})


@given(batches(), st.data())
def test_one_line_too_many_or_too_few_is_found(batch: Batch, data: st.DataObject) -> None:
    """Whichever file's figure is off by one, that file is named with both figures."""
    ledger = open_ledger(batch)
    ledger.add(taken(batch.pieces))
    ledger.add(Ended(bad.source.key, Fate.DEAD_LETTERED, 1) for bad in batch.bad)
    key = data.draw(st.sampled_from([checked.chunk.source.key for checked in batch.chunks]))
    read = sum(checked.chunk.lines for checked in batch.chunks if checked.chunk.source.key == key)
    off = data.draw(st.sampled_from([-1, 1]))
    ledger.add([Ended(key, Fate.DELIVERED, off)])
    assert imbalances(batch, ledger) == [Imbalance(f"/{key}", read, read + off)]


def test_lines_of_no_file_are_found() -> None:
    """Lines that end under a key of which nothing was read do not go unnoticed."""
    batch = Batch((check(Source("a", "t", "/a"), At(), b"{}\n"),))
    ledger = open_ledger(batch)
    ledger.add([*taken(batch.pieces), Ended("z", Fate.DELIVERED, 1)])
    (found,) = imbalances(batch, ledger)
    assert found == Imbalance("z", 0, 1)
    assert "of 0 lines 1 have ended" in str(found)

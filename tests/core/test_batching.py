"""Chunks to batches: everything leaves, in order, within the bounds."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from shipper.core.batching import Batcher
from tests.core.support import checked


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=30), st.integers(8, 100), st.integers(1, 20))
@example([(1, 0), (1, 2)], 100, 3)
def test_batches_are_bounded_and_lose_nothing(sizes: list[tuple[int, int]], max_bytes: int, max_lines: int) -> None:
    """Every chunk leaves once and in order; a batch exceeds a bound only if it is a single chunk."""
    batcher = Batcher(max_bytes=max_bytes, max_lines=max_lines, linger_s=1)
    added, left = [], []
    for lines, bad in sizes:
        new = checked(b"{}\n" * lines + b"x\n" * bad)
        added.append(new)
        if batch := batcher.add(new, 0.0):
            left.append(batch)
    if batch := batcher.take():
        left.append(batch)
    assert [c for b in left for c in b.chunks] == added
    for batch in left:
        size = sum(c.held for c in batch.chunks)
        count = sum(len(p.lines) for p in batch.pieces) + len(batch.bad)
        assert len(batch.chunks) == 1 or (size <= max_bytes and count <= max_lines)
    assert batcher.take() is None


def test_a_batch_is_due_when_its_first_chunk_has_waited() -> None:
    """The due time is that of the oldest chunk, and infinite when nothing waits."""
    batcher = Batcher(max_bytes=1000, max_lines=1000, linger_s=2)
    assert batcher.due_at == float("inf")
    batcher.add(checked(b"{}\n"), 10)
    batcher.add(checked(b"{}\n"), 11)
    assert batcher.due_at == 12
    batcher.take()
    assert batcher.due_at == float("inf")


def test_a_full_batch_leaves_at_once() -> None:
    """A chunk that fills the batch takes it along, and one that does not fit pushes the others out."""
    batcher = Batcher(max_bytes=9, max_lines=100, linger_s=1)
    assert batcher.add(checked(b"{}\n" * 3), 0) is not None
    assert batcher.add(checked(b"{}\n" * 2), 0) is None
    before = batcher.add(checked(b"{}\n" * 2), 5)
    assert before is not None
    assert len(before.chunks) == 1
    assert batcher.due_at == 6

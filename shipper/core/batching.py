"""
Chunks to batches.

Rules: a batch is full by bytes or by lines, or due when its first chunk has waited long enough. The first chunk always
fits, so that none can be too large to ever leave. Time is a parameter.
"""

from __future__ import annotations

from shipper.core.model import Batch, Checked, count_lines


class Batcher:
    """
    Collects checked chunks until a batch is full or due.

    Args:
        max_bytes: Bytes of lines in one batch.
        max_lines: Lines in one batch.
        linger_s: The longest that a chunk waits for company.
    """

    def __init__(self, *, max_bytes: int, max_lines: int, linger_s: float) -> None:
        self._max_bytes = max_bytes
        self._max_lines = max_lines
        self._linger_s = linger_s
        self._chunks: list[Checked] = []
        self._bytes = 0
        self._lines = 0
        self._due_at = float("inf")

    @property
    def due_at(self) -> float:
        """The instant at which `take` is to be called at the latest; infinite while nothing waits."""
        return self._due_at

    def add(self, checked: Checked, now: float) -> Batch | None:
        """
        Add a chunk.

        Returns:
            The batch that had to leave to make room, or the one that is full now; None while there is room.
        """
        size, lines = checked.held, count_lines(checked.pieces) + len(checked.bad)
        before = self.take() if self._chunks and not self._fits(size, lines) else None
        if not self._chunks:
            self._due_at = now + self._linger_s
        self._chunks.append(checked)
        self._bytes += size
        self._lines += lines
        if before is None and not self._fits(1, 1):
            return self.take()
        return before

    def take(self) -> Batch | None:
        """Take what waits, full or not; None when nothing does."""
        if not self._chunks:
            return None
        batch = Batch(tuple(self._chunks))
        self._chunks, self._bytes, self._lines, self._due_at = [], 0, 0, float("inf")
        return batch

    def _fits(self, size: int, lines: int) -> bool:
        return self._bytes + size <= self._max_bytes and self._lines + lines <= self._max_lines

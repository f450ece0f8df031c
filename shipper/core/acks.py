"""
Acknowledgements in any order to one committed place per file.

Rule: the committed place is the end of the longest prefix of chunks that are all settled. It never passes a byte that is
not acknowledged, whatever the order in which answers come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from shipper.core.model import Chunk, Position


@dataclass(frozen=True, slots=True)
class Commit:
    """A file is delivered up to *position*; *tail* is what stands just before it (at most 64 bytes)."""

    key: str
    position: Position
    tail: bytes


@dataclass(slots=True)
class _Sent:
    start: int
    commit: Commit
    settled: bool = False


@dataclass(slots=True)
class AckTracker:
    """Remembers which chunks are on their way, per file and in file order."""

    _files: dict[str, deque[_Sent]] = field(default_factory=dict)

    def sent(self, chunk: Chunk) -> None:
        """Register a chunk, in file order, before it is sent."""
        commit = Commit(chunk.source.key, chunk.end, chunk.tail)
        self._files.setdefault(chunk.source.key, deque()).append(_Sent(chunk.start.offset, commit))

    def settle(self, chunk: Chunk) -> Commit | None:
        """
        Take a chunk as settled: each of its lines is delivered, or stands in the dead-letter file.

        Returns:
            The new committed place of the file; None when an earlier chunk is still on its way.
        """
        waiting = self._files[chunk.source.key]
        for sent in waiting:
            if sent.start == chunk.start.offset:
                sent.settled = True
                break
        commit: Commit | None = None
        while waiting and waiting[0].settled:
            commit = waiting.popleft().commit
        if not waiting:
            del self._files[chunk.source.key]
        return commit

    def in_flight(self, key: str) -> bool:
        """Tell whether chunks of a file are on their way."""
        return key in self._files

    @property
    def idle(self) -> bool:
        """True when nothing at all is on its way."""
        return not self._files

"""
Acknowledgements in any order to one committed place per file.

Rule: the committed place is the end of the longest prefix of chunks that are all settled. It never passes a byte that is
not acknowledged, whatever the order in which answers come.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shipper.core.accounting import Tally
from shipper.core.model import Chunk, Position


class Commit(Struct, frozen=True):
    """
    A file is delivered further than it was.

    Args:
        key: The file.
        position: Up to where.
        tail: What stands just before that, at most 64 bytes.
        lines: How many lines further.
        tally: How these have ended.
    """

    key: str
    position: Position
    tail: bytes
    lines: int = 0
    tally: Tally = msgspec.field(default_factory=Counter)

    def after(self, earlier: Commit | None) -> Commit:
        """Put this commit and the one before it together."""
        if earlier is None:
            return self
        tally = earlier.tally + self.tally if earlier.tally and self.tally else earlier.tally or self.tally
        return Commit(self.key, self.position, self.tail, earlier.lines + self.lines, tally)


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
        commit = Commit(chunk.source.key, chunk.end, chunk.tail, chunk.lines)
        self._files.setdefault(chunk.source.key, deque()).append(_Sent(chunk.start.offset, commit))

    def settle(self, chunk: Chunk, tally: Tally) -> Commit | None:
        """
        Take a chunk as settled: each of its lines is delivered, or stands in the dead-letter file.

        Args:
            chunk: The chunk.
            tally: How its lines have ended.

        Returns:
            The new committed place of the file; None when an earlier chunk is still on its way.
        """
        waiting = self._files[chunk.source.key]
        for sent in waiting:
            if sent.start == chunk.start.offset:
                sent.settled, sent.commit = True, replace(sent.commit, tally=tally)
                break
        commit: Commit | None = None
        while waiting and waiting[0].settled:
            commit = waiting.popleft().commit.after(commit)
        if not waiting:
            del self._files[chunk.source.key]
        return commit

    def in_flight(self, key: str) -> bool:
        """Tell whether chunks of a file are on their way."""
        return key in self._files

    @property
    def lines(self) -> int:
        """Lines that are on their way, or wait for an earlier one."""
        return sum(sent.commit.lines for waiting in self._files.values() for sent in waiting)

    @property
    def size(self) -> int:
        """Bytes of the files that these are."""
        return sum(waiting[-1].commit.position.offset - waiting[0].start for waiting in self._files.values())

    @property
    def idle(self) -> bool:
        """True when nothing at all is on its way."""
        return not self._files

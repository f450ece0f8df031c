"""
Merges sources into one stream of lines in the order of time, run and number, in bounded memory.

Strategy: nothing is compared line by line. The least settled key of all sources is a horizon: what lies before it can
go out, and no file has anything earlier. Each round takes those lines from each source, a sorted run, and sorts the
runs together in C. Equal times are ordered by the rank of the source, which begins with its run; within a source lines
stand in the order of their numbers. A source whose first line lies behind the horizon is not opened yet.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator

from jsonlog.view.paths import Rank
from jsonlog.view.source import LAST, Source, in_order

_MEMORY_BYTES = 24 << 20
_MOST_BLOCK = 256 << 10
_LEAST_BLOCK = 4 << 10
_LEAST_ADMITTED = 16
_LEAST_READY = 16
_BEFORE_ALL: Rank = ("", "")


class Merge:
    """
    The sources of one view.

    Args:
        sources: What to read.

    Raises:
        ViewError: The beginning of a file cannot be read.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        waiting = [(source.first_key(), source) for source in sources]
        self._waiting = sorted(waiting, key=lambda pair: pair[0], reverse=True)
        self.active: list[Source] = []

    def release_all(self) -> list[Source]:
        """Hand over all sources, also those that were not read yet."""
        sources = self.active + [source for _, source in self._waiting]
        self.active, self._waiting = [], []
        return sources

    def batches(self, limit: bytes = LAST) -> Iterator[list[bytes]]:
        """
        Give the lines, in order, some thousand at a time.

        Args:
            limit: Lines with a greater key stay where they are.

        Raises:
            ViewError: A file cannot be read any further.
        """
        while self.active or self._waiting:
            self._read()
            horizon, rank = min(
                ((source.settled, source.rank) for source in self.active if not source.at_end), default=(LAST, None)
            )
            bound = min(horizon, limit)
            if self._waiting and self._waiting[-1][0] <= bound:
                batch = take(self.active, self._waiting[-1][0], _BEFORE_ALL)
                self._admit(bound)
            else:
                batch = take(self.active, bound, rank if horizon < limit else None)
                if not batch and horizon >= limit:
                    return
            if batch:
                yield batch
            self.active = [source for source in self.active if source.keys or source.follow or not source.at_end]

    def _admit(self, horizon: bytes) -> None:
        """Begin to read some sources whose first line lies before the horizon, the first ones first."""
        for _ in range(max(_LEAST_ADMITTED, len(self.active) // 8)):
            if not self._waiting or self._waiting[-1][0] > horizon:
                break
            insort(self.active, self._waiting.pop()[1], key=lambda source: source.rank)

    def _read(self) -> None:
        """Fill those sources that hold the others up, with an eye on the memory."""
        behind = sorted(source.settled for source in self.active if not source.at_end)
        if not behind:
            return
        block = max(_LEAST_BLOCK, min(_MOST_BLOCK, _MEMORY_BYTES // len(self.active)))
        low = behind[len(behind) // 4]
        for source in self.active:
            if not source.at_end and source.settled <= low and source.ready <= max(_LEAST_READY, source.chunk // 4):
                source.fill(block)


def take(sources: Iterable[Source], key: bytes, rank: Rank | None) -> list[bytes]:
    """
    Take the lines up to a key out of all sources, in order.

    Args:
        sources: Sorted by rank.
        key: The greatest key.
        rank: Of the source that this horizon comes from; None when nothing with this key can come any more.
    """
    keys: list[bytes] = []
    lines: list[bytes] = []
    givers = 0
    for source in sources:
        if source.keys and source.keys[0] <= key:
            more_keys, more_lines = source.take(key, rank)
            keys += more_keys
            lines += more_lines
            givers += bool(more_lines)
    return lines if givers < 2 else in_order(keys, lines)[1]

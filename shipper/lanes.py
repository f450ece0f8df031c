"""
Where full batches wait for a sender.

Usually in one line for all files, from which every sender takes the next. Where files are delivered in order (`ordered`) there
is a line for each sender, and a file stays in one for as long as anything of it is on its way: so what is sent of a file is
settled, whatever that took, before the next of it is sent. Files that come anew go to the line with the fewest bytes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from shipper.core.batching import Batcher
from shipper.core.model import Batch, Checked
from shipper.limits import Limits

Queue = asyncio.Queue[Batch]
Full = tuple[Queue, Batch]
"""A batch that is to go, and the queue that it is to go into."""


@dataclass(slots=True, eq=False)
class _Lane:
    batcher: Batcher
    queue: Queue
    held: int = 0  # bytes that are read and not settled, where files stay in their lane


@dataclass(slots=True)
class _Stay:
    lane: _Lane
    chunks: int = 0  # of the file, not settled


@dataclass(slots=True)
class Lanes:
    """
    Collects chunks to batches, in one line or several.

    Args:
        limits: How large a batch may become, how many senders there are, and whether files are delivered in order.
    """

    limits: Limits
    _lanes: list[_Lane] = field(init=False)
    _stays: dict[str, _Stay] = field(default_factory=dict)  # by the key of a file

    def __post_init__(self) -> None:
        ordered, count = self.limits.ordered, self.limits.in_flight
        # Those of ordered files hold any number: bytes in flight are bounded, and a full one must not keep the others waiting.
        self._lanes = [_Lane(self._batcher(), Queue(0 if ordered else count)) for _ in range(count if ordered else 1)]

    @property
    def queues(self) -> list[Queue]:
        """The queue that each sender takes its batches from."""
        return [self._lanes[number % len(self._lanes)].queue for number in range(self.limits.in_flight)]

    @property
    def due_at(self) -> float:
        """The instant at which `due` is to be called at the latest."""
        return min(lane.batcher.due_at for lane in self._lanes)

    def add(self, checked: Checked, now: float, *, before_whole: bool = False) -> list[Full]:
        """
        Add a chunk.

        Args:
            checked: The chunk.
            now: The time.
            before_whole: It stands before lines that `add_whole` will be given.

        Returns:
            The batch that has to leave, if any.
        """
        lane = self._enter(checked, self._lanes[0] if before_whole else None)
        batch = lane.batcher.add(checked, now)
        return [(lane.queue, batch)] if batch is not None else []

    def add_whole(self, batch: Batch) -> list[Full]:
        """Add a batch that is to be sent as it is, after everything that waits in its line."""
        lane = self._lanes[0]
        for checked in batch.chunks:
            self._enter(checked, lane)
        before = lane.batcher.take()
        return [(lane.queue, one) for one in (before, batch) if one is not None]

    def due(self, now: float) -> list[Full]:
        """Take the batches that have waited long enough."""
        return self._take([lane for lane in self._lanes if lane.batcher.due_at <= now])

    def take(self) -> list[Full]:
        """Take all that waits."""
        return self._take(self._lanes)

    def settled(self, batch: Batch) -> None:
        """Let go of the files of a batch, unless more of them is on its way."""
        if not self.limits.ordered:
            return
        for checked in batch.chunks:
            key = checked.chunk.source.key
            stay = self._stays[key]
            stay.lane.held -= checked.held
            stay.chunks -= 1
            if not stay.chunks:
                del self._stays[key]

    def _enter(self, checked: Checked, lane: _Lane | None = None) -> _Lane:
        if not self.limits.ordered:
            return self._lanes[0]
        key = checked.chunk.source.key
        stay = self._stays.get(key)
        if stay is None:
            stay = self._stays[key] = _Stay(lane or min(self._lanes, key=lambda one: one.held))
        stay.chunks += 1
        stay.lane.held += checked.held
        return stay.lane

    def _batcher(self) -> Batcher:
        limits = self.limits
        return Batcher(max_bytes=limits.batch_bytes, max_lines=limits.batch_records, linger_s=limits.linger_s)

    def _take(self, lanes: list[_Lane]) -> list[Full]:
        taken = [(lane.queue, lane.batcher.take()) for lane in lanes]
        return [(queue, batch) for queue, batch in taken if batch is not None]

"""
What batches on their way are made of, on disk before the first of each is sent: see `core/manifest.py`.

Batches that come at the same time are written together, in the order in which they were made, so that of a file nothing is
written before what stands before it.

Where there is no room on the disk nothing waits for it: what is sent makes the room. A batch that could not be written is sent all the
same, and after a crash its lines come in other requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from shipper.checkpoint import Checkpoint
from shipper.core.manifest import Manifest, manifest_of
from shipper.core.model import Batch
from shipper.core.routing import Targets
from shipper.events import BeyondTargets, Emit, TooManyTargets
from shipper.failpoints import reach


@dataclass(slots=True)
class Journal:
    """
    Writes what batches are made of.

    Args:
        checkpoint: Where to.
        store: Runs a write, and tells whether there was room for it.
        emit: Takes events.
    """

    checkpoint: Checkpoint
    store: Callable[[Callable[[], None]], Awaitable[bool]]
    emit: Emit
    _last: int = 0
    _waiting: list[Manifest] = field(default_factory=list)
    _open: dict[int, frozenset[str]] = field(default_factory=dict)  # files of batches that are not committed as settled
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _has_told: bool = False
    _naming: asyncio.Lock = field(default_factory=asyncio.Lock)

    def load(self) -> list[Manifest]:
        """Read what an earlier run had on its way, in the order of its batches; blocking."""
        found = self.checkpoint.manifests()
        self._open = {one.number: one.keys for one in found if one.tallies is None}
        self._last = max((one.number for one in found), default=0)
        return found

    async def use(self, targets: Targets | None) -> None:
        """Return once it is on disk which names are used: after a restart the same lines go to the same ones."""
        if targets is None:
            return
        if targets.beyond:
            lines, targets.beyond = targets.beyond, 0
            self.emit(BeyondTargets(lines))
            if not self._has_told:
                self._has_told = True
                self.emit(TooManyTargets(targets.refused, targets.most))
        if targets.new or targets.gone:
            async with self._naming:  # what another one is writing is not done yet
                new, gone = list(targets.new), list(targets.gone)
                if await self.store(lambda: self.checkpoint.use_targets(new, gone)):
                    del targets.new[: len(new)], targets.gone[: len(gone)]

    async def record(self, batch: Batch) -> Batch:
        """Return a batch with a number once it is on disk what it is made of; without one where there is no room."""
        if batch.number or not batch.pieces:
            return batch
        # By the clock, so that the numbers of several checkpoints can be told apart when files move from one to another.
        self._last = max(self._last + 1, time.time_ns())
        batch = replace(batch, number=self._last)
        manifest = manifest_of(batch)
        self._open[batch.number] = manifest.keys
        self._waiting.append(manifest)
        async with self._writing:  # one after the other: the next one may be written by then
            waiting, self._waiting = self._waiting, []
            if waiting:
                reach("recording")
                if not await self.store(lambda: self.checkpoint.record(waiting)):
                    self.settled([one.number for one in waiting])
                reach("recorded")
        return batch if batch.number in self._open else replace(batch, number=0)

    async def halved(self, batch: Batch, request: str) -> None:
        """Return once it is on disk that a request of a batch was refused, and that its halves are sent in its place."""
        if batch.number:
            reach("halving")
            await self.store(lambda: self.checkpoint.halve(batch.number, request))
            reach("halved")

    async def discard(self, manifest: Manifest) -> None:
        """Forget a batch that cannot be made again."""
        await self.store(lambda: self.checkpoint.discard(manifest.number))
        self._open.pop(manifest.number, None)

    def settled(self, numbers: Iterable[int]) -> None:
        """Take batches as settled, now that the checkpoint knows."""
        for number in numbers:
            self._open.pop(number, None)

    def needs(self, key: str) -> bool:
        """Tell whether a file has to be there for a batch to be made again after a crash."""
        return any(key in keys for keys in self._open.values())

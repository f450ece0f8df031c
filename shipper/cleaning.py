"""
When files leave: finished ones as they are told to, and from the checkpoint those that are gone for long.

Nothing here waits for the checkpoint: what is deleted makes room on a disk that may be full. The checkpoint forgets it later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shipper.checkpoint import Checkpoint
from shipper.events import Emit
from shipper.events_of_files import FileDeleted
from shipper.failpoints import reach
from shipper.files import Files
from shipper.finished import Finished, Ready
from shipper.tailer import Tailer

_INTERVAL_S = 1.0
_PROBE_AT_LEAST_S = 30.0
_FORGET_INTERVAL_S = 3600.0


@dataclass(slots=True)
class Cleaner:
    """
    Lets files go from time to time, beside the reading.

    Args:
        finished: What becomes of parts of ours; None keeps them.
        files: What is followed.
        checkpoint: What remembers files that are gone.
        forget_s: How long it does.
        is_settled: Tells whether everything that was read of a file is acknowledged.
        forget: Told which keys need not be in the checkpoint any more.
        emit: Takes events.
        clock: Seconds, monotonic.
    """

    finished: Finished | None
    files: Files
    checkpoint: Checkpoint
    forget_s: float
    is_settled: Callable[[Tailer], bool]
    forget: Callable[[Iterable[str]], None]
    emit: Emit
    clock: Callable[[], float]
    _due_at: float = 0.0
    _forget_at: float = 0.0
    _leaving: asyncio.Task[list[tuple[Tailer, bool]]] | None = None

    @property
    def is_due(self) -> bool:
        """Tell whether it is time."""
        return self.clock() >= self._due_at

    async def clean(self, *, ending: bool, wait: bool = False) -> None:
        """
        Let go of what is finished.

        Args:
            ending: Find out about every file, whenever it was tried before.
            wait: Return only when this is done; else it goes on, and the next call takes what became of it.
        """
        now = self.clock()
        self._due_at = now + _INTERVAL_S
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_INTERVAL_S
            await self._forget_old()
        if self.finished is None or self.finished.fate == "keep":
            return
        if self._leaving is None:
            tailers = [tailer for tailer in self.files.tailers.values() if ending or now >= tailer.probe_at]
            may_go = self.finished.may_go
            ready = [Ready(t, t.position.offset) for t in tailers if t.left == 0 and may_go(t) and self.is_settled(t)]
            if not ready:
                return
            reach("deleting")
            self._leaving = asyncio.create_task(asyncio.to_thread(self.finished.let_go, ready))
        if wait or self._leaving.done():
            tried, self._leaving = await self._leaving, None
            for tailer, is_gone in tried:
                self._take(tailer, is_gone=is_gone, now=now)

    def _take(self, tailer: Tailer, *, is_gone: bool, now: float) -> None:
        if not is_gone:
            tailer.probe_wait_s = min(_PROBE_AT_LEAST_S, max(_INTERVAL_S, 2 * tailer.probe_wait_s))
            tailer.probe_at = now + tailer.probe_wait_s
            return
        reach("deleted")
        self.files.drop(tailer)
        self.files.forget(tailer.source.key)
        self.forget([tailer.source.key])
        self.emit(FileDeleted(tailer.source.path))

    async def _forget_old(self) -> None:
        """Have the checkpoint forget files that are gone, and have been for long."""
        before = time.time() - self.forget_s
        accounts = await asyncio.to_thread(self.checkpoint.accounts)
        old = [account.state for account in accounts if account.state.key and account.updated < before]
        gone = [state.key for state in old if not self.files.is_there(state)]
        for key in gone:
            self.files.forget(key)
        self.forget(gone)

"""
What is acknowledged, on its way into the checkpoint: in groups, and where there is no room again and again until there is.

Everything that belongs together is one transaction. So whatever meets a full disk, or a kill, is written later or not at all,
and never counted twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from shipper.checkpoint import Checkpoint
from shipper.core.accounting import Tally
from shipper.core.acks import Commit
from shipper.errors import StoreFull
from shipper.events import Committed, Emit, StateFailed, StateRecovered
from shipper.failpoints import reach

_INTERVAL_S = 0.2
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Written:
    """What is in the checkpoint now: how far files are, which are forgotten, and which batches are settled, by number."""

    commits: dict[str, Commit]
    forgotten: list[str]
    settled: dict[int, dict[str, Tally]]


@dataclass(slots=True)
class Committer:
    """
    Writes to the checkpoint.

    Args:
        checkpoint: The checkpoint.
        emit: Takes events.
        passed: Told what was written.
    """

    checkpoint: Checkpoint
    emit: Emit
    passed: Callable[[Written], None]
    waiting: dict[str, Commit] = field(default_factory=dict)  # by the key of their file
    fails: bool = False
    _settled: dict[int, dict[str, Tally]] = field(default_factory=dict)
    _forgotten: list[str] = field(default_factory=list)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, commit: Commit) -> None:
        """Take a file as delivered further than it was."""
        self.waiting[commit.key] = commit.after(self.waiting.get(commit.key))

    def settle(self, number: int, tallies: dict[str, Tally]) -> None:
        """Take a batch as settled, with how its lines have ended by the key of their file."""
        self._settled[number] = tallies

    def forget(self, keys: Iterable[str]) -> None:
        """Take files as gone for good, by their keys."""
        self._forgotten += keys

    async def keep_committing(self) -> None:
        """Write what there is, again and again."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            # Not to be cancelled half-way: a commit that goes on unseen could overtake the last one.
            await asyncio.shield(self.commit())

    async def commit(self) -> None:
        """Write what is acknowledged; where there is no room, keep it for the next time."""
        async with self._writing:
            commits, self.waiting = self.waiting, {}
            forgotten, self._forgotten = self._forgotten, []
            settled, self._settled = self._settled, {}
            if not commits and not forgotten and not settled:
                return
            reach("committing")
            try:
                write = partial(self.checkpoint.commit, settled=settled, forget=forgotten)
                await asyncio.to_thread(write, list(commits.values()))
            except StoreFull as exc:
                self._forgotten = forgotten + self._forgotten
                self._settled = settled | self._settled
                later, self.waiting = self.waiting, commits
                for commit in later.values():
                    self.add(commit)
                self._cannot(exc)
                return
            if forgotten:
                reach("forgotten")
            reach("committed")
            self._can()
            self.emit(Committed(len(commits)))
            self.passed(Written(commits, forgotten, settled))

    async def store(self, write: Callable[[], None], make_room: Callable[[], Awaitable[None]]) -> None:
        """
        Write something else, waiting for room if there is none.

        Args:
            write: Writes; blocking.
            make_room: Called while there is none.
        """
        while True:
            try:
                await asyncio.to_thread(write)
            except StoreFull as exc:
                self._cannot(exc)
                await asyncio.sleep(_AGAIN_S)
                await make_room()
            else:
                self._can()
                return

    async def try_to_store(self, write: Callable[[], None]) -> bool:
        """Write something that is not worth waiting for; tell whether there was room."""
        try:
            await asyncio.to_thread(write)
        except StoreFull as exc:
            self._cannot(exc)
            return False
        self._can()
        return True

    def _cannot(self, exc: StoreFull) -> None:
        if not self.fails:
            self.fails = True
            self.emit(StateFailed("checkpoint", str(exc)))

    def _can(self) -> None:
        if self.fails:
            self.fails = False
            self.emit(StateRecovered("checkpoint"))

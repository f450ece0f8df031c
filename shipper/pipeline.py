"""
START READING HERE: files → chunks → batches → requests → acknowledgements → checkpoint.

One task reads: it looks for files, takes a chunk of each in turn, and puts full batches into a short queue. A few tasks
deliver. When the queue is full, or too many bytes are on their way, reading stops: the files are the buffer. A chunk is
acknowledged when each of its lines is delivered or stands in the dead-letter file; the checkpoint follows the contiguous
acknowledged prefix of each file, in groups.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shipper.checkpoint import Checkpoint, FileState
from shipper.cleaning import Cleaner
from shipper.committer import Committer, Written
from shipper.core.accounting import Ledger, Tally, imbalances
from shipper.core.acks import AckTracker
from shipper.core.doubt import ANY_TARGET, UNKNOWN, Reservation, Reserved
from shipper.core.manifest import Manifest
from shipper.core.model import Batch, Checked, Chunk
from shipper.delivery import Delivery
from shipper.events import ChunkRead, Emit, NotRepeated, settled
from shipper.failpoints import reach
from shipper.files import Files
from shipper.finished import Finished
from shipper.journal import Journal
from shipper.lanes import Full, Lanes, Queue
from shipper.limits import Limits
from shipper.memory import give_back_when_calm
from shipper.replay import read_again
from shipper.tailer import Tailer
from shipper.watch import Mode, Watcher, wait_for

_LOOK_COST = 30  # the time between two looks, in times of what a look takes: so looking costs 3 % at most,
_LOOK_AT_LEAST_S = 5.0  # but happens at least this often
_LOOK_AT_ALL_S = 60.0  # where the kernel tells what changes: what it may have missed
_ROUND_BYTES = 4 * 1024 * 1024  # read in one go in a worker thread


@dataclass(slots=True)
class Pipeline:
    """
    Ships until it is told to stop, or once.

    Args:
        files: What is read.
        delivery: Where it goes; None as long as that is not known: until then files are followed, and read up to the bounds.
        checkpoint: What survives.
        limits: Bounds.
        emit: Takes events.
        watch: How is learnt what changes.
        finished: What becomes of parts of ours whose writer has ended and whose records are all acknowledged.
        clock: Seconds, monotonic.
    """

    files: Files
    delivery: Delivery | None
    checkpoint: Checkpoint
    limits: Limits
    emit: Emit
    finished: Finished | None = None
    watch: Mode = "poll"
    clock: Callable[[], float] = time.monotonic
    _acks: AckTracker = field(default_factory=AckTracker)
    _lanes: Lanes = field(init=False)
    _committer: Committer = field(init=False)
    _cleaner: Cleaner = field(init=False)
    _turns: deque[Tailer] = field(default_factory=deque)  # files that have more, in the order in which it is their turn
    _bytes: int = 0
    _deliverable: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _watcher: Watcher | None = None
    _look_at: float = 0.0
    _look_at_all: float = 0.0
    _stopping: bool = False
    _wait_for_writers: bool = False
    _goal: dict[str, int] | None = None  # how far each file is read before the end, where there is to be one
    _finish: bool = False
    _reserved: Reserved = field(default_factory=Reserved)
    _journal: Journal = field(init=False)
    _left: list[Manifest] = field(default_factory=list)  # what an earlier run had on its way
    _reserving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _first_look: bool = True

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.limits)
        self._committer = Committer(self.checkpoint, self.emit, self._passed)
        self._journal = Journal(self.checkpoint, self._committer.try_to_store, self.emit)
        forget, forget_s = self._committer.forget, self.limits.forget_s
        self._cleaner = Cleaner(
            self.finished, self.files, self.checkpoint, forget_s, self._is_settled, forget, self.emit, self.clock
        )

    def deliver_by(self, delivery: Delivery) -> None:
        """Say where it goes."""
        self.delivery = delivery
        self._deliverable.set()

    def stop(self, *, wait_for_writers: bool) -> None:
        """End `run` once everything is acknowledged; what is written from now on is left, but for that of living writers if asked."""
        self._stopping = True
        self._wait_for_writers = wait_for_writers
        self._wake.set()

    @property
    def in_flight(self) -> int:
        """Lines that have been read and are not settled, or wait for an earlier one of their file."""
        return self._acks.lines

    @property
    def left(self) -> int:
        """Bytes that are known of and not acknowledged."""
        return self._acks.size + sum(tailer.left for tailer in self.files.tailers.values())

    async def run(self, *, once: bool = False) -> None:
        """
        Ship.

        Args:
            once: Return when everything that was there at the start is acknowledged.

        Raises:
            StoreError: The checkpoint failed. Nothing that was not acknowledged has been passed over.
        """
        self._reserved = Reserved.of(await asyncio.to_thread(self.checkpoint.reservations))
        self._left = await asyncio.to_thread(self._journal.load)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._send(queue)) for queue in self._lanes.queues]
                helpers.append(tasks.create_task(self._committer.keep_committing()))
                helpers.append(tasks.create_task(give_back_when_calm(lambda: self._bytes)))
                if self.watch != "poll" and not once:
                    self._watcher = Watcher(self.files.patterns, self.watch, self._wake.set, self.emit)
                    helpers.append(tasks.create_task(self._watcher.run()))
                try:
                    await self._read(once=once)
                finally:
                    for task in helpers:
                        task.cancel()
        finally:
            await self._committer.commit()
        await self._clean_up(wait=True)  # what was under way
        await self._clean_up(wait=True)
        await self._committer.commit()

    async def _read(self, *, once: bool) -> None:
        await self._look()
        while (once or self._left) and self.files.is_surveying:
            await asyncio.sleep(self.limits.poll_interval_s)
            await self._look()
        await self._send_again()
        if once:
            self._finish = True
            self._set_goal()
        while True:
            if self._stopping and not self._wait_for_writers and self._goal is None:
                await self._look()
                self._set_goal()
            if not await self._read_round():
                if self._stopping or once:
                    await self._put(self._lanes.take())
                if await self._is_done():
                    return
                await self._pause()
                if self._cleaner.is_due:
                    await self._clean_up()
            if self._look_due_at <= self.clock():
                await self._look()

    async def _send_again(self) -> None:
        """Send what an earlier run had on its way once more, as it was, before anything else of its files."""
        for manifest in self._left:
            again = await asyncio.to_thread(read_again, self.files, manifest)
            chunks = sorted((*again.between, *again.chunks), key=lambda checked: checked.chunk.start.offset)
            for checked in chunks:
                self._acks.sent(checked.chunk)
            for checked in again.between:
                self._has_read(checked)
                await self._put(self._lanes.add(checked, self.clock(), before_whole=True))
            if manifest.tallies is not None:
                tallies = dict(manifest.tallies)
                for checked in again.chunks:
                    self._acknowledge(checked.chunk, tallies.pop(checked.chunk.source.key, Counter()))
            elif again.lost:
                self.emit(NotRepeated(again.lost, manifest.lines))
                await self._journal.discard(manifest)
            else:
                for checked in again.chunks:
                    self._has_read(checked)
                await self._put(self._lanes.add_whole(Batch(tuple(again.chunks), manifest.number, manifest.halved)))
            await self._hold_back()
        self._left = []

    @property
    def _look_due_at(self) -> float:
        """When to look again: at once if the kernel tells of changes, and when it cannot tell, in measured steps."""
        if self._watcher is None or not self._watcher.active or self._is_ending:
            return self._look_at
        if self._watcher.due:
            return 0.0
        return min(self._look_at, self._look_at_all) if self.files.is_restless else self._look_at_all

    @property
    def _is_ending(self) -> bool:
        return self._stopping or self._goal is not None

    def _set_goal(self) -> None:
        self._goal = {tailer.source.key: tailer.size for tailer in self.files.tailers.values()}

    async def _look(self) -> None:
        """Look for files; those that are new are in the checkpoint before anything of them is read."""
        started = self.clock()
        paths = self._watcher.take() if self._watcher is not None else None
        if self._is_ending or started >= self._look_at_all:
            paths = None
        changes = await self.files.scan(started, paths)
        if self._watcher is not None and paths is None:
            await self._watcher.looked(changes.view)
            self._look_at_all = started + _LOOK_AT_ALL_S
        elif changes.view.folders:
            self._look_at_all = 0.0
        if changes.adopted or changes.forgotten:
            unknown = self._from_before(changes.adopted)
            await self._store(
                lambda: self.checkpoint.adopt(changes.adopted, forget=changes.forgotten, reservations=unknown)
            )
            reach("adopted")
            for one in unknown:
                self._reserved.doubt(one)
            for key in changes.forgotten:
                self._reserved.forget(key)
        self._first_look = False
        over = self.files.over(started, ending=self._is_ending)
        over = [tailer for tailer in over if not self._acks.in_flight(tailer.source.key)]
        if over:
            await self._committer.commit()  # what comes back is known by what is committed
        for tailer in over:
            self.files.drop(tailer)
        queued = set(self._turns)
        self._turns.extend(tailer for tailer in changes.touched if self._wanted(tailer) and tailer not in queued)
        now = self.clock()
        self._look_at = now + max(self.limits.poll_interval_s, min(_LOOK_COST * (now - started), _LOOK_AT_LEAST_S))

    def _from_before(self, adopted: list[FileState]) -> list[Reservation]:
        """
        List what a lost checkpoint may have known of: all that stands in files of ours when a new one is begun.

        Their ids are in their names, so that what was stored is found by them. A foreign file gets new ids.
        """
        if not (self._first_look and self.checkpoint.is_new):
            return []
        sizes = {tailer.source.key: tailer.size for tailer in self.files.tailers.values()}
        return [Reservation(s.key, ANY_TARGET, sizes.get(s.key, 0), UNKNOWN) for s in adopted if not s.foreign]

    async def _read_round(self) -> bool:
        """Take some chunks of the files that have more, in turn; tell whether there may be more to be had at once."""
        room = min(_ROUND_BYTES, self.limits.in_flight_bytes - self._bytes)
        found = await self.files.read(self._turns, self._wanted, room=room, finish=self._finish) if self._turns else []
        if found:
            reach("read")
        for checked in found:
            self._acks.sent(checked.chunk)
            self._has_read(checked)
            await self._put(self._lanes.add(checked, self.clock()))
        await self._hold_back()
        await self._put(self._lanes.due(self.clock()))
        return bool(found or self._turns)

    def _has_read(self, checked: Checked) -> None:
        self.emit(ChunkRead(checked.chunk.lines, checked.chunk.size))
        self._bytes += checked.held

    def _wanted(self, tailer: Tailer) -> bool:
        reached = self._goal is not None and tailer.position.offset >= self._goal.get(tailer.source.key, 0)
        return tailer.fresh and not reached

    async def _hold_back(self) -> None:
        """Stop reading while too much is on its way."""
        while self._bytes >= self.limits.in_flight_bytes:
            if full := self._lanes.take():
                await self._put(full)
            else:
                await self._wait_for_room()

    async def _put(self, full: Iterable[Full]) -> None:
        for queue, batch in full:
            while queue.full():
                await self._wait_for_room()
            queue.put_nowait(batch)

    async def _wait_for_room(self) -> None:
        """Wait until something is acknowledged; go on looking: a file must be opened before it is moved away."""
        self._room.clear()
        longest = self.limits.poll_interval_s if self._watcher is not None else self._look_at - self.clock()
        await wait_for(self._room, max(0.0, longest))
        if self._look_due_at <= self.clock():
            await self._look()

    async def _pause(self) -> None:
        """Wait until it is time to look again, a batch is due, or something has happened."""
        wait = max(0.0, min(self._look_due_at, self._lanes.due_at) - self.clock())
        await wait_for(self._wake, wait)
        self._wake.clear()
        await self._put(self._lanes.due(self.clock()))

    async def _is_done(self) -> bool:
        if not self._acks.idle or (self._goal is None and not self._stopping):
            return False
        if any(map(self._wanted, self.files.tailers.values())):
            return False
        if self._goal is not None:
            return True
        if await asyncio.to_thread(self.files.any_writer):
            return False
        await self._look()  # what the writers wrote before they ended may be younger than the last look
        return not any(map(self._wanted, self.files.tailers.values()))

    async def _send(self, queue: Queue) -> None:
        if self.delivery is None:
            await self._deliverable.wait()
        assert self.delivery is not None
        while True:
            batch = await queue.get()
            self._room.set()
            await self._journal.use(self.files.reader.rules.targets)
            if self.delivery.sink.keyed:  # first of all: so batches are written in the order in which they were made
                batch = await self._journal.record(batch)
            await self.delivery.prepare(batch)
            if not self.delivery.sink.keyed:
                batch = await self._reserve(batch, self.delivery.sink.since)
            ledger = await self.delivery.deliver(batch, self._journal.halved)
            self._settle(batch, ledger)
            reach("settled")
            del batch
            self._room.set()
            if self._acks.idle:
                self._wake.set()

    async def _reserve(self, batch: Batch, since: Callable[[str], str]) -> Batch:
        """Make sure that it is on disk how far lines may be sent; mark those that an earlier run may have sent."""
        async with self._reserving:  # one after the other: the next one may be covered by then
            due = self._reserved.due(batch, since)
            if due:
                reach("reserving")
                await self._store(lambda: self.checkpoint.reserve(due))
                self._reserved.written(due)
                reach("reserved")
        return self._reserved.mark(batch)

    def _settle(self, batch: Batch, ledger: Ledger) -> None:
        """Take each chunk as settled; all chunks of one file at once, so that the first one may carry the tally of them all."""
        for imbalance in imbalances(batch, ledger):
            self.emit(imbalance)
        self.emit(settled(batch, ledger))
        self._lanes.settled(batch)
        if batch.number:
            self._committer.settle(batch.number, ledger.by_file)
        for checked in batch.chunks:
            self._bytes -= checked.held
            self._acknowledge(checked.chunk, ledger.take(checked.chunk.source.key))

    def _acknowledge(self, chunk: Chunk, tally: Tally) -> None:
        commit = self._acks.settle(chunk, tally)
        if commit is not None:
            self._committer.add(commit)

    def _passed(self, written: Written) -> None:
        """Take what was written as known."""
        for commit in written.commits.values():
            self.files.committed(commit)
        for key in written.forgotten:
            self._reserved.forget(key)
        self._journal.settled(written.settled)

    async def _store(self, write: Callable[[], None]) -> None:
        """Write to the checkpoint, waiting for room if there is none."""
        await self._committer.store(write, self._clean_up)

    async def _clean_up(self, *, wait: bool = False) -> None:
        await self._cleaner.clean(ending=self._is_ending, wait=wait)

    def _is_settled(self, tailer: Tailer) -> bool:
        """Tell whether everything that was read of a file is acknowledged, and nothing that is not needs its lines."""
        key = tailer.source.key
        if self._journal.needs(key) and not self._committer.fails:  # a full disk must not lock itself
            return False
        state = self.files.known.get(key)
        commit = self._committer.waiting.get(key)
        acknowledged = commit.position if commit is not None else state.position if state else None
        return acknowledged == tailer.position and not self._acks.in_flight(key)

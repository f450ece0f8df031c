"""
START READING HERE: files → chunks → batches → requests → acknowledgements → checkpoint.

One task reads: it looks for files, takes a chunk of each in turn, and puts full batches into a short queue. A few tasks
deliver. When the queue is full, or too many bytes are on their way, reading stops: the files are the buffer. A chunk is
acknowledged when each of its lines is delivered or stands in the dead-letter file; the checkpoint follows the contiguous
acknowledged prefix of each file, in groups.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from jsonlog.files.protocol import writer_alive
from shipper.checkpoint import Checkpoint
from shipper.core.acks import AckTracker, Commit
from shipper.core.batching import Batcher
from shipper.core.model import Batch, Checked
from shipper.delivery import Delivery
from shipper.errors import StoreFull
from shipper.events import Emit, FileDeleted, SinkFailed
from shipper.files import Files, Tailer

_COMMIT_INTERVAL_S = 0.2
_LOOK_INTERVAL_S = 0.5  # while there is enough to read
_CLEAN_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What bounds the pipeline.

    Args:
        batch_bytes, batch_records: How large a request may become.
        linger_s: The longest that a record waits for others.
        in_flight: Requests at once.
        in_flight_bytes: Bytes of lines that have been read and are not acknowledged.
        poll_interval_s: How often is looked for new lines and files.
    """

    batch_bytes: int = 4 * 1024 * 1024
    batch_records: int = 10_000
    linger_s: float = 0.05
    in_flight: int = 4
    in_flight_bytes: int = 32 * 1024 * 1024
    poll_interval_s: float = 0.1


@dataclass(slots=True)
class Pipeline:
    """
    Ships until it is told to stop, or once.

    Args:
        files: What is read.
        delivery: Where it goes.
        checkpoint: What survives.
        limits: Bounds.
        emit: Takes events.
        delete_finished: Delete parts of ours whose writer has ended and whose records are all acknowledged.
        clock: Seconds, monotonic.
    """

    files: Files
    delivery: Delivery
    checkpoint: Checkpoint
    limits: Limits
    emit: Emit
    delete_finished: bool = False
    clock: Callable[[], float] = time.monotonic
    _acks: AckTracker = field(default_factory=AckTracker)
    _commits: dict[str, Commit] = field(default_factory=dict)
    _bytes: int = 0
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _look_at: float = 0.0
    _clean_at: float = 0.0
    _stopping: bool = False
    _looked_last: bool = False
    _wait_for_writers: bool = False

    def stop(self, *, wait_for_writers: bool) -> None:
        """
        End `run` once everything is acknowledged.

        Args:
            wait_for_writers: Also wait until no process writes one of our files any more.
        """
        self._stopping = True
        self._wait_for_writers = wait_for_writers
        self._wake.set()

    @property
    def left(self) -> int:
        """Bytes that are known of and not acknowledged."""
        waiting = sum(max(0, tailer.size - tailer.position.offset) for tailer in self.files.tailers.values())
        return waiting + self._bytes

    async def run(self, *, once: bool = False) -> None:
        """
        Ship.

        Args:
            once: Return when everything that was there at the start is acknowledged.

        Raises:
            StoreError: The checkpoint failed. Nothing that was not acknowledged has been passed over.
        """
        queue: asyncio.Queue[Batch] = asyncio.Queue(maxsize=self.limits.in_flight)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._send(queue)) for _ in range(self.limits.in_flight)]
                helpers.append(tasks.create_task(self._keep_committing()))
                try:
                    await self._read(queue, once=once)
                finally:
                    for task in helpers:
                        task.cancel()
        finally:
            await self._commit()
        await self._clean_up()

    async def _read(self, queue: asyncio.Queue[Batch], *, once: bool) -> None:
        batcher = Batcher(
            max_bytes=self.limits.batch_bytes, max_lines=self.limits.batch_records, linger_s=self.limits.linger_s
        )
        await self._look()
        goal = {tailer.source.key: tailer.size for tailer in self.files.tailers.values()} if once else None
        while True:
            busy = await self._read_round(queue, batcher, goal)
            if busy:
                self._looked_last = False
                if self.clock() >= self._look_at:
                    await self._look()
                continue
            if (once or self._stopping) and (batch := batcher.take()):
                await queue.put(batch)
            if await self._is_done(goal):
                return
            await self._pause(queue, batcher)
            await self.files.rest()
            if self.clock() >= self._clean_at:
                await self._clean_up()
            await self._look()

    async def _look(self) -> None:
        """Look for files; those that are new are in the checkpoint before anything of them is read."""
        self._look_at = self.clock() + _LOOK_INTERVAL_S
        if adopted := await self.files.scan():
            await self._store(lambda: self.checkpoint.adopt(adopted))
        for tailer in [tailer for tailer in self.files.tailers.values() if tailer.gone]:
            done = tailer.at_end or tailer.file is None
            if done and not self._acks.in_flight(tailer.source.key):
                await self.files.drop(tailer)

    async def _read_round(self, queue: asyncio.Queue[Batch], batcher: Batcher, goal: dict[str, int] | None) -> bool:
        """Take one chunk of each file that has more, up to its goal if there is one; tell whether there was any."""
        busy = False
        finish = goal is not None
        for tailer in list(self.files.tailers.values()):
            if goal is not None and (tailer.at_end or tailer.position.offset >= goal.get(tailer.source.key, 0)):
                continue
            if goal is None and not tailer.unread:
                continue
            checked = await self.files.read(tailer, finish=finish)
            if checked is None:
                continue
            busy = True
            self._acks.sent(checked.chunk)
            self._bytes += len(checked.chunk.data)
            if batch := batcher.add(checked, self.clock()):
                await queue.put(batch)
            await self._hold_back(queue, batcher)
        if batcher.due_at <= self.clock() and (batch := batcher.take()):
            await queue.put(batch)
        return busy

    async def _hold_back(self, queue: asyncio.Queue[Batch], batcher: Batcher) -> None:
        """Stop reading while too much is on its way."""
        while self._bytes >= self.limits.in_flight_bytes:
            if batch := batcher.take():
                await queue.put(batch)
            self._settled.clear()
            await self._settled.wait()

    async def _pause(self, queue: asyncio.Queue[Batch], batcher: Batcher) -> None:
        """Wait until it is time to look again, a batch is due, or something has happened."""
        wait = max(0.0, min(self.limits.poll_interval_s, batcher.due_at - self.clock()))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait)
        self._wake.clear()
        if batcher.due_at <= self.clock() and (batch := batcher.take()):
            await queue.put(batch)

    async def _is_done(self, goal: dict[str, int] | None) -> bool:
        if not self._acks.idle or (goal is None and not self._stopping):
            return False
        tailers = list(self.files.tailers.values())
        if goal is not None:
            return all(tailer.at_end or tailer.position.offset >= goal.get(tailer.source.key, 0) for tailer in tailers)
        if any(tailer.unread and not tailer.at_end for tailer in tailers):
            return False
        if self._wait_for_writers and await asyncio.to_thread(lambda: any(map(self.files.is_alive, tailers))):
            self._looked_last = False
            return False
        # What the writers wrote before they ended may be younger than the last look: look once more.
        done, self._looked_last = self._looked_last, True
        return done

    async def _send(self, queue: asyncio.Queue[Batch]) -> None:
        while True:
            batch = await queue.get()
            await self.delivery.deliver(batch)
            for checked in batch.chunks:
                self._settle(checked)
            del batch
            self._settled.set()
            if self._acks.idle:
                self._wake.set()

    def _settle(self, checked: Checked) -> None:
        self._bytes -= len(checked.chunk.data)
        commit = self._acks.settle(checked.chunk)
        if commit is not None:
            self._commits[commit.key] = commit

    async def _keep_committing(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_INTERVAL_S)
            await self._commit()

    async def _commit(self) -> None:
        commits, self._commits = self._commits, {}
        if not commits:
            return
        await self._store(lambda: self.checkpoint.commit(commits.values()))
        for commit in commits.values():
            self.files.committed(commit)

    async def _store(self, write: Callable[[], None]) -> None:
        """Write to the checkpoint, waiting for room if there is none."""
        while True:
            try:
                await asyncio.to_thread(write)
            except StoreFull as exc:
                self.emit(SinkFailed(str(exc), operator=True))
                await asyncio.sleep(1)
            else:
                return

    async def _clean_up(self) -> None:
        """Delete what is finished, if told to; the checkpoint must have it first."""
        self._clean_at = self.clock() + _CLEAN_INTERVAL_S
        if not self.delete_finished:
            return
        for tailer in list(self.files.tailers.values()):
            state = self.files.known[tailer.source.key]
            acknowledged = state.position.offset
            finished = tailer.lockable and not tailer.unread and tailer.position.offset == acknowledged
            if finished and await asyncio.to_thread(_delete, tailer, acknowledged):
                key = state.key
                await self.files.drop(tailer)
                await self._store(lambda key=key: self.checkpoint.forget([key]))  # type: ignore[misc]
                del self.files.known[key]
                self.emit(FileDeleted(tailer.source.path))


def _delete(tailer: Tailer, acknowledged: int) -> bool:
    """Delete a part if its writer is gone, all of it is acknowledged, and the path still leads to it."""
    path = Path(tailer.source.path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if writer_alive(fd):
            return False
        here, there = os.fstat(fd), path.stat()
        known = (tailer.state.device, tailer.state.inode, acknowledged)
        if known != (here.st_dev, here.st_ino, here.st_size) or (there.st_dev, there.st_ino) != known[:2]:
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(fd)
    return True

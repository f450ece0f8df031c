"""
One run: what a writer is in one process. It numbers finished lines and appends them to its part.

Everything here happens under `lock`, which covers only number + write. But a signal handler, a finalizer or a fork may
come at any call, and an exception out of any call. (CPython looks for signals after calls and at the end of loops,
so between two statements without a call nothing can come.) Rules:

1. `in_flight` holds the finished lines from before the first byte is written until they are counted, or given up. If an
   exception arrives in between (KeyboardInterrupt), the next call compares the file's size and finishes what is missing.
2. A record that arrives while this thread is already writing waits in `waiting` for the outer call. It can neither
   deadlock nor take the outer call's number.
3. A record that cannot be written uses up its number: the gap proves the loss. The file is cut back to its last whole
   record. Unless the disk is full, the rest is tried once more on a new part.
4. In a forked child this object is dead: whatever the fork interrupted belongs to the parent, and comes to nothing here.
5. The lock is taken within a `try` whose `finally` releases it in one call, so that whenever an exception comes it is
   released exactly once; where this thread did not get it, or it died, that call raises RuntimeError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque

from jsonlog.files.here import mark
from jsonlog.files.parts import FILE, Parts
from jsonlog.files.protocol import new_run
from jsonlog.files.stderr import Echo, say, to_stderr

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jsonlog.files.folder import Folder
    from jsonlog.files.part import Part
    from jsonlog.files.policy import Policy

_PATIENCE_S = 0.2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # a new part would find no room either


def pass_unowned(exc: RuntimeError) -> None:
    """Pass over what releasing raises where this thread has no lock; anything else came out of a signal handler."""
    if exc.args != ("cannot release un-acquired lock",):
        raise exc


class Run:
    """
    A `run`, its numbers from 0, and the parts it writes one after the other.

    Args:
        folder: Where its parts are made.
        policy: How it writes.
        begin_ticking: Called under the lock when `tick` should be called every so often until it returns false; tells
            whether it will be. None: `tick` is not needed.

    Attributes:
        waiting, is_urgent: Records that came in during a write, and whether one of them has to be flushed.
        is_direct: Whether each record is written at once; else it may wait in the buffer.
        ends_with_flush: Whether multiprocessing was told to write the buffer at its end.
        successors: The run that took over in a forked child, by its pid.
        here: Whether this is the process it was made in.
        in_flight, number, suffix, is_busy: What `PartWriter.write` needs where all is well.
    """

    __slots__ = (
        "__weakref__", "_begin_ticking", "_buffer", "_buffered", "_flush_at", "_is_speaking", "_is_ticking", "_lost", "_sync_at",
        "acquire", "ends_with_flush", "here", "in_flight", "is_busy", "is_direct", "is_owned", "is_urgent", "lock", "name",
        "number", "parts", "pid", "policy", "release", "successors", "suffix", "waiting",
    )  # fmt: skip

    def __init__(self, folder: Folder, policy: Policy, begin_ticking: Callable[[Run], bool] | None) -> None:
        self.pid, self.here = os.getpid(), mark()
        self.name = new_run()
        self.parts = Parts(folder, policy, self.pid, self.name)
        self.waiting: deque[bytes] = deque()
        self.is_urgent = self.ends_with_flush = False
        self.is_direct = not policy.buffer_bytes
        self.successors: dict[int, Run] = {}
        self.policy = policy
        self.take_lock()
        self._begin_ticking = begin_ticking
        self.suffix = f',"run":"{self.name}","event":{{"sequence":'.encode()
        self.in_flight: bytes | None = None
        self.number = self._lost = 0
        self.is_busy = policy.syncs
        self._is_speaking = self._is_ticking = False
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._flush_at = self._sync_at = 0.0

    def take_lock(self) -> None:
        """Begin with a fresh lock: at first, and when the one there was died with the thread that held it."""
        lock = threading.RLock()
        is_owned: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001 (as Condition uses it)
        self.lock, self.acquire, self.release, self.is_owned = lock, lock.acquire, lock.release, is_owned

    def die(self) -> None:
        """Become what a forked child has of its parent's run: nothing. The descriptor is closed, never unlocked."""
        self.parts.is_dead = True
        self.waiting.clear()
        self.in_flight, self._buffer = None, []
        if self.parts.current is not None:
            self.parts.current.close()
        self.take_lock()

    def wait(self) -> None:
        """Wait for the lock. Not for ever: a signal handler may fork meanwhile, and the lock's holder not exist in the child."""
        while not self.acquire(timeout=_PATIENCE_S):
            pass  # `die` has made another one

    def locked(self, work: Callable[[], Any]) -> Any:
        """
        Do some work under the lock, which this thread must not have, and then what came in meanwhile.

        Raises:
            OSError: As `append`.
        """
        try:
            if not self.acquire(False):
                self.wait()
            return work()
        finally:
            try:
                self.release()
            except RuntimeError as exc:
                pass_unowned(exc)
            if self.waiting:
                self.drain()

    def queue(self, line: bytes) -> None:
        """Leave a record to the outer call, which is this thread's."""
        self.waiting.append(Echo(line) if self._is_speaking else line)

    def drain(self) -> None:
        """Write what came in during a write. Looked at without the lock: what comes in later is written by its own call."""
        while self.waiting:
            try:
                self.wait()
                self._drain()
            finally:
                try:
                    self.release()
                except RuntimeError as exc:
                    pass_unowned(exc)

    def append(self, line: bytes, *, waiting: bool = False) -> None:
        """
        Number *line* and write it, whole or not at all.

        Args:
            line: One JSON object, `{…}`, without a newline.
            waiting: Whether it is the first of `waiting`, which it then leaves.

        Raises:
            OSError: It cannot be written, and that is to be raised.
        """
        self._finish()
        data = b"".join((line[:-1], self.suffix, b"%d}}\n" % self.number))
        # No call stands between the two, so no signal can: the line is in exactly one of both places.
        self.in_flight = data
        if waiting:
            if self.parts.is_dead:
                return
            self.waiting.popleft()
        self._send(data)

    def refuse(self, line: bytes, why: OSError) -> None:
        """Give *line* up before it is written: it uses up its number, and is told and counted as any that is lost."""
        self._finish()
        self.in_flight = line + b"\n"
        self._give_up(why)

    def keep(self, line: bytes, *, waiting: bool = False) -> None:
        """Number *line* and put it into the buffer; write that if it is full or has waited for too long. As `append`."""
        if self.in_flight is not None:
            self._finish()
        data = b"".join((line[:-1], self.suffix, b"%d}}\n" % (self.number + len(self._buffer))))
        size = self._buffered + len(data)
        now = time.monotonic()
        if waiting and self.parts.is_dead:
            return
        # No call stands between these, as above.
        self._buffer += [data]
        self._buffered = size
        if waiting:
            self.waiting.popleft()
        if size == len(data):
            self._flush_at = now + self.policy.flush_interval_s
        if size >= self.policy.buffer_bytes or now >= self._flush_at or not self._ticks():
            self.flush()

    def flush(self) -> None:
        """Write what is in the buffer. As `append`."""
        self._finish()
        if not self._buffer:
            return
        data = b"".join(self._buffer)
        # No call stands between these, as above.
        self.in_flight = data
        self._buffer = []
        self._buffered = 0
        self._send(data)

    def close(self) -> None:
        """Write what is left and release the part; what comes later is written at once, to a new part."""
        self.is_direct = True
        try:
            self.flush()
        finally:
            self._finish()
            if self.parts.current is not None:
                self.parts.leave(self.parts.current)
            if self._lost:
                lost, self._lost = self._lost, 0
                say(f"{lost} records could not be written and went to stderr")

    def tick(self) -> bool:
        """
        Write and sync what has waited for long enough; called by a thread of its own, without the lock.

        Returns:
            False when nothing is left to wait for: it is not called any more.
        """
        syncs = self.policy.sync_interval_s > 0
        with contextlib.suppress(OSError):  # there is nobody to raise it to
            if not self.locked(self._tick):
                return False
        part = self.parts.current
        if syncs and part is not None and time.monotonic() >= self._sync_at:
            self._sync_at = time.monotonic() + self.policy.sync_interval_s
            self.parts.sync(FILE, part.sync_beside)
        return True

    def _tick(self) -> bool:
        part = self.parts.current
        is_synced = not self.policy.sync_interval_s or part is None or part.size == part.synced
        self._is_ticking = bool(self._buffer) or not is_synced
        self.flush()
        return self._is_ticking

    def _drain(self) -> None:
        while self.waiting:
            try:
                line = self.waiting[0]
            except IndexError:  # a fork emptied it
                break
            if type(line) is Echo and self._lost:
                self._drop_echo()
            else:
                (self.append if self.is_direct else self.keep)(line, waiting=True)
        if self.is_urgent:
            self.is_urgent = False
            self.flush()

    def _send(self, data: bytes) -> None:
        """Write *data*, the lines in flight, whole or not at all."""
        try:
            part = self.parts.make_ready()
            if os.write(part.fd, data) == len(data):
                self._land(part, len(data))
            else:
                self.complete()
            if self.is_busy:
                self.settle()
        except OSError as exc:
            self.rescue(exc)

    def _finish(self) -> None:
        """Finish what an exception interrupted, wherever it was: nothing of it, a piece, or all of it may be there."""
        with contextlib.suppress(OSError):  # who logged it has an exception already
            try:
                self.complete()
            except OSError as exc:
                self.rescue(exc)

    def complete(self) -> None:
        """
        Bring to the file what is missing of the lines in flight.

        Raises:
            OSError: It cannot be.
        """
        data = self.in_flight
        if data is None:
            return
        part = self.parts.current or self.parts.open()
        done = part.unfinished()
        while done < len(data):
            done += os.write(part.fd, data[done:] if done else data)
        self._land(part, len(data))

    def _land(self, part: Part, size: int) -> None:
        """Count the first *size* bytes in flight as written: whole lines."""
        data = self.in_flight
        if data is None:
            return
        lines = data.count(b"\n", 0, size)
        rest = data[size:] or None
        part.size += size
        self.number += lines
        self.in_flight = rest

    def rescue(self, exc: OSError) -> None:
        """Something failed: keep what is whole of the lines in flight, try the others once more, or give up."""
        parts, part = self.parts, self.parts.current
        if parts.is_dead:
            return
        if self.in_flight is None:  # written, but not synced
            raise exc
        if part is not None:
            # An empty part that cannot be written is not followed by another one: they would be many.
            is_hopeless = exc.errno in _FULL or (part.size == 0 and part.is_ours())
            self._keep_whole_lines(part)
            if self.in_flight is not None and not is_hopeless:
                try:
                    self._replace(part, exc)
                    self.complete()
                except OSError as again:
                    exc = again
                    if parts.current is not None:
                        self._keep_whole_lines(parts.current)
        if self.in_flight is not None and not parts.is_dead:
            self._give_up(exc)

    def _replace(self, part: Part, exc: OSError) -> None:
        if self.parts.current is part:
            if part.is_ours():
                self._say(f"cannot write to {part.path}: {exc.strerror or exc}; a new part is opened")
            self.parts.leave(part)

    def _keep_whole_lines(self, part: Part) -> None:
        """Count the whole lines that are there, and cut off half a one: nothing may follow it."""
        data = self.in_flight
        if data is None:
            return
        there = min(part.unfinished_anyway(), len(data))
        kept = data.rfind(b"\n", 0, there) + 1
        self._land(part, kept)
        if there > kept and not part.cut():
            self.parts.leave(part)

    def _give_up(self, exc: OSError) -> None:
        data = self.in_flight
        if data is None:
            return
        lines = data.count(b"\n")
        is_first = not self._lost
        self.in_flight = None
        if self.policy.is_retried:
            raise exc
        self.number += lines
        self._lost += lines
        self.is_busy = True
        if is_first:
            self._say(f"cannot write to {self.parts.place}: {exc.strerror or exc}; records go to stderr until it can")
        self._is_speaking = True
        try:
            for line in data.split(b"\n")[:-1]:
                to_stderr(line)
        finally:
            self._is_speaking = False
        if self.policy.raise_errors:
            raise exc

    def _drop_echo(self) -> None:
        """Lose an echo of a loss, which would be told, and be logged again, and so on."""
        self.number += 1 if self.is_direct else 0  # else the numbers after this one are given out already
        self._lost += 1
        self.waiting.popleft()

    def settle(self) -> None:
        """Do after a write what only some need: tell that it works again, sync, see that `tick` is called."""
        if self._lost:
            lost, self._lost = self._lost, 0
            self._say(f"can write again; {lost} records before this one went to stderr or were lost")
        self.is_busy = self.policy.syncs
        part = self.parts.current
        if part is not None and (self.policy.sync or (self.policy.sync_interval_s and not self._ticks())):
            failed = self.parts.sync(FILE, part.sync)
            if failed is not None and self.policy.raise_errors:
                raise failed

    def _ticks(self) -> bool:
        """See that `tick` is called from now on; false where there can be no thread."""
        if not self._is_ticking and self._begin_ticking is not None:
            self._is_ticking = self._begin_ticking(self)
        return self._is_ticking

    def _say(self, text: str) -> None:
        self._is_speaking = True
        try:
            say(text)
        finally:
            self._is_speaking = False

"""
Numbers finished lines and appends them to this process's own file.

Strategy: one raw descriptor, one `os.write` per record, so that SIGKILL loses nothing whose log call returned and a
forked child inherits no buffer and no lock. The lock here covers only number + write. Rules:

1. A call that arrives while this thread is already writing (a signal handler, a finalizer) queues its finished line for
   the outer call. It can neither deadlock nor take the outer call's number.
2. `_in_flight` holds the bytes of a write from before its number is used until after it is counted. If an exception
   arrives in between (KeyboardInterrupt), the next write compares the file's size and finishes what is missing.
3. A record that cannot be written uses up its number: the gap proves the loss.
4. After a fork the child is a new writer. It closes the inherited descriptor and never unlocks it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
import weakref
from collections import deque

from jsonlog.files.protocol import PartName, create_part, move_high, new_run

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_INTERVAL_S = 1.0
_writers: weakref.WeakSet[PartWriter] = weakref.WeakSet()


class PartWriter:
    """
    One writer: a `run`, its numbers from 0, and the parts it writes one after the other.

    Args:
        directory: Absolute path; created if it is missing.
        max_bytes: A part that has reached this size is left and the next one opened. 0: never.
        mode: Permission bits of the files.
    """

    def __init__(self, directory: str, *, max_bytes: int, mode: int) -> None:
        self._directory = directory
        self._service = ""
        self._host = ""
        self._max_bytes = max_bytes
        self._mode = mode
        self._lost = 0
        self._fd = -1
        self._start_over()
        _writers.add(self)

    def _start_over(self) -> None:
        """Become a new writer: at construction, and in a forked child, which owns neither lock nor descriptor."""
        if self._fd >= 0 and self._is_ours(self._fd):
            os.close(self._fd)
        self._lock = threading.RLock()
        self._is_owned: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001 (as Condition uses it)
        self._waiting: deque[bytes] = deque()
        self._in_flight: bytes | None = None
        self._pid = os.getpid()
        self._run = new_run()
        self._suffix = f',"run":"{self._run}","event":{{"sequence":'.encode()
        self._fd = -1
        self._path = ""
        self._identity = (0, 0)
        self._part = 0
        self._number = 0
        self._size = 0
        self._rotate_at = float("inf")
        self._look_at = 0.0

    @property
    def run(self) -> str:
        """The name of this writer: 16 characters, new in each forked child."""
        return self._run

    @property
    def path(self) -> str | None:
        """The part that is being written; None before the first record and after `close`."""
        return self._path or None

    def name_parts(self, *, service: str, host: str) -> None:
        """Set the first two pieces of the names of the parts that are opened from now on."""
        self._service = service
        self._host = host

    def write(self, line: bytes) -> None:
        """
        Number *line* and append it to the part, whole or not at all.

        Args:
            line: One JSON object, `{…}`, without a newline.

        Raises: nothing. What cannot be written is reported on stderr, and the record goes there too.
        """
        if os.getpid() != self._pid:  # a fork that ran no hook: uWSGI, C code
            self._start_over()
        if self._is_owned():  # this thread is in the middle of a write
            self._waiting.append(line)
            return
        with self._lock:
            self._append(line)
        if self._waiting:
            self._drain()

    def close(self) -> None:
        """Release the part. A later `write` opens a new one."""
        if self._is_owned():
            return
        self._drain()
        with self._lock:
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    self._settle()
                self._release()

    def _drain(self) -> None:
        """Write what came in during a write. Looked at without the lock: what comes in later is written by its own call."""
        while self._waiting:
            with self._lock:
                while self._waiting:
                    self._append(self._waiting[0], waiting=True)

    def _append(self, line: bytes, *, waiting: bool = False) -> None:
        try:
            if (
                self._fd < 0
                or self._size >= self._rotate_at
                or self._in_flight is not None
                or time.monotonic() >= self._look_at
            ):
                self._make_ready()
            data = b"".join((line[:-1], self._suffix, b"%d}}\n" % self._number))
            # No call stands between the two, so no signal can: the line is in exactly one of both places.
            self._in_flight = data
            if waiting:
                self._waiting.popleft()
            done = os.write(self._fd, data)
            if done == len(data):  # as in `_finish`, without the call
                self._size += done
                self._number += 1
                self._in_flight = None
            else:
                self._finish(data, done)
            if self._lost:
                self._say(f"can write again; {self._lost} records before this one went to stderr or were lost")
                self._lost = 0
        except OSError as exc:
            if waiting and self._in_flight is None:
                self._waiting.popleft()
            if exc.errno == errno.EBADF and self._fd >= 0:
                self._abandon()
                self._append(line)
            else:
                self._give_up(line, exc)

    def _make_ready(self) -> None:
        if self._in_flight is not None:
            self._settle()
        now = time.monotonic()
        if self._fd >= 0 and now >= self._look_at:
            self._look_at = now + _LOOK_INTERVAL_S
            self._look()
        if self._fd < 0:
            self._open()
        elif self._size >= self._rotate_at:
            self._rotate()

    def _finish(self, data: bytes, done: int) -> None:
        fd, size = self._fd, len(data)
        while done < size:
            done += os.write(fd, data[done:] if done else data)
        self._size += size
        self._number += 1
        self._in_flight = None

    def _settle(self) -> None:
        """Finish a write that an exception interrupted, wherever it was: nothing, a piece, or all of it may be there."""
        if self._in_flight is not None and self._fd >= 0:
            self._finish(self._in_flight, max(0, os.fstat(self._fd).st_size - self._size))

    def _give_up(self, line: bytes, exc: OSError) -> None:
        if self._is_ours(self._fd):
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)  # never half a line followed by another record
        self._in_flight = None
        self._number += 1
        self._lost += 1
        if self._lost == 1:
            self._say(
                f"cannot write to {self._path or self._directory}: {exc.strerror or exc}; records go to stderr until it can"
            )
        _to_stderr(line)

    def _look(self) -> None:
        """Notice a part that was deleted under us, and a descriptor number that somebody else's file has taken."""
        if not self._is_ours(self._fd):
            self._abandon()
        elif os.fstat(self._fd).st_nlink == 0:
            self._say(f"{self._path} was deleted while it was written; a new part is opened")
            self._release()

    def _is_ours(self, fd: int) -> bool:
        """Tell whether a number still stands for our file: other code may have closed it, and another file have it now."""
        try:
            found = os.fstat(fd)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _abandon(self) -> None:
        """Leave a number alone that is not ours any more. What was to be written is written to a new part."""
        self._say(f"the descriptor of {self._path} was closed by other code; a new part is opened")
        self._fd, self._path, self._in_flight = -1, "", None

    def _open(self) -> None:
        os.makedirs(self._directory, exist_ok=True)  # noqa: PTH103
        # The next number first: an attempt that an exception cut off may have left a file of this one behind.
        part, self._part = self._part, self._part + 1
        name = PartName(self._service, self._host, self._pid, self._run, part, locked=True)
        fd, self._path = create_part(self._directory, name, self._mode)
        self._fd = move_high(fd)
        found = os.fstat(self._fd)
        self._identity = (found.st_dev, found.st_ino)
        self._size = 0
        self._rotate_at = self._max_bytes or float("inf")
        self._look_at = time.monotonic() + _LOOK_INTERVAL_S

    def _rotate(self) -> None:
        old, ours = self._fd, self._is_ours(self._fd)
        try:
            self._open()
        except OSError as exc:  # the old part is still good: a record is worth more than a rotation
            self._say(f"cannot rotate {self._path}: {exc.strerror or exc}; it is written on")
            self._rotate_at = self._size + self._max_bytes
            return
        if ours:
            os.close(old)

    def _release(self) -> None:
        fd, self._fd, self._path = self._fd, -1, ""
        if self._is_ours(fd):
            os.close(fd)

    def _say(self, text: str) -> None:
        _to_stderr(f"jsonlog: {text}".encode("utf-8", "backslashreplace"))


def _to_stderr(line: bytes) -> None:
    """Write a line to stderr, which may be None, closed or a pipe that nobody reads."""
    with contextlib.suppress(Exception):
        sys.stderr.write(line.decode("utf-8", "replace") + "\n")


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer._start_over()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

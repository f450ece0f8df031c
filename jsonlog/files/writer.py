"""
The writer of a handler: in each process the run that is right for it.

A forked child is a new writer: a new run, numbers from 0, a part of its own at its first record. One hook over all
writers sees to it, and for forks that run no hook (uWSGI, C code) every write compares the pid.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
import time
import weakref
from time import monotonic

from jsonlog.files.run import Run, pass_unowned

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from jsonlog.files.folder import Folder
    from jsonlog.files.policy import Policy

_PATIENCE_S = 1.0
_writers: weakref.WeakSet[PartWriter] = weakref.WeakSet()


class PartWriter:
    """
    Numbers finished lines and appends them to this process's own file.

    Args:
        folder: Where the parts are made.
        policy: How they are written.
    """

    def __init__(self, folder: Folder, policy: Policy) -> None:
        self._folder = folder
        self._policy = policy
        self._run = self._begin()
        if policy.buffer_bytes:
            _at_exit_once()
        _writers.add(self)

    def __del__(self) -> None:
        # A handler that is dropped without `close` releases its file.
        try:
            if self._run.pid == os.getpid():
                self.close()
        except Exception:  # noqa: BLE001, S110 (half made, or the interpreter is going down)
            pass

    @property
    def run(self) -> str:
        """The name of this writer: 16 characters, new in each forked child."""
        return self._run.name

    @property
    def path(self) -> str | None:
        """The part that is being written; None before the first record and after `close`."""
        part = self._run.parts.current
        return part.path if part else None

    @property
    def count(self) -> int:
        """How many parts this process has begun."""
        return self._run.parts.count

    def write(self, line: bytes) -> None:
        """
        Number *line* and append it to the part, whole or not at all.

        What cannot be written is reported on stderr, and the record goes there too.

        Args:
            line: One JSON object, `{…}`, without a newline.

        Raises:
            OSError: It could not be written, and the policy is to raise that. KeyboardInterrupt passes through.
        """
        run = self._run
        if not run.here[0]:  # a fork that ran no hook
            run = self._succeed()
        if run.is_owned():  # this thread is in the middle of a write
            run.queue(line)
            return
        try:  # as `Run.locked`, which would cost one more call
            if not run.acquire(False):
                run.wait()
            parts = run.parts
            part = parts.current
            if part is None or part.size >= part.limit or run.in_flight is not None or monotonic() >= parts.look_at:
                run.append(line)
            else:  # as `append` and what it calls do where all is well, without a call
                data = b"".join((line[:-1], run.suffix, b"%d}}\n" % run.number))
                run.in_flight = data
                try:
                    done = os.write(part.fd, data)
                    if done == len(data):
                        part.size += done
                        run.number += 1
                        run.in_flight = None
                    else:
                        run.complete()
                    if run.is_busy:
                        run.settle()
                except OSError as exc:
                    run.rescue(exc)
        finally:
            try:
                run.release()
            except RuntimeError as exc:
                pass_unowned(exc)
            if run.waiting:
                run.drain()

    def write_later(self, line: bytes) -> None:
        """Number *line* and put it into the buffer; otherwise as `write`."""
        run = self._run
        if not run.here[0]:
            run = self._succeed()
        if run.is_owned():
            run.queue(line)
            return
        try:  # as `Run.locked`, which would cost one more call
            if not run.acquire(False):
                run.wait()
            (run.append if run.is_direct else run.keep)(line)
        finally:
            try:
                run.release()
            except RuntimeError as exc:
                pass_unowned(exc)
            if run.waiting:
                run.drain()

    def refuse(self, line: bytes, why: str) -> None:
        """
        Number *line* and do with it as with one that cannot be written.

        Raises:
            OSError: The policy is to raise that.
        """
        run = self._run
        if os.getpid() != run.pid:
            run = self._succeed()
        if run.is_owned():
            run.queue(line)
            return
        with run.lock:
            run.refuse(line, OSError(errno.ENOSPC, why))

    def write_late(self, line: bytes) -> None:
        """
        As `write`, for what comes after `close`, perhaps while the interpreter goes down.

        Daemon threads are frozen then, one of them perhaps with the lock. Others may still wait for it, and would freeze
        with it: so the old one is waited for, and then left to them.
        """
        run = self._run
        if sys.is_finalizing() and not run.is_owned():
            run.lock.acquire(timeout=_PATIENCE_S)
            run.take_lock()
        self.write(line)

    def flush(self) -> None:
        """
        Write what is in the buffer.

        Raises:
            OSError: It could not be written, and the policy is to raise that.
        """
        run = self._run
        if os.getpid() != run.pid:
            return
        if run.is_owned():
            run.is_urgent = True
            return
        run.locked(run.flush)

    def close(self) -> None:
        """Release the part. A later `write` opens a new one; nothing is buffered any more."""
        run = self._run
        if os.getpid() != run.pid:
            run = self._succeed()
        if run.is_owned():
            return
        run.drain()
        run.locked(run.close)

    def write_through(self) -> None:
        """Write what is in the buffer, and from now on each record at once: the process is about to end."""
        self._run.is_direct = True
        self.flush()

    def _begin(self) -> Run:
        return Run(self._folder, self._policy, _begin_ticking if self._policy.tick_s else None)

    def _succeed(self) -> Run:
        """Become a new writer in a forked child, which owns neither the lock nor the descriptor of its parent."""
        old, pid = self._run, os.getpid()
        if old.pid != pid:
            run = old.successors.setdefault(pid, self._begin())  # two threads may come at once
            self._run = run
            old.die()
        return self._run


def _begin_ticking(run: Run) -> bool:
    """Have a thread call `tick`, and see that the buffer is written at the end of this process; false if that cannot be."""
    import _thread  # noqa: PLC0415 (as it is at this moment: gevent may have replaced what is in it)

    try:
        # Without `threading`, whose own lock a signal handler may find taken.
        _thread.start_new_thread(_tick, (weakref.ref(run),))
    except RuntimeError:
        return False
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not run.ends_with_flush:
        # Before Python 3.13 a child of multiprocessing runs no atexit hooks.
        run.ends_with_flush = True
        util.Finalize(None, _write_through, exitpriority=0)
    return True


def _tick(reference: weakref.ref[Run]) -> None:
    run = reference()
    while run is not None:
        period_s = run.policy.tick_s
        run = None
        time.sleep(period_s)
        run = reference()
        if run is not None and not run.tick():
            return


def _write_through() -> None:
    for writer in list(_writers):
        with contextlib.suppress(OSError):
            writer.write_through()


def _at_exit_once() -> None:
    atexit.unregister(_write_through)
    atexit.register(_write_through)


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer._succeed()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

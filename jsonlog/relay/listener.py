"""
The reading end of a queue: a thread of this process, or a process of its own.

Rules:

1. Nothing that one record or one handler does ends the listener: it is said on stderr, and the next record is read.
2. The fields that are bound where the listener runs are none of the record's: it works in an empty context.
3. In a forked child the thread is gone and a queue of this process may be locked for ever. So the child gets it back
   empty (its records are the parent's to write) and a thread of its own.
4. A listener that has been stopped hands on what comes later in the thread that brings it: `atexit` hooks, daemon threads.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import logging.handlers
import os
import queue as queues
import threading
import time
import weakref

from jsonlog.files.stderr import say
from jsonlog.relay.ends import EXIT_S, drain_at_sigterm, watch
from jsonlog.relay.travel import crosses_processes, separate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOOK_S = 0.005
_MAX_FAILURES = 100
_listeners: weakref.WeakValueDictionary[int, QueueListener] = weakref.WeakValueDictionary()


class QueueListener(logging.handlers.QueueListener):
    """
    Take records from a queue and give them to handlers.

    `start` and `stop` run it in a thread of this process; `run` in the calling thread, as the main work of a process of
    its own. Handlers of any kind may stand side by side, each with its formatter.

    A record of `jsonlog.QueueHandler` comes with the line that it was formatted to where it was logged; a `JsonFormatter`
    here keeps that line and adds only what it has not. From the standard `QueueHandler` comes what its `prepare` leaves.

    Args:
        queue: What the senders put records into: of `queue`, of `multiprocessing`, or anything with `get`.
        handlers: What gets them, one after the other.
        respect_handler_level: Whether a handler gets only records of its level and above, as anywhere else in logging.
            (The standard listener's default is False.)
    """

    queue: Any
    ends_first = 1  # senders come first: they may still have something for the queue

    def __init__(self, queue: Any, *handlers: logging.Handler, respect_handler_level: bool = True) -> None:
        super().__init__(queue, *handlers, respect_handler_level=respect_handler_level)
        self.failed = 0
        """Things that could not be taken from the queue or handed on, each said on stderr."""
        self._failures = 0
        self.stopped = False
        self.is_fed_by_ours = False
        """A `jsonlog.QueueHandler` of this process starts it anew in a forked child, once there is something to do."""
        self.is_stalled = False
        self._crosses = crosses_processes(queue)
        self._pid = os.getpid()
        self._guard = threading.RLock()
        self._ending = False
        self._busy = False
        self._thread: threading.Thread | None = None
        _listeners[id(queue)] = self

    @property
    def waits_for_children(self) -> bool:
        """Whether this thread has to go on until the child processes have ended."""
        return self._crosses and self._thread is not None and self._pid == os.getpid()

    def start(self) -> None:
        """Start the thread; a second call does nothing. In a process that is ending records are handed on without one."""
        with self._guard:
            self.renew()
            if self._thread is not None and self._thread.is_alive():
                return
            self.stopped = self._ending = self.is_stalled = False
            self._thread = threading.Thread(target=self._monitor, name="jsonlog-listener", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._thread = None
                self.finish(time.monotonic() + EXIT_S)
                return
        watch(self)
        drain_at_sigterm()

    def stop(self) -> None:
        """Hand on what is in the queue, up to 10 s, and end the thread. The listener may be started again."""
        self.finish(time.monotonic() + EXIT_S)

    def run(self) -> None:
        """
        Hand records on in the calling thread until the queue gives None, SIGTERM comes, or the parent process has died.

        Ctrl-C reaches the senders as well, whose last records are wanted: it is ignored here, and the parent says when
        it is over (`queue.put(None)`). After SIGTERM and after the parent's death the queue is read until it has been
        quiet for 0.3 s.
        """
        from jsonlog.relay.process import serve  # noqa: PLC0415 (needs multiprocessing)

        contextvars.Context().run(serve, self.queue, self._step)
        self._flush()

    def drain(self, deadline: float) -> None:
        """Wait until the queue has been handed on, or until the deadline."""
        while self._holds() and self._is_running() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def finish(self, deadline: float) -> None:
        """Do what `stop` does, within a deadline."""
        self.renew()
        thread, self._thread = self._thread, None
        self._ending = True
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            with contextlib.suppress(Exception):  # a full queue: the thread will see that it is to end when it is empty
                self.enqueue_sentinel()
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                say(
                    f"a handler of a QueueListener did not come to an end; {self._count()} records are still in its queue"
                )
                return
        self.stopped = True
        if thread is not None or not self._crosses:
            contextvars.Context().run(self._consume, 0.05 if self._crosses else 0.0)
        self._flush()

    def renew(self) -> None:
        """In a forked child: be a new listener, with the queue empty if it is one of this process."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._guard = threading.RLock()
        was_running, self._thread = self._thread is not None, None
        self.failed, self._failures, self._busy = 0, 0, False
        if not self._crosses:
            empty_inherited(self.queue)
            self.is_stalled = was_running
            if was_running and not self.is_fed_by_ours:  # nobody else will notice
                self.start()

    def dequeue(self, block: bool) -> Any:  # noqa: FBT001 (the signature of logging)
        """Take the next thing from the queue."""
        return self.queue.get(block)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Take apart what the standard `QueueHandler` has put together."""
        return separate(record)

    def handle(self, record: logging.LogRecord) -> None:
        """Give one record to each handler; what one of them raises is told by its `handleError`, and costs the others nothing."""
        record = self.prepare(record)
        for handler in self.handlers:
            if self.respect_handler_level and record.levelno < handler.level:
                continue
            try:
                handler.handle(record)
            except Exception:  # noqa: BLE001 (somebody's filter)
                handler.handleError(record)

    def _monitor(self) -> None:
        contextvars.Context().run(self._consume, None)

    def _consume(self, timeout_s: float | None) -> None:
        while self._step(0.0 if self._ending and timeout_s is None else timeout_s):
            pass

    def _step(self, timeout_s: float | None) -> bool | None:
        """
        Take and hand on one record.

        Args:
            timeout_s: How long to wait for it; None: for ever.

        Returns:
            True when there was one, False when there was none, None when it is over.
        """
        try:
            item = self.dequeue(True) if timeout_s is None else self.queue.get(timeout_s > 0, timeout_s or None)
        except queues.Empty:
            return False
        except Exception as exc:  # noqa: BLE001 (whatever unpickling somebody's object raises, or a queue that is closed)
            return self._fail(f"a record could not be taken from the queue: {type(exc).__name__}: {exc}")
        self._busy = True
        try:
            return None if item is None else self._hand_on(item)
        finally:
            self._busy = False
            done = getattr(self.queue, "task_done", None)
            if done is not None:
                with contextlib.suppress(ValueError):  # a forked child has it anew
                    done()

    def _hand_on(self, item: object) -> bool | None:
        if not isinstance(item, logging.LogRecord):
            return self._fail(f"something that is no LogRecord came through the queue: {type(item).__name__}")
        try:
            self.handle(item)
        except Exception as exc:  # noqa: BLE001 (a record that makes even `handleError` fail)
            return self._fail(f"a record could not be handed on: {type(exc).__name__}: {exc}")
        self._failures = 0
        return True

    def _fail(self, text: str) -> bool | None:
        """Say and count what went wrong; a queue that gives nothing else, a hundred times in a row, is given up."""
        self.failed += 1
        self._failures += 1
        if self._failures <= 3 or self._failures == _MAX_FAILURES:
            say(text)
        return True if self._failures < _MAX_FAILURES else None

    def _flush(self) -> None:
        for handler in self.handlers:
            with contextlib.suppress(Exception):
                handler.flush()

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _holds(self) -> bool:
        unfinished = getattr(self.queue, "unfinished_tasks", None)  # counts the one that is being handled, too
        return bool(unfinished) if isinstance(unfinished, int) else self._busy or not self.queue.empty()

    def _count(self) -> str:
        try:
            return str(self.queue.qsize())
        except Exception:  # noqa: BLE001 (macOS cannot tell for a queue of multiprocessing)
            return "some"


def listener_of(queue: object) -> QueueListener | None:
    """Find the `QueueListener` of this process that reads a queue."""
    return _listeners.get(id(queue))


def empty_inherited(queue: Any) -> None:
    """Give a forked child a queue of this process as new: whatever lock was held in the parent, nobody holds it here."""
    if isinstance(queue, queues.Queue):
        queues.Queue.__init__(queue, queue.maxsize)
        return
    with contextlib.suppress(Exception):
        while True:
            queue.get_nowait()


def _after_fork_in_child() -> None:
    for listener in list(_listeners.values()):
        listener.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

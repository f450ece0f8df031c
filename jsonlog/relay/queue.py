"""
The sending end of a queue.

A record is formatted where it is logged, without a lock. The lock here covers only number and put, so that the order in
the queue is the order of the numbers. Rules:

1. A call that arrives while this thread is already putting (a signal handler, a finalizer) leaves its record to the outer
   call: a `queue.Queue` would wait for itself for ever.
2. A queue that is full is waited for once, for `patience_s`. After that records are dropped, until there is room again:
   each uses up its number, and how many there were is said on stderr and in a record of its own.
3. A forked child is a new sender, with a lock of its own.
4. Where this process's listener has been stopped, at its end, records go to its handlers directly.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue as queues
import threading
import time
from collections import deque

from jsonlog.files.protocol import new_run
from jsonlog.files.stderr import say
from jsonlog.formatter import JsonFormatter
from jsonlog.record.build import SENT
from jsonlog.relay.ends import drain_at_sigterm, watch
from jsonlog.relay.listener import QueueListener, empty_inherited, listener_of
from jsonlog.relay.sender import put_sender
from jsonlog.relay.travel import crosses_processes, flatten, keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_CAPACITY = 10_000
_PATIENCE_S = 2.0
_LOOK_S = 0.005


class QueueHandler(logging.handlers.QueueHandler):
    """
    Put records into a queue, so that the thread that logs waits for no file, terminal or network.

    In one process, give it the handlers that shall write; it brings queue and thread:
    `QueueHandler(handlers=[files, console])`, in `dictConfig`
    `{"()": "jsonlog.QueueHandler", "handlers": ["files", "console"]}`. Between processes, give it a
    `multiprocessing.Queue`, and run a `jsonlog.QueueListener` at its other end.

    Each record is formatted here, by the `JsonFormatter` of this handler, else by the one of its listener's handlers, else
    by one without options. So everything arrives, and also what cannot be pickled. See docs/relay.md.

    Args:
        queue: Of `queue` or `multiprocessing`, or anything with `put` and `put_nowait`. Default: a `queue.Queue` of its own.
        handlers: Handlers, or names of handlers in `dictConfig`, that a listener of this handler's own gives the records to.
        respect_handler_level: As for `jsonlog.QueueListener`.
        capacity: How many records its own queue holds.
        patience_s: How long a record waits for room in a full queue before records are dropped.
        level: As in `logging.Handler`.

    Raises:
        ValueError: An argument is of the wrong kind; names it.
    """

    ends_first = 0
    waits_for_children = False
    queue: Any

    def __init__(
        self,
        queue: Any = None,
        *,
        handlers: Iterable[logging.Handler | str] = (),
        respect_handler_level: bool = True,
        capacity: int = _CAPACITY,
        patience_s: float = _PATIENCE_S,
        level: int | str = logging.NOTSET,
    ) -> None:
        self._names = _handlers(handlers)
        _check(queue, self._names, capacity, patience_s)
        super().__init__(queues.Queue(capacity) if queue is None else queue)
        self.setLevel(level)
        self.listener: logging.handlers.QueueListener | None = None
        self.dropped = 0
        self._rhl = respect_handler_level
        self._patience_s = patience_s
        self._crosses = crosses_processes(self.queue)
        self._json: JsonFormatter | None = None
        self.formatter = _PLAIN  # `basicConfig` gives one to who has none
        self._start_over()
        drain_at_sigterm()

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 (logging's name)
        """Take a `JsonFormatter`; None stands for the one of the listener's handlers."""
        if fmt is not None and not isinstance(fmt, JsonFormatter):
            raise ValueError(
                f"QueueHandler sends JSON and needs a jsonlog.JsonFormatter, not {type(fmt).__qualname__}; "
                "give other formatters to the handlers of the listener"
            )
        super().setFormatter(fmt or _PLAIN)
        self._json = fmt

    def createLock(self) -> None:  # noqa: N802 (logging's name)
        """Take no handler lock: formatting under a lock can deadlock with locks of the application."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]
        """
        Filter and send one record.

        Returns:
            What the filters answered, as `ProcessFileHandler.handle` does.
        """
        answer: bool | logging.LogRecord = self.filter(record) if self.filters else True
        if isinstance(answer, logging.LogRecord):
            record = answer
        if answer:
            self.emit(record)
        return answer

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; errors go to `logging.Handler.handleError`, never into the application."""
        try:
            if os.getpid() != self._pid:
                self._start_over(is_forked=True)
            if not self._is_ready:
                self._make_ready()
            self._send(self.prepare(record))
        except Exception:  # noqa: BLE001 (a log call must not raise into the application)
            self.handleError(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Format a record and make the copy that goes into the queue; *record* is not changed."""
        formatter = self._json or _PLAIN
        line = formatter.format_bytes(record)
        return (flatten if self._crosses else keep)(record, line, formatter)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a record into the queue, or drop and count it if there is no room for longer than `patience_s`."""
        try:
            self.queue.put_nowait(record)
        except queues.Full:
            if self._is_dropping or not self._waited(record):
                self._drop()
                return
        if self._is_dropping:
            self._tell()

    def drain(self, deadline: float) -> None:
        """Wait until what this process has put into a queue of multiprocessing has left it, or until the deadline."""
        while self._feeder_holds() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def finish(self, deadline: float) -> None:
        """Do the same, and do not let a queue that nobody reads keep this process from ending."""
        if os.getpid() != self._pid or self.queue is None:
            return
        self.drain(min(deadline, time.monotonic() + 2 * self._patience_s + 1))
        if self._feeder_holds():
            say(f"nobody reads the queue: {len(self.queue._buffer)} records of process {self._pid} are lost")  # noqa: SLF001
            self.queue.cancel_join_thread()
        if self._is_dropping:
            say(f"{self.dropped} records were dropped, since the queue was full")

    def close(self) -> None:
        """Let the listener of this handler's own hand on what it has. A record that comes later is handed on at once."""
        listener = self.listener
        if listener is not None and self._names and os.getpid() == self._pid:
            listener.stop()
        super().close()

    def _start_over(self, *, is_forked: bool = False) -> None:
        """Become a new sender: at construction, and in a forked child."""
        self._is_forked = is_forked
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._is_owned = self._lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001 (as Condition uses it)
        self._waiting: deque[logging.LogRecord] = deque()
        self._run = new_run()
        self._number = 0
        self.dropped = 0
        self._is_dropping = False
        self._is_ready = False
        self._peer: QueueListener | None = None

    def _make_ready(self) -> None:
        """Find who reads the queue in this process and see that it does, before the first record of each process."""
        with self._lock:
            if self._is_ready:
                return
            if self.listener is None and self._names:
                self.listener = QueueListener(self.queue, *self._find_handlers(), respect_handler_level=self._rhl)
            listener = self.listener or listener_of(self.queue)
            if isinstance(listener, QueueListener):
                self._peer, listener.is_fed_by_ours = listener, True
                if self._names or (self._is_forked and listener.is_stalled):
                    listener.start()
            elif self._is_forked:
                self._revive(listener)
            if self._is_forked and self._crosses:
                feeder = getattr(self.queue, "_thread", None)
                if feeder is not None and not feeder.is_alive():  # by `os.fork`, of which multiprocessing does not know
                    self.queue._after_fork()  # noqa: SLF001
            if self._json is None and listener is not None:
                ours = (h.formatter for h in listener.handlers if isinstance(h.formatter, JsonFormatter))
                self._json = next(ours, None)
            self._is_ready = True
        watch(self)

    def _find_handlers(self) -> list[logging.Handler]:
        find = getattr(logging, "getHandlerByName", None) or logging._handlers.get  # type: ignore[attr-defined]  # noqa: SLF001 (Python 3.11)
        found = [find(one) if isinstance(one, str) else one for one in self._names]
        for name, handler in zip(self._names, found, strict=True):
            if handler is None:
                raise ValueError(f"QueueHandler: 'handlers' names {name!r}, and there is no handler of that name")
        return found

    def _revive(self, listener: logging.handlers.QueueListener | None) -> None:
        """In a forked child: have a standard listener, whose thread is gone there, work again."""
        if not self._crosses and listener is not None:
            empty_inherited(self.queue)
            listener._thread = None  # noqa: SLF001
            listener.start()
        elif not self._crosses:
            say(f"process {self._pid} was forked and nobody reads its queue of records: use jsonlog.QueueListener")

    def _send(self, record: logging.LogRecord) -> None:
        if self._is_owned():  # this thread is in the middle of a put
            self._waiting.append(record)
            return
        with self._lock:
            self._number_and_put(record)
        while self._waiting:  # looked at without the lock: what comes in later is sent by its own call
            with self._lock:
                while self._waiting:
                    self._number_and_put(self._waiting.popleft())

    def _number_and_put(self, record: logging.LogRecord) -> None:
        facts = record.__dict__
        line, maker = facts[SENT]
        number, self._number = self._number, self._number + 1
        facts[SENT] = put_sender(line, self._run, number, relayed=b'"sender":' in line), maker
        peer = self._peer
        if peer is not None and peer.stopped:
            peer.handle(record)
            return
        try:
            self.enqueue(record)
        except Exception:
            self.dropped += 1  # a queue that was closed
            raise

    def _waited(self, record: logging.LogRecord) -> bool:
        if self._patience_s <= 0:
            return False
        try:
            self.queue.put(record, True, self._patience_s)
        except queues.Full:
            return False
        return True

    def _drop(self) -> None:
        self.dropped += 1
        if not self._is_dropping:
            self._is_dropping = True
            self._told = self.dropped - 1
            say(f"the queue has been full for {self._patience_s} s: records are dropped until there is room")

    def _tell(self) -> None:
        """Say how many records were dropped, to the operator and in the log itself."""
        self._is_dropping = False
        dropped = self.dropped - self._told
        say(f"there is room in the queue again; {dropped} records were dropped")
        told = logging.LogRecord(
            "jsonlog.relay",
            logging.WARNING,
            __file__,
            0,
            "%d records were dropped: the queue was full",
            (dropped,),
            None,
        )
        told.__dict__["dropped"] = dropped
        self._waiting.append(self.prepare(told))

    def _feeder_holds(self) -> bool:
        """Tell whether the thread with which a queue of multiprocessing writes to its pipe still has something to write."""
        queue = self.queue
        feeder, buffer = getattr(queue, "_thread", None), getattr(queue, "_buffer", None)
        if not self._crosses or feeder is None or buffer is None or not feeder.is_alive():
            return False
        return bool(buffer) or not queue._notempty._waiters  # noqa: SLF001 (it waits only when all is written)


_PLAIN = JsonFormatter()


def _handlers(handlers: object) -> list[Any]:
    if isinstance(handlers, (str, logging.Handler)) or not hasattr(handlers, "__iter__"):
        raise ValueError(f"QueueHandler: 'handlers' must be a list of handlers or of their names, got {handlers!r}")
    # By index: the lists of `dictConfig` resolve what is `cfg://` only then.
    found = [handlers[i] for i in range(len(handlers))] if isinstance(handlers, list) else list(handlers)
    for one in found:
        if not isinstance(one, (str, logging.Handler)):
            raise ValueError(
                f"QueueHandler: 'handlers' must be handlers or their names, got {type(one).__qualname__}; "
                "in dictConfig write the names alone"
            )
    return found


def _check(queue: object, handlers: list[Any], capacity: object, patience_s: object) -> None:
    if queue is None and not handlers:
        raise ValueError("QueueHandler needs a 'queue' that somebody reads, or 'handlers' to give the records to")
    if queue is not None and not callable(getattr(queue, "put_nowait", None)):
        raise ValueError(f"QueueHandler: 'queue' must have put_nowait, got {queue!r}")
    if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
        raise ValueError(f"QueueHandler: 'capacity' must be a number of records, 1 or more, got {capacity!r}")
    if isinstance(patience_s, bool) or not isinstance(patience_s, (int, float)) or not 0 <= patience_s <= 3600:
        raise ValueError(f"QueueHandler: 'patience_s' must be seconds, 0 to 3600, got {patience_s!r}")

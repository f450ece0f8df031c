"""The logging handler that sends records to `jsonlog receive`."""

from __future__ import annotations

import logging
import os
import threading
import weakref

from jsonlog.files.folder import Folder
from jsonlog.files.stderr import to_stderr
from jsonlog.formatter import JsonFormatter
from jsonlog.relay.delivery import Delivery
from jsonlog.relay.ends import watch
from jsonlog.relay.place import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_handlers: weakref.WeakSet[SocketHandler] = weakref.WeakSet()
_MAX_SPOOL_BYTES = 256 * 1024 * 1024


class SocketHandler(logging.Handler):
    """
    Send records to a receiver, `jsonlog receive`, by way of a spool on disk.

    A record is in the spool before the log call returns, and stays there until the receiver has it in its files: neither
    side may restart, be killed or be away and a record be lost, until the spool is full. Each record is in the
    receiver's files once, however often it was sent. Nothing is pickled. See docs/relay.md for what exactly is promised.

    Args:
        host: A name or an address; with `port=None`, the path of a Unix socket.
        port: As `jsonlog receive --listen` has it.
        spool: A folder for what the receiver has not yet; any number of processes and programs may share it.
        token: The receiver's, where it has one. Default: the environment variable `JSONLOG_TOKEN`.
        max_spool_bytes: Of each process. Records beyond it go to stderr, use up their numbers, and are counted.
        drain_s: How long `close`, and with it the end of the process, waits for the receiver.
        level: As in `logging.Handler`.

    Raises:
        ValueError: An argument is of the wrong kind; names it.
        OSError: The spool cannot be made.
    """

    ends_first = 2  # after the queues that bring it records
    waits_for_children = False

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        spool: str | os.PathLike[str],
        token: str | None = None,
        max_spool_bytes: int = _MAX_SPOOL_BYTES,
        drain_s: float = 3.0,
        level: int | str = logging.NOTSET,
    ) -> None:
        self._place = Place.checked(host, port, spool, token or os.environ.get("JSONLOG_TOKEN"), max_spool_bytes)
        if isinstance(drain_s, bool) or not isinstance(drain_s, (int, float)) or not 0 <= drain_s <= 3600:
            raise ValueError(f"SocketHandler: 'drain_s' must be seconds, 0 to 3600, got {drain_s!r}")
        self._folder().make()
        super().__init__(level)
        self._drain_s = drain_s
        self._delivery: Delivery | None = None
        self._format: Callable[[logging.LogRecord], bytes]
        self.setFormatter(None)
        self._start_over()
        _handlers.add(self)

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 (logging's name)
        """Take a `JsonFormatter`; None stands for one without options."""
        if fmt is None:
            fmt = JsonFormatter()
        if not isinstance(fmt, JsonFormatter):
            raise ValueError(
                f"SocketHandler sends JSON and needs a jsonlog.JsonFormatter, not {type(fmt).__qualname__}"
            )
        super().setFormatter(fmt)
        self._format = fmt.format_bytes
        self._service, self._host = fmt.service or "app", fmt.host

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
        """Put one record into the spool; errors go to `logging.Handler.handleError`, never into the application."""
        line = b""
        try:
            line = self._format(record)
            delivery = self._delivery
            if delivery is None or delivery.pid != os.getpid():
                delivery = self._begin()
            delivery.put(line)
        except Exception:  # noqa: BLE001 (a log call must not raise into the application)
            self.handleError(record)
            if line:
                to_stderr(line)

    def drain(self, deadline: float) -> None:
        """Do nothing: what is in the spool outlives the process."""

    def finish(self, deadline: float) -> None:  # noqa: ARG002 (it has its own)
        """Do what `close` does."""
        self.close()

    def close(self) -> None:
        """Wait up to `drain_s` for the receiver to have everything; the rest stays in the spool. A later record begins anew."""
        if self._pid == os.getpid():
            with self._guard:
                delivery, self._delivery = self._delivery, None
            if delivery is not None and delivery.pid == os.getpid():
                delivery.end(self._drain_s)
        super().close()

    def _begin(self) -> Delivery:
        if self._pid != os.getpid():
            self._start_over()
        with self._guard:
            if self._delivery is None:
                folder = self._folder()
                folder.service, folder.host = self._service, self._host
                self._delivery = Delivery(self._place, folder)
                watch(self)
            return self._delivery

    def _folder(self) -> Folder:
        return Folder(self._place.spool, mode=0o600, group=None, directory_mode=0o700)

    def _start_over(self) -> None:
        """Begin anew, at construction and in a forked child, to which nothing of the parent's connection and run belongs."""
        self._pid = os.getpid()
        self._guard = threading.RLock()
        inherited, self._delivery = self._delivery, None
        if inherited is not None:
            inherited.abandon()


def _after_fork_in_child() -> None:
    for handler in list(_handlers):
        handler._start_over()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

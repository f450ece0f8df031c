"""The logging handler that gives each process a file of its own."""

from __future__ import annotations

import logging
import os

from jsonlog.files.writer import PartWriter
from jsonlog.formatter import JsonFormatter

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULT_MAX_BYTES = 128 * 1024 * 1024


class ProcessFileHandler(logging.Handler):
    """
    Write records as JSON Lines, one file per process, so that any number of processes can log at once.

    A file is opened at the first record, not at construction: a process that logs nothing leaves no file, and a forked
    child, whatever forked it, gets a file of its own. Each record is one `write` to the operating system: it survives
    SIGKILL. Filtering and formatting take no lock, so a `__str__` that needs a lock of the application cannot deadlock.

    Nothing is deleted here, since only the shipper knows what has been delivered. Without a shipper the files grow for ever.

    Args:
        directory: Where the files go; made absolute now, created if it is missing.
        service: What the file names begin with. Default: the formatter's `service`, else `app`.
        max_bytes: A part is left for the next one once it has this many bytes (checked at each record). 0: never.
        mode: Permission bits of the files, set whatever the umask is.
        level: As in `logging.Handler`.

    Raises:
        ValueError: An argument is of the wrong kind, or, at `setFormatter`, the formatter is not a `JsonFormatter`.
        OSError: The directory cannot be created.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        service: str | None = None,
        max_bytes: int = _DEFAULT_MAX_BYTES,
        mode: int = 0o640,
        level: int | str = logging.NOTSET,
    ) -> None:
        self._directory = _absolute(directory)
        if service is not None and not isinstance(service, str):
            raise ValueError(f"ProcessFileHandler: 'service' must be a string, got {service!r}")
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
            raise ValueError(f"ProcessFileHandler: 'max_bytes' must be a number of bytes, 0 or more, got {max_bytes!r}")
        if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o7777:
            raise ValueError(f"ProcessFileHandler: 'mode' must be permission bits such as 0o640, got {mode!r}")
        os.makedirs(self._directory, exist_ok=True)  # noqa: PTH103
        super().__init__(level)
        self._service = service
        self._writer = PartWriter(self._directory, max_bytes=max_bytes, mode=mode)
        self._write = self._writer.write
        self._format: Callable[[logging.LogRecord], bytes]
        self.setFormatter(None)

    @property
    def path(self) -> str | None:
        """The file that this process writes at the moment; None before its first record."""
        return self._writer.path

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 (logging's name)
        """Take a `JsonFormatter`; None stands for one without options."""
        if fmt is None:
            fmt = JsonFormatter()
        if not isinstance(fmt, JsonFormatter):
            raise ValueError(
                f"ProcessFileHandler writes JSON and needs a jsonlog.JsonFormatter, not {type(fmt).__qualname__}; "
                "give other formatters to a handler of their own"
            )
        super().setFormatter(fmt)
        self._format = fmt.format_bytes
        self._writer.name_parts(service=self._service or fmt.service or "app", host=fmt.host)

    def createLock(self) -> None:  # noqa: N802 (logging's name)
        """Take no handler lock: the writer has its own, which covers only number and write."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]
        """
        Filter and write one record.

        Returns:
            What the filters answered: false when one of them refused the record. From Python 3.12 on a filter may
            return another record, which is then written in its place.
        """
        answer: bool | logging.LogRecord = self.filter(record) if self.filters else True
        if isinstance(answer, logging.LogRecord):
            record = answer
        if answer:
            self.emit(record)
        return answer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; errors go to `logging.Handler.handleError`, never into the application."""
        try:
            self._write(self._format(record))
        except Exception:  # noqa: BLE001 (a log call must not raise into the application)
            self.handleError(record)

    def close(self) -> None:
        """Release the file. A record that comes later (a daemon thread, an atexit hook) opens a new part."""
        self._writer.close()
        super().close()


def _absolute(directory: object) -> str:
    if not isinstance(directory, (str, os.PathLike)):
        raise ValueError(f"ProcessFileHandler: 'directory' must be a path, got {directory!r}")
    path = os.fspath(directory)
    if not isinstance(path, str) or not path:
        raise ValueError(f"ProcessFileHandler: 'directory' must be a path that is not empty, got {directory!r}")
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111

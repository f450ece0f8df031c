"""The logging handler that gives each process a file of its own."""

from __future__ import annotations

import contextlib
import logging
import os

from jsonlog.files.folder import Folder
from jsonlog.files.policy import read_bounds, read_directory, read_group, read_level, read_mode, read_policy
from jsonlog.files.writer import PartWriter
from jsonlog.formatter import JsonFormatter

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonlog.files.keeper import Keeper

_NEVER = 1 << 62  # a level that no record has


class ProcessFileHandler(logging.Handler):
    """
    Write records as JSON Lines, one file per process, so that any number of processes can log at once.

    A file is opened at the first record, not at construction: a process that logs nothing leaves no file, and a forked
    child, whatever forked it, gets a file of its own. Each record is one `write` to the operating system: it survives
    SIGKILL. Filtering and formatting take no lock, so a `__str__` that needs a lock of the application cannot deadlock.

    Nothing is deleted here unless it is asked for, since only the shipper knows what has been delivered. Without a shipper
    the files grow for ever: see `without_shipper`, and `jsonlog prune`. All of this at length: docs/handler.md.

    Args:
        directory: Where the files go; made absolute now, created if it is missing.
        service: What the file names begin with. Default: the formatter's `service`, else `app`.
        max_bytes: A part is left for the next one once it has this many bytes (checked at each record). 0: never.
            Default: 128 MiB, or an eighth of what may be there in all.
        max_age_s: A part is left for the next one after so many seconds (checked at each record, once a second). 0: never.
        fsync: `never`: the system writes to the disk when it likes; `record`: a log call returns when its record is on the
            disk itself; a number: that many seconds later at the latest.
        buffer_bytes: So many bytes of records are collected and written together; 0: each record by itself. Up to so
            much is lost with a process that is killed.
        flush_interval_s: With `buffer_bytes`, how long a record waits at most.
        flush_level: With `buffer_bytes`, records of this level and above are written at once, with all before them.
        mode: Permission bits of the files, set whatever the umask is.
        group: Name or number of the group of the files, and of the directory if it is made here.
        directory_mode: Permission bits of the directory if it is made here. Default: 0o750, with `group` 0o2770.
        without_shipper: Delete finished parts of this service that are over `max_total_bytes` or `max_total_age_s`.
        max_total_bytes: Of all parts of this service together, those being written included. 0: any number.
        max_total_age_s: Since a part was last written. 0: any.
        hard_max_bytes: For the case that the shipper is gone: over so many bytes the oldest finished part of this service
            is dropped, delivered or not, counted, and told. 0: never.
        raise_errors: Whether a record that cannot be written raises into the log call, beside going to stderr.
        level: As in `logging.Handler`.

    Raises:
        ValueError: An argument is of the wrong kind, or, at `setFormatter`, the formatter is not a `JsonFormatter`.
        OSError: The directory cannot be created, or somebody else's link leads to it.
    """

    def __init__(  # noqa: PLR0913 (named options)
        self,
        directory: str | os.PathLike[str],
        *,
        service: str | None = None,
        max_bytes: int | None = None,
        max_age_s: float | None = None,
        fsync: str | float = "never",
        buffer_bytes: int = 0,
        flush_interval_s: float = 0.5,
        flush_level: int | str = logging.ERROR,
        mode: int = 0o640,
        group: int | str | None = None,
        directory_mode: int | None = None,
        without_shipper: bool = False,
        max_total_bytes: int = 0,
        max_total_age_s: float = 0,
        hard_max_bytes: int = 0,
        raise_errors: bool = False,
        level: int | str = logging.NOTSET,
    ) -> None:
        given = dict(locals())
        if service is not None and not isinstance(service, str):
            raise ValueError(f"ProcessFileHandler: 'service' must be a string, got {service!r}")
        if directory_mode is None:
            given["directory_mode"] = 0o750 if group is None else 0o2770
        bounds, policy = read_bounds(given), read_policy(given)
        self._folder = Folder(
            read_directory(directory),
            mode=read_mode(given, "mode"),
            group=read_group(group),
            directory_mode=read_mode(given, "directory_mode"),
        )
        flush_from = read_level(flush_level)
        self._folder.make()
        super().__init__(level)
        self._service = service
        self._raise_errors = raise_errors
        self._writer = PartWriter(self._folder, policy)
        self._write = self._writer.write_later if buffer_bytes else self._writer.write
        self._flush_level = flush_from if buffer_bytes else _NEVER
        self._keeper: Keeper | None = None
        if bounds is not None:
            from jsonlog.files.keeper import Keeper  # noqa: PLC0415 (only where it is asked for)

            self._keeper = Keeper(self._writer, self._write, self._folder, bounds[0], is_loss=bounds[1])
            self._write = self._keeper.write
        self._format: Callable[[logging.LogRecord], bytes]
        self.setFormatter(None)

    @property
    def path(self) -> str | None:
        """The file that this process writes at the moment; None before its first record."""
        return self._writer.path

    @property
    def dropped_files(self) -> int:
        """How many files this process dropped for `hard_max_bytes`."""
        return sum(files for files, _ in self._keeper.dropped) if self._keeper else 0

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
        self._folder.service = self._service or fmt.service or "app"
        self._folder.host = fmt.host
        if self._keeper is not None:
            self._keeper.format = fmt.format_bytes

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
        if not self.filters:
            self.emit(record)
            return True
        answer: bool | logging.LogRecord = self.filter(record)
        if isinstance(answer, logging.LogRecord):
            record = answer
        if answer:
            self.emit(record)
        return answer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; errors go to `handleError`, never into the application unless it asked for them."""
        try:
            self._write(self._format(record))
            if record.levelno >= self._flush_level:
                self._writer.flush()
        except Exception:  # noqa: BLE001 (a log call must not raise into the application)
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Tell on stderr what went wrong, as logging does, if there is a stderr; with `raise_errors` raise it."""
        if self._raise_errors:
            raise  # noqa: PLE0704 (called within an except clause)
        with contextlib.suppress(Exception):  # logging's own lets a closed stderr raise
            super().handleError(record)

    def flush(self) -> None:
        """Write what is in the buffer."""
        self._writer.flush()

    def close(self) -> None:
        """Release the file. A record that comes later (a daemon thread, an atexit hook) opens a new part, unbuffered."""
        try:
            self._writer.close()
        finally:
            self._write = self._writer.write_late
            super().close()

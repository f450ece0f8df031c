"""The way from a server's own loggers to the root logger's handlers."""

from __future__ import annotations

import copy
import logging

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ToRoot(logging.Handler):
    """
    Passes records on to the handlers of the root logger, as propagation does.

    Servers switch propagation off, or copy the handlers of one logger to another: this handler stands that, and it finds
    the root logger's handlers at each record, so the order in which things are set up does not matter. What uvicorn's
    loggers say becomes fields on the way: see `jsonlog.integrations.uvicorn`.

    Args:
        configure: Where given, `jsonlog.configure` is called with these arguments now: for files that can only hold a
            `dictConfig`.
        level: As in `logging.Handler`.

    Raises:
        ValueError: As `jsonlog.configure` does.
    """

    def __init__(self, configure: Mapping[str, Any] | None = None, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        if configure is not None:
            import jsonlog  # noqa: PLC0415 (it imports nothing of ours before it is asked)

            jsonlog.configure(**configure)

    def createLock(self) -> None:  # noqa: N802 (logging's name)
        """Take no lock: nothing is written here."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Pass a record on, unless a filter of this handler refuses it."""
        answer = self.filter(record) if self.filters else True
        if answer:
            self.emit(answer if isinstance(answer, logging.LogRecord) else record)
        return bool(answer)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on; what the root logger's handlers do with an error is up to them."""
        logging.getLogger().callHandlers(_tidy(record))


def _tidy(record: logging.LogRecord) -> logging.LogRecord:
    """Give a record of uvicorn's as fields; it is copied, since other handlers may want it as it was."""
    if not record.name.startswith("uvicorn"):
        return record
    args = record.args
    is_access = record.name == "uvicorn.access" and isinstance(args, tuple) and len(args) == 5
    if not is_access and "color_message" not in record.__dict__:
        return record
    record = copy.copy(record)
    record.__dict__.pop("color_message", None)  # the message once more, with escape sequences
    if is_access and isinstance(args, tuple):
        client, method, target, _, status = args
        path = str(target).partition("?")[0]
        record.msg, record.args = "%s %s %s", (method, path, status)
        record.__dict__.update(method=method, path=path, status=status)
        if client:
            record.__dict__["client"] = str(client).rpartition(":")[0]
    return record

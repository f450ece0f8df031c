"""The handler that shows records to people: the text of `jsonlog view`, on stderr."""

from __future__ import annotations

import logging
import os
import sys

import orjson

from jsonlog.formatter import JsonFormatter
from jsonlog.view.render import Renderer

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from typing import TextIO


class ConsoleHandler(logging.Handler):
    """
    Show records as `jsonlog view` does: one line each, aligned, tracebacks indented, coloured on a terminal.

    A record is formatted by a `JsonFormatter`, so what that bounds and redacts is bounded and redacted here too, and the
    record itself is left as it was. Formatting takes no lock. Another formatter's text is shown as it is.

    Args:
        stream: A text stream; None stands for what `sys.stderr` is at each record.
        colour: Whether to use colours; None: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
        level: As in `logging.Handler`.

    Raises:
        ValueError: An argument is of the wrong kind.
    """

    def __init__(
        self, stream: TextIO | None = None, *, colour: bool | None = None, level: int | str = logging.NOTSET
    ) -> None:
        if stream is not None and not hasattr(stream, "write"):
            raise ValueError(f"ConsoleHandler: 'stream' must be a text stream, got {stream!r}")
        if colour not in (None, True, False):
            raise ValueError(f"ConsoleHandler: 'colour' must be true, false or None, got {colour!r}")
        super().__init__(level)
        self._stream = stream
        self._colour = colour
        self._shown: tuple[object, Renderer | None] = (None, None)  # swapped whole, so threads need no lock
        self.formatter: logging.Formatter = JsonFormatter()

    @property
    def stream(self) -> TextIO | None:
        """Where records go at the moment; None in a process without stderr."""
        return sys.stderr if self._stream is None else self._stream

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 (logging's name)
        """Take a formatter; None stands for a `JsonFormatter` without options."""
        self.formatter = fmt or JsonFormatter()

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]
        """Filter and show one record; returns what the filters answered, as `ProcessFileHandler.handle` does."""
        answer: bool | logging.LogRecord = self.filter(record) if self.filters else True
        if answer:
            self.emit(answer if isinstance(answer, logging.LogRecord) else record)
        return answer

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record; errors go to `logging.Handler.handleError`, never into the application."""
        try:
            stream = self.stream
            if stream is not None and not getattr(stream, "closed", False):
                text = self._render(stream, record)
                with self.lock:  # type: ignore[union-attr]  # (`createLock` made one)
                    _write(stream, text)
        except Exception:  # noqa: BLE001 (a log call must not raise into the application)
            self.handleError(record)

    def _render(self, stream: TextIO, record: logging.LogRecord) -> str:
        if not isinstance(self.formatter, JsonFormatter):
            return self.formatter.format(record) + "\n"
        seen, renderer = self._shown
        if seen is not stream or renderer is None:
            renderer = Renderer(colour=_wants_colour(stream) if self._colour is None else self._colour)
            self._shown = stream, renderer
        line = self.formatter.format_bytes(record)
        return renderer.render(line, orjson.loads(line))


def _wants_colour(stream: TextIO) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write(stream: TextIO, text: str) -> None:
    """
    Write to a stream; to the process's own stderr past its buffer.

    The lock of that buffer belongs to C code, which nobody takes anew after a fork: a child of a process with threads that
    log may wait for it for ever.
    """
    if stream is not sys.__stderr__ or os.name != "posix":
        stream.write(text)
        stream.flush()
        return
    data = text.encode(stream.encoding or "utf-8", "backslashreplace")
    fd = stream.fileno()
    while data:
        data = data[os.write(fd, data) :]

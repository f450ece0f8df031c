"""The console: where an operator reads the sentences of events."""

from __future__ import annotations

import sys
from contextlib import suppress

_CLEAR = "\r\x1b[K"


class Console:
    """Writes the sentences of events to stderr, the same one once in a row, and a line of progress if that is a terminal."""

    def __init__(self) -> None:
        self._last = ""
        self._line = False
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, event: object) -> None:
        """Print *event* if it has a sentence."""
        if type(event).__str__ is object.__str__:
            return
        self.say(str(event))

    def say(self, text: str) -> None:
        """Print a sentence."""
        if text != self._last:
            self._last = text
            self._write(f"{_CLEAR if self._line else ''}shipper: {text}\n")
            self._line = False

    def progress(self, text: str) -> None:
        """Show a line that the next one takes the place of; only for terminals."""
        self._line = True
        self._write(f"{_CLEAR}{text}")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more: no reason to stop shipping
            print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 (this is the console)

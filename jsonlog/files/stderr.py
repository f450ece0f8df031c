"""The last resort: what is said on stderr, which may be None, closed, or not what the interpreter began with."""

from __future__ import annotations

import contextlib
import sys


class Echo(bytes):
    """A record that came while this thread was telling stderr something: perhaps made of that, where stderr is logged."""

    __slots__ = ()


def to_stderr(line: bytes) -> None:
    """Write a line; where there is no stderr it is gone, and nothing is raised."""
    with contextlib.suppress(Exception):
        sys.stderr.write(line.decode("utf-8", "replace") + "\n")
        sys.stderr.flush()


def say(text: str) -> None:
    """Tell the operator something about the files."""
    to_stderr(f"jsonlog: {text}".encode("utf-8", "backslashreplace"))

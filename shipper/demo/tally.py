"""Counts log calls independently of what is being shown, so that the demo's accounting compares two separate figures."""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import struct
from pathlib import Path

_COUNT = struct.Struct("<Q")


class Tally(logging.Handler):
    """
    Counts the records of each process in a small mapped file, which survives SIGKILL as the log files do.

    Args:
        directory: Where the counts go; None counts nothing.
    """

    def __init__(self, directory: str | None = None) -> None:
        super().__init__()
        self._directory = directory
        self._pid = 0
        self._count = 0
        self._memory: mmap.mmap | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Count one record; called under the handler's lock."""
        del record
        if self._directory is None:
            return
        if self._pid != os.getpid() or self._memory is None:
            self._memory = self._open(Path(self._directory))
        self._count += 1
        _COUNT.pack_into(self._memory, 0, self._count)

    def _open(self, directory: Path) -> mmap.mmap:
        self._pid, self._count = os.getpid(), 0
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{self._pid}-{secrets.token_hex(4)}.tally").open("xb+") as file:
            file.truncate(_COUNT.size)
            return mmap.mmap(file.fileno(), _COUNT.size)


def total(directory: Path) -> int:
    """Add up what all processes have counted."""
    return sum(_COUNT.unpack(path.read_bytes())[0] for path in directory.glob("*.tally"))

"""A file that only takes room, so that there is some when the disk is full."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_SPARE_BYTES = 512 * 1024  # more than a commit ever needs
_SPARE_AGAIN_S = 10.0


class Spare:
    """
    Some room on the disk that is given up when there is none left, so that what frees the disk can still be written down.

    Args:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._there = path.exists()
        self._try_at = 0.0

    def give_up(self) -> bool:
        """Free the room; False where there was none."""
        there, self._there = self._there, False
        self._try_at = time.monotonic() + _SPARE_AGAIN_S
        with suppress(OSError):
            self._path.unlink()
        return there

    def keep(self) -> None:
        """Take the room again, when there is some."""
        if self._there or time.monotonic() < self._try_at:
            return
        self._try_at = time.monotonic() + _SPARE_AGAIN_S
        fd = -1
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            os.posix_fallocate(fd, 0, _SPARE_BYTES)
            self._there = True
        except OSError:
            with suppress(OSError):
                self._path.unlink()
        finally:
            if fd >= 0:
                os.close(fd)

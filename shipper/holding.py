"""One shipper per folder: a lock that the kernel lets go of when the shipper dies."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from shipper.errors import ConfigError

_LOCK_TRIES = 4


def hold(folder: Path) -> int:
    """Lock the folder for this process, for as long as it lives."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        _lock(fd)
    except BlockingIOError:
        owner = os.pread(fd, 100, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise ConfigError(
            f"another shipper uses {folder} ({owner or 'unknown process'}); stop it, or give this one its own folder with --state"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"pid {os.getpid()}\n".encode(), 0)
    return fd


def holder(folder: Path) -> str:
    """Return who holds the checkpoint, such as `pid 17`; empty when nobody does."""
    try:
        fd = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(fd, 100, 0).decode("ascii", "replace").strip() or "unknown process"
    finally:
        os.close(fd)
    return ""


def _lock(fd: int) -> None:
    """Take the lock; somebody who only looks whether it is held (`holder`) holds it for a moment."""
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.05)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

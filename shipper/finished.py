"""
What becomes of a file of ours once its writer has ended and all of it is acknowledged: it is kept, deleted or archived.

Rules:

1. First the lock, then the size: only a file that nobody can write to any more is compared with what is acknowledged.
2. A file goes only if its path still leads to it, and if each of its bytes is acknowledged.
3. An archived file is on disk, under its name, before the original is unlinked. A crash in between leaves both; the next
   attempt writes the copy anew.
4. A file without a lock (`.nolock`) never shows that its writer has ended. It goes only by its age, and only if asked.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zstandard

from jsonlog.files.protocol import writer_alive
from shipper.events import Emit
from shipper.events_of_files import ArchiveFailed
from shipper.tailer import Tailer

Finish = Literal["keep", "delete", "archive"]
_COPY_BYTES = 256 * 1024
_MOMENT_S = 0.2


@dataclass(frozen=True, slots=True)
class Ready:
    """A file that was read to its end: what is acknowledged of it."""

    tailer: Tailer
    acknowledged: int


@dataclass(slots=True)
class Finished:
    """
    Lets finished files go.

    Args:
        emit: Takes events.
        fate: What becomes of them.
        archive: The folder of the archive; made if it is missing.
        compression: How archived files are compressed.
        nolock_s: How long nothing may have been written to a file without lock; None keeps it for ever.
    """

    emit: Emit
    fate: Finish = "keep"
    archive: Path | None = None
    compression: Literal["gzip", "zstd"] = "gzip"
    nolock_s: float | None = None
    _said: str = ""

    def may_go(self, tailer: Tailer) -> bool:
        """Tell whether a file is one that goes once it is finished."""
        if self.fate == "keep" or tailer.part is None:
            return False
        return tailer.part.locked or self.nolock_s is not None

    def let_go(self, ready: Sequence[Ready]) -> list[tuple[Tailer, bool]]:
        """
        Let files go; blocking, for a moment.

        Args:
            ready: Candidates.

        Returns:
            Those that were tried, and whether they are gone. The others are for the next time.
        """
        tried = []
        until = time.monotonic() + _MOMENT_S
        for one in ready:
            tried.append((one.tailer, self._take(one, time.time())))
            if time.monotonic() >= until:
                break
        return tried

    def _take(self, one: Ready, now: float) -> bool:
        path = Path(one.tailer.source.path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if not self._is_finished(fd, path, one, now):
                return False
            if self.fate == "archive" and not self._archive(fd, path):
                return False
            if not self._is_finished(fd, path, one, now):  # it may have taken a while
                return False
            path.unlink()
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _is_finished(self, fd: int, path: Path, one: Ready, now: float) -> bool:
        tailer = one.tailer
        if tailer.lockable and writer_alive(fd):
            return False
        here, there = os.fstat(fd), path.stat()
        if not tailer.lockable and (self.nolock_s is None or now - here.st_mtime < self.nolock_s):
            return False
        known = (tailer.state.device, tailer.state.inode, one.acknowledged)
        return known == (here.st_dev, here.st_ino, here.st_size) and (there.st_dev, there.st_ino) == known[:2]

    def _archive(self, fd: int, path: Path) -> bool:
        assert self.archive is not None
        ending = "gz" if self.compression == "gzip" else "zst"
        temporary = self.archive / f".{path.name}.tmp"
        try:
            self.archive.mkdir(parents=True, exist_ok=True, mode=0o750)
            with temporary.open("wb") as file:
                for block in _compressed(fd, self.compression):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.archive / f"{path.name}.{ending}")
            _sync_folder(self.archive)
        except OSError as exc:
            with suppress(OSError):
                temporary.unlink()
            self._complain(f"{exc.strerror or exc}")
            return False
        self._said = ""
        return True

    def _complain(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            self.emit(ArchiveFailed(str(self.archive), reason))


def _compressed(fd: int, compression: str) -> Iterator[bytes]:
    compress = (
        zlib.compressobj(6, wbits=31) if compression == "gzip" else zstandard.ZstdCompressor(level=3).compressobj()
    )
    offset = 0
    while block := os.pread(fd, _COPY_BYTES, offset):
        offset += len(block)
        yield compress.compress(block)
    yield compress.flush()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

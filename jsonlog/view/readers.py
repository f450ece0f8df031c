"""
Reads bytes of files, one block at a time.

10,000 files must work with 256 descriptors, so a file is kept open only while there is room; otherwise each block opens
it, reads at the remembered offset and closes it. What is kept open is read to its end even if it is deleted or renamed.
"""

from __future__ import annotations

import os
import resource
import select
import stat
import zlib
from pathlib import Path

from jsonlog.view.errors import ViewError

_RESERVED_DESCRIPTORS = 64
_QUIET_S = 0.2


class Handles:
    """
    Counts the descriptors that readers keep open.

    Args:
        most: How many may be kept; by default what the process may open, less some for others, and at most 512.
    """

    def __init__(self, most: int | None = None) -> None:
        if most is None:
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            most = 512 if soft == resource.RLIM_INFINITY else min(512, soft - _RESERVED_DESCRIPTORS)
        self._free = most

    def take(self) -> bool:
        """Ask for room for one more."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Return the room that `take` gave."""
        self._free += 1


def refuse(path: Path | str, exc: OSError) -> ViewError:
    """Say in one line why a file cannot be read."""
    return ViewError(f"{path}: {exc.strerror or exc}")


class FileReader:
    """
    Reads a regular file from an offset on.

    Args:
        path: The file.
        handles: Where room for an open descriptor is asked for.
        offset: Where to begin, in bytes.
    """

    def __init__(self, path: Path, handles: Handles, offset: int = 0) -> None:
        self.path = path
        self.gone = False
        self._handles = handles
        self._offset = offset
        self._fd = -1
        self._identity: tuple[int, int] | None = None

    def read(self, size: int) -> bytes:
        """
        Read the next bytes.

        Returns:
            At most *size* bytes; empty at the end of what is there now.

        Raises:
            ViewError: The file cannot be read. A file that is gone is not an error: it is at its end.
        """
        if self.gone:
            return b""
        try:
            fd = self._fd if self._fd >= 0 else os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.gone = True
            return b""
        except OSError as exc:
            raise refuse(self.path, exc) from exc
        try:
            if self._fd < 0:
                self._look(fd)
            data = os.pread(fd, size, self._offset)
        except OSError as exc:
            raise refuse(self.path, exc) from exc
        finally:
            if self._fd < 0:
                if self._handles.take():
                    self._fd = fd
                else:
                    os.close(fd)
        self._offset += len(data)
        return data

    def _look(self, fd: int) -> None:
        """Start over when the path leads to another file than before, or to a shorter one."""
        found = os.fstat(fd)
        identity = (found.st_dev, found.st_ino)
        if (self._identity is not None and identity != self._identity) or found.st_size < self._offset:
            self._offset = 0
        self._identity = identity

    def turn_over(self) -> bool:
        """
        After the end was reached: look whether the path now leads to another file, a shorter one or none.

        Returns:
            True when there is something to read from the beginning.
        """
        try:
            found = self.path.stat()
        except OSError:
            self.close()
            self.gone = True
            return False
        same = self._identity in {None, (found.st_dev, found.st_ino)}
        if same and found.st_size >= self._offset:
            return False
        self.close()
        self._offset = 0
        self._identity = None
        return True

    def close(self) -> None:
        """Let go of the descriptor; a later `read` opens the file again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._handles.give_back()


class GzipReader:
    """Unpacks a `.gz` file of one or more members, at most one block of text at a time."""

    def __init__(self, path: Path, handles: Handles) -> None:
        self.path = path
        self.gone = False
        self._packed = FileReader(path, handles)
        self._unpack = zlib.decompressobj(wbits=31)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """
        Read the next bytes of the text.

        Raises:
            ViewError: The file cannot be read, or what is in it is not gzip.
        """
        while True:
            if self._unpack.eof:
                self._rest = self._unpack.unused_data.lstrip(b"\0") or self._rest
                self._unpack = zlib.decompressobj(wbits=31)
            data = self._rest or self._packed.read(65536)
            if not data:
                return b""
            try:
                text = self._unpack.decompress(data, size)
            except zlib.error as exc:
                raise ViewError(f"{self.path}: not gzip, or damaged") from exc
            self._rest = self._unpack.unconsumed_tail
            if text:
                return text

    def turn_over(self) -> bool:
        """Packed files do not grow."""
        self.gone = True
        return False

    def close(self) -> None:
        """Let go of the descriptor."""
        self._packed.close()


class PipeReader:
    """
    Reads stdin, a named pipe or whatever else has no offsets.

    Args:
        path: The pipe, or None for stdin.
        wait: Whether `read` waits for bytes. If not, it answers None when there are none.
    """

    def __init__(self, path: Path | None, *, wait: bool) -> None:
        self.path = path or Path("-")
        self.gone = False
        self._wait = wait
        self._polite = True
        try:
            self._fd = 0 if path is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise refuse(self.path, exc) from exc

    def read(self, size: int) -> bytes | None:
        """
        Read what is there.

        Returns:
            Bytes; empty at the end; None when nothing came for a moment, so that what was read before can be shown.
        """
        if self.gone:
            return b""
        try:
            if self._polite and not select.select([self._fd], [], [], _QUIET_S if self._wait else 0)[0]:
                self._polite = not self._wait
                return None
            self._polite = True
            data = os.read(self._fd, size)
        except OSError as exc:
            raise refuse(self.path, exc) from exc
        self.gone = not data
        return data

    def turn_over(self) -> bool:
        """A pipe ends once."""
        return False

    def close(self) -> None:
        """Let go of the descriptor, unless it is stdin."""
        if self._fd > 0:
            os.close(self._fd)
            self._fd = 0
        self.gone = True


Reader = FileReader | GzipReader | PipeReader


def open_reader(path: Path | None, handles: Handles, *, offset: int = 0, wait: bool = True) -> Reader:
    """
    Choose the reader for a path.

    Args:
        path: A file; None is stdin.
        handles: Where room for an open descriptor is asked for.
        offset: Where to begin, for regular files that are not packed.
        wait: Whether a pipe is waited for.
    """
    if path is None:
        return PipeReader(None, wait=wait)
    if path.name.endswith(".gz"):
        return GzipReader(path, handles)
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = stat.S_IFREG  # gone, or not to be read: reading will tell
    if stat.S_ISREG(mode):
        return FileReader(path, handles, offset)
    return PipeReader(path, wait=wait)

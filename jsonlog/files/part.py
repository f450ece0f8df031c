"""
One part that is open: its descriptor, its place in the directory, and whether the two still belong together.

Other code may close the descriptor and get the same number for a file of its own, and other programs may delete or
rename the file. So whatever is irrevocable here (close, cut) first asks whose file it is.
"""

from __future__ import annotations

import contextlib
import errno
import os

HERE, CLOSED, DELETED, CUT, RENAMED = "here", "closed by other code", "deleted", "cut", "renamed"


class Part:
    """
    An open part.

    Args:
        fd: Its descriptor, appending and locked; owned from now on.
        path: Where it stands.

    Attributes:
        size: Bytes of whole records in it.
        limit: The size at which it is left.
        synced: How many bytes are known to be on the disk itself.
        mode, group: As it has them.
    """

    __slots__ = ("_identity", "_is_findable", "fd", "group", "limit", "mode", "path", "size", "synced")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        facts = os.fstat(fd)
        self._identity = (facts.st_dev, facts.st_ino)
        self.mode, self.group = facts.st_mode & 0o7777, facts.st_gid
        self.size = self.synced = 0
        self.limit = float("inf")
        # Some file systems of the FUSE kind give a file another number by its path.
        self._is_findable = self._is_at_path() is True

    def __del__(self) -> None:
        # An exception may have come between opening this and remembering it, and a handler may be dropped unclosed.
        with contextlib.suppress(Exception):
            self.close()

    def is_ours(self) -> bool:
        """Tell whether the number still stands for our file."""
        try:
            found = os.fstat(self.fd)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def where(self) -> str:
        """
        Tell what has become of it.

        Returns:
            HERE; CLOSED (the descriptor, by other code); or what another program did to it: DELETED, CUT, RENAMED.
        """
        if not self.is_ours():
            return CLOSED
        facts = os.fstat(self.fd)
        if facts.st_nlink == 0:
            return DELETED
        if facts.st_size < self.size:  # its lines are counted by who reads them: never go on in the middle
            return CUT
        return RENAMED if self._is_findable and self._is_at_path() is False else HERE

    def unfinished(self) -> int:
        """
        Count the bytes after the last whole record.

        Raises:
            OSError: It is not ours any more.
        """
        found = os.fstat(self.fd)
        if (found.st_dev, found.st_ino) != self._identity:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return max(0, found.st_size - self.size)

    def unfinished_anyway(self) -> int:
        """Count the same, where the descriptor is gone by the path; 0 where nothing tells."""
        try:
            return self.unfinished()
        except OSError:
            if not self._is_findable or not self._is_at_path():
                return 0
        try:
            return max(0, os.stat(self.path).st_size - self.size)  # noqa: PTH116 (a Path costs more than the call)
        except OSError:
            return 0

    def cut(self) -> bool:
        """Cut off what stands after the last whole record; false when it is still there."""
        with contextlib.suppress(OSError):
            if self.unfinished():  # else this would make a file longer that somebody has cut
                os.ftruncate(self.fd, self.size)
            return True
        return False

    def sync(self) -> None:
        """
        Wait until all of it is on the disk itself.

        Raises:
            OSError: The disk failed.
        """
        size = self.size
        if size != self.synced:
            _datasync(self.fd)
            self.synced = size

    def sync_beside(self) -> None:
        """
        Do the same through a descriptor of its own, so that writers need not wait.

        Raises:
            OSError: The disk failed.
        """
        size = self.size
        # Not a copy of the descriptor: a child forked meanwhile would inherit it, and with it the lock.
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:  # left, synced then, and deleted
            return
        try:
            _datasync(fd)
        finally:
            os.close(fd)
        self.synced = size

    def close(self) -> None:
        """Release it, unless the number is somebody else's by now. Nobody unlocks: the kernel does, with the last copy."""
        fd = self.fd
        if fd >= 0:
            is_ours = self.is_ours()
            self.fd = -1
            if is_ours:
                os.close(fd)

    def _is_at_path(self) -> bool | None:
        """Tell whether the path leads here; None where it cannot be asked."""
        try:
            there = os.lstat(self.path)  # (a Path costs more than the call)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return None
        return (there.st_dev, there.st_ino) == self._identity


def sync_directory(path: str) -> None:
    """
    Wait until the names in a directory are on the disk itself.

    Raises:
        OSError: The disk failed.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _datasync(fd: int) -> None:
    getattr(os, "fdatasync", os.fsync)(fd)

"""What happens to files, as one frozen value each; see `events`."""

from __future__ import annotations

import errno
import os

from msgspec import Struct


class WatchingFailed(Struct, frozen=True):
    """The kernel cannot tell what changes."""

    reason: str

    def __str__(self) -> str:
        return f"cannot watch the folders ({self.reason}): looking again and again in place of that"


class FileLost(Struct, frozen=True):
    """A file was deleted before all of it was read, and cannot be read on."""

    path: str
    left: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path} was deleted with {self.left} bytes that were not read: {self.reason}"


class FileGone(Struct, frozen=True):
    """No name leads to a file any more, and not all of it has been read yet."""

    path: str
    left: int

    def __str__(self) -> str:
        return f"{self.path} was deleted or moved away with {self.left} bytes that are not read yet; they are read from the open file"


class NothingMatches(Struct, frozen=True):
    """No file matches a pattern, which is fine when the application has not started yet."""

    pattern: str

    def __str__(self) -> str:
        return f"no file matches {self.pattern} (check --path if there should be some)"


class FileFound(Struct, frozen=True):
    """A file is followed from now on."""

    path: str
    offset: int


class FileUnreadable(Struct, frozen=True):
    """A file cannot be read. Said once per file and reason; tried again."""

    path: str
    reason: str

    def __str__(self) -> str:
        hint = " (the shipper needs read permission)" if self.reason == os.strerror(errno.EACCES) else ""
        return f"cannot read {self.path}: {self.reason}; it is tried again{hint}"


class FileTruncated(Struct, frozen=True):
    """A foreign file is shorter than what was read of it, or holds other bytes: it is read anew from its start."""

    path: str

    def __str__(self) -> str:
        return f"{self.path} was truncated or rewritten; it is read from its start"


class FileDeleted(Struct, frozen=True):
    """A finished part was deleted, or moved to the archive, since everything in it is acknowledged."""

    path: str


class ArchiveFailed(Struct, frozen=True):
    """A finished part cannot be archived; it stays where it is."""

    folder: str
    reason: str

    def __str__(self) -> str:
        return f"cannot archive into {self.folder}: {self.reason}; the files stay where they are, trying again"

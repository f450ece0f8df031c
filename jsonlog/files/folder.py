"""The directory of the parts: made, looked at for planted links, and filled with parts that the right people can read."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from jsonlog.files.part import Part
from jsonlog.files.protocol import PartName, create_part, move_high
from jsonlog.files.stderr import say

_MAX_LINKS = 40  # as the kernel


class Folder:
    """
    Where the parts of a handler are made.

    Args:
        path: Absolute.
        mode: Permission bits of the parts, whatever the umask is.
        group: The group of the parts, and of the directory if it is made here; None: what the system gives them.
        directory_mode: Permission bits of the directory, if it is made here.

    Attributes:
        service, host: The first two pieces of the names of the parts that are made from now on.
    """

    def __init__(self, path: str, *, mode: int, group: int | None, directory_mode: int) -> None:
        self.path = path
        self.service = ""
        self.host = ""
        self._mode = mode
        self._group = group
        self._directory_mode = directory_mode
        self._has_warned = False

    def make(self) -> None:
        """
        Make the directory if it is missing.

        Raises:
            OSError: It cannot be made, or somebody planted a link on the way to it.
        """
        if os.name == "posix":
            refuse_planted_links(self.path)
        if os.path.isdir(self.path):  # noqa: PTH112 (a Path costs more than the call it wraps)
            return
        os.makedirs(os.path.dirname(self.path), exist_ok=True)  # noqa: PTH103, PTH120
        try:
            os.mkdir(self.path, self._directory_mode & 0o777)  # noqa: PTH102
        except FileExistsError:
            if not os.path.isdir(self.path):  # noqa: PTH112
                raise
            return
        with contextlib.suppress(OSError):
            if self._group is not None:
                os.chown(self.path, -1, self._group)
        with contextlib.suppress(OSError):
            os.chmod(self.path, self._directory_mode)  # noqa: PTH101

    def create(self, pid: int, run: str, number: int) -> Part:
        """
        Make the next part, visible and locked.

        Raises:
            OSError: It cannot be made.
        """
        self.make()
        name = PartName(self.service, self.host, pid, run, number, locked=True)
        fd, path = create_part(self.path, name, self._mode, -1 if self._group is None else self._group, pid)
        part = Part(move_high(fd), path)
        self._warn_of_strangers(part)
        return part

    def _warn_of_strangers(self, part: Part) -> None:
        """Say once that a part does not belong to whom it was meant for: a sidecar of another user cannot read it."""
        if self._has_warned or os.name != "posix":
            return
        if self._group is not None and part.group != self._group:
            self._has_warned = True
            say(f"{part.path} could not be given to group {self._group}: this user is not in it")
        elif part.mode != self._mode:
            self._has_warned = True
            say(f"{part.path} has mode {part.mode:o} and not {self._mode:o}: its file system refused")


def refuse_planted_links(path: str) -> None:
    """
    Follow a path as the kernel does, and refuse a link that somebody else may have put there.

    That is a symbolic link in a directory that everybody may write to, and whose owner is neither root, nor this user,
    nor the owner of that directory: what Linux refuses with `fs.protected_symlinks`, which is not on everywhere.

    Args:
        path: Absolute; what does not exist is not followed.

    Raises:
        PermissionError: There is such a link.
    """
    here, rest, links = "/", path.split("/")[::-1], 0
    while rest:
        name = rest.pop()
        if name in {"", "."}:
            continue
        there = os.path.dirname(here) if name == ".." else os.path.join(here, name)  # noqa: PTH118, PTH120
        try:
            facts = os.lstat(there)
            if not stat.S_ISLNK(facts.st_mode):
                here = there
                continue
            folder = os.lstat(here)
            target = os.readlink(there)  # noqa: PTH115
        except OSError:
            return
        links += 1
        if links > _MAX_LINKS:
            return
        if folder.st_mode & stat.S_IWOTH and facts.st_uid not in {0, os.geteuid(), folder.st_uid}:
            raise PermissionError(errno.EPERM, f"a link of user {facts.st_uid} in a directory of everybody", there)
        rest += target.split("/")[::-1]
        if target.startswith("/"):
            here = "/"

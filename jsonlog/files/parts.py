"""The parts of a run, one after the other: opened, looked at once a second, rotated, left. All of it under the run's lock."""

from __future__ import annotations

import errno
import os
import time

from jsonlog.files.part import CLOSED, HERE, RENAMED, Part, sync_directory
from jsonlog.files.stderr import say

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonlog.files.folder import Folder
    from jsonlog.files.policy import Policy

DIRECTORY, FILE = "directory", "file"
_LOOK_INTERVAL_S = 1.0
_NEVER = float("inf")


class Parts:
    """
    The parts of a run.

    Args:
        folder: Where they are made.
        policy: When one is left for the next, and what is synced.
        pid, run: What they are named after.

    Attributes:
        current: The part that is being written; None before the first record and after `leave`.
        count: How many were begun.
        look_at: When `make_ready` has to be called, by the monotonic clock.
        is_dead: Whether this is what a forked child has of its parent's run, which opens nothing any more.
    """

    __slots__ = (
        "_age_at",
        "_folder",
        "_is_unsynced",
        "_pid",
        "_policy",
        "_run",
        "count",
        "current",
        "is_dead",
        "look_at",
    )

    def __init__(self, folder: Folder, policy: Policy, pid: int, run: str) -> None:
        self.current: Part | None = None
        self.count = 0
        self.look_at = 0.0
        self.is_dead = False
        self._folder = folder
        self._policy = policy
        self._pid = pid
        self._run = run
        self._age_at = _NEVER
        self._is_unsynced = {DIRECTORY: False, FILE: False}

    @property
    def place(self) -> str:
        """What to name when something is wrong."""
        return self.current.path if self.current else self._folder.path

    def make_ready(self) -> Part:
        """
        Give the part that the next record belongs to: the one there is, if all is well with it, or a new one.

        Raises:
            OSError: There is none, and none can be opened.
        """
        now = time.monotonic()
        part = self.current
        if part is not None and now >= self.look_at:
            self.look_at = min(now + _LOOK_INTERVAL_S, self._age_at)
            part = self._look(part)
        if part is None:
            return self.open()
        if part.size >= part.limit or now >= self._age_at:
            return self._rotate(part)
        return part

    def open(self) -> Part:
        """
        Open the next part.

        Raises:
            OSError: It cannot be made.
        """
        try:
            part = self._create()
        except (FileExistsError, FileNotFoundError):  # somebody was in the way at this moment, a forked child perhaps
            part = self._create()
        self.current = part
        self._begin(part, 0)
        self.look_at = min(time.monotonic() + _LOOK_INTERVAL_S, self._age_at)
        if self._policy.syncs:
            self.sync(DIRECTORY, lambda: sync_directory(self._folder.path))
        return part

    def leave(self, part: Part) -> None:
        """Release a part. A number that is not ours any more is left alone."""
        if self.is_dead:
            return
        if self.current is part:
            self.current = None
        if not part.is_ours():
            part.fd = -1
            say(f"the descriptor of {part.path} was {CLOSED}; a new part is opened")
            return
        if self._policy.syncs:
            self.sync(FILE, part.sync)
        part.close()

    def sync(self, what: str, sync: Callable[[], None]) -> OSError | None:
        """Sync the DIRECTORY or a FILE; what fails is said once, and returned."""
        try:
            sync()
        except OSError as exc:
            if not self._is_unsynced[what]:
                self._is_unsynced[what] = True
                say(f"cannot sync the {what} {self.place}: {exc.strerror or exc}; records may not survive a power cut")
            return exc
        self._is_unsynced[what] = False
        return None

    def _create(self) -> Part:
        self._stop_if_dead()
        # The next number first: an attempt that an exception cut off may have left a file of this one behind.
        number, self.count = self.count, self.count + 1
        part = self._folder.create(self._pid, self._run, number)
        self._stop_if_dead()
        return part

    def _begin(self, part: Part, size: int) -> None:
        part.limit = size + (self._policy.max_bytes or _NEVER)
        self._age_at = time.monotonic() + (self._policy.max_age_s or _NEVER)

    def _rotate(self, part: Part) -> Part:
        try:
            new = self.open()
        except OSError as exc:  # the old part is still good: a record is worth more than a rotation
            if self.is_dead:
                raise
            say(f"cannot rotate {part.path}: {exc.strerror or exc}; it is written on")
            self.current = part
            self._begin(part, part.size)
            return part
        self.leave(part)
        return new

    def _look(self, part: Part) -> Part | None:
        """Notice what was done to a part from outside, and a number that somebody else's file has taken."""
        where = part.where()
        if where == HERE:
            return part
        if where != CLOSED:
            say(f"{part.path} was {where} while it was written; a new part is opened")
        if where == RENAMED:
            return self._rotate(part)
        self.leave(part)
        return None

    def _stop_if_dead(self) -> None:
        if self.is_dead:
            raise OSError(errno.ECHILD, os.strerror(errno.ECHILD))

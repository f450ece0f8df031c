"""
What has changed, as the kernel tells it: inotify, through watchfiles.

Strategy: each folder that matters is watched by itself, not with what is below it, so that a pattern in `/var` does not watch
all of `/var`. The paths that have changed are collected; whoever looks takes them. A look at everything is due after a start,
when the folders have changed, and once a minute for what was missed. Where the kernel cannot tell (a network file system, no
watches left) everything is looked at, again and again: that is polling.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shipper.events import Emit
from shipper.events_of_files import WatchingFailed
from shipper.look import Number, View, folders_of

Mode = Literal["auto", "inotify", "poll"]
_MOUNTS = Path("/proc/self/mountinfo")
# Others may write there without this kernel knowing.
_REMOTE = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "vboxsf", "prl_fs", "ceph", "glusterfs", "lustre", "afs", "gpfs", "beegfs",
    "fakeowner", "osxfs",
})  # fmt: skip
_STEP_MS = 20  # changes are handed over when nothing more has come for so long
_DEBOUNCE_MS = 60  # but after so long at the latest
_STARTED_MS = 250


@dataclass(slots=True)
class Watcher:
    """
    Collects the paths that have changed.

    Args:
        patterns: Globs, absolute.
        mode: `auto` polls where inotify would not be told of everything.
        wake: Called when something has changed.
        emit: Takes events.
    """

    patterns: tuple[str, ...]
    mode: Mode
    wake: Callable[[], None]
    emit: Emit
    active: bool = False  # changes are being told: no need to look for them
    _changed: set[str] = field(default_factory=set)
    _all: bool = True
    _folders: dict[str, Number] = field(default_factory=dict)
    _links: dict[str, set[str]] = field(default_factory=dict)
    _known: asyncio.Event = field(default_factory=asyncio.Event)  # which folders matter
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def due(self) -> bool:
        """Tell whether there is something to be looked at."""
        return self.active and (self._all or bool(self._changed))

    def take(self) -> set[str] | None:
        """Take what has changed; None when everything is to be looked at."""
        changed, self._changed = self._changed, set()
        if self._all or not self.active:
            self._all = not self.active
            return None
        return changed

    async def looked(self, view: View) -> None:
        """Learn from a look at everything which folders matter."""
        folders = await asyncio.to_thread(lambda: {**folders_of(self.patterns), **_parents(view.links)})
        self._links = view.links
        self._known.set()
        if folders != self._folders:
            self._folders = folders
            self._stop.set()

    async def run(self) -> None:
        """Watch until cancelled, or until it is known that polling is the better way."""
        await self._known.wait()
        while self._folders and not self._is_remote():
            self._stop = asyncio.Event()
            try:
                await self._watch(list(self._folders))
            except (OSError, RuntimeError) as exc:  # a folder that is gone again, or a limit of the system
                self.active = False
                if not await asyncio.to_thread(self._all_there):
                    await asyncio.sleep(_STARTED_MS / 1000)
                    continue
                self.emit(WatchingFailed(str(exc)))
                return

    async def _watch(self, folders: list[str]) -> None:
        from watchfiles import awatch  # noqa: PLC0415 (only where it is used: it costs a tenth of the start)

        changes = awatch(
            *folders, watch_filter=None, debounce=_DEBOUNCE_MS, step=_STEP_MS, stop_event=self._stop,
            rust_timeout=_STARTED_MS, yield_on_timeout=True, recursive=False, ignore_permission_denied=True,
        )  # fmt: skip
        self.active = False
        async for batch in changes:
            if not self.active:  # what happened before this moment may have been missed
                self.active = self._all = True
                self.wake()
            if batch:
                self._take_in(path for _, path in batch)
                self.wake()
        self.active = False

    def _take_in(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._changed.add(path)
            self._changed.update(self._links.get(path, ()))
            if path in self._folders:
                self._all = True

    def _all_there(self) -> bool:
        return all(map(os.path.isdir, self._folders))

    def _is_remote(self) -> bool:
        return self.mode == "auto" and any(map(is_remote, self._folders))


async def wait_for(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for an event; unlike `wait_for` of Python 3.11 this never swallows a cancellation."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


def is_remote(folder: str, mounts: Path = _MOUNTS) -> bool:
    """Tell whether a folder is on a file system that others may write to without this kernel knowing."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    real, kind, longest = os.path.realpath(folder), "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of two mounts at one place the later one counts
            longest, kind = len(point), after.split(" ")[0]
    return kind in _REMOTE or kind.startswith("fuse")


def _parents(links: dict[str, set[str]]) -> dict[str, Number]:
    """List the folders that symbolic links lead into."""
    found: dict[str, Number] = {}
    for folder in {os.path.dirname(path) for path in links}:  # noqa: PTH120
        try:
            info = os.stat(folder)  # noqa: PTH116
        except OSError:
            continue
        found[folder] = (info.st_dev, info.st_ino)
    return found

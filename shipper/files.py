"""
The files that are followed: which there are, and which of them are known.

A file of ours is known by its name. A foreign file is known by its inode, its first bytes and the bytes just before the place
that was read; when those differ, it is another file under an old number, and it is read from its start under a new epoch.
A path tells nothing: after a rotation it leads to another file, which may begin with the same lines.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from msgspec.structs import replace

from jsonlog.files.protocol import PartName, is_alive, parse_name
from shipper.checkpoint import FileState
from shipper.core.acks import Commit
from shipper.core.model import Checked, Source
from shipper.events import Emit
from shipper.events_of_files import FileFound, FileGone, FileLost, FileTruncated, FileUnreadable, NothingMatches
from shipper.look import Number, Seen, View, look, look_at
from shipper.opened import Opened, open_all, stem_of, still
from shipper.packed import Survey, Surveys, bare_name
from shipper.tailer import Reader, Tailer

_AT_ONCE = 256  # files that are looked into in one go
A_COPY = "a copy: a file of the same name is followed already"


@dataclass(slots=True)
class Changes:
    """
    What a look changes.

    Args:
        view: What it found.
        adopted: Files that are new or have moved, for the checkpoint.
        forgotten: Keys that mean nothing any more, for the checkpoint.
        touched: Files of which there may be more to read.
    """

    view: View
    adopted: list[FileState] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    touched: list[Tailer] = field(default_factory=list)


@dataclass(slots=True)
class Files:
    """
    Follows all files that match the patterns.

    Args:
        patterns: Globs, absolute.
        known: What the checkpoint holds, by key; kept up to date here.
        exclude: Folders whose files are never input: the shipper's own state.
        reader: Reads them.
        new_epoch: Draws the key of a foreign file.
        emit: Takes events.
        keep_gone_s: How long a file is followed that no name leads to any more: its writer may not know yet.
        gone_max: How many of those are kept until they are read.
        gone_max_s: How long they are kept until they are read: they take room on the disk.
        holds: Tells by its path whether a file is to be followed; the others belong to other workers.
    """

    patterns: tuple[str, ...]
    known: dict[str, FileState]
    exclude: tuple[Path, ...]
    reader: Reader
    new_epoch: Callable[[], str]
    emit: Emit
    keep_gone_s: float = 10.0
    gone_max: int = 256
    gone_max_s: float = 3600.0
    holds: Callable[[str], bool] | None = None
    tailers: dict[Number, Tailer] = field(default_factory=dict)
    live: dict[str, Tailer] = field(default_factory=dict)  # the same, by key
    unreadable: dict[str, str] = field(default_factory=dict)
    gone: dict[Tailer, None] = field(default_factory=dict)  # those that no name leads to, the longest gone first
    _by_path: dict[str, Tailer] = field(default_factory=dict)
    _by_inode: dict[int, set[str]] = field(default_factory=dict)  # keys of foreign files
    _spoiled: set[str] = field(default_factory=set)  # keys of ours whose lines are not what they were
    _empty: set[str] = field(default_factory=set)
    _surveys: Surveys = field(init=False)
    _copies: set[str] = field(default_factory=set)  # compressed files that wait for something
    _linked: set[str] = field(default_factory=set)  # files with further names, under which they may change unnoticed
    _unmatched: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._surveys = Surveys(self._may_be)
        for state in self.known.values():
            self._index(state)

    async def scan(self, now: float, paths: set[str] | None = None) -> Changes:
        """
        Look which files there are.

        Args:
            now: Seconds, monotonic.
            paths: What may have changed, where that is known; None to look at everything.

        Returns:
            What has to be in the checkpoint before anything more is read.
        """
        if paths is None:
            view = await asyncio.to_thread(look, self.patterns, self.exclude)
        else:
            paths = paths | self.restless
            view = await asyncio.to_thread(look_at, paths, self.patterns, self.exclude, self._path_of)
        if self.holds is not None:
            view.files = {number: seen for number, seen in view.files.items() if self.holds(seen.path)}
            view.unreadable = {path: why for path, why in view.unreadable.items() if self.holds(path)}
        self._report(view)
        changes = Changes(view)
        for tailer in self._followed(view, everything=paths is None):
            self._follow(tailer, view.files.get(tailer.number), now, changes)
        await self._find(view, changes, everything=paths is None)
        changes.touched = [tailer for tailer in changes.touched if not tailer.dropped]
        return changes

    @property
    def restless(self) -> set[str]:
        """What has to be looked at again and again, since no change would tell of it."""
        waiting = {tailer.source.path for tailer in self.reader.waiting}
        return waiting | self._linked | self._copies | self.unreadable.keys()

    @property
    def is_restless(self) -> bool:
        """Tell whether there is anything that has to be looked at again and again."""
        return bool(self.reader.waiting or self._linked or self._copies or self.unreadable or self.gone)

    @property
    def is_surveying(self) -> bool:
        """Tell whether it is being found out what is in a compressed file."""
        return self._surveys.busy

    def _path_of(self, number: Number) -> str | None:
        tailer = self.tailers.get(number)
        return tailer.source.path if tailer is not None and tailer.gone_at is None else None

    def _followed(self, view: View, *, everything: bool) -> list[Tailer]:
        """List the files that are followed and may have changed."""
        if everything:
            return list(self.tailers.values())
        named = (self._by_path.get(path) for path in view.paths)
        numbered = (self.tailers.get(number) for number in view.files)
        found = (*named, *numbered, *self.gone)
        return list(dict.fromkeys(tailer for tailer in found if tailer is not None and not tailer.dropped))

    def _follow(self, tailer: Tailer, found: Seen | None, now: float, changes: Changes) -> None:
        """Take what a look has found of a file that is followed; None when no name leads to it."""
        if found is None:
            self._look_at_gone(tailer, now)
        elif tailer.part is not None and found.path != tailer.source.path and stem_of(found.path) != tailer.source.key:
            self.drop(tailer)  # another file has got the number: files of ours are never renamed
        elif tailer.packed and found.modified_ns != tailer.modified_ns:
            self.drop(tailer)  # it is surveyed anew
        elif tailer.rewritten or (found.size < tailer.position.offset and not tailer.packed):
            self._give_up(tailer, changes)
        else:
            tailer.gone_at = tailer.missed_at = None
            self.gone.pop(tailer, None)
            tailer.looked(tailer.size if tailer.packed else found.size, found.modified_ns)
            if found.path != tailer.source.path:
                self._rename(tailer, found)
                changes.adopted.append(self.known[tailer.source.key])
        changes.touched.append(tailer)

    def _rename(self, tailer: Tailer, found: Seen) -> None:
        if self._by_path.get(tailer.source.path) is tailer:
            del self._by_path[tailer.source.path]
        tailer.moved(found)
        self._by_path[found.path] = tailer
        self._know(replace(self.known[tailer.source.key], path=found.path))

    async def _find(self, view: View, changes: Changes, *, everything: bool) -> None:
        """Begin to follow what is new: the oldest file first."""
        new = [found for number, found in view.files.items() if found.size and number not in self.tailers]
        new.sort(key=lambda found: found.modified_ns)
        self._copies -= view.paths
        self._surveys.looked()
        if everything:
            self._surveys.keep(view.files)
        plain = [found for found in new if not found.packed]
        for start in range(0, len(plain), _AT_ONCE):
            some, room = plain[start : start + _AT_ONCE], self.reader.room
            for opened in await asyncio.to_thread(open_all, some, room=room, recognise=self._recognise):
                if isinstance(opened, tuple):
                    self.cannot_read(*opened)
                elif opened is not None:
                    self._adopt(opened, changes)
        for found in new:  # after the plain ones, of which it may be a copy
            if found.packed:
                self._find_packed(found, changes)
        self._empty -= view.paths
        self._linked -= view.paths
        self._empty.update(found.path for found in view.files.values() if not found.size)
        self._linked.update(found.path for found in view.files.values() if found.names > 1)

    def _may_be(self, packed: Seen) -> list[FileState]:
        stem = stem_of(bare_name(packed.path))
        return [state for state in self.known.values() if state.foreign or state.key == stem]

    def _find_packed(self, found: Seen, changes: Changes) -> None:
        """Begin to follow a compressed file, once it is known what is in it and the plain file is not followed any more."""
        verdict = self._surveys.ask(found)
        if isinstance(verdict, str):
            self.cannot_read(found.path, verdict)
            return
        self._copies.add(found.path)
        if verdict is None:
            return
        state, waits = self._which(found, verdict)
        if waits:
            return
        self._copies.discard(found.path)
        content = replace(found, size=verdict.size)
        part = parse_name(Path(bare_name(found.path)).name)
        self._adopt(Opened(content, verdict.head, verdict.first_line, part, state, packed=True), changes)

    def _which(self, found: Seen, verdict: Survey) -> tuple[FileState | None, bool]:
        """Tell which known file a compressed one is, if any, and whether that cannot be told yet."""
        part = parse_name(Path(bare_name(found.path)).name)
        if part is not None and part.stem in self.live:
            return None, True
        if any(verdict.may_be(state) for state in self._may_be(found)):
            self._surveys.forget(found)  # a file that was found since, or read on since, may be this one
            return None, True
        same = [state for state in verdict.same if state.key not in self.live]
        if not same:
            alive = (self.live[state.key] for state in verdict.same)
            return None, any(tailer.size == verdict.size for tailer in alive)
        return min(same, key=lambda state: state.inode != found.inode), False

    async def read(
        self, tailers: deque[Tailer], wanted: Callable[[Tailer], bool], *, room: int, finish: bool
    ) -> list[Checked]:
        """Read the next chunks of files in turn; see `Reader.read_round`."""
        found, failed = await asyncio.to_thread(self.reader.read_round, tailers, wanted, room=room, finish=finish)
        for tailer, exc in failed:
            self.cannot_read(tailer.source.path, exc.strerror or str(exc))
        if self.unreadable:
            for checked in found:
                self.unreadable.pop(checked.chunk.source.path, None)
        return found

    def committed(self, commit: Commit) -> None:
        """Remember how far a file is delivered, for when it comes back after having been away."""
        state = self.known.get(commit.key)
        if state is not None:
            self.known[commit.key] = replace(state, position=commit.position, tail=commit.tail)

    def over(self, now: float, *, ending: bool) -> list[Tailer]:
        """List files that no name leads to and that need not be followed any more: they are read, or too many or too old."""
        kept_s = 0.0 if ending else self.keep_gone_s
        through = [
            tailer
            for tailer in self.gone
            if tailer.file is None or (not tailer.fresh and now - (tailer.gone_at or now) >= kept_s)
        ]
        unread = [tailer for tailer in self.gone if tailer not in through]
        old = [tailer for tailer in unread if now - (tailer.missed_at or now) > self.gone_max_s]
        return [*through, *(old or unread[: max(0, len(unread) - self.gone_max)])]

    def drop(self, tailer: Tailer) -> None:
        """Follow a file no longer."""
        if tailer.gone_at is not None and tailer.left and not tailer.rewritten:
            reason = "it is kept open no longer" if tailer.file is not None else "it was not open"
            self.emit(FileLost(tailer.source.path, tailer.left, reason))
        tailer.dropped = True
        self.tailers.pop(tailer.number, None)
        self.gone.pop(tailer, None)
        self.live.pop(tailer.source.key, None)
        if self._by_path.get(tailer.source.path) is tailer:
            del self._by_path[tailer.source.path]
        self.reader.close(tailer)

    async def close(self) -> None:
        """Close all descriptors."""
        await self._surveys.close()
        for tailer in self.tailers.values():
            self.reader.close(tailer)

    def forget(self, key: str) -> None:
        """Know a file no longer."""
        state = self.known.pop(key, None)
        if state is not None:
            self._by_inode.get(state.inode, set()).discard(key)

    def is_there(self, state: FileState) -> bool:
        """Tell whether a file that the checkpoint knows is followed, or may be one day."""
        return state.key in self.live or os.path.lexists(state.path)

    def any_writer(self) -> bool:
        """Tell whether a writer of a file of ours lives, also of one that is still empty; blocking."""
        parts = [tailer.source.path for tailer in self.tailers.values() if tailer.lockable and tailer.gone_at is None]
        names = ((path, parse_name(Path(path).name)) for path in self._empty)
        return any(map(is_alive, parts)) or any(name and name.locked and is_alive(path) for path, name in names)

    def cannot_read(self, path: str, reason: str) -> None:
        """Say that a file cannot be read, once per file and reason."""
        if self.unreadable.get(path) != reason:
            self.unreadable[path] = reason
            self.emit(FileUnreadable(path, reason))

    def _look_at_gone(self, tailer: Tailer, now: float) -> None:
        """What is written to a file after it was deleted or moved away can still be read."""
        if tailer.gone_at is None:
            tailer.gone_at = tailer.missed_at = now
            self.gone[tailer] = None
            if tailer.file is not None and tailer.grown_to() > tailer.position.offset:
                self.emit(FileGone(tailer.source.path, tailer.grown_to() - tailer.position.offset))
        if tailer.file is not None and not tailer.packed:
            info = os.fstat(tailer.file.fileno())
            if (info.st_size, info.st_mtime_ns) != (tailer.size, tailer.modified_ns):
                tailer.gone_at = now
            tailer.looked(info.st_size, info.st_mtime_ns)

    def _give_up(self, tailer: Tailer, changes: Changes) -> None:
        """Stop following a file that was truncated or rewritten; what stands in it now is a new file under a new epoch."""
        self.drop(tailer)
        self.emit(FileTruncated(tailer.source.path))
        key = tailer.source.key
        if tailer.state.foreign:
            self.forget(key)
            changes.forgotten.append(key)
        else:
            self._spoiled.add(key)

    def _report(self, view: View) -> None:
        for pattern in view.unmatched:
            if pattern not in self._unmatched:
                self._unmatched.add(pattern)
                self.emit(NothingMatches(pattern))
        for path in [path for path in self.unreadable if path not in view.paths or not os.path.lexists(path)]:
            del self.unreadable[path]
        for path, reason in view.unreadable.items():
            self.cannot_read(path, reason)

    def _recognise(self, file: FileIO, seen: Seen, head: bytes, part: PartName | None) -> FileState | None:
        """Find a file in the checkpoint by what is in it."""
        keys = [key for key in self._by_inode.get(seen.inode, ()) if key not in self.live]
        states = [self.known[key] for key in keys]
        states.sort(key=lambda state: state.device != seen.device)  # device numbers may change at a reboot
        for state in states:
            if state.head and head.startswith(state.head) and still(file, seen, state):
                return state
        own = self.known.get(part.stem) if part is not None and part.stem not in self._spoiled else None
        return own if own is not None and still(file, seen, own) else None

    def _adopt(self, opened: Opened, changes: Changes) -> None:
        """Begin to follow a file, unless it is followed already under another name."""
        seen, part, state = opened.seen, opened.part, opened.state
        key = state.key if state is not None else part.stem if part is not None else ""
        if seen.number in self.tailers or key in self.live:
            if key in self.live and self.live[key].gone_at is None:
                self.cannot_read(seen.path, A_COPY)
            if opened.file is not None:
                opened.file.close()
            return
        if state is None:
            # A file of ours whose bytes are not those that were read is no longer what its name says.
            own = part is not None and key not in self.known and key not in self._spoiled
            key = key if own else self.new_epoch()
            head = opened.head[: opened.head.find(b"\n") + 1] or opened.head
            state = FileState(key, seen.path, not own, seen.device, seen.inode, head)
        self.unreadable.pop(seen.path, None)
        current = replace(state, path=seen.path, device=seen.device, inode=seen.inode)
        if self.known.get(key) != current:
            changes.adopted.append(current)
        self._know(current)
        tailer = self._tail(current, opened)
        changes.touched.append(tailer)
        self.emit(FileFound(seen.path, current.position.offset))

    def _tail(self, state: FileState, opened: Opened) -> Tailer:
        target = self.reader.target_of(opened.first_line, foreign=state.foreign)
        source = Source(state.key, target, state.path, foreign=state.foreign)
        part = None if state.foreign or opened.packed else opened.part
        tailer = Tailer(source, state, part, state.position, state.tail, packed=opened.packed)
        tailer.looked(opened.seen.size, opened.seen.modified_ns)
        self.tailers[opened.seen.number] = self.live[state.key] = self._by_path[state.path] = tailer
        if opened.file is not None:
            self.reader.keep_open(tailer, opened.file)
        return tailer

    def _know(self, state: FileState) -> None:
        self.forget(state.key)
        self.known[state.key] = state
        self._index(state)

    def _index(self, state: FileState) -> None:
        if state.foreign:
            self._by_inode.setdefault(state.inode, set()).add(state.key)

"""
The files that are followed: which there are, which of them are known, and their next chunk.

A file of ours is known by its name. A foreign file is known by device, inode, its first bytes and the bytes just before the
place that was read; when those differ, it is another file under an old number, and it is read from its start under a new
epoch. A descriptor stays open as long as there is room, so that what is written between the last look and a rename or a
removal is not missed.
"""

from __future__ import annotations

import asyncio
import glob
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiofiles

from jsonlog.files.protocol import PartName, parse_name, writer_alive
from shipper.checkpoint import FileState
from shipper.core.acks import Commit
from shipper.core.framing import check, whole_lines
from shipper.core.model import TAIL_BYTES, Checked, Chunk, Position, Refused, Source, make_chunk
from shipper.core.naming import stream_of
from shipper.events import Emit, FileFound, FileTruncated, FileUnreadable, NothingMatches

CHUNK_BYTES = 256 * 1024
_HEAD_BYTES = 1024
_OVERSIZE_HEAD = 64 * 1024
_MAX_OPEN = 200
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")
DEAD_WRITER = "the writer ended before this line was complete"


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as a look at the folder found it."""

    path: str
    device: int
    inode: int
    size: int


@dataclass(slots=True)
class Tailer:
    """One file that is followed."""

    source: Source
    state: FileState
    part: PartName | None
    position: Position
    tail: bytes
    size: int
    gone: bool = False
    at_end: bool = False  # the last read found no whole line
    rewritten: bool = False  # the bytes before the position are not the ones that were read
    skip_to: int = 0  # how far an over-long line has been searched for its end
    file: Any = None

    @property
    def unread(self) -> bool:
        """True when the file was longer at the last look than what has been read."""
        return self.size > max(self.position.offset, self.skip_to)

    @property
    def lockable(self) -> bool:
        """True when a lock tells whether the writer lives."""
        return self.part is not None and self.part.locked

    async def close(self) -> None:
        """Close the descriptor; a later read opens it again."""
        if self.file is not None:
            file, self.file = self.file, None
            await file.close()


@dataclass(slots=True)
class Files:
    """
    Follows all files that match the patterns.

    Args:
        patterns: Globs, absolute.
        known: What the checkpoint holds, by key; kept up to date here.
        exclude: A folder whose files are never input: the shipper's own state.
        max_line_bytes: A longer line is passed over, with its head in the dead-letter file.
        new_epoch: Draws the key of a foreign file.
        emit: Takes events.
        dataset, namespace: Override what the records say.
    """

    patterns: tuple[str, ...]
    known: dict[str, FileState]
    exclude: Path
    max_line_bytes: int
    new_epoch: Callable[[], str]
    emit: Emit
    dataset: str | None = None
    namespace: str | None = None
    tailers: dict[tuple[int, int], Tailer] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    _unmatched: set[str] = field(default_factory=set)

    async def match(self) -> bool:
        """Tell whether any file matches, readable or not."""
        return bool(await asyncio.to_thread(self._look) or self.unreadable)

    async def scan(self) -> list[FileState]:
        """
        Look which files there are.

        Returns:
            Files that are new. They must be in the checkpoint before anything of them is sent.
        """
        seen = await asyncio.to_thread(self._look)
        adopted: list[FileState] = []
        for number, tailer in list(self.tailers.items()):
            tailer.gone = number not in seen
            if (
                tailer.gone and tailer.file is not None
            ):  # what was written before it was deleted or moved is still there
                tailer.size = os.fstat(tailer.file.fileno()).st_size
        for number, found in seen.items():
            known = self.tailers.get(number)
            if known is None:
                state = await self._adopt(found)
            elif known.rewritten or found.size < known.position.offset:
                state = await self._restart(known)
            else:
                known.size = found.size
                continue
            if state is not None:
                adopted.append(state)
        return adopted

    async def read(self, tailer: Tailer, *, finish: bool = False) -> Checked | None:
        """
        Read the next chunk of a file.

        Args:
            tailer: The file.
            finish: Take a last line without newline as complete if it is good: nobody will read this file again.

        Returns:
            None when there is no whole line yet; the next look may find more.
        """
        tailer.at_end = True
        try:
            data = await self._read_block(tailer, CHUNK_BYTES)
            if data is None:
                tailer.size = tailer.position.offset
                return None
            if not whole_lines(data) and len(data) >= CHUNK_BYTES:
                data = await self._read_block(tailer, self.max_line_bytes + 1) or b""
                if not whole_lines(data) and len(data) > self.max_line_bytes:
                    return await self._pass_over(tailer, data)
        except OSError as exc:
            self._cannot_read(tailer.source.path, exc)
            tailer.size = tailer.position.offset
            await tailer.close()
            return None
        self.unreadable.pop(tailer.source.path, None)
        size = whole_lines(data)
        if size:
            return self._advance(
                tailer, await asyncio.to_thread(check, make_chunk(tailer.source, tailer.position, data[:size]))
            )
        tailer.size = min(tailer.size, tailer.position.offset)  # nothing more until the next look
        return await self._last_line(tailer, data, finish=finish) if data else None

    async def _restart(self, tailer: Tailer) -> FileState | None:
        """Take a file that was truncated or rewritten for a new one: from its start, under a new epoch."""
        await self.drop(tailer)
        self.emit(FileTruncated(tailer.source.path))
        return await self._adopt(Seen(tailer.source.path, tailer.state.device, tailer.state.inode, 0), anew=True)

    def committed(self, commit: Commit) -> None:
        """Remember how far a file is delivered, for when it comes back after having been away."""
        state = self.known[commit.key]
        self.known[commit.key] = replace(state, position=commit.position, tail=commit.tail)

    async def drop(self, tailer: Tailer) -> None:
        """Follow a file no longer."""
        await tailer.close()
        self.tailers.pop((tailer.state.device, tailer.state.inode), None)

    async def rest(self) -> None:
        """Close descriptors beyond the limit, first those of files whose names cannot change."""
        idle = [tailer for tailer in self.tailers.values() if tailer.file is not None and not tailer.unread]
        idle.sort(key=lambda tailer: not tailer.lockable)
        for tailer in idle[: max(0, len(idle) - _MAX_OPEN)]:
            await tailer.close()

    def is_alive(self, tailer: Tailer) -> bool:
        """Tell whether the writer of a file of ours lives; false for foreign files, whose writers cannot be known."""
        if not tailer.lockable or tailer.gone:
            return False
        try:
            fd = os.open(tailer.source.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return writer_alive(fd)
        except OSError:
            return True  # in doubt, it lives
        finally:
            os.close(fd)

    def _look(self) -> dict[tuple[int, int], Seen]:
        seen: dict[tuple[int, int], Seen] = {}
        for pattern in self.patterns:
            matched = False
            for path in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 (a Path's glob finds hidden files)
                matched = True
                found = self._stat(path)
                if found is not None:
                    seen.setdefault((found.device, found.inode), found)
            if not matched and pattern not in self._unmatched:
                self._unmatched.add(pattern)
                self.emit(NothingMatches(pattern))
        return seen

    def _stat(self, path: str) -> Seen | None:
        try:
            info = os.stat(path)  # noqa: PTH116 (asked of every file, at every look)
            if not stat.S_ISREG(info.st_mode) or Path(path).resolve().is_relative_to(self.exclude):
                return None
        except FileNotFoundError:
            return None
        except OSError as exc:
            self._cannot_read(path, exc)
            return None
        if path.endswith(_COMPRESSED):
            self._cannot_read(path, OSError(0, "compressed files are not read"))
            return None
        return Seen(path, info.st_dev, info.st_ino, info.st_size)

    def _cannot_read(self, path: str, exc: OSError) -> None:
        reason = exc.strerror or str(exc)
        if self.unreadable.get(path) != reason:
            self.unreadable[path] = reason
            self.emit(FileUnreadable(path, reason))

    async def _adopt(self, found: Seen, *, anew: bool = False) -> FileState | None:
        """Begin to follow a file; None when there is nothing to know it by yet, or the checkpoint knows it already."""
        try:
            async with aiofiles.open(found.path, "rb", buffering=0) as file:
                info = os.fstat(file.fileno())
                found = Seen(found.path, info.st_dev, info.st_ino, info.st_size)
                head = await file.read(_HEAD_BYTES)
                if not head or (found.device, found.inode) in self.tailers:
                    return None
                part = None if anew else parse_name(Path(found.path).name)
                state = None if anew else await self._recognise(file, found, head, part)
                first_line = await _first_line(file, head)
        except OSError as exc:
            self._cannot_read(found.path, exc)
            return None
        if part is not None and any(other.source.key == part.stem for other in self.tailers.values()):
            self._cannot_read(found.path, OSError(0, "a copy: a file of the same name is followed already"))
            return None
        if state is None:
            # A file of ours whose bytes are not those that were read is no longer what its name says.
            own = part is not None and part.stem not in self.known
            key = part.stem if own and part is not None else self.new_epoch()
            state = FileState(key, found.path, not own, found.device, found.inode, head[: head.find(b"\n") + 1] or head)
        self.unreadable.pop(found.path, None)
        current = replace(state, path=found.path, device=found.device, inode=found.inode)
        changed = self.known.get(state.key) != current
        self.known[state.key] = current
        target = stream_of(first_line, dataset=self.dataset, namespace=self.namespace)
        source = Source(state.key, target, found.path)
        part = None if state.foreign else part
        self.tailers[found.device, found.inode] = Tailer(source, current, part, state.position, state.tail, found.size)
        self.emit(FileFound(found.path, state.position.offset))
        return current if changed else None

    async def _recognise(self, file: Any, found: Seen, head: bytes, part: PartName | None) -> FileState | None:
        """Find a file in the checkpoint by what is in it; a file of ours that has changed is a foreign one."""
        live = {tailer.source.key for tailer in self.tailers.values()}
        own = self.known.get(part.stem) if part is not None and part.stem not in live else None
        if own is not None and await _still(file, found, own):
            return own
        candidates = [state for key, state in self.known.items() if state.foreign and key not in live]
        # First the same inode, then the same path: device numbers may change at a reboot.
        candidates.sort(
            key=lambda state: ((state.device, state.inode) != (found.device, found.inode), state.path != found.path)
        )
        for state in candidates:
            same_place = state.inode == found.inode or state.path == found.path
            if (
                same_place
                and state.head
                and head.startswith(state.head[:_HEAD_BYTES])
                and await _still(file, found, state)
            ):
                return state
        return None

    async def _read_block(self, tailer: Tailer, size: int) -> bytes | None:
        """Read at the tailer's position; None when the bytes before it are not the ones that were read."""
        if tailer.file is None:
            if tailer.gone:
                return b""
            tailer.file = await aiofiles.open(tailer.source.path, "rb", buffering=0)
            info = os.fstat(tailer.file.fileno())
            if (info.st_dev, info.st_ino) != (tailer.state.device, tailer.state.inode):  # replaced since the last look
                await tailer.close()
                return b""
        overlap = len(tailer.tail) if tailer.state.foreign else 0
        await tailer.file.seek(tailer.position.offset - overlap)
        data: bytes = await tailer.file.read(size + overlap)
        if data[:overlap] != tailer.tail[:overlap]:
            tailer.rewritten = True
            return None
        return data[overlap:]

    def _advance(self, tailer: Tailer, checked: Checked) -> Checked:
        tailer.position = checked.chunk.end
        tailer.tail = checked.chunk.tail
        tailer.skip_to = 0
        tailer.at_end = False
        return checked

    async def _last_line(self, tailer: Tailer, data: bytes, *, finish: bool) -> Checked | None:
        """Decide about bytes without a newline at the end of a file."""
        chunk = make_chunk(tailer.source, tailer.position, data)
        if tailer.lockable:
            alive = tailer.gone or await asyncio.to_thread(self.is_alive, tailer)
            if alive or os.fstat(tailer.file.fileno()).st_size != chunk.end.offset:
                return None
            refused = Refused(tailer.source, chunk.start.line, data, DEAD_WRITER, offset=chunk.start.offset)
            return self._advance(tailer, Checked(chunk, (), (refused,)))
        if finish:
            checked = check(chunk)
            if checked.pieces:
                return self._advance(tailer, checked)
        return None

    async def _pass_over(self, tailer: Tailer, head: bytes) -> Checked | None:
        """Find the end of a line that is too long to be held, and pass over it."""
        offset = max(tailer.skip_to, tailer.position.offset)
        before = b""
        while True:
            await tailer.file.seek(offset)
            block = await tailer.file.read(CHUNK_BYTES)
            if not block:
                tailer.skip_to = offset
                tailer.size = min(tailer.size, offset)
                return None
            newline = block.find(b"\n")
            if newline >= 0:
                break
            offset += len(block)
            before = block[-TAIL_BYTES:]
        end = Position(offset + newline + 1, tailer.position.line + 1)
        tail = (before + block[: newline + 1])[-TAIL_BYTES:]
        chunk = Chunk(tailer.source, tailer.position, end, b"", tail)
        reason = (
            f"a line of {end.offset - chunk.start.offset} bytes, more than max_line_bytes; only its head is kept here"
        )
        refused = Refused(tailer.source, chunk.start.line, head[:_OVERSIZE_HEAD], reason, offset=chunk.start.offset)
        return self._advance(tailer, Checked(chunk, (), (refused,)))


async def _still(file: Any, found: Seen, state: FileState) -> bool:
    """Tell whether a file still holds, before the saved offset, what was read of it."""
    offset = state.position.offset
    if found.size < offset:
        return False
    await file.seek(offset - len(state.tail))
    return bool(await file.read(len(state.tail)) == state.tail)


async def _first_line(file: Any, head: bytes) -> bytes:
    if b"\n" not in head:
        await file.seek(0)
        head = await file.read(CHUNK_BYTES)
    return head.partition(b"\n")[0]


def absolute_patterns(patterns: Iterable[str], base: Path) -> tuple[str, ...]:
    """Make globs absolute; a folder stands for the `.jsonl` files in it."""
    result = []
    for pattern in patterns:
        path = base / Path(pattern).expanduser()
        result.append(str(path / "*.jsonl") if path.is_dir() else os.path.abspath(path))  # noqa: PTH100 (resolve would follow the links of a glob)
    return tuple(result)


def fixed_folder(pattern: str) -> Path:
    """Return the folder of a glob down to its first wildcard."""
    fixed = []
    for piece in Path(pattern).parts[:-1]:
        if glob.has_magic(piece):
            break
        fixed.append(piece)
    return Path(*fixed) if fixed else Path()

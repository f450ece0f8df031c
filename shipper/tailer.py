"""
One file that is followed, and how its next chunk is read.

A chunk ends at the last newline that was read; what follows is read again when the file has changed. A descriptor stays open
as long as there is room, so that what is written between the last look and a rename or a removal is not missed.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO

from msgspec.structs import replace

from jsonlog.files.protocol import PartName, is_alive
from shipper.checkpoint import FileState
from shipper.core.enrich import RULES, Rules
from shipper.core.framing import check, check_cut, whole_lines
from shipper.core.model import ORIGIN, TAIL_BYTES, Checked, Chunk, Position, Refused, Source
from shipper.core.naming import stream_of
from shipper.look import Number, Seen
from shipper.packed import Packed

CHUNK_BYTES = 512 * 1024
_TURNS = 500
OVERSIZE_HEAD = 64 * 1024
DEAD_WRITER = "the writer ended before this line was complete"


@dataclass(slots=True, eq=False)
class Tailer:
    """
    One file that is followed.

    Args:
        source: Key, target and path, as its chunks carry them.
        state: As the checkpoint knew it when it was found.
        part: The facts in its name, for a file of ours.
        position: How far it has been read.
        tail: The bytes just before that.
        size, modified_ns: As the last look found them; -1 before the first one.
    """

    source: Source
    state: FileState
    part: PartName | None
    position: Position
    tail: bytes
    size: int = -1
    modified_ns: int = -1
    fresh: bool = True  # a read may find something: it has changed since the last read that found no whole line
    partial: bool = False  # the last read found bytes without a newline
    rewritten: bool = False  # the bytes before the position are not the ones that were read
    gone_at: float | None = None  # since when no name leads to it, or has it changed since
    missed_at: float | None = None  # since when no name leads to it
    dropped: bool = False
    probe_at: float = 0.0  # when to find out next whether its writer has ended
    probe_wait_s: float = 0.0
    skip_to: int = 0  # how far an over-long line has been searched for its end
    packed: bool = False  # offsets and size are those of what is in the compressed file
    file: FileIO | Packed | None = None

    @property
    def number(self) -> Number:
        """Device and inode."""
        return self.state.device, self.state.inode

    @property
    def lockable(self) -> bool:
        """True when a lock tells whether the writer lives."""
        return self.part is not None and self.part.locked

    @property
    def left(self) -> int:
        """Bytes that the last look saw and that have not been read."""
        return max(0, self.size - self.position.offset)

    def looked(self, size: int, modified_ns: int) -> None:
        """Take what a look found."""
        if (size, modified_ns) != (self.size, self.modified_ns):
            self.size, self.modified_ns, self.fresh = size, modified_ns, True
            self.probe_at = self.probe_wait_s = 0.0
        elif self.partial and self.lockable:
            self.fresh = True  # the file stays as it is, but its writer may have ended
        if size < self.skip_to:
            self.skip_to = 0

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Read from the open descriptor."""
        assert self.file is not None
        if isinstance(self.file, Packed):
            return self.file.read_at(offset, size)
        return os.pread(self.file.fileno(), size, offset)

    def grown_to(self) -> int:
        """Ask the open descriptor how large the file is now."""
        assert self.file is not None
        return self.size if self.packed else os.fstat(self.file.fileno()).st_size

    def moved(self, found: Seen) -> None:
        """Follow a file to its new name."""
        self.source = replace(self.source, path=found.path)
        self.state = replace(self.state, path=found.path)


@dataclass(slots=True)
class Reader:
    """
    Reads the next chunk of any file through a bounded number of descriptors.

    Args:
        max_line_bytes: A longer line is cut into a record with its head.
        max_open: Descriptors to keep open.
        rules: How lines become records.
        now: Seconds since 1970, for records without a time of their own.
    """

    max_line_bytes: int
    max_open: int
    rules: Rules = RULES
    now: Callable[[], float] = time.time
    waiting: set[Tailer] = field(default_factory=set)  # files that a look has to decide about, though nothing changes
    _open: dict[Tailer, None] = field(default_factory=dict)  # least recently used first
    _open_ours: dict[Tailer, None] = field(default_factory=dict)  # the same, files of ours
    _latest: Tailer | None = None

    @property
    def room(self) -> int:
        """How many more descriptors may be open."""
        return self.max_open - len(self._open) - len(self._open_ours)

    def target_of(self, first_line: bytes, *, foreign: bool) -> str:
        """Choose the data stream of a file by its first line."""
        rules = self.rules
        if rules.router is not None:
            name = rules.router.name_of_line(first_line, foreign=foreign, at=self._at())
            is_one_too_many = rules.targets is not None and not rules.targets.admit(name, 0)
            return rules.router.default_of(name) if is_one_too_many else name
        name = stream_of(
            first_line, dataset=rules.dataset, namespace=rules.namespace, foreign=foreign, index=rules.index
        )
        if rules.targets is not None and not foreign:  # it holds for all lines of a file of ours
            rules.targets.admit(name, 0, always=True)
        return name

    def read_round(
        self, tailers: deque[Tailer], wanted: Callable[[Tailer], bool], *, room: int, finish: bool
    ) -> tuple[list[Checked], list[tuple[Tailer, OSError]]]:
        """
        Read the next chunks of files in turn; blocking.

        Args:
            tailers: The files. Those that are through, for now, are taken out of it.
            wanted: Tells whether there is more to be read of a file.
            room: Bytes after which it is enough.
            finish: As in `read`.

        Returns:
            What was read, and the files that cannot be.
        """
        found: list[Checked] = []
        failed: list[tuple[Tailer, OSError]] = []
        turns = _TURNS
        while tailers and room > 0 and turns:
            turns -= 1
            tailer = tailers.popleft()
            if tailer.dropped or not wanted(tailer):
                continue
            try:
                checked = self.read(tailer, finish=finish)
            except OSError as exc:
                self.close(tailer)
                tailer.fresh, tailer.modified_ns = False, -1  # it is tried again after the next look
                failed.append((tailer, exc))
                continue
            if checked is not None:
                found.append(checked)
                room -= checked.held
                tailers.append(tailer)
        return found, failed

    def read(self, tailer: Tailer, *, finish: bool = False, until: int | None = None) -> Checked | None:
        """
        Read the next chunk of a file; blocking.

        Args:
            tailer: The file.
            finish: Take a last line without newline as complete if it is good: nobody will read this file again.
            until: Where a line begins that is read otherwise.

        Returns:
            None when there is no whole line yet; a look tells when there may be one.

        Raises:
            OSError: It cannot be read.
        """
        tailer.fresh = tailer.partial = False
        self.waiting.discard(tailer)
        # Never more than the longest line: so every line in a block is short enough.
        most = self.max_line_bytes + 1
        if until is not None:
            most = min(most, until - tailer.position.offset)
        block = min(CHUNK_BYTES, most)
        data = self.read_block(tailer, block)
        if data is None:
            return None
        if len(data) == block and not whole_lines(data):
            data = self.read_block(tailer, most) or b""
            if not whole_lines(data) and len(data) > self.max_line_bytes:
                return _pass_nuls(tailer, data) if data.startswith(b"\0") else self._pass_over(tailer, data)
        size = whole_lines(data)
        if tailer.packed and not data:
            self.close(tailer)  # it will not grow
        if not size:
            return self._last_line(tailer, data, finish=finish or tailer.packed) if data else None
        self.aim(tailer, data)
        return advance(tailer, self._check(tailer, data[:size]))

    def aim(self, tailer: Tailer, data: bytes) -> None:
        """Choose the target of a file by its first line, which is known for sure only when it is read."""
        if tailer.position == ORIGIN:
            target = self.target_of(data[: data.find(b"\n")], foreign=tailer.source.foreign)
            tailer.source = replace(tailer.source, target=target)

    def keep_open(self, tailer: Tailer, file: FileIO | Packed) -> None:
        """Take over a descriptor."""
        tailer.file = file
        self._use(tailer)
        self._make_room()

    def close(self, tailer: Tailer) -> None:
        """Close the descriptor of a file; a later read opens it again."""
        if tailer.dropped:
            self.waiting.discard(tailer)
        self._pool(tailer).pop(tailer, None)
        if tailer.file is not None:
            file, tailer.file = tailer.file, None
            file.close()

    def _check(self, tailer: Tailer, data: bytes) -> Checked:
        return check(tailer.source, tailer.position, data, self.rules, at=self._at())

    def _at(self) -> str:
        now = datetime.fromtimestamp(self.now(), UTC)
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def read_block(self, tailer: Tailer, size: int) -> bytes | None:
        """Read at the tailer's position; None when the bytes before it are not the ones that were read."""
        if tailer.file is None and not self._reopen(tailer):
            return b""
        self._use(tailer)
        overlap = len(tailer.tail) if tailer.state.foreign else 0
        data = tailer.bytes_at(tailer.position.offset - overlap, size + overlap)
        begins_anew = tailer.state.foreign and tailer.position == ORIGIN and not data.startswith(tailer.state.head)
        if begins_anew or data[:overlap] != tailer.tail[:overlap]:
            tailer.rewritten = True
            self.waiting.add(tailer)
            return None
        return data[overlap:]

    def _pool(self, tailer: Tailer) -> dict[Tailer, None]:
        return self._open_ours if tailer.lockable else self._open

    def _use(self, tailer: Tailer) -> None:
        pool = self._pool(tailer)
        pool[tailer] = pool.pop(tailer, None)
        self._latest = tailer

    def _reopen(self, tailer: Tailer) -> bool:
        if tailer.gone_at is not None:
            return False
        path = tailer.source.path
        file = Packed(path) if tailer.packed else open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 (kept open)
        info = os.fstat(file.fileno())
        if (info.st_dev, info.st_ino) != tailer.number:  # replaced since the last look
            file.close()
            return False
        self.keep_open(tailer, file)
        return True

    def _make_room(self) -> None:
        """Close what was not used for longest: files of ours first, whose names cannot change; never one without a name."""
        while self.room < 0:
            pools = (self._open_ours, self._open)
            may_go = (tailer for pool in pools for tailer in pool if tailer.gone_at is None)
            victim = next((tailer for tailer in may_go if tailer is not self._latest), None)
            if victim is None:
                return
            self.close(victim)

    def _wait_for_more(self, tailer: Tailer) -> None:
        tailer.partial = True
        if tailer.lockable:
            self.waiting.add(tailer)

    def _last_line(self, tailer: Tailer, data: bytes, *, finish: bool) -> Checked | None:
        """Decide about bytes without a newline at the end of a file."""
        self._wait_for_more(tailer)
        start = tailer.position
        if _is_left_behind(tailer, start.offset + len(data)):
            end = Position(start.offset + len(data), start.line + 1)
            refused = Refused(tailer.source, start.line, data, DEAD_WRITER, offset=start.offset)
            return advance(tailer, Checked(Chunk(tailer.source, start, end, data[-TAIL_BYTES:]), (), (refused,)))
        if finish and not tailer.lockable:
            checked = self._check(tailer, data)
            if checked.pieces:
                return advance(tailer, checked)
        return None

    def _pass_over(self, tailer: Tailer, head: bytes) -> Checked | None:
        """Find the end of a line that is too long to be held, and pass over it."""
        offset = max(tailer.skip_to, tailer.position.offset)
        before = b""
        while True:
            block = tailer.bytes_at(offset, CHUNK_BYTES)
            newline = block.find(b"\n")
            if newline >= 0:
                block = block[: newline + 1]
                break
            if not block:
                tailer.skip_to = offset
                self._wait_for_more(tailer)
                if not _is_left_behind(tailer, offset):
                    return None
                break
            offset += len(block)
            before = block[-TAIL_BYTES:]
        end = Position(offset + len(block), tailer.position.line + 1)
        at = self._at()
        chunk = Chunk(tailer.source, tailer.position, end, (before + block)[-TAIL_BYTES:], at)
        head = head[:OVERSIZE_HEAD]
        if block:
            return advance(tailer, check_cut(chunk, head, self.rules, at=at))
        reason = f"{DEAD_WRITER}; it has {chunk.size} bytes, only its head is kept here"
        refused = Refused(tailer.source, chunk.start.line, head, reason, offset=chunk.start.offset)
        return advance(tailer, Checked(chunk, (), (refused,)))


def _pass_nuls(tailer: Tailer, data: bytes) -> Checked:
    """Pass over a run of NULs, which a writer leaves that keeps its offset when its file is truncated; a hole at one go."""
    start = tailer.position
    end = start.offset + len(data) - len(data.lstrip(b"\0"))
    if isinstance(tailer.file, FileIO):
        with suppress(OSError):  # there is nothing but a hole, or no such thing on this file system
            end = max(end, os.lseek(tailer.file.fileno(), start.offset, os.SEEK_DATA))
    tail = b"\0" * min(TAIL_BYTES, end - start.offset)
    return advance(tailer, Checked(Chunk(tailer.source, start, Position(end, start.line), tail), ()))


def _is_left_behind(tailer: Tailer, end: int) -> bool:
    """Tell whether a line of ours that ends without newline at *end* will never be completed: first the lock, then the size."""
    if not tailer.lockable or tailer.gone_at is not None:
        return False
    alive = is_alive(tailer.source.path)
    return not alive and tailer.grown_to() == end


def advance(tailer: Tailer, checked: Checked) -> Checked:
    """Take a chunk as read."""
    chunk = checked.chunk
    if chunk.end.offset - chunk.start.offset < TAIL_BYTES:
        chunk = replace(chunk, tail=(tailer.tail + chunk.tail)[-TAIL_BYTES:])
        checked = replace(checked, chunk=chunk)
    tailer.position = chunk.end
    tailer.tail = chunk.tail
    tailer.skip_to = 0
    tailer.partial = False
    tailer.fresh = tailer.left > 0
    return checked

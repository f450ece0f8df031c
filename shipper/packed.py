"""
Compressed files (gzip, zstd), read as the lines in them.

A rotated file is often compressed while it is still being read. So before anything of a compressed file is read it is surveyed
from end to end, in bounded memory: is it whole, how much is in it, and is it a file that is known already? Then it is read on
from where the plain file was left. Rules:

1. A file that ends too early is still being written; one that is damaged is said and left alone. Nothing of either is read.
2. It is the same file as a known one if it begins with the same line and holds the same bytes before the saved offset.
3. While the plain file is still followed, its copy waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import FileIO
from typing import Any

import zstandard
from isal import isal_zlib

from shipper.checkpoint import FileState
from shipper.core.model import TAIL_BYTES, Position
from shipper.look import PACKED, Number, Seen

_READ_BYTES = 64 * 1024
_BLOCK_BYTES = 1024 * 1024
_ZSTD_STEP = 256  # zstd gives all that a piece unpacks to at once: these can be 8 MiB
_HEAD_BYTES = 1024
_ERRORS: Any = (isal_zlib.error, zstandard.ZstdError)  # one of them is not typed
_LINE_BYTES = 256 * 1024
_PATIENCE_S = 60.0
_QUIET_S = 1.0  # one that grows is not surveyed at each step
INCOMPLETE = "it ends before its content does"


class Incomplete(Exception):
    """A compressed file ends before its content does."""


class Damaged(Exception):
    """A compressed file is not what its name says."""


@dataclass(frozen=True, slots=True)
class Survey:
    """
    What is in a compressed file.

    Args:
        size: Bytes of its content.
        head: The first of them.
        first_line: Its first line, as far as it is of use.
        same: Files that it may be, the one that was read furthest first.
        asked: How far each file had been read of which it was found out.
    """

    size: int
    head: bytes
    first_line: bytes
    same: tuple[FileState, ...]
    asked: dict[str, Position]

    def may_be(self, state: FileState) -> bool:
        """Tell whether it may be a file of which that was not found out."""
        if self.asked.get(state.key) == state.position or state.position.offset > self.size:
            return False
        return not state.foreign or (bool(state.head) and self.head.startswith(state.head))


def bare_name(path: str) -> str:
    """Take the ending of a compressed file off its path."""
    return path.rpartition(".")[0] if path.endswith(PACKED) else path


def survey(path: str, known: Iterable[FileState]) -> Survey:
    """
    Read a compressed file from end to end; blocking.

    Args:
        path: The file.
        known: Files that it may be.

    Raises:
        Incomplete: It is not whole yet.
        Damaged: It cannot be unpacked.
        OSError: It cannot be read.
    """
    states = sorted(known, key=lambda state: state.position.offset)
    asked = {state.key: state.position for state in states}
    same: list[FileState] = [state for state in states if not state.position.offset]
    states = states[len(same) :]
    start, before, first = 0, b"", b""
    with open(path, "rb", buffering=0) as raw:  # noqa: PTH123
        for block in unpack(raw, path):
            if len(first) < _LINE_BYTES:
                first = (first + block)[:_LINE_BYTES]
            data = before + block
            end = start + len(data)
            while states and states[0].position.offset <= end:
                state = states.pop(0)
                place = state.position.offset - start
                if data[max(0, place - len(state.tail)) : place] == state.tail:
                    same.append(state)
            before = data[-TAIL_BYTES:]
            start = end - len(before)
    size, head = start + len(before), first[:_HEAD_BYTES]
    found = [state for state in reversed(same) if not state.foreign or (state.head and head.startswith(state.head))]
    return Survey(size, head, first.partition(b"\n")[0], tuple(found), asked)


def unpack(raw: FileIO, path: str) -> Iterator[bytes]:
    """
    Unpack a file block by block; several members or frames are one content.

    Raises:
        Incomplete: It is not whole.
        Damaged: It cannot be unpacked.
    """
    is_gzip = path.endswith(".gz")
    step = _READ_BYTES if is_gzip else _ZSTD_STEP
    member: Any = None
    while data := raw.read(step):
        while data:
            if member is None:
                data = data.lstrip(b"\0")  # padding after a member
                if not data:
                    break
                member = _Gzip() if is_gzip else _Zstd()
            try:
                yield from member.feed(data)
            except _ERRORS as exc:
                raise Damaged(str(exc)) from exc
            data = member.rest
            if member.eof:
                member = None
    if member is not None:
        raise Incomplete


class _Gzip:
    def __init__(self) -> None:
        self._unpack = isal_zlib.decompressobj(wbits=31)
        self.rest = b""

    @property
    def eof(self) -> bool:
        return bool(self._unpack.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            block = self._unpack.decompress(data, _BLOCK_BYTES)
            if block:
                yield block
            data = self._unpack.unconsumed_tail
            if self._unpack.eof or (not data and len(block) < _BLOCK_BYTES):
                break
        self.rest = self._unpack.unused_data if self._unpack.eof else b""


class _Zstd:
    def __init__(self) -> None:
        # A window larger than 128 MiB would be memory that nothing else bounds.
        self._unpack = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
        self.rest = b""

    @property
    def eof(self) -> bool:
        return bool(self._unpack.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        if block := self._unpack.decompress(data):
            yield block
        self.rest = self._unpack.unused_data if self._unpack.eof else b""


class Packed:
    """A compressed file that is open, read by the offsets of its content: forwards at once, backwards by beginning anew."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._raw = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 (kept open)
        self._begin()

    def _begin(self) -> None:
        self._raw.seek(0)
        self._blocks = unpack(self._raw, self._path)
        self._start, self._held = 0, b""

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._raw.fileno()

    def close(self) -> None:
        """Close it."""
        self._raw.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """
        Read content at an offset.

        Raises:
            OSError: It cannot be unpacked.
        """
        if offset < self._start:
            self._begin()
        try:
            while self._start + len(self._held) < offset + size:
                block = next(self._blocks, None)
                if block is None:
                    break
                kept = self._held[max(0, offset - self._start) :]
                self._start += len(self._held) - len(kept)
                self._held = kept + block
        except (Incomplete, Damaged) as exc:
            raise OSError(0, f"cannot be unpacked: {exc}") from exc
        place = offset - self._start
        return self._held[place : place + size]


@dataclass(slots=True)
class Surveys:
    """
    Surveys compressed files beside everything else, one at a time, and remembers what was found as long as they stay the same.

    Args:
        known: Lists the files that a compressed one may be.
    """

    known: Callable[[Seen], list[FileState]]
    _found: dict[Number, tuple[tuple[int, int], Survey | str]] = field(default_factory=dict)
    _waiting: dict[Number, Seen] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None
    _news: bool = False

    @property
    def busy(self) -> bool:
        """Tell whether a survey is under way, or its result has not been asked for yet."""
        return self._task is not None or self._news

    def looked(self) -> None:
        """Take it that everything is asked for now that is known."""
        self._news = False

    def ask(self, seen: Seen) -> Survey | str | None:
        """Return what is in a file, or why it is not read; None as long as that is not known."""
        stamp = (seen.size, seen.modified_ns)
        before = self._found.get(seen.number)
        age_s = time.time() - seen.modified_ns / 1e9
        if before is not None and before[0] == stamp:
            # Somebody is still writing, or will never go on.
            return None if before[1] == INCOMPLETE and age_s < _PATIENCE_S else before[1]
        if before is not None and 0 <= age_s < _QUIET_S:
            return None
        self._waiting[seen.number] = seen
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return None

    def forget(self, seen: Seen) -> None:
        """Have a file surveyed anew."""
        self._found.pop(seen.number, None)

    def keep(self, numbers: Iterable[Number]) -> None:
        """Forget all files but these."""
        kept = set(numbers)
        self._found = {number: found for number, found in self._found.items() if number in kept}

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        try:
            while self._waiting:
                number, seen = next(iter(self._waiting.items()))
                del self._waiting[number]
                found = await asyncio.to_thread(_try, seen, self.known(seen))
                self._found[number] = ((seen.size, seen.modified_ns), found)
                self._news = True
        finally:
            self._task = None


def _try(seen: Seen, known: list[FileState]) -> Survey | str:
    try:
        return survey(seen.path, known)
    except Incomplete:
        return INCOMPLETE
    except Damaged as exc:
        return f"damaged: {exc}"
    except OSError as exc:
        return exc.strerror or str(exc)

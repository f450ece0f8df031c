"""
Reads one writer's parts, one after the other, into a sorted store of lines that is not larger than it must be.

A file is in order but for the window: a line may stand up to a quarter of a block further down than its time says
(64 KiB; less when more than a hundred files are read at once). So once that much more was read, everything up to a
line's time is *settled*: nothing earlier can come any more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from operator import le

from jsonlog.view.lines import key_at, keys_of, last_key
from jsonlog.view.paths import Found, Rank
from jsonlog.view.readers import Handles, Reader, open_reader

_PEEK_BYTES = 4096
MAX_LINE_BYTES = 8 << 20  # what is longer is cut, so that a file without newlines does not fill the memory
LAST = b"\xff"  # greater than any key


@dataclass(slots=True)
class Sieve:
    """
    What a source may leave out before anything is parsed.

    Attributes:
        pick: Splits a block into lines and gives the numbers of those that may pass the filters; see `prefilter`.
        since: The least key; empty for none.
        until: The key at which it ends; empty for none.
    """

    pick: Callable[[bytes], tuple[list[bytes], list[int]]] | None = None
    since: bytes = b""
    until: bytes = b""


@dataclass(slots=True, eq=False)
class Source:
    """
    The lines of one writer (or one foreign file, or stdin) that were read and not yet taken, sorted by key.

    Attributes:
        settled: No line with a lesser key will come.
        at_end: Everything that is there now was read.
        ready: How many of the lines are settled.
        chunk: How many lines the last block brought.
        newest: The key of the line that was read last.
        current: The part that is being read.
    """

    rank: Rank
    files: list[Found]
    handles: Handles
    sieve: Sieve
    follow: bool = False
    offset: int = 0
    keys: list[bytes] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    settled: bytes = b""
    at_end: bool = False
    ready: int = 0
    chunk: int = 0
    newest: bytes = b""
    current: Found | None = None
    _reader: Reader | None = None
    _tail: bytes = b""
    _position: int = 0
    _marks: deque[tuple[int, bytes]] = field(default_factory=deque)

    def is_pipe(self) -> bool:
        """Whether this is stdin, a named pipe or a device: something that can keep a reader waiting."""
        return any(file.path is None or (file.path.exists() and not file.path.is_file()) for file in self.files)

    def first_key(self) -> bytes:
        """Look at the beginning of the first part: the least key there, empty when that is not known."""
        path = self.files[0].path if self.files and self._reader is None else None
        if path is None or self.offset or not path.is_file():
            return b""
        reader = open_reader(path, Handles(0))
        try:
            data = reader.read(_PEEK_BYTES) or b""
        finally:
            reader.close()
        lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
        return min(keys_of(lines, b""), default=b"")

    def fill(self, block: int) -> bool:
        """
        Read one more block.

        Args:
            block: How many bytes.

        Returns:
            Whether anything was read. If not, `at_end` is set, or a pipe has nothing at the moment.

        Raises:
            ViewError: A file cannot be read.
        """
        while True:
            if self._reader is None:
                if not self.files:
                    self._flush()
                    self._end()
                    return False
                self.current = self.files.pop(0)
                wait = not self.follow
                self._reader = open_reader(self.current.path, self.handles, offset=self.offset, wait=wait)
                self.offset = 0
            data = self._reader.read(block)
            if data is None:
                self._settle(self.newest)
                return False
            if data:
                self._take_in(data, block // 4)
                return True
            last = self.follow and not self.files
            if last and not self._reader.turn_over():
                if self._reader.gone:
                    self._flush()
                self._end()
                return False
            self._flush()
            if not last:
                self.leave_part()

    @property
    def open_end(self) -> bool:
        """Whether more may come: a part is being read that has not been left."""
        return self._reader is not None and not self._reader.gone

    def leave_part(self) -> None:
        """Be done with the part that is being read."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def take(self, key: bytes, rank: Rank | None = None) -> tuple[list[bytes], list[bytes]]:
        """
        Take away the lines up to a key.

        Args:
            key: The greatest key to take.
            rank: Where given, lines with exactly this key are taken only from sources of this rank or a lower one.

        Returns:
            The keys and the lines.
        """
        through = rank is None or self.rank <= rank
        cut = bisect_right(self.keys, key) if through else bisect_left(self.keys, key)
        taken = self.keys[:cut], self.lines[:cut]
        del self.keys[:cut], self.lines[:cut]
        self.ready = max(0, self.ready - cut)
        return taken

    def _take_in(self, data: bytes, window: int) -> None:
        self.at_end = False
        data = self._tail + data
        cut = data.rfind(b"\n") + 1
        if cut:
            self._tail = data[cut:]
            self._add(data[:cut], window)
        elif len(data) > MAX_LINE_BYTES:
            self._tail = b""
            self._add(data + b"\n", window)
        else:
            self._tail = data

    def _flush(self) -> None:
        """Show a last line that was never completed as it stands."""
        if self._tail:
            data, self._tail = self._tail + b"\n", b""
            self._add(data, 0)

    def _add(self, body: bytes, window: int) -> None:
        before = self.newest
        self.newest = last_key(body, len(body), before)
        early = body.rfind(b"\n", 0, max(0, len(body) - window)) + 1
        if early:
            key = last_key(body, early, before)
            self._marks.append((self._position + early, key))
        self._position += len(body)
        self._marks.append((self._position, self.newest))
        self._store(body, before)
        settled = self.settled
        while self._marks and self._marks[0][0] <= self._position - window:
            settled = max(settled, self._marks.popleft()[1])
        self._settle(settled)

    def _store(self, body: bytes, before: bytes) -> None:
        """Sift the lines of a block and sort what remains into the store."""
        self.chunk = 0
        sieve = self.sieve
        lines, picked = sieve.pick(body) if sieve.pick else (body[:-1].split(b"\n"), None)
        if picked is None:
            keys = keys_of(lines, before)
        elif len(picked) * 4 > len(lines):
            keys = keys_of(lines, before)
            lines, keys = [lines[i] for i in picked], [keys[i] for i in picked]
        else:
            keys = [key_at(lines, i, before) for i in picked]
            lines = [lines[i] for i in picked]
        if sieve.since or sieve.until:
            since, until = sieve.since, sieve.until or LAST
            inside = [i for i, key in enumerate(keys) if since <= key < until]
            if len(inside) < len(keys):
                lines, keys = [lines[i] for i in inside], [keys[i] for i in inside]
        self.chunk = len(keys)
        first = max(0, len(self.keys) - 1)
        self.keys += keys
        self.lines += lines
        if not _in_order(islice(self.keys, first, None), islice(self.keys, first + 1, None)):
            self.keys, self.lines = in_order(self.keys, self.lines)

    def _settle(self, key: bytes) -> None:
        self.settled = max(self.settled, key)
        self.ready = bisect_right(self.keys, self.settled)

    def _end(self) -> None:
        self.at_end = True
        self.ready = len(self.keys)


def _in_order(keys: Iterable[bytes], following: Iterable[bytes]) -> bool:
    return all(map(le, keys, following))


def in_order(keys: list[bytes], lines: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Sort lines by their keys; equal ones stay as they stand."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [keys[i] for i in order], [lines[i] for i in order]

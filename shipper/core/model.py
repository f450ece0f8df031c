"""The values that pass between the stages, in the order in which they arise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from io import BytesIO
from typing import overload

from msgspec import Struct
from msgspec.structs import replace

TAIL_BYTES = 64
"""How much of a file before an offset is remembered, to notice when it was rewritten."""


class Source(Struct, frozen=True):
    """
    A file as the shipper knows it, the same object for all of its lines.

    Args:
        key: What the ids of its lines begin with: the stem of a file of ours, the epoch of a foreign one.
        target: The data stream its records go to.
        path: Where it is, for messages and dead letters.
        foreign: Its name does not say that it is one of ours, so that nothing is known of its lines.
    """

    key: str
    target: str
    path: str
    foreign: bool = False


class Position(Struct, frozen=True):
    """A place in a file: bytes before it, and newlines before it. Both are stable in a file that only grows."""

    offset: int = 0
    line: int = 0


ORIGIN = Position()


class Chunk(Struct, frozen=True):
    """
    Whole lines of a file, by where they stand.

    Args:
        source: The file.
        start: Where the lines begin.
        end: Where they end, after the last newline.
        tail: The last bytes before *end*.
        at: When they were read, as `@timestamp` has it.
    """

    source: Source
    start: Position
    end: Position
    tail: bytes
    at: str = ""

    @property
    def lines(self) -> int:
        """How many lines it is, the empty ones too."""
        return self.end.line - self.start.line

    @property
    def size(self) -> int:
        """How many bytes of the file it is, held or not."""
        return self.end.offset - self.start.offset


class Fate(Enum):
    """How a line ends: each one in exactly one of these."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"  # the store had it already
    FILTERED = "filtered"  # a pipeline of the store's took it and let it go
    RESCUED = "rescued"  # delivered with a part of it as text, since the store's mapping took it no other way
    WRAPPED = "wrapped"  # delivered as the text of a record, since it is none itself
    FAILURE_STORED = "failure_stored"  # the store keeps it among its failures
    DEAD_LETTERED = "dead_lettered"
    EMPTY = "empty"  # a line that holds no record


class Ended(Struct, frozen=True):
    """Some lines of one file, by its key, have ended."""

    key: str
    fate: Fate
    lines: int


class Lines(Sequence[bytes]):
    """
    Lines, each with its newline, in one block of memory: they are taken apart only by whoever looks at one of them.

    A list of them would take a third more memory, most of it for as long as a request is under way, and what sends them as they
    are would have to put them together again.

    Args:
        data: The lines; each ends with a newline.
        count: How many they are.
    """

    __slots__ = ("_apart", "_count", "data")

    def __init__(self, data: bytes, count: int) -> None:
        self.data = data
        self._count = count
        self._apart: list[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return iter(BytesIO(self.data))

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if index == 0 and self._apart is None:
            return self.data[: self.data.find(b"\n") + 1]
        if self._apart is None:  # where one line is looked at, most of them are
            self._apart = list(self)
        return self._apart[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return repr(list(self))


class Piece(Struct, frozen=True):
    """
    Consecutive good lines of one file.

    Args:
        source: The file.
        first: The number of the first line.
        lines: What is sent, each with its newline.
        size: Their bytes.
        fate: What they count as once the store has taken them.
        mark: Stands between key and number in their ids, where other records have the plain ones.
        since: The write index of the stream when they may first have been sent; empty: not known; None: they were not.
        original: A single line as it stands in the file, where what is sent was changed by a rescue.
    """

    source: Source
    first: int
    lines: Sequence[bytes]
    size: int
    fate: Fate = Fate.DELIVERED
    mark: str = ""
    since: str | None = None
    original: bytes | None = None

    def sub(self, start: int, stop: int) -> Piece:
        """Take the lines from *start* up to *stop*, with all that is known of them."""
        lines = self.lines[start:stop]
        return replace(self, first=self.first + start, lines=lines, size=sum(map(len, lines)))

    @property
    def data(self) -> bytes:
        """All lines, one after the other."""
        return self.lines.data if isinstance(self.lines, Lines) else b"".join(self.lines)

    def record(self, index: int) -> bytes:
        """One line, without its newline."""
        return self.lines[index][:-1]


def line_id(piece: Piece, index: int) -> str:
    """Return the id of a line of a piece."""
    return f"{piece.source.key}{piece.mark}-{piece.first + index:x}"


def cut_out(piece: Piece, positions: Sequence[int]) -> list[Piece]:
    """Cut the lines at *positions*, which ascend, out of a piece, neighbours together."""
    runs: list[Piece] = []
    start = 0
    for index in range(1, len(positions) + 1):
        if index == len(positions) or positions[index] != positions[index - 1] + 1:
            runs.append(piece.sub(positions[start], positions[index - 1] + 1))
            start = index
    return runs


class Refused(Struct, frozen=True):
    """
    A line that is passed over, once it stands in the dead-letter file.

    Args:
        source, line: Where it is from.
        data: The line as it stands in the file.
        reason: Why.
        status: That of the answer; 0 without one.
        offset: Where it begins; -1 where that is not known.
        mark: As its piece has it.
        sent: The line as it was sent, where that is another one.
    """

    source: Source
    line: int
    data: bytes
    reason: str
    status: int = 0
    offset: int = -1
    mark: str = ""
    sent: bytes | None = None


class Checked(Struct, frozen=True):
    """A chunk of which every line is known to be good, bad or empty."""

    chunk: Chunk
    pieces: tuple[Piece, ...]
    bad: tuple[Refused, ...] = ()
    empty: int = 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return sum(piece.size for piece in self.pieces) + sum(len(refused.data) for refused in self.bad)


class Batch(Struct, frozen=True):
    """
    What one request carries.

    Args:
        chunks: Of any number of files.
        number: Under which the checkpoint knows what it is made of; 0: it does not.
        halved: Requests of it that were refused as a whole, so that their halves were sent in their place.
    """

    chunks: tuple[Checked, ...]
    number: int = 0
    halved: frozenset[str] = frozenset()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All good lines."""
        return tuple(piece for checked in self.chunks for piece in checked.pieces)

    @property
    def bad(self) -> tuple[Refused, ...]:
        """All lines that must not be sent."""
        return tuple(refused for checked in self.chunks for refused in checked.bad)


class Request(Struct, frozen=True):
    """
    A request as the transport needs it.

    Args:
        method, headers: As HTTP has them.
        path: Relative to the sink's URL.
        body: The whole body.
        parts: In its place, pieces that make up the body: joining megabytes costs more than sending them one by one.
    """

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    parts: tuple[bytes, ...] = ()


class Response(Struct, frozen=True):
    """An answer as the codecs need it; header names are in lower case."""

    status: int
    body: bytes
    headers: dict[str, str]


class Advice(Enum):
    """What to do with the lines that are neither delivered nor refused."""

    DONE = "done"
    NOW = "now"  # they were changed so that they may be taken: nothing to wait for
    RETRY = "retry"  # the store is busy, down, or answered what cannot be understood
    WAIT = "wait"  # an operator has to act: credentials, a missing stream, a read-only index
    SPLIT = "split"  # too large, or one of several lines is at fault: halve and send each


class Outcome(Struct, frozen=True):
    """
    What became of one request: every line of it is in exactly one of the first five.

    Args:
        ended: Lines that are settled: the store has taken them, or had them already.
        refused: Lines it will never take as they are.
        again: Pieces whose lines are still to be delivered.
        doubtful: The same, but the store may have taken them, or may yet.
        conflicts: Lines whose ids the store has, though they were never sent.
        advice: How to go on with *again* and *doubtful*.
        reason: One sentence on why, empty when all is well.
        retry_after_s: What the server asked for, if it did.
        status: That of an answer which refuses the request as a whole; 0 for all others.
        too_much: The store has no room for the request as a whole: if that goes on, less at a time may pass.
    """

    ended: tuple[Ended, ...] = ()
    refused: tuple[Refused, ...] = ()
    again: tuple[Piece, ...] = ()
    doubtful: tuple[Piece, ...] = ()
    conflicts: tuple[Piece, ...] = ()
    advice: Advice = Advice.DONE
    reason: str = ""
    retry_after_s: float | None = None
    status: int = 0
    too_much: bool = False


def count_lines(pieces: Sequence[Piece]) -> int:
    """Count the lines of *pieces*."""
    return sum(len(piece.lines) for piece in pieces)

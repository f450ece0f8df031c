"""
What a batch is made of, so that it can be made again as it was.

Strategy: an endpoint that knows requests by their keys alone stores a request once only if it comes again with the same lines in
the same order, also after a crash. So before the first of it is sent, it is on disk where its lines stand and what else their
records depend on; after a crash these are read again. Rules:

1. The key of a request is made of its lines, their ids and its body: whatever could not be made again as it was has another key.
2. What a batch was halved into is kept, too: halves have keys of their own.
3. A batch is forgotten once it is settled and its lines are behind the committed place of their files. One that is settled while
   earlier lines of a file are not stays with how its lines have ended: it is not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shipper.core.accounting import Tally
from shipper.core.model import Batch, Chunk, Piece, Position, count_lines, line_id


@dataclass(frozen=True, slots=True)
class Span:
    """
    Lines of a file that were read at one go.

    Args:
        key: The file.
        start: Where they begin.
        end: Where they end.
        path: Of the file, as their records have it.
        at: When they were read, as their records have it.
        sent: There is something to be sent of them.
    """

    key: str
    start: Position
    end: Position
    path: str
    at: str
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    A batch as the checkpoint knows it.

    Args:
        number: Of the batch; a later one has a larger one.
        spans: Its lines, in their order.
        whole: These are all of them.
        halved: Requests that were refused as a whole, by `request_name`: their halves were sent.
        tallies: How its lines have ended, by file; None until they have.
    """

    number: int
    spans: tuple[Span, ...]
    whole: bool = True
    halved: frozenset[str] = frozenset()
    tallies: Mapping[str, Tally] | None = None

    @property
    def keys(self) -> frozenset[str]:
        """Its files."""
        return frozenset(span.key for span in self.spans)

    @property
    def lines(self) -> int:
        """How many lines it is, bad and empty ones, too."""
        return sum(span.end.line - span.start.line for span in self.spans)


def manifest_of(batch: Batch) -> Manifest:
    """Say what a batch is made of."""
    spans = (_span_of(checked.chunk, sent=bool(checked.pieces)) for checked in batch.chunks)
    return Manifest(batch.number, tuple(spans), halved=batch.halved)


def _span_of(chunk: Chunk, *, sent: bool) -> Span:
    return Span(chunk.source.key, chunk.start, chunk.end, chunk.source.path, chunk.at, sent)


def request_name(pieces: Sequence[Piece]) -> str:
    """Name a request within its batch, by its first line and the number of its lines."""
    return f"{line_id(pieces[0], 0)}+{count_lines(pieces)}"

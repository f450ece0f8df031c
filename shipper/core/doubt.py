"""
Which lines may have been sent without anybody knowing what became of them.

Strategy: before lines of a file are first sent to a stream, a reservation is on disk: from here on up to this offset they may
have been sent, at the earliest when this was the stream's write index. So after a crash every line between the committed and
the reserved offset is *in doubt*, and so is every line of a request whose answer did not come. A line that is in doubt is looked
up before it is sent again, unless the stream still writes to the same index, where its id protects it. Rules:

1. A reservation reaches ahead (64 MB), so that it costs one commit in a hundred requests.
2. The write index of a reservation may be older than the true one, never younger: then a line is looked up in vain.
3. Reservations of this run cast no doubt in this run: what it sends, it knows of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from shipper.core.model import Batch, Checked, Piece

AHEAD_BYTES = 64 * 1024 * 1024
ANY_TARGET = ""
UNKNOWN = ""
"""In place of a write index: it is not known since when."""


class Reservation(Struct, frozen=True):
    """
    Lines of a file may have been sent.

    Args:
        key: The file.
        target: Where to; empty: anywhere.
        until: Up to which offset.
        since: The write index of the stream when the first of them may have been sent; empty: not known.
    """

    key: str
    target: str
    until: int
    since: str


def in_doubt(pieces: Iterable[Piece], since: Mapping[str, str]) -> tuple[Piece, ...]:
    """
    Take lines as possibly sent.

    Args:
        pieces: The lines; what is known of those that were in doubt before stays.
        since: The write index of each stream before they were sent.
    """
    return tuple(
        piece if piece.since is not None else replace(piece, since=since.get(piece.source.target, UNKNOWN))
        for piece in pieces
    )


@dataclass(slots=True)
class Reserved:
    """
    All reservations, of earlier runs and of this one.

    Args:
        before: Those of earlier runs, and what is known of files from before the checkpoint.
    """

    before: dict[str, list[Reservation]] = field(default_factory=dict)
    _now: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, loaded: Iterable[Reservation]) -> Reserved:
        """Build it from what the checkpoint holds."""
        made = cls()
        for one in loaded:
            made.doubt(one)
        return made

    def doubt(self, one: Reservation) -> None:
        """Take lines as in doubt."""
        self.before.setdefault(one.key, []).append(one)

    def forget(self, key: str) -> None:
        """Know nothing of a file any more."""
        self.before.pop(key, None)
        for pair in [pair for pair in self._now if pair[0] == key]:
            del self._now[pair]

    def mark(self, batch: Batch) -> Batch:
        """Mark the lines of a batch that an earlier run may have sent."""
        if not self.before or not any(checked.chunk.source.key in self.before for checked in batch.chunks):
            return batch
        return replace(batch, chunks=tuple(self._mark(checked) for checked in batch.chunks))

    def due(self, batch: Batch, since: Callable[[str], str]) -> list[Reservation]:
        """
        List what has to be written before a batch is sent.

        Args:
            batch: The batch.
            since: Gives the write index of a stream, as it was last seen.
        """
        ends: dict[tuple[str, str], int] = {}
        for checked in batch.chunks:
            for piece in checked.pieces:
                pair = piece.source.key, piece.source.target
                ends[pair] = max(ends.get(pair, 0), checked.chunk.end.offset)
        return [
            Reservation(key, target, end + AHEAD_BYTES, since(target))
            for (key, target), end in ends.items()
            if end > self._until(key, target)
        ]

    def written(self, reservations: Iterable[Reservation]) -> None:
        """Take reservations as on disk."""
        for one in reservations:
            self._now[one.key, one.target] = one.until

    def _until(self, key: str, target: str) -> int:
        before = max((one.until for one in self.before.get(key, ()) if one.target in (target, ANY_TARGET)), default=0)
        return max(before, self._now.get((key, target), 0))

    def _mark(self, checked: Checked) -> Checked:
        start = checked.chunk.start.offset
        pieces = tuple(self._marked(piece, start) for piece in checked.pieces)
        return replace(checked, pieces=pieces)

    def _marked(self, piece: Piece, start: int) -> Piece:
        standing = [
            one
            for one in self.before.get(piece.source.key, ())
            if one.until > start and one.target in (piece.source.target, ANY_TARGET)
        ]
        if not standing:
            return piece
        return replace(piece, since=min(standing, key=lambda one: one.until).since)

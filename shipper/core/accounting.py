"""
How every line that was read has ended, per file, and whether the sums close.

Strategy: two figures that arise apart from each other are compared. How many lines a file has up to a place is counted where it
is read, by its newlines; how each line has ended is counted where that is decided: while framing (empty), at an answer of the
store, at the dead-letter file. A line that gets lost between the two, or that is counted twice, shows as a difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shipper.core.model import Batch, Checked, Ended, Fate, Piece

Tally = Counter[Fate]
"""Lines by how they have ended."""


@dataclass(frozen=True, slots=True)
class Imbalance:
    """Of a file *lines* were read and *ended* lines have ended; the two should be the same."""

    path: str
    lines: int
    ended: int

    def __str__(self) -> str:
        return (
            f"the accounting of {self.path} does not close: of {self.lines} lines {self.ended} have ended in a class; "
            "please report it (shipper verify asks the store what is missing)"
        )


@dataclass(slots=True)
class Ledger:
    """How the lines of one batch, which *chunks* are, have ended so far, by the key of their file."""

    chunks: tuple[Checked, ...] = ()
    tallies: dict[str, Tally] = field(default_factory=dict)

    def add(self, ended: Iterable[Ended]) -> None:
        """Enter lines that have ended."""
        for one in ended:
            self.tallies.setdefault(one.key, Counter())[one.fate] += one.lines

    def take(self, key: str) -> Tally:
        """Take out what is known of a file."""
        return self.tallies.pop(key, Counter())

    @property
    def by_file(self) -> dict[str, Tally]:
        """Each file of the batch, also one of which no line has ended."""
        return {
            checked.chunk.source.key: self.tallies.get(checked.chunk.source.key, Counter()) for checked in self.chunks
        }

    @property
    def total(self) -> Tally:
        """All files together."""
        return sum(self.tallies.values(), Counter())


def open_ledger(batch: Batch) -> Ledger:
    """Begin the ledger of a batch with the lines that nothing has to be done with."""
    ledger = Ledger(batch.chunks)
    ledger.add(Ended(checked.chunk.source.key, Fate.EMPTY, checked.empty) for checked in batch.chunks if checked.empty)
    return ledger


def taken(pieces: Sequence[Piece]) -> tuple[Ended, ...]:
    """Say that the store has taken every line of *pieces*."""
    return tuple(Ended(piece.source.key, piece.fate, len(piece.lines)) for piece in pieces)


def imbalances(batch: Batch, ledger: Ledger) -> list[Imbalance]:
    """Compare what was read with what has ended, for each file of a settled batch."""
    read: dict[str, list[Checked]] = {}
    for checked in batch.chunks:
        read.setdefault(checked.chunk.source.key, []).append(checked)
    found = []
    for key in {**read, **ledger.tallies}:
        chunks = read.get(key, [])
        lines, ended = sum(checked.chunk.lines for checked in chunks), ledger.tallies.get(key, Counter()).total()
        if lines != ended:
            found.append(Imbalance(chunks[0].chunk.source.path if chunks else key, lines, ended))
    return found

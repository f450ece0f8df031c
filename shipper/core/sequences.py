"""
The numbers of a run as a store has them: what is missing between them, what is there twice, and what the ids say of it.

Rules:

1. A writer numbers its records from 0 without a gap, so a number that is not in the store was lost, or was never written.
2. An id holds the line of its record. Where the lines before and after a gap are neighbours, nothing stood between them: the
   writer used the numbers up for records that it could not write, and said so then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What a store says of a run: how many records with a number, and between which numbers."""

    run: str
    records: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Edge:
    """Two records that follow each other in the store by number, but whose numbers do not."""

    before: int
    before_id: str
    after: int
    after_id: str


@dataclass(frozen=True, slots=True)
class Gap:
    """
    Numbers from *first* to *last*, both missing.

    Args:
        first, last: The numbers.
        before_id, after_id: The records around them; empty where there is none.
    """

    first: int
    last: int
    before_id: str = ""
    after_id: str = ""

    @property
    def size(self) -> int:
        """How many numbers it is."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file of ours: the name without its ending, and the number of the line from 0."""

    stem: str
    line: int


def edges(
    records: Iterable[tuple[int, str]], last: tuple[int, str] | None
) -> tuple[list[Edge], tuple[int, str] | None]:
    """
    Find the edges among records in the order of their numbers.

    Args:
        records: Numbers and ids.
        last: The record before them.

    Returns:
        The edges, and the last record, for the next call.
    """
    found = []
    for record in records:
        if last is not None and record[0] != last[0] + 1:
            found.append(Edge(*last, *record))
        last = record
    return found, last


def gap_of(edge: Edge) -> Gap | None:
    """Return what is missing at an edge; None where a record is there twice."""
    if edge.after <= edge.before:
        return None
    return Gap(edge.before + 1, edge.after - 1, edge.before_id, edge.after_id)


def place_of(record_id: str) -> Place | None:
    """Read file and line out of an id; None where it is no id of ours."""
    stem, _, line = record_id.rpartition("-")
    try:
        return Place(stem, int(line, 16)) if stem else None
    except ValueError:
        return None


def lines_between(gap: Gap) -> int | None:
    """
    Count the lines that stand between the records around a gap.

    Returns:
        How many; None where they are of two files, or there is no record on one side.
    """
    before, after = place_of(gap.before_id), place_of(gap.after_id)
    if before is None or after is None or before.stem != after.stem:
        return None
    return max(0, after.line - before.line - 1)

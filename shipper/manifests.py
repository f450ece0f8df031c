"""How the checkpoint keeps what batches are made of: the statements, and rows to values and back."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from shipper.core.accounting import Tally
from shipper.core.manifest import Manifest, Span
from shipper.core.model import Fate, Position

Statement = tuple[str, list[tuple[object, ...]]]
"""A statement and the rows that it is executed for."""

NONE: Mapping[int, Mapping[str, Tally]] = MappingProxyType({})
RECORD = "INSERT INTO manifests VALUES (?,?,?,?,?,?,?,?,?,?,?,NULL)"
HALVE = "INSERT OR IGNORE INTO halves VALUES (?, ?)"
DISCARD = ("DELETE FROM manifests WHERE batch = ?", "DELETE FROM halves WHERE batch = ?")
_SETTLE = "UPDATE manifests SET tally = ?3 WHERE batch = ?1 AND key = ?2"
_LEAVE = (
    "DELETE FROM manifests WHERE key = ? AND tally IS NOT NULL "
    "AND until <= (SELECT offset FROM files WHERE key = manifests.key)"
)
_HALVES = "DELETE FROM halves WHERE batch = ?"


def rows_of(manifest: Manifest) -> Iterator[tuple[object, ...]]:
    """Turn what a batch is made of into rows."""
    count = len(manifest.spans)
    for place, one in enumerate(manifest.spans):
        (start, line), (end, end_line) = ((at.offset, at.line) for at in (one.start, one.end))
        yield manifest.number, place, count, one.key, start, line, end, end_line, one.path, one.at, int(one.sent)


def settling(settled: Mapping[int, Mapping[str, Tally]], keys: Iterable[str]) -> tuple[Statement, ...]:
    """
    Build the statements that take batches as settled, and forget lines that are behind the committed place of their file.

    Args:
        settled: How the lines of the batches have ended, by number and file.
        keys: Files that are committed further than before.
    """
    tallies: list[tuple[object, ...]] = [
        (number, key, json.dumps({fate.value: lines for fate, lines in tally.items()}))
        for number, files in settled.items()
        for key, tally in files.items()
    ]
    files = {key for tally in settled.values() for key in tally} | set(keys)
    return (_SETTLE, tallies), (_LEAVE, [(key,) for key in files]), (_HALVES, [(number,) for number in settled])


def read_manifests(db: sqlite3.Connection) -> list[Manifest]:
    """Read all batches, in their order."""
    halved: dict[int, set[str]] = {}
    for batch, request in db.execute("SELECT batch, request FROM halves"):
        halved.setdefault(batch, set()).add(request)
    spans: dict[int, list[Span]] = {}
    tallies: dict[int, dict[str, Tally]] = {}
    places: dict[int, int] = {}
    for batch, count, key, start, line, end, end_line, path, at, sent, tally in db.execute(
        "SELECT batch, places, key, offset, line, until, end_line, path, read_at, sent, tally FROM manifests ORDER BY batch, place"
    ):
        spans.setdefault(batch, []).append(
            Span(key, Position(start, line), Position(end, end_line), path, at, bool(sent))
        )
        places[batch] = count
        if tally is not None:
            ended = Counter({Fate(fate): lines for fate, lines in json.loads(tally).items()})
            tallies.setdefault(batch, {})[key] = ended
    return [
        Manifest(
            number, tuple(found), len(found) == places[number], frozenset(halved.get(number, ())), tallies.get(number)
        )
        for number, found in spans.items()
    ]

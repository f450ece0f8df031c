# ruff: noqa: S608  (what is put into the SQL is text of this package; what users write is bound)
"""The questions the page asks: the newest records, and how many there were when."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb

from shipper.collector.query import Condition, all_of, between
from shipper.collector.records import EARLIEST_MS, LATEST_MS
from shipper.collector.store import Store

MAX_ANSWER_BYTES = 32 * 2**20
MAX_BUCKETS = 60
MAX_LEVELS = 12

_STEPS_MS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(1_000 * s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800)),
    *(3_600_000 * h for h in (1, 2, 3, 6, 12, 24, 48, 168, 720, 2_160, 8_760, 43_800)),
)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search: how many records match, and the newest of them as pairs of id and JSON text."""

    total: int
    records: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts over time: the width of a bucket, and (start in ms since 1970, counts by level) without gaps."""

    interval_ms: int
    buckets: tuple[tuple[int, dict[str, int]], ...]


def search(store: Store, condition: Condition, limit: int) -> Found:
    """The newest records that match.

    Args:
        store: Whose records.
        condition: On the columns of the view.
        limit: How many at most; fewer come back where they would be longer than 32 MiB together.

    Raises:
        QueryTimeout: It took too long.
    """
    with store.reading() as (cursor, view):
        # One pass counts and picks; the long column is then read for what is shown only.
        sql = f"""SELECT count(*), coalesce(max(row(time, source, number, bytes), {limit:d}), [])
                  FROM ({view}) WHERE {condition.sql}"""
        ((total, newest),) = _run(cursor, sql, condition.parameters)
        sizes = itertools.accumulate(size for _, _, _, size in newest)
        fitting = max(1, sum(size <= MAX_ANSWER_BYTES for size in sizes)) if newest else 0
        if not fitting:
            return Found(total, ())
        # The oldest time that is wanted lets all other row groups be skipped.
        window = all_of(Condition("time >= ?", (newest[fitting - 1][0],)), condition)
        sql = f"""SELECT id, coalesce(original, CAST(record AS VARCHAR)) FROM ({view}) WHERE {window.sql}
                  ORDER BY time DESC, source DESC, number DESC LIMIT {fitting:d}"""
        records = _run(cursor, sql, window.parameters)
    return Found(total, tuple((id_, text) for id_, text in records))


def histogram(store: Store, condition: Condition, start: datetime | None, end: datetime | None) -> Histogram:
    """Count the matching records over time and by level.

    Args:
        store: Whose records.
        condition: On the columns of the view.
        start: Begin of the first bucket, about; by default the oldest match.
        end: End of the last one; by default the newest match.

    Raises:
        QueryTimeout: It took too long.
    """
    condition = all_of(condition, between(start, end))
    with store.reading() as (cursor, view):
        sql = f"""CREATE TEMP TABLE matching AS
                  SELECT epoch_ms(time) AS ms, coalesce(level, '') AS level FROM ({view}) WHERE {condition.sql}"""
        _run(cursor, sql, condition.parameters)
        ((oldest, newest),) = _run(cursor, "SELECT min(ms), max(ms) FROM matching", ())
        if oldest is None:
            return Histogram(_STEPS_MS[0], ())
        # Never wider than the times that a record can have, whatever was asked.
        first = max(_milliseconds(start), EARLIEST_MS) if start else oldest
        last = min(_milliseconds(end), LATEST_MS) - 1 if end else newest
        interval = next((step for step in _STEPS_MS if (last - first) // step < MAX_BUCKETS), _STEPS_MS[-1])
        sql = f"SELECT ms // {interval} * {interval}, level, count(*) FROM matching GROUP BY ALL"
        counts = _run(cursor, sql, ())
    buckets: dict[int, dict[str, int]] = {at: {} for at in range(first // interval * interval, last + 1, interval)}
    common = _most_common(counts)
    for at, level, count in counts:
        levels = buckets.setdefault(at, {})
        name = level if level in common else "(other)"
        levels[name] = levels.get(name, 0) + count
    return Histogram(interval, tuple(sorted(buckets.items())))


def _run(cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = cursor.execute(sql, list(parameters)).fetchall()
    return rows


def _milliseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000)


def _most_common(counts: list[tuple[Any, ...]]) -> set[str]:
    totals: dict[str, int] = {}
    for _, level, count in counts:
        totals[level] = totals.get(level, 0) + count
    return set(sorted(totals, key=totals.__getitem__, reverse=True)[:MAX_LEVELS])

"""
Asks a store for the numbers of the records it has: Elasticsearch and OpenSearch page by page, the embedded collector in SQL.

Nothing is estimated: a cardinality is not exact, and count, lowest and highest alone do not see one record twice and another
missing. So every number is counted, in windows of numbers, which need no open search context and bounded memory; records are
looked at where a window is not whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from shipper.commands.store import JSON_HEADERS, Json
from shipper.core.model import Request, Response
from shipper.core.sequences import Edge, Summary, edges
from shipper.errors import SinkUnavailable
from shipper.sinks.problem import problem
from shipper.transport import Transport

PATTERN = "logs-*.jsonlog*-*"
_RUNS_AT_ONCE = 500
_ROWS = 5_000  # of one answer of the collector, which gives 10,000 at most


class Numbers(Protocol):
    """What `verify` asks a store for."""

    def runs(self) -> AsyncIterator[Summary]:
        """Give each run that has records with numbers, in the order of their names."""

    def edges(self, summary: Summary) -> AsyncIterator[Edge]:
        """Give all neighbours of a run whose numbers do not follow each other."""


class _Fields(msgspec.Struct):
    sequence: list[int] = msgspec.field(name="event.sequence", default_factory=list)


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    fields: _Fields


class _Total(msgspec.Struct):
    value: int


class _Hits(msgspec.Struct):
    hits: list[_Hit]
    total: _Total


class _Shards(msgspec.Struct):
    failed: int = 0


class _Page(msgspec.Struct):
    hits: _Hits
    timed_out: bool = False
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)


_page = msgspec.json.Decoder(type=_Page)


@dataclass(frozen=True, slots=True)
class SearchNumbers:
    """
    Elasticsearch or OpenSearch.

    Args:
        transport: The way there.
        pattern: The streams or indices.
        since: Only records that are not older, in seconds since 1970; 0 for all.
        window: How many numbers are counted at once; stores allow 65,536 buckets.
        page: The most records of one answer.
    """

    transport: Transport
    pattern: str = PATTERN
    since: float = 0.0
    window: int = 20_000
    page: int = 10_000

    async def refresh(self) -> str:
        """Make everything that was written findable; return why that was not possible."""
        response = await self.transport.send(Request("POST", f"/{self.pattern}/_refresh?ignore_unavailable=true"))
        return "" if response.status == 200 else str(problem(response, "refresh"))

    async def runs(self) -> AsyncIterator[Summary]:
        """Give each run, by a composite aggregation, which is exact and can be paged through."""
        after: Json | None = None
        while True:
            composite: Json = {"size": _RUNS_AT_ONCE, "sources": [{"run": {"terms": {"field": "run"}}}]}
            if after is not None:
                composite["after"] = after
            field = {"field": "event.sequence"}
            inner = {"low": {"min": field}, "high": {"max": field}, "records": {"value_count": field}}
            body = {"size": 0, "query": self._query(), "aggs": {"runs": {"composite": composite, "aggs": inner}}}
            answer = json.loads((await self._search(body)).body)
            found = answer.get("aggregations", {}).get("runs", {})
            for bucket in found.get("buckets", ()):
                if number := int(bucket["records"]["value"]):
                    low, high = int(bucket["low"]["value"]), int(bucket["high"]["value"])
                    yield Summary(bucket["key"]["run"], number, low, high)
            after = found.get("after_key")
            if after is None:
                return

    async def edges(self, summary: Summary) -> AsyncIterator[Edge]:
        """Count all numbers, a window at a time; look at the records of a window only where the count is not what it should be."""
        last: tuple[int, str] | None = None
        start, width = summary.low, self.window
        while start <= summary.high:
            end = min(start + width, summary.high + 1)
            count, is_once = await self._count(summary.run, start, end)
            if is_once and count == end - start:
                if last and last[0] != start - 1:  # the gap before it ends at its first record
                    end = start + 1
                    for edge in edges(_records(await self._page(summary.run, start, end)), last)[0]:
                        yield edge
                last = None
            elif count > self.page // 2 and end - start > 1:
                width = max(1, width // 2)
                continue
            else:
                # With the number before, for the id of a neighbour, unless that one is known from the window before.
                page = await self._page(summary.run, start if last else start - 1, end)
                found, last = edges(_records(page), last)
                for edge in found:
                    yield edge
            start, width = (end if count else await self._next(summary.run, end)), self.window

    async def _count(self, run: str, start: int, end: int) -> tuple[int, bool]:
        """Count the records of some numbers, and tell whether each number that is there is there once."""
        twice = {"histogram": {"field": "event.sequence", "interval": 1, "min_doc_count": 2}}
        query = self._query(*_numbers(run, start, end))
        body = {"size": 0, "query": query, "track_total_hits": True, "aggs": {"twice": twice}}
        answer = json.loads((await self._search(body)).body)
        self._check(answer.get("timed_out", False), answer.get("_shards", {}).get("failed", 0))
        buckets = answer.get("aggregations", {}).get("twice", {}).get("buckets", ())
        return answer["hits"]["total"]["value"], not buckets

    async def _next(self, run: str, start: int) -> int:
        """Find the lowest number that is there from *start* on, which there is."""
        body = {
            "size": 1,
            "query": self._query({"term": {"run": run}}, {"range": {"event.sequence": {"gte": start}}}),
            "_source": False,
            "docvalue_fields": ["event.sequence"],
            "sort": [{"event.sequence": "asc"}],
        }
        page = self._read(await self._search({**body, "track_total_hits": True}))
        return page.hits.hits[0].fields.sequence[0] if page.hits.hits else sys.maxsize

    async def _page(self, run: str, start: int, end: int) -> _Page:
        """Read number and id of the records of some numbers."""
        body = {
            "size": self.page,
            "query": self._query(*_numbers(run, start, end)),
            "_source": False,
            "docvalue_fields": ["event.sequence"],
            "sort": [{"event.sequence": "asc"}],
            "track_total_hits": True,
        }
        return self._read(await self._search(body))

    def _read(self, response: Response) -> _Page:
        try:
            page = _page.decode(response.body)
        except msgspec.MsgspecError as exc:
            raise SinkUnavailable(f"{self.transport.url}: an answer to a search that cannot be read: {exc}") from exc
        self._check(page.timed_out, page.shards.failed)
        return page

    def _check(self, timed_out: bool, failed: int) -> None:  # noqa: FBT001 (as the answer has it)
        if timed_out or failed:
            raise SinkUnavailable(f"{self.transport.url}: some shards did not answer; try again when all are there")

    def _query(self, *more: Json) -> Json:
        filters = [{"exists": {"field": "run"}}, *more]
        if self.since:
            filters.append({"range": {"@timestamp": {"gte": int(self.since * 1000), "format": "epoch_millis"}}})
        return {"bool": {"filter": filters}}

    async def _search(self, body: Json) -> Response:
        path = f"/{self.pattern}/_search?ignore_unavailable=true&allow_no_indices=true"
        response = await self.transport.send(Request("POST", path, json.dumps(body).encode(), JSON_HEADERS))
        if response.status != 200:
            raise problem(response, f"POST {path}")
        return response


@dataclass(frozen=True, slots=True)
class CollectorNumbers:
    """
    The embedded collector.

    Args:
        transport: The way there.
        since: As above.
    """

    transport: Transport
    since: float = 0.0

    async def is_there(self) -> bool:
        """Tell whether it is the collector that answers."""
        response = await self.transport.send(Request("GET", f"/api/sql?q={quote('SELECT 1')}"))
        return response.status == 200 and response.body.startswith(b'{"columns"')

    async def runs(self) -> AsyncIterator[Summary]:
        """Give each run, by name."""
        last = ""
        while True:
            rows = await self._rows(
                f"SELECT run, count(*), min(sequence), max(sequence) FROM records WHERE {self._where()} AND run > {_text(last)} "  # noqa: S608
                f"GROUP BY run ORDER BY run LIMIT {_RUNS_AT_ONCE}"
            )
            for row in rows:
                yield Summary(*row)
            if len(rows) < _RUNS_AT_ONCE:
                return
            last = rows[-1][0]

    async def edges(self, summary: Summary) -> AsyncIterator[Edge]:
        """Let the collector compare each record with the next one."""
        start = summary.low
        while True:
            rows = await self._rows(
                "SELECT sequence, id, after, after_id FROM (SELECT sequence, id, lead(sequence) OVER w AS after, "  # noqa: S608
                f"lead(id) OVER w AS after_id FROM records WHERE {self._where()} AND run = {_text(summary.run)} "
                f"AND sequence >= {start} WINDOW w AS (ORDER BY sequence, id)) WHERE after <> sequence + 1 "
                f"ORDER BY sequence, after, id LIMIT {_ROWS}"
            )
            for row in rows:
                yield Edge(*row)
            if len(rows) < _ROWS or rows[-1][2] <= start:
                return
            start = rows[-1][2]

    def _where(self) -> str:
        since = f" AND time >= make_timestamp({int(self.since * 1e6)})" if self.since else ""
        return f"run IS NOT NULL AND sequence IS NOT NULL{since}"

    async def _rows(self, query: str) -> list[list[Any]]:
        response = await self.transport.send(Request("GET", f"/api/sql?q={quote(query)}"))
        if response.status != 200:
            raise problem(response, f"GET {self.transport.url}/api/sql")
        rows: list[list[Any]] = json.loads(response.body)["rows"]
        return rows


def _records(page: _Page) -> Iterator[tuple[int, str]]:
    return ((hit.fields.sequence[0], hit.id) for hit in page.hits.hits)


def _numbers(run: str, start: int, end: int) -> tuple[Json, Json]:
    return {"term": {"run": run}}, {"range": {"event.sequence": {"gte": start, "lt": end}}}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

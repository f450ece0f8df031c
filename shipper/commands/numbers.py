"""
Asks a store for the numbers of the records it has: Elasticsearch and OpenSearch page by page, the embedded collector in SQL.

Nothing is estimated: a cardinality is not exact, and count, lowest and highest alone do not see one record twice and another
missing. So every number is looked at, in windows of numbers, which need no open search context and bounded memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
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
_WINDOW = 5_000  # numbers; a page has twice the room, for those that are there twice
_PAGE = 10_000


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
    """

    transport: Transport
    pattern: str = PATTERN
    since: float = 0.0

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
        """Go through all numbers, a window at a time."""
        last: tuple[int, str] | None = None
        start, width = summary.low, _WINDOW
        while start <= summary.high:
            page = await self._window(summary.run, start, width)
            if page.hits.total.value > _PAGE and width > 1:
                width = max(1, width // 2)
                continue
            found, last = edges(((hit.fields.sequence[0], hit.id) for hit in page.hits.hits), last)
            for edge in found:
                yield edge
            start, width = start + width, _WINDOW

    async def _window(self, run: str, start: int, width: int) -> _Page:
        query = self._query({"term": {"run": run}}, {"range": {"event.sequence": {"gte": start, "lt": start + width}}})
        body = {
            "size": _PAGE,
            "query": query,
            "_source": False,
            "docvalue_fields": ["event.sequence"],
            "sort": [{"event.sequence": "asc"}],
            "track_total_hits": True,
        }
        response = await self._search(body)
        try:
            page = _page.decode(response.body)
        except msgspec.MsgspecError as exc:
            raise SinkUnavailable(f"{self.transport.url}: an answer to a search that cannot be read: {exc}") from exc
        if page.timed_out or page.shards.failed:
            raise SinkUnavailable(f"{self.transport.url}: some shards did not answer; try again when all are there")
        return page

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
                f"ORDER BY sequence, after, id LIMIT {_WINDOW}"
            )
            for row in rows:
                yield Edge(*row)
            if len(rows) < _WINDOW or rows[-1][2] <= start:
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


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

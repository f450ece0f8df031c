"""The demo's questions, to the embedded collector and to Elasticsearch or OpenSearch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from shipper.core.naming import stream_name
from shipper.errors import ConfigError, ShipperError
from shipper.urls import hide_password

Rows = list[tuple[str, float]]


class Store(Protocol):
    """Answers the questions about the records of one run of the demo."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def page(self) -> str:
        """Where a person can look, as a sentence."""

    def refresh(self) -> None:
        """Make what was sent visible to queries."""

    def count(self) -> tuple[int, int]:
        """Count the records, and the different pairs of run and number among them."""

    def levels(self) -> Rows:
        """Count records per level."""

    def exceptions(self) -> Rows:
        """Count records per type of exception."""

    def slowest(self) -> Rows:
        """List the slowest requests with their milliseconds."""


@dataclass(frozen=True, slots=True)
class CollectorStore:
    """The embedded collector, asked in SQL."""

    url: str
    where: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, trust_env=False))
    name: str = "the embedded collector"

    @property
    def page(self) -> str:
        """The page's address."""
        return f"the collector's page is at {self.url}"

    def refresh(self) -> None:
        """Do nothing: the collector answers when a record can be found."""

    def count(self) -> tuple[int, int]:
        """Count the records, and the different pairs of run and number."""
        (row,) = self._sql("SELECT count(*), count(DISTINCT (run, sequence)) FROM records WHERE {}")
        return int(row[0]), int(row[1])

    def levels(self) -> Rows:
        """Count records per level."""
        return self._rows("SELECT level, count(*) FROM records WHERE {} GROUP BY level ORDER BY 2 DESC, 1")

    def exceptions(self) -> Rows:
        """Count records per type of exception."""
        question = (
            "SELECT exc_type, count(*) FROM records WHERE {} AND exc_type IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        )
        return self._rows(question)

    def slowest(self) -> Rows:
        """List the slowest requests."""
        return self._rows(
            "SELECT message, TRY_CAST(record->>'$.extra.duration_ms' AS DOUBLE) AS ms FROM records"
            " WHERE {} AND logger = 'gunicorn.access' AND ms IS NOT NULL ORDER BY ms DESC LIMIT 3"
        )

    def _rows(self, question: str) -> Rows:
        return [(str(name), float(value)) for name, value in self._sql(question)]

    def _sql(self, question: str) -> list[list[Any]]:
        answer = self.client.get(f"{self.url}/api/sql", params={"q": question.format(self.where)})
        if answer.status_code != 200:
            raise ShipperError(f"{hide_password(self.url)} did not answer a query: {answer.text[:300]}")
        rows: list[list[Any]] = answer.json()["rows"]
        return rows


@dataclass(frozen=True, slots=True)
class SearchStore:
    """Elasticsearch or OpenSearch, asked through `_search`."""

    url: str
    stream: str
    name: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    @property
    def page(self) -> str:
        """Where the records are."""
        return f"the records are in the data stream {self.stream} at {hide_password(self.url)}"

    def refresh(self) -> None:
        """Make what was sent visible to queries."""
        self._call("_refresh")

    def count(self) -> tuple[int, int]:
        """Read all records, page by page, and count the different pairs of run and number."""
        pairs: list[tuple[str, int]] = []
        after: list[Any] | None = None
        while True:
            body: dict[str, Any] = {
                "size": 5000,
                "_source": ["run", "event.sequence"],
                "sort": [{"run": "asc"}, {"event.sequence": "asc"}, {"@timestamp": "asc"}],
            }
            hits = self._call("_search", body | ({"search_after": after} if after else {}))["hits"]["hits"]
            if not hits:
                return len(pairs), len(set(pairs))
            pairs += [(hit["_source"]["run"], hit["_source"]["event"]["sequence"]) for hit in hits]
            after = hits[-1]["sort"]

    def levels(self) -> Rows:
        """Count records per level."""
        return self._terms("log.level")

    def exceptions(self) -> Rows:
        """Count records per type of exception."""
        return self._terms("exc.type")

    def slowest(self) -> Rows:
        """List the slowest requests."""
        body = {
            "size": 3,
            "query": {"term": {"log.logger": "gunicorn.access"}},
            "sort": [{"extra.duration_ms": "desc"}],
        }
        hits = self._call("_search", body)["hits"]["hits"]
        return [(hit["_source"]["message"], hit["_source"]["extra"]["duration_ms"]) for hit in hits]

    def _terms(self, name: str) -> Rows:
        answer = self._call("_search", {"size": 0, "aggs": {"found": {"terms": {"field": name, "size": 20}}}})
        return [(str(bucket["key"]), bucket["doc_count"]) for bucket in answer["aggregations"]["found"]["buckets"]]

    def _call(self, action: str, body: dict[str, Any] | None = None) -> Any:
        answer = self.client.post(f"{self.url}/{self.stream}/{action}", json=body)
        if answer.status_code != 200:
            raise ShipperError(f"{self.name} did not answer a query: {answer.text[:300]}")
        return answer.json()


def find_store(url: str, *, service: str, environment: str) -> Store:
    """
    Find out what stands at *url*.

    Raises:
        ConfigError: Nothing answers there, or nothing that can be asked.
    """
    url = url.rstrip("/")
    try:
        answer = httpx.get(f"{url}/", timeout=10, headers={"accept": "application/json"})
        is_collector = httpx.get(f"{url}/api/sql", params={"q": "SELECT 1"}, timeout=10).status_code == 200
    except httpx.HTTPError as exc:
        raise ConfigError(f"--to {hide_password(url)}: {exc}; is the store running?") from exc
    if is_collector:
        return CollectorStore(url, f"service = '{service}' AND environment = '{environment}'")
    try:
        version = answer.json()["version"]
        name = f"{'OpenSearch' if version.get('distribution') == 'opensearch' else 'Elasticsearch'} {version['number']}"
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigError(
            f"--to {hide_password(url)}: neither a collector nor Elasticsearch or OpenSearch answers there"
        ) from exc
    return SearchStore(url, stream_name(service, environment), name)

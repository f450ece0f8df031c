"""A data stream on a real server, made with the committed template: send records to it, ask it."""

import json
from typing import Any, Self

import httpx

from schemas.build import ROOT

JSON = {"content-type": "application/json"}


class Stream:
    """The stream of one service; *store* is what the fixture `store` gives."""

    def __init__(self, store: Any, service: str, profile: str = "") -> None:
        self.name = f"logs-{service}.jsonlog{'_' + profile if profile not in ('', 'flat') else ''}-default"
        self.http = httpx.Client(base_url=store.url, timeout=60)
        suffix = f"-{profile}" if profile else ""
        for path, body in json.loads((ROOT / f"schemas/{store.kind}{suffix}.json").read_text()).items():
            self.ask("PUT", path, body)
        self.ask("PUT", f"/_data_stream/{self.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("DELETE", f"/_data_stream/{self.name}")
        self.http.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request that must succeed; its answer."""
        content = body if isinstance(body, str | None) else json.dumps(body)
        answer = self.http.request(method, path, content=content, headers=JSON)
        assert answer.is_success, f"{method} {path}: {answer.text[:2000]}"
        return answer.json()

    def create(self, records: dict[str, Any]) -> dict[str, tuple[int, str]]:
        """Send all records under their ids in one `_bulk`; the status of each, and the reason where it was refused."""
        lines = [
            line
            for id_, record in records.items()
            for line in (json.dumps({"create": {"_id": id_}}), json.dumps(record))
        ]
        answer = self.ask("POST", f"/{self.name}/_bulk?refresh=true", "\n".join(lines) + "\n")
        items = [item["create"] for item in answer["items"]]
        assert [item["_id"] for item in items] == list(records)
        return {item["_id"]: (item["status"], json.dumps(item.get("error", ""))) for item in items}

    def search(self, body: dict[str, Any]) -> Any:
        """Search, without a limit on the count."""
        return self.ask("POST", f"/{self.name}/_search", {"track_total_hits": True, **body})

    def ids(self, query: dict[str, Any]) -> set[str]:
        """The ids of what a query finds."""
        answer = self.search({"query": query, "size": 1000, "_source": False})
        return {hit["_id"] for hit in answer["hits"]["hits"]}

    def ignored(self, id_: str) -> list[str]:
        """The fields of a record that were kept but cannot be searched, as far as the store says so."""
        answer = self.search({"query": {"ids": {"values": [id_]}}, "_source": False})
        (hit,) = answer["hits"]["hits"]
        return list(hit.get("_ignored", ()))

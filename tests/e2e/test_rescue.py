"""Rescue on the real stores: what a mapping cannot take is kept beside it, and everything well-typed stays exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import Site
from tests.fakes import Part
from tests.servers import Server

TIME = "2026-01-01T00:00:00Z"
# Strict where ours is lenient: no `ignore_malformed`, no dynamic limits ignored, so that both stores refuse what they can.
MAPPING: dict[str, Any] = {
    "properties": {
        "@timestamp": {"type": "date"}, "n": {"type": "long"}, "f": {"type": "float"}, "b": {"type": "boolean"},
        "d": {"type": "date"}, "ip": {"type": "ip"}, "k": {"type": "keyword"}, "t": {"type": "text"},
        "o": {"properties": {"x": {"type": "long"}}}, "alias": {"type": "alias", "path": "k"}, "g": {"type": "geo_point"},
        "nest": {"type": "nested", "properties": {"z": {"type": "long"}}},
        "strict": {"dynamic": "strict", "properties": {"a": {"type": "keyword"}}}, "comp": {"type": "completion"},
        "extra": {"type": "object", "dynamic": True}, "event": {"properties": {"original": {"type": "text"}}},
        "shipper": {"properties": {"rescued": {"properties": {
            "json": {"type": "text"}, "field": {"type": "keyword"}, "reason": {"type": "text"}}}}},
    }
}  # fmt: skip


def deep(levels: int) -> Any:
    return {"a": deep(levels - 1)} if levels else 1


AWKWARD: dict[str, dict[str, Any]] = {
    "n": {"n": "abc"}, "n object": {"n": {"a": 1}}, "n list": {"n": [1, {"a": 2}]}, "n large": {"n": 10**30}, "f": {"f": "x"},
    "n true": {"n": True}, "b": {"b": "maybe"}, "b number": {"b": 1}, "d": {"d": "yesterday"}, "d object": {"d": {"a": 1}},
    "ip": {"ip": "no address"}, "k object": {"k": {"a": 1}}, "k long": {"k": "x" * 40_000}, "t object": {"t": {"a": {"b": 1}}},
    "o text": {"o": "text"}, "o list": {"o": [1, 2]}, "o.x": {"o": {"x": "y"}}, "o.x dotted": {"o.x": "y"}, "alias": {"alias": 1},
    "g": {"g": "nowhere"}, "nest": {"nest": "s"}, "nest.z": {"nest": [{"z": 1}, {"z": "q"}]}, "strict": {"strict": {"new": 1}},
    "comp": {"comp": {"a": 1}}, "mixed": {"extra": {"m": [1, {"a": 1}]}}, "empty key": {"extra": {"": 1}},
    "blank key": {"extra": {" ": 1}}, "dots": {"extra": {"a..b": 1}}, "dot": {"extra": {".": 1}}, "_id": {"_id": "x"},
    "time": {"@timestamp": "never"}, "two times": {"@timestamp": [TIME, TIME]}, "time object": {"@timestamp": {"a": 1}},
    "deep": {"extra": {"deep": deep(25)}}, "several": {"n": "abc", "b": "maybe", "o": 5, "strict": {"new": [1]}},
    "dynamic": {"extra": {"big": 10**40}}, "infinite": {"f": "1e999"},
}  # fmt: skip
RAW = {
    "twice": b'{"@timestamp":"%b","case":"twice","n":1,"n":2}' % TIME.encode(),
    "digits": b'{"@timestamp":"%b","case":"digits","n":%b}' % (TIME.encode(), b"9" * 1500),
}


@pytest.fixture
def site(tmp_path: Path, store: Server, unique_service: str) -> Iterator[Site]:
    made = Site(tmp_path, store, unique_service)
    made.stream = f"logs-{unique_service}.jsonlog-test"
    yield made
    made.close()
    store.call("DELETE", f"/_data_stream/{made.stream}")
    store.call("DELETE", f"/_index_template/{unique_service}")


def install(site: Site, mapping: dict[str, Any], limit: int) -> None:
    settings: dict[str, Any] = {"index": {"mapping": {"total_fields": {"limit": limit}}}}
    if site.store.kind == "elasticsearch":
        settings["index"]["mode"] = "standard"
    body = {"index_patterns": [site.stream], "priority": 900, "data_stream": {},
            "template": {"settings": settings, "mappings": mapping}}  # fmt: skip
    status, answer = site.store.call("PUT", f"/_index_template/{site.service}", body)
    assert status == 200, answer
    assert site.store.call("PUT", f"/_data_stream/{site.stream}")[0] == 200


def ship(site: Site, lines: list[bytes]) -> None:
    service = {"service": {"name": site.service, "environment": "test"}}
    first = json.dumps({"@timestamp": TIME, **service}).encode()
    Part(site.logs, b"\n".join([first, *lines, b""])).end()
    code = site.ship("--once", "--no-template").wait(90)
    assert code == 0, site.said
    site.store.call("POST", f"/{site.stream}/_refresh")


def search(site: Site, body: dict[str, Any]) -> Any:
    status, answer = site.store.call("POST", f"/{site.stream}/_search", body)
    assert status == 200, answer
    return answer


def test_every_conflict_is_rescued(site: Site) -> None:
    """Each awkward record is stored, with what the mapping refused as text; nothing is dead, nothing is lost."""
    install(site, MAPPING, 300)
    seed = json.dumps({"@timestamp": TIME, "case": "seed", "extra": {"m": 1, "u": {"v": 1}}}).encode()
    base = {"service": {"name": site.service, "environment": "test"}}
    cases = {
        name: json.dumps({"@timestamp": TIME, **base, "case": name, **one}).encode() for name, one in AWKWARD.items()
    } | RAW
    ship(site, [seed, *cases.values()])
    assert not (site.folder / "state" / "dead-letters.jsonl").exists(), site.said
    hits = search(site, {"size": 1000})["hits"]["hits"]
    stored = {hit["_source"].get("case"): hit["_source"] for hit in hits if "case" in hit["_source"]}
    whole = {json.loads(hit["_source"]["event"]["original"])["case"]: hit["_source"]
             for hit in hits if "original" in hit["_source"].get("event", {})}  # fmt: skip
    assert len(hits) == len(cases) + 2
    for name, one in AWKWARD.items():
        record = stored.get(name) or whole[name]
        rescued = record["shipper"]["rescued"]
        assert rescued["reason"], name
        if "json" not in rescued:
            assert json.loads(record["event"]["original"])["case"] == name
            continue
        moved = json.loads(rescued["json"])
        for key, value in one.items():
            assert key in moved or any(path.startswith((f"{key}.", f"{key}[")) for path in moved), name
            if key in moved:
                assert moved[key] == value, name
    assert len(stored) >= len(AWKWARD) - 4, f"only a few may need the second stage: {sorted(whole)}"
    for name, line in RAW.items():
        assert whole[name]["event"]["original"].encode() == line
    found = search(site, {"query": {"term": {"shipper.rescued.field": "ip"}}})["hits"]["total"]["value"]
    assert found == 1
    assert search(site, {"query": {"match": {"shipper.rescued.json": "nowhere"}}})["hits"]["total"]["value"] == 1


def test_five_thousand_keys_into_a_limited_mapping(site: Site) -> None:
    """Aggregates over well-typed keys are exact though each record brings a new key, and each of these can be read back."""
    install(site, MAPPING, 100)
    base = {"service": {"name": site.service, "environment": "test"}, "@timestamp": TIME}
    ship(site, [json.dumps({**base, "n": n, "extra": {"amount": n, f"key{n}": n}}).encode() for n in range(5000)])
    assert not (site.folder / "state" / "dead-letters.jsonl").exists(), site.said
    answer = search(site, {
        "size": 0, "track_total_hits": True, "query": {"exists": {"field": "n"}},
        "aggs": {"n": {"stats": {"field": "n"}}, "amount": {"stats": {"field": "extra.amount"}}},
    })  # fmt: skip
    assert answer["hits"]["total"]["value"] == 5000
    for name in ("n", "amount"):
        stats = answer["aggregations"][name]
        assert (stats["count"], stats["min"], stats["max"], stats["sum"]) == (5000, 0, 4999, sum(range(5000))), name
    (hit,) = search(site, {"query": {"term": {"n": 4321}}})["hits"]["hits"]
    assert json.loads(hit["_source"]["shipper"]["rescued"]["json"]) == {"extra.key4321": 4321}
    assert hit["_source"]["extra"] == {"amount": 4321}

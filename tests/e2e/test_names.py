"""Names of indices and streams that are made of fields of records, in real stores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.fakes import Part, append
from tests.servers import Server

DAYS = ("2026-01-01", "2026-01-02")
LEVELS = ("INFO", "ERROR", "Odd One/*?")


@pytest.fixture
def site(tmp_path: Path, store: Server, unique_service: str) -> Iterator[Site]:
    made = Site(tmp_path, store, unique_service)
    yield made
    made.close()


def write(site: Site) -> None:
    """Lines of ours and of another program, of several days and levels, in turn; one has neither."""
    facts = {"service": {"name": site.service, "environment": "test"}}
    lines = [
        {"@timestamp": f"{DAYS[n % 2]}T23:59:59.999Z", "log": {"level": LEVELS[n % 3]}, "n": n, **facts}
        for n in range(60)
    ]
    Part(site.logs, b"".join(json.dumps(one).encode() + b"\n" for one in lines[:30])).end()
    append(site.logs / "other.jsonl", b"".join(json.dumps(one).encode() + b"\n" for one in lines[30:]))


def where(site: Site, pattern: str) -> dict[str, Counter[int]]:
    """Ask the store which records each index or stream has."""
    site.store.call("POST", f"/{pattern}/_refresh")
    status, answer = site.store.call("POST", f"/{pattern}/_search", {"size": 1000, "_source": ["n"]})
    assert status == 200, answer
    found: dict[str, Counter[int]] = {}
    for hit in answer["hits"]["hits"]:
        found.setdefault(hit["_index"], Counter())[hit["_source"]["n"]] += 1
    return found


def test_each_record_is_in_the_index_of_its_day_and_level(site: Site) -> None:
    """Characters that a store refuses in a name are mapped; what is read again after a lost checkpoint is not there twice."""
    write(site)
    (site.folder / "shipper.yaml").write_text(
        f"index: '{site.service}-{{log.level}}-{{@timestamp:%Y.%m.%d}}'\nmax_targets: 10\n"
    )
    arguments = ("--once", "--config", str(site.folder / "shipper.yaml"))
    assert site.ship(*arguments).wait() == 0, site.said
    found = where(site, f"{site.service}-*")
    levels = ("info", "error", "odd_one___")
    expected = {
        f"{site.service}-{levels[n % 3]}-{DAYS[n % 2].replace('-', '.')}": {m for m in range(60) if m % 6 == n}
        for n in range(6)
    }
    assert {name: set(numbers) for name, numbers in found.items()} == expected
    assert {count for numbers in found.values() for count in numbers.values()} == {1}
    (site.logs / "other.jsonl").unlink()
    (site.folder / "state" / "checkpoint.sqlite").unlink()
    assert site.ship(*arguments).wait() == 0, site.said
    assert where(site, f"{site.service}-*") == found


def test_streams_are_named_by_fields_and_no_more_than_allowed(site: Site) -> None:
    """Each level has its own stream with our template; what would be one too many is in the one of defaults, and it is said."""
    write(site)
    (site.folder / "shipper.yaml").write_text(
        f"dataset: '{site.service}_{{log.level}}'\nnamespace: test\nmax_targets: 2\n"
    )
    assert site.ship("--once", "--config", str(site.folder / "shipper.yaml")).wait() == 0, site.said
    streams = (f"logs-{site.service}_*.jsonlog-test", f"logs-{site.service}_*.jsonlog_foreign-test")
    found = [where(site, stream) for stream in streams]
    assert Counter(n for one in found for numbers in one.values() for n in numbers.elements()) == Counter(range(60))
    assert "more than 2 names" in site.said
    assert any("_unknown.jsonlog" in name for one in found for name in one)

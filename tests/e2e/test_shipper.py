"""Real writers, the real command, real stores: what was logged is in the store exactly once."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.fakes import Part, wait_for
from tests.servers import Server, start

WRITERS, RECORDS = 4, 5000


@pytest.fixture
def site(tmp_path: Path, store: Server, unique_service: str) -> Iterator[Site]:
    made = Site(tmp_path, store, unique_service)
    yield made
    made.close()


def test_kills_lose_and_double_nothing(site: Site) -> None:
    """4 writers with 5,000 records each, the shipper killed at random and restarted: every number once, without a gap."""
    draw = random.Random(site.service)
    writers = [site.write(RECORDS, pause=0.03) for _ in range(WRITERS)]
    kills = 0
    while any(writer.poll() is None for writer in writers) or kills < 4:
        shipper = site.ship("--finished", "delete")
        time.sleep(0.4 + draw.random())  # not to synchronise: the kill is to hit anywhere
        shipper.kill()
        kills += 1
    before = site.said.count("the sink is ")
    shipper = site.ship("--finished", "delete")
    # Everything may be there already: the last shipper is to have begun before it is told to stop.
    wait_for(lambda: site.said.count("the sink is ") > before, "the last shipper")
    site.wait_for_count(WRITERS * RECORDS)
    shipper.signal(signal.SIGTERM)
    assert shipper.wait() == 0
    site.assert_gap_free(WRITERS, RECORDS)
    assert "nothing is left" in site.said
    assert not list(site.logs.glob("*.jsonl")), "what is delivered and finished is deleted"
    assert not (site.folder / "state" / "dead-letters.jsonl").exists()


def test_a_lost_checkpoint_doubles_nothing(site: Site) -> None:
    """With the checkpoint deleted, everything of ours is sent again and stored once."""
    assert site.write(500).wait() == 0
    assert site.ship("--once").wait() == 0
    shutil.rmtree(site.folder / "state")
    assert site.ship("--once").wait() == 0
    assert "500 were there already" in site.said
    site.wait_for_count(500)
    site.assert_gap_free(1, 500)


def test_a_drain_waits_for_writers(site: Site) -> None:
    """After SIGTERM the shipper ships what living writers still log, and ends with them."""
    writer = site.write(2000, pause=0.05)
    shipper = site.ship()
    wait_for(lambda: site.count() > 0, "the first records")
    shipper.signal(signal.SIGTERM)
    assert shipper.wait() == 0
    assert writer.poll() is not None, "the shipper ended before the writer did"
    site.wait_for_count(2000)
    site.assert_gap_free(1, 2000)


def test_a_read_only_index_is_waited_for(site: Site) -> None:
    """With the index read-only nothing is dropped; when it is writable again everything arrives."""
    assert site.write(10).wait() == 0
    shipper = site.ship()
    site.wait_for_count(10)
    assert site.store.call("PUT", f"/{site.stream}/_settings", {"index.blocks.write": True})[0] == 200
    assert site.write(50).wait() == 0
    wait_for(lambda: "needs attention" in site.said, "the message")
    assert "cluster_block_exception" in site.said
    assert site.store.call("PUT", f"/{site.stream}/_settings", {"index.blocks.write": None})[0] == 200
    site.wait_for_count(60)
    wait_for(lambda: "takes records again" in site.said, "the message that all is well")
    shipper.signal(signal.SIGTERM)
    assert shipper.wait() == 0
    assert not (site.folder / "state" / "dead-letters.jsonl").exists()


def test_a_plain_index_in_the_way_is_named(site: Site) -> None:
    """A plain index with the stream's name stops delivery, is named with what to do, and costs nothing."""
    status, answer = site.store.call("PUT", f"/_index_template/{site.service}", {
        "index_patterns": [site.stream], "priority": 1000, "template": {}})  # fmt: skip
    assert status == 200, answer
    assert site.store.call("PUT", f"/{site.stream}")[0] == 200
    assert site.write(20).wait() == 0
    shipper = site.ship()
    wait_for(lambda: "reindex or delete it" in site.said, "the message")
    assert site.stream in site.said
    assert site.count() == 0
    site.store.call("DELETE", f"/{site.stream}")
    site.store.call("DELETE", f"/_index_template/{site.service}")
    site.wait_for_count(20)
    shipper.signal(signal.SIGINT)
    assert shipper.wait() == 0
    assert site.said.count("reindex or delete it") == 1, "said once"


def test_a_deleted_stream_is_made_again(site: Site) -> None:
    """Template and stream that vanish while the shipper runs are made again as a stream, not as a plain index."""
    assert site.write(10).wait() == 0
    shipper = site.ship()
    site.wait_for_count(10)
    assert site.store.call("DELETE", f"/_data_stream/{site.stream}")[0] == 200
    assert site.write(20).wait() == 0
    site.wait_for_count(20)
    assert site.store.call("GET", f"/_data_stream/{site.stream}")[0] == 200
    shipper.signal(signal.SIGINT)
    assert shipper.wait() == 0


def test_without_template(site: Site) -> None:
    """With --no-template nothing but `_bulk` is asked of the store, and the records arrive."""
    assert site.write(20).wait() == 0
    assert site.ship("--once", "--no-template").wait() == 0
    site.wait_for_count(20)
    assert "installed" not in site.said


def test_a_mapping_conflict_is_rescued(site: Site) -> None:
    """A record that our own mapping refuses is stored with the offending value as text, and it is said; all others arrive as they are."""
    record = {"@timestamp": "2026-01-01T00:00:00.000Z", "service": {"name": site.service, "environment": "test"}}
    good = [json.dumps({**record, "message": f"m{n}"}).encode() + b"\n" for n in range(200)]
    bad = json.dumps({**record, "@timestamp": "no time at all", "message": "bad"}).encode() + b"\n"
    Part(site.logs, b"".join([*good[:77], bad, *good[77:]]), service=site.service).end()
    assert site.ship("--once").wait() == 0
    site.wait_for_count(201)
    assert not (site.folder / "state" / "dead-letters.jsonl").exists()
    query = {"query": {"term": {"shipper.rescued.field": "@timestamp"}}}
    (hit,) = site.store.call("POST", f"/{site.stream}/_search", query)[1]["hits"]["hits"]
    assert json.loads(hit["_source"]["shipper"]["rescued"]["json"]) == {"@timestamp": "no time at all"}
    assert hit["_source"]["message"] == "bad"
    assert "line 78" in site.said
    assert "shipper.rescued" in site.said


@pytest.mark.parametrize("kind", ["elasticsearch", "opensearch"])
@pytest.mark.server
@pytest.mark.timeout(300)
def test_a_store_that_stops_and_starts(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, unique_service: str
) -> None:
    """Absent at the start, killed half-way and started again: the shipper waits each time and everything arrives once."""
    request.getfixturevalue(kind)  # skips where there is none
    with start(kind) as server:
        site = Site(tmp_path, server, unique_service)
        try:
            server.stop()
            writer = site.write(3000, pause=0.08)
            shipper = site.ship()
            wait_for(lambda: "is not available" in site.said, "the message that nobody is there")
            server.restart()
            wait_for(lambda: site.count() > 0, "the first records", timeout_s=60)
            server.kill()
            assert writer.wait() == 0
            wait_for(lambda: site.said.count("is not available") == 2, f"the second message; it said {site.said}")
            server.restart()
            site.wait_for_count(3000)
            site.assert_gap_free(1, 3000)
            shipper.signal(signal.SIGTERM)
            assert shipper.wait() == 0
        finally:
            site.close()


def test_profile_ecs_has_a_stream_and_a_template_of_its_own(site: Site) -> None:
    """A record of profile `ecs` with an exception, whose fields are aliases elsewhere, is stored and found by them."""
    program = """
import logging, sys, jsonlog
handler = jsonlog.ProcessFileHandler(sys.argv[1])
handler.setFormatter(jsonlog.JsonFormatter(profile="ecs", service=sys.argv[2], environment="test"))
log = logging.Logger("e2e"); log.addHandler(handler)
try:
    raise ValueError("declined")
except ValueError:
    log.exception("charge failed")
"""
    subprocess.run([sys.executable, "-c", program, str(site.logs), site.service], check=True, timeout=30)
    assert site.ship("--once").wait(60) == 0
    stream = f"logs-{site.service}.jsonlog_ecs-test"
    assert site.count(stream) == 1, site.said
    query = {"query": {"term": {"error.type": "ValueError"}}}
    status, answer = site.store.call("POST", f"/{stream}/_search", query)
    assert (status, answer["hits"]["total"]["value"]) == (200, 1)


def test_lines_of_other_programs(site: Site) -> None:
    """Whatever another program writes is taken by the store as it is made into a record: nothing is refused, everything is found."""
    stream = f"logs-{site.service}.jsonlog_foreign-default"
    service = f'"service":{{"name":"{site.service}"}}'
    good = [
        f'{{"@timestamp":"2026-11-22T05:02:17.220Z",{service},"a":1,"log":{{"level":"info"}}}}',
        f'{{"@timestamp":"2026-11-22 05:02:17,220",{service},"log.level":"info","event":"login","log.x":{{"y":[1]}}}}',
        f'{{{service},"tags":"one","message":"no time"}}',
        f'{{"@timestamp":"yesterday",{service}}}',
        f'{{"@timestamp":1700000000,{service}}}',
        f'{{"@timestamp":"2026-11-22",{service},"a":1,"a":2,"b":{{"c":1,"c":2}}}}',
        f'{{"@timestamp":1700000000000,{service},"exc_info":"Traceback","labels":{{"team":"x"}}}}',
        f'{{"@timestamp":"2026-11-22T05:02Z",{service},"s":"\udcff"}}',
        f'{{"@timestamp":"2026-11-22T05:02:17+0100",{service},"pad":"{"x" * 2_000_000}"}}',
        "plain text", "[1]", '{"half', "null",
    ]  # fmt: skip
    data = "".join(line + "\n" for line in good).encode("utf-8", "surrogateescape")
    (site.logs / "other.jsonl").write_bytes(data)
    config = site.folder / "shipper.yaml"
    config.write_text("fields: {labels.team: mine, kubernetes.pod.name: p}\nstream_fields: true\n")
    assert site.ship("--once", "--config", str(config)).wait() == 0, site.said
    site.store.call("POST", f"/{stream}/_refresh")
    _, answer = site.store.call("POST", f"/{stream}/_search", {"size": 50})
    found = [hit["_source"] for hit in answer["hits"]["hits"]]
    assert len(found) == len(good), site.said
    assert not (site.folder / "state" / "dead-letters.jsonl").exists()
    marks = Counter(tag for record in found for tag in record.get("tags", ()) if tag.startswith("shipper."))
    assert marks == {
        "shipper.wrapped": 4, "shipper.timestamp": 3, "shipper.keys": 1, "shipper.utf8": 1, "shipper.cut": 1,
    }  # fmt: skip

    def count(query: str) -> int:
        asked = {"query": {"query_string": {"query": query}}}
        return site.store.call("POST", f"/{stream}/_count", asked)[1]["count"]

    path = str(site.logs / "other.jsonl")
    assert count(f'log.file.path:"{path}"') == len(good)
    assert count("event.kind:pipeline_error") == 5
    assert count(f'kubernetes.pod.name:"p" AND data_stream.dataset:"{site.service}.jsonlog_foreign"') == len(good)

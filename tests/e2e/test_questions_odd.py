"""Records whose extras are at odds with each other: they are there, their core fields are found, and well-typed keys add up."""

import json
import os
import secrets
import subprocess
import sys
from collections import Counter

import httpx
import pytest

from schemas.build import ROOT
from shipper.commands.setup import Options, setup
from shipper.config import Settings

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

LOGS = """
import datetime, decimal, fractions, logging, sys
from jsonlog import JsonFormatter, ProcessFileHandler
handler = ProcessFileHandler(sys.argv[1])
handler.setFormatter(JsonFormatter(service="odd", environment=sys.argv[2]))
log = logging.getLogger("odd")
log.addHandler(handler)
log.setLevel("INFO")
count = 0
def say(kind, message="odd", **extra):
    global count
    log.warning(message, extra={"n": count + 0.5, "kind": kind, **extra})
    count += 1
for i in range(200):
    say("conflict", a=(i, f"text {i}", {"b": i}, [1, "x"], True)[i % 5])
for i in range(20):
    say("object first", o={"b": i} if i % 2 == 0 else f"text {i}")
for i in range(20):
    say("date", when="2026-11-22T05:02:17Z" if i % 2 == 0 else "2026-13-45T99:99:99Z")
for i in range(20):
    say("dots", **({"x.y": i} if i % 2 == 0 else {"x": {"y": {"z": i}}}))
say("null", nothing=None, empty={}, none=[], **{"": 1, " ": 2, "deep": {"": {"\\t": 3}}})
say("long message", "word " * 210_000)
say("long value", long="v" * 40_000)
for i in range(100):
    say("keys", **{f"key{i * 50 + j}": j for j in range(50)})
for value in (
    float("nan"), float("-inf"), -0.0, 2**64, 10**400, decimal.Decimal("1e999"), fractions.Fraction(1, 3), 1j, b"\\xff", {1, 2},
    datetime.datetime(2026, 1, 1), datetime.timedelta(days=400), object, "\\ud83d", "a\\0b", "+292278995-01-01T00:00:00Z", "0x10", "12",
    [[[1]]], [None, 1, "x"], [1, [2, {"a": 1}]], [{"a": 1}, {"a": "x"}, {"a": {"b": 1}}, 5], {None: 1, 1: 2, "1": 3}, {"a": 1, "a.b": 2},
    {"lat": 91, "lon": 1000}, list(range(10_000)), {f"w{i}": i for i in range(2000)}, "\\u00fc" * 32_766, True, None, 1.5,
):
    say("any value", v=value, items=[value, value], ctx={"request": {"value": value}}, thing_id=value)
for key in (
    "@timestamp", "_id", "_source", ".a", "a.", "..", "a..b", "a. .b", ".".join("abcdefghijklmnopqrstuvwxyz"), "new\\nline", "*", "nul\\0",
    "\\ud800", "\\u202ertl", "properties", "type", "_._", "1.5", "k" * 40_000,
):
    for value in (1, "text", {key: [1, None, {"x": {}}]}):
        say("any key", **{key: value})
"""
KINDS = {
    "conflict": 200,
    "object first": 20,
    "date": 20,
    "dots": 20,
    "null": 1,
    "long message": 1,
    "long value": 1,
    "keys": 100,
    "any value": 31,
    "any key": 57,
}


class Odd:
    """The odd records in a store: those that were written, those that are stored, and those that were put aside."""

    def __init__(self, server, folder):
        self.kind = server.kind
        namespace = f"q{secrets.token_hex(4)}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-P", "-c", LOGS, folder, namespace], check=True, env=environment, timeout=60)
        setup(Settings(to=server.url), Options())
        command = [sys.executable, "-P", "-m", "shipper", "run", "--once", "--to", server.url, "--path", folder]
        done = subprocess.run([*command, "--state", folder / "state"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        (file,) = folder.glob("*.jsonl")
        self.written = {
            f"{file.name.removesuffix('.jsonl')}-{number:x}": json.loads(line)
            for number, line in enumerate(file.read_bytes().splitlines())
        }
        letters = folder / "state/dead-letters.jsonl"
        self.dead = [json.loads(line) for line in letters.read_text().splitlines()] if letters.exists() else []
        self.stream = f"logs-odd.jsonlog-{namespace}"
        self.http = httpx.Client(base_url=server.url, timeout=60)
        self.http.post(f"/{self.stream}/_refresh")
        self.stored = [hit["_id"] for hit in self.search({"size": 1000, "_source": False})["hits"]["hits"]]

    def search(self, body):
        answer = self.http.post(f"/{self.stream}/_search", json={"track_total_hits": True, **body})
        assert answer.is_success, answer.text[:1000]
        return answer.json()

    def total(self, query):
        return self.search({"size": 0, "query": query})["hits"]["total"]["value"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    stores = {}
    yield (
        lambda server: (
            stores.get(server.kind) or stores.setdefault(server.kind, Odd(server, tmp_path_factory.mktemp(server.kind)))
        )
    )
    for one in stores.values():
        one.http.delete(f"/_data_stream/{one.stream}")
        one.http.close()


@pytest.fixture
def odd(store, made):
    return made(store)


def test_every_record_is_stored(odd):
    """Whatever the mapping refused, every record is in the store, once, and nothing was put aside."""
    assert len(odd.written) == sum(KINDS.values())
    assert odd.dead == []
    assert sorted(odd.stored) == sorted(odd.written)


def leaves(value):
    """Every value in a record that holds no others, as JSON."""
    if not isinstance(value, dict | list):
        yield json.dumps(value)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from leaves(one)


def test_what_was_refused_is_rescued_and_found(odd):
    """On OpenSearch the keys that its mapping refused stand as text in the record, which says which they were; others are whole."""
    rescued = odd.search({"size": 1000, "query": {"exists": {"field": "shipper.rescued.field"}}})["hits"]["hits"]
    if odd.kind == "elasticsearch":
        assert rescued == []
        return
    assert {hit["_source"]["extra"]["kind"] for hit in rescued} == {"object first", "keys", "any value", "any key"}
    for hit in rescued:
        source = hit["_source"]
        away = json.loads(source.pop("shipper")["rescued"]["json"])
        assert Counter(leaves([source, away])) == Counter(leaves(odd.written[hit["_id"]]))
    assert odd.total({"match": {"shipper.rescued.json": "text"}}) >= 10


def test_core_fields_are_found_in_all_of_them(odd):
    """Whatever stands in `extra`: level, logger, message, time and number of every record are searchable."""
    for query in (
        {"term": {"log.level": "warning"}},
        {"term": {"log.logger": "odd"}},
        {"exists": {"field": "message"}},
        {"range": {"@timestamp": {"gte": "2020-01-01"}}},
        {"range": {"event.sequence": {"gte": 0}}},
    ):
        assert odd.total(query) == len(odd.written), query
    words = {"match": {"message": "word"}}
    assert odd.total(words) == 1


def test_well_typed_keys_add_up(odd):
    """Counts and sums over keys that keep their type are exact, however many others there are beside them."""
    aggs = {"kinds": {"terms": {"field": "extra.kind", "size": 50}}, "sum": {"sum": {"field": "extra.n"}}}
    got = odd.search({"size": 0, "aggs": aggs})["aggregations"]
    extras = [record["extra"] for record in odd.written.values()]
    assert {b["key"]: b["doc_count"] for b in got["kinds"]["buckets"]} == KINDS
    assert got["sum"]["value"] == sum(extra["n"] for extra in extras)


def test_what_cannot_be_searched_is_marked(odd):
    """On Elasticsearch every value that was kept and not indexed is named in `_ignored`, for a saved search to find."""
    marked = {"exists": {"field": "_ignored"}}
    if odd.kind == "elasticsearch":
        kinds = odd.search({"size": 0, "query": marked, "aggs": {"k": {"terms": {"field": "extra.kind"}}}})
        found = {b["key"]: b["doc_count"] for b in kinds["aggregations"]["k"]["buckets"]}
        assert found["long value"] == 1
        assert found["date"] == 10
        assert found["keys"] > 60
    else:
        assert odd.total(marked) >= 10

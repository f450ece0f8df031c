"""What stands at a URL, told from its answer to `GET /`; and how the Elasticsearch sink makes sure of its stream."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from shipper.errors import ConfigError, SinkMisconfigured, SinkUnavailable
from shipper.events import TemplateInstalled
from shipper.sinks.detect import Wanted, find_sink
from shipper.sinks.elasticsearch import ElasticsearchSink, Server
from shipper.sinks.http import HttpSink
from shipper.sinks.interface import Sink
from shipper.transport import Transport
from tests.fakes import Answer, say

ELASTICSEARCH = {"version": {"number": "9.5.3", "build_flavor": "default", "lucene_version": "10"}}
OPENSEARCH = {"version": {"number": "3.8.0", "distribution": "opensearch", "lucene_version": "10"}}


def find(answer: Answer, kind: str = "auto", compression: str = "none") -> Sink:
    async def go() -> Sink:
        transport = Transport("http://h", transport=httpx.MockTransport(answer))  # type: ignore[arg-type]
        try:
            return await find_sink(transport, Wanted(kind, compression), lambda _: None)
        finally:
            await transport.close()

    return asyncio.run(go())


@pytest.mark.parametrize(("about", "name"), [(ELASTICSEARCH, "Elasticsearch 9.5.3"), (OPENSEARCH, "OpenSearch 3.8.0")])
@pytest.mark.parametrize("kind", ["auto", "elasticsearch"])
def test_the_two_stores(about: dict[str, Any], name: str, kind: str) -> None:
    """A store is known by what it says about itself."""
    sink = find(say(200, about), kind)
    assert isinstance(sink, ElasticsearchSink)
    assert sink.kind == name


@pytest.mark.parametrize(
    "answer",
    [say(200, b"<html>hello"), say(200, b"{}"), say(200, b"[1]"), say(200, b'{"version": "1.0"}'), say(200, b'{"version": {"number": 1}}'),
     say(404), say(405), say(501), say(302), say(401), say(200, b"\xff"), say(204)],
)  # fmt: skip
def test_anything_else_is_an_endpoint(answer: Answer) -> None:
    """Also one that does not answer GET, or wants credentials, is posted to."""
    assert isinstance(find(answer), HttpSink)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_is_not_up_yet_is_waited_for(status: int) -> None:
    """An answer of a proxy or of a starting store decides nothing."""
    with pytest.raises(SinkUnavailable, match=str(status)):
        find(say(status))


@pytest.mark.parametrize(
    "answer",
    [say(401, b"who are you", x_elastic_product="Elasticsearch"), say(403, b"", x_elastic_product="Elasticsearch"),
     say(401, b"", www_authenticate='Basic realm="OpenSearch Security"')],
)  # fmt: skip
def test_a_locked_store_needs_an_operator(answer: Answer) -> None:
    """A store that lets nobody in is not taken for an endpoint."""
    with pytest.raises(SinkMisconfigured, match="HTTP 40"):
        find(answer)


def test_sink_elasticsearch_insists() -> None:
    """With --sink elasticsearch another kind of answer is an error, and --sink http asks nothing."""
    with pytest.raises(SinkMisconfigured, match="does not say that it is"):
        find(say(200, b"hello"), "elasticsearch")
    with pytest.raises(SinkMisconfigured, match="404"):
        find(say(404), "elasticsearch")
    with pytest.raises(SinkUnavailable, match="503"):
        find(say(503), "elasticsearch")
    assert isinstance(find(say(500), "http"), HttpSink)


def test_zstd_is_nothing_for_a_store() -> None:
    """Neither store reads zstd, which is said before anything is sent."""
    with pytest.raises(ConfigError, match=r"--compression gzip"):
        find(say(200, OPENSEARCH), compression="zstd")
    assert isinstance(find(say(405), compression="zstd"), HttpSink)


def test_a_key_that_may_only_write_is_enough() -> None:
    """Whoever says that it is a store need not be allowed to ask it; then nothing is used that only some versions have."""
    sink = find(say(403, b"", x_elastic_product="Elasticsearch"), "elasticsearch")
    assert isinstance(sink, ElasticsearchSink)
    assert (sink.kind, sink.server.number) == ("Elasticsearch", (0, 0))


@pytest.mark.parametrize(
    ("url", "compression", "expected"),
    [("http://store", "auto", "gzip"), ("http://localhost:9200", "auto", "none"), ("http://127.0.0.7", "auto", "none"),
     ("http://[::1]:1", "auto", "none"), ("http://store", "none", "none"), ("http://localhost,http://store", "auto", "gzip")],
)  # fmt: skip
def test_compression_is_for_the_network(url: str, compression: str, expected: str) -> None:
    """Beyond this machine bodies are compressed unless told otherwise."""

    async def go() -> str:
        transport = Transport(url, transport=httpx.MockTransport(say(200, OPENSEARCH)))  # type: ignore[arg-type]
        try:
            await find_sink(transport, Wanted(compression=compression), lambda _: None)
            return transport.compression
        finally:
            await transport.close()

    assert asyncio.run(go()) == expected


class Cluster:
    """What the two stores answer about streams, indices and templates."""

    def __init__(self, *, index: bool = False, obeys: bool = True) -> None:
        self.index, self.obeys, self.stream, self.template = index, obeys, False, False
        self.calls: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.path}"
        self.calls.append(call)
        if call == "GET /_data_stream/logs-a":
            if self.stream or self.index:  # OpenSearch: 200 and an empty list for an index
                return httpx.Response(
                    200,
                    json={
                        "data_streams": [{"name": "logs-a", "indices": [{"index_name": ".ds-logs-a-1"}]}]
                        if self.stream
                        else []
                    },
                )
            return httpx.Response(404)
        if call == "GET /logs-a":
            return httpx.Response(200 if self.index else 404, json={})
        if call == "GET /_index_template/jsonlog":
            return httpx.Response(200 if self.template else 404, json={})
        if call == "PUT /_index_template/jsonlog":
            self.template = bool(json.loads(request.content))
        if call == "PUT /_data_stream/logs-a":
            if not self.obeys:
                return httpx.Response(400, text="no matching template")
            self.stream = True
        return httpx.Response(200, json={})


def prepare(cluster: Cluster, times: int = 1) -> list[object]:
    events: list[object] = []

    async def go() -> None:
        def slow(request: httpx.Request) -> httpx.Response:
            time.sleep(0.001)  # the others get their turn
            return cluster(request)

        transport = Transport("http://h", transport=httpx.MockTransport(slow))
        sink = ElasticsearchSink(transport, Server("opensearch", "3"), events.append)
        try:
            await asyncio.gather(*(sink.prepare(frozenset({"logs-a"})) for _ in range(times)))
        finally:
            await transport.close()

    asyncio.run(go())
    return events


def test_template_and_stream_are_made_once() -> None:
    """Batches that start side by side install template and stream once."""
    cluster = Cluster()
    events = prepare(cluster, 4)
    assert cluster.calls.count("PUT /_index_template/jsonlog") == cluster.calls.count("PUT /_data_stream/logs-a") == 1
    assert [type(e) for e in events] == [TemplateInstalled] * 2


def test_a_template_that_is_there_is_left_alone() -> None:
    """Somebody's own version of our template is not written over by a run."""
    cluster = Cluster()
    cluster.template = True
    prepare(cluster)
    assert "PUT /_index_template/jsonlog" not in cluster.calls


def test_a_plain_index_is_never_written_to() -> None:
    """An index under the stream's name is named with what to do, and nothing is installed."""
    cluster = Cluster(index=True)
    with pytest.raises(SinkMisconfigured, match=r"logs-a is a plain index.*reindex or delete it"):
        prepare(cluster)
    assert not [call for call in cluster.calls if call.startswith("PUT")]


def test_a_stream_that_cannot_be_made_is_named() -> None:
    """The store's reason is kept, with the stream and what to look at."""
    with pytest.raises(SinkMisconfigured, match=r"data stream logs-a.*no matching template.*index template"):
        prepare(Cluster(obeys=False))

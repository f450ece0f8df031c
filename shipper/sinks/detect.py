"""Finds out what stands behind a URL."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from shipper.core.endpoint import Endpoint
from shipper.core.model import Request, Response
from shipper.core.shapes import SHAPES
from shipper.errors import ConfigError, SinkMisconfigured, SinkUnavailable
from shipper.events import Emit
from shipper.sinks.elasticsearch import ElasticsearchSink, Server
from shipper.sinks.http import HttpSink
from shipper.sinks.interface import Sink
from shipper.sinks.problem import problem
from shipper.transport import Transport

# Statuses of a store, or of a proxy before it, that is not up yet. 501 is none: servers without GET answer it.
_NOT_YET = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What is known of the sink beforehand.

    Args:
        kind: `auto` asks; `elasticsearch` asks only for the product; `http` and the other shapes ask nothing.
        compression: `auto`, or checked against what the sink can read.
        template: Given to the Elasticsearch sink.
        parameters: The same.
        endpoint: What an HTTP endpoint wants.
    """

    kind: str = "auto"
    compression: str = "auto"
    template: bool = True
    parameters: str = ""
    endpoint: Endpoint = field(default_factory=Endpoint)


async def find_sink(transport: Transport, wanted: Wanted, emit: Emit) -> Sink:
    """
    Build the sink for what answers at the transport's URL.

    Args:
        transport: The way there.
        wanted: What is known beforehand.
        emit: Takes events.

    Raises:
        SinkUnavailable: No answer, or one that says "not yet".
        SinkMisconfigured: A store that lets nobody in, or `elasticsearch` is wanted and the answer is no store's.
        ConfigError: The store cannot read this compression.
    """
    if wanted.kind in SHAPES:
        return HttpSink(wanted.endpoint)
    response = await transport.send(Request("GET", "/"))
    server = _read_server(response, insist=wanted.kind == "elasticsearch")
    if server is None and wanted.kind == "auto":
        if response.status in _NOT_YET:
            raise SinkUnavailable(
                f"{transport.url} answered HTTP {response.status}; --sink elasticsearch|http skips this question"
            )
        return HttpSink(wanted.endpoint)
    if server is None:
        if response.status == 200:
            raise SinkMisconfigured(f"{transport.url} does not say that it is Elasticsearch or OpenSearch")
        raise problem(response, f"GET {transport.url}")
    if wanted.compression == "zstd":
        raise ConfigError(f"{server.name} reads gzip or nothing, not zstd: set --compression gzip")
    if wanted.compression == "auto" and not transport.is_local:
        transport.compression = "gzip"
    return ElasticsearchSink(transport, server, emit, template=wanted.template, parameters=wanted.parameters)


def _read_server(response: Response, *, insist: bool) -> Server | None:
    """Read product and version out of the answer to `GET /`; None when no store answered."""
    locked = response.status in (401, 403) and (
        "x-elastic-product" in response.headers or "security" in response.headers.get("www-authenticate", "").lower()
    )
    if locked and insist and response.status == 403:  # we are known, and may not ask: a key that may only write
        return Server("elasticsearch" if "x-elastic-product" in response.headers else "opensearch", "")
    if locked:
        raise problem(response, "GET /")
    try:
        answer = json.loads(response.body) if response.status == 200 else {}
        version = answer["version"]
        number = str(version["number"])
    except (ValueError, KeyError, TypeError):
        return None
    if version.get("distribution") == "opensearch":
        return Server("opensearch", number)
    is_elastic = "lucene_version" in version or "x-elastic-product" in response.headers or "build_flavor" in version
    return Server("elasticsearch", number) if is_elastic else None

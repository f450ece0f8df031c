"""What `setup` and `check` share: a store that is asked, what was found there, and the words for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shipper import access
from shipper.config import Settings
from shipper.core.model import Request, Response
from shipper.errors import ConfigError, SinkMisconfigured
from shipper.sinks.detect import Wanted, find_sink
from shipper.sinks.elasticsearch import ElasticsearchSink, Server
from shipper.sinks.problem import problem
from shipper.transport import Transport
from shipper.urls import split_urls

Json = dict[str, Any]
State = Literal["fine", "missing", "differs", "newer", "blocked"]

JSON_HEADERS = (("content-type", "application/json"),)
PRIVILEGES = {
    "elasticsearch": "cluster privileges monitor and manage_index_templates (manage_ilm for --lifecycle ilm:…), "
    "index privileges manage and view_index_metadata on logs-*.jsonlog*-*",
    "opensearch": "cluster permissions cluster_monitor, cluster:admin/component_template/*, "
    "indices:admin/index_template/* and cluster:admin/opendistro/ism/* (for --lifecycle), "
    "index permissions manage and indices:monitor/* on logs-*.jsonlog*-*",
}
OLDEST = {"elasticsearch": (8, 19), "opensearch": (2, 19)}
"""The oldest versions that the templates were tried on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at.

    Args:
        what: Its name, for people.
        state: How it is.
        detail: What is missing or differs, or what to do.
        request: What mends it; None where only an operator can.
        done: What is said when that has been done.
    """

    what: str
    state: State
    detail: str = ""
    request: Request | None = None
    done: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """A store that answers: the way to it, and what it says it is."""

    transport: Transport
    server: Server

    @property
    def title(self) -> str:
        """What it is and where, and whether it is older than what was tried."""
        product = self.server.product
        oldest = OLDEST[product]
        numbers = tuple(int(part) for part in self.server.version.split(".")[:2] if part.isdigit())
        told = f" (older than {oldest[0]}.{oldest[1]}, the oldest that was tried)" if numbers < oldest else ""
        return f"{self.server.name}{told} at {self.transport.url}"

    async def ask(self, method: str, path: str) -> Json | None:
        """
        Ask for something that may be absent.

        Returns:
            The answer, None where there is no such thing.

        Raises:
            SinkUnavailable: No usable answer came.
            SinkMisconfigured: It was refused; the message says what the user has to be allowed.
        """
        response = await self.transport.send(Request(method, path))
        if response.status == 404:
            return None
        if response.status != 200:
            raise refusal(response, f"{method} {path}", PRIVILEGES[self.server.product])
        loaded: Json = json.loads(response.body)
        return loaded

    async def ask_a_plugin(self, path: str) -> Json | None:
        """Ask for what a plugin keeps that may be missing, or that the user need not be allowed to see."""
        response = await self.transport.send(Request("GET", path))
        return json.loads(response.body) if response.status == 200 else None


def refusal(response: Response, what: str, privileges: str) -> Exception:
    """Turn an answer that is not good into an error that says what the user has to be allowed."""
    error = problem(response, what)
    if response.status in (401, 403):
        return SinkMisconfigured(f"{error}; the user in the URL needs: {privileges}")
    return error


def open_transport(settings: Settings, url: str, option: str = "--to") -> Transport:
    """Open the way to a URL, or say what is wrong with it."""
    if not url:
        raise ConfigError(f"nowhere to look: give {option} http://… (or SHIPPER_TO)")
    try:
        split_urls(url)
    except ConfigError as exc:
        raise ConfigError(str(exc).replace("--to", option, 1)) from exc
    return access.open_transport(settings, url)


async def find_store(transport: Transport) -> Store:
    """Ask what stands at the URL; anything but a store has no templates."""
    sink = await find_sink(transport, Wanted(), lambda _: None)
    if not isinstance(sink, ElasticsearchSink):
        raise ConfigError(f"{transport.url} is {sink.kind}, where there is nothing to set up")
    return Store(transport, sink.server)


def put(path: str, body: Json) -> Request:
    """Build a PUT of JSON."""
    return Request("PUT", path, json.dumps(body).encode(), JSON_HEADERS)


def post(path: str, body: Json | None = None) -> Request:
    """Build a POST, of JSON or of nothing."""
    return Request("POST", path) if body is None else Request("POST", path, json.dumps(body).encode(), JSON_HEADERS)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Write rows in columns; the last column is as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = ("  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)

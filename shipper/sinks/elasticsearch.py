"""
Elasticsearch and OpenSearch through `_bulk`.

Before the first write to a stream, template and stream are made sure of: a `_bulk` to a stream that does not exist makes
a plain index without our mapping, silently and for good.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from shipper.core.bulk import decode_bulk, encode_bulk
from shipper.core.model import Advice, Outcome, Piece, Request, Response
from shipper.core.naming import profile_of
from shipper.errors import SinkMisconfigured
from shipper.events import Emit, TemplateInstalled
from shipper.resources import load_schema
from shipper.sinks.lookup import Forbidden, Lookup
from shipper.sinks.problem import problem
from shipper.sinks.rescuer import Rescuer
from shipper.transport import Transport

TEMPLATE = "jsonlog"
_JSON = (("content-type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Server:
    """What a store says it is."""

    product: str
    version: str

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers: major and minor; zeros where it says something else."""
        major, _, rest = self.version.partition(".")
        minor = rest.partition(".")[0]
        return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)

    @property
    def name(self) -> str:
        """Product and version for messages."""
        return f"{'OpenSearch' if self.product == 'opensearch' else 'Elasticsearch'} {self.version}".rstrip()


@dataclass(slots=True)
class ElasticsearchSink:
    """
    Creates each record with its own id in its data stream.

    Args:
        transport: The way to the store.
        server: What it is.
        emit: Takes events.
        template: Install template and stream where they are missing.
        parameters: Of the path of each `_bulk`, each with `&` before it.
    """

    transport: Transport
    server: Server
    emit: Emit
    template: bool = True
    parameters: str = ""
    lookup: Lookup = field(init=False)
    rescuer: Rescuer = field(init=False)
    _ready: set[str] = field(default_factory=set)
    _preparing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.lookup = Lookup(self.transport, self.emit)
        self.rescuer = Rescuer(self.lookup, self.emit)
        if self.server.product == "elasticsearch":
            self.parameters += "&require_data_stream=true" if self.template else ""
            # What a record holds is not to be quoted in the reasons of refusals.
            self.parameters += "&include_source_on_error=false" if self.server.number >= (8, 18) else ""

    @property
    def kind(self) -> str:
        """Product and version."""
        return self.server.name

    @property
    def keyed(self) -> bool:
        """Each record has an id."""
        return False

    async def prepare(self, targets: frozenset[str]) -> None:
        """Make sure of the template once, and of each stream before its first write."""
        if not self.template:
            return
        if targets <= self._ready:
            return
        async with self._preparing:  # batches are sent side by side
            for target in sorted(targets - self._ready):
                await self._make_sure_of(target)
                self._ready.add(target)

    def since(self, target: str) -> str:
        """Return the write index of a stream as it was last seen."""
        return self.lookup.since(target)

    def probe(self) -> Request:
        """Ask the store who it is."""
        return Request("GET", "/")

    def fits(self, pieces: Sequence[Piece]) -> bool:  # noqa: ARG002 (the interface)
        """Any number of pieces goes in one request."""
        return True

    def encode(self, pieces: Sequence[Piece]) -> Request:
        """Build the `_bulk` request."""
        return encode_bulk(pieces, parameters=self.parameters)

    def decode(self, pieces: Sequence[Piece], response: Response) -> Outcome:
        """Read the answer item by item."""
        outcome = decode_bulk(pieces, response)
        if outcome.again and "index_not_found" in outcome.reason:
            self._ready.clear()  # somebody deleted a stream: make sure of it again before the next attempt
        return outcome

    async def look_up(self, pieces: Sequence[Piece]) -> Outcome:
        """Look for lines that are in doubt, where their ids alone do not protect them."""
        return await self.lookup.look_up(pieces)

    async def settle(self, outcome: Outcome) -> Outcome:
        """Compare records whose ids are taken, and rescue those that the mapping refuses."""
        compared = await self.lookup.compare(outcome.conflicts) if outcome.conflicts else Outcome()
        rescued = await self.rescuer.rescue(outcome.refused) if outcome.refused else Outcome()
        again = (*outcome.again, *compared.again, *rescued.again)
        return replace(
            outcome,
            ended=(*outcome.ended, *compared.ended),
            refused=rescued.refused,
            again=again,
            conflicts=(),
            advice=Advice.NOW if again and outcome.advice is Advice.DONE else outcome.advice,
        )

    async def _install_template(self, name: str, profile: str) -> None:
        """Install the index template of a profile, and what it is composed of, where there is none of that name."""
        if await self._exists(f"/_index_template/{name}"):
            return
        product = self.server.product
        for path, body in load_schema(f"{product}-{profile}" if profile else product).items():
            if not await self._exists(
                path
            ):  # components are shared between profiles, and an operator may have changed them
                await self._call("PUT", path, body)
        self.emit(TemplateInstalled(f"index template {name!r} on {self.server.name}"))

    async def _make_sure_of(self, target: str) -> None:
        if await self._is_stream(target):
            await self.lookup.check_privileges(target)
            return
        if await self._exists(f"/{target}"):
            raise SinkMisconfigured(
                f"{target} is a plain index or an alias, not a data stream, and has not our mapping; reindex or delete it"
            )
        profile = profile_of(target)
        template = f"{TEMPLATE}-{profile}" if profile else TEMPLATE
        await self._install_template(template, profile)
        why = ""
        try:
            await self._call("PUT", f"/_data_stream/{target}")
        except SinkMisconfigured as exc:
            why = f": {exc}"
        if not await self._is_stream(target):  # another shipper may have been faster
            raise SinkMisconfigured(
                f"cannot create the data stream {target}{why}; see which index template matches this name: it has to be "
                f"{template!r}, or another one for data streams"
            )
        if not why:
            self.emit(TemplateInstalled(f"data stream {target}"))
        await self.lookup.check_privileges(target)

    async def _is_stream(self, target: str) -> bool:
        """Ask whether a name is a data stream."""
        try:
            return await self.lookup.learn(target) is not None
        except Forbidden as exc:
            raise SinkMisconfigured(f"{exc}; it takes the privilege view_index_metadata") from exc

    async def _exists(self, path: str) -> bool:
        response = await self.transport.send(Request("GET", path))
        if response.status == 404:
            return False
        if response.status != 200:
            raise problem(response, f"GET {path}")
        return True

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        response = await self.transport.send(Request(method, path, data, _JSON if data else ()))
        if response.status not in (200, 201):
            raise problem(response, f"{method} {path}")

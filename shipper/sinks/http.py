"""Any HTTP endpoint, in the shape that it wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shipper.core.endpoint import Endpoint, decode, encode, fits
from shipper.core.model import Outcome, Piece, Request, Response


@dataclass(frozen=True, slots=True)
class HttpSink:
    """
    Sends lines in the endpoint's shape; an answer that is good means that all of them are taken.

    Args:
        endpoint: What it wants.
    """

    endpoint: Endpoint = field(default_factory=Endpoint)

    @property
    def kind(self) -> str:
        """What it is."""
        name = self.endpoint.shape.name
        return f"an HTTP endpoint ({'NDJSON' if name == 'http' else name})"

    @property
    def keyed(self) -> bool:
        """An endpoint that knows no ids may still know a request again."""
        return True

    async def prepare(self, targets: frozenset[str]) -> None:
        """Nothing has to be there before the first request."""

    def since(self, target: str) -> str:  # noqa: ARG002 (the interface)
        """An endpoint has no indices."""
        return ""

    def probe(self) -> Request:
        """Ask for the endpoint without sending anything."""
        return Request("GET", self.endpoint.path)

    def fits(self, pieces: Sequence[Piece]) -> bool:
        """Tell whether the receiver takes that many, and the ids of *pieces* fit into one header."""
        return fits(self.endpoint, pieces)

    def encode(self, pieces: Sequence[Piece]) -> Request:
        """Build the request."""
        return encode(self.endpoint, pieces)

    def decode(self, pieces: Sequence[Piece], response: Response) -> Outcome:
        """Read the one answer that holds for all lines."""
        return decode(self.endpoint, pieces, response)

    async def look_up(self, pieces: Sequence[Piece]) -> Outcome:
        """There is no asking an endpoint what it has."""
        return Outcome(again=tuple(pieces))

    async def settle(self, outcome: Outcome) -> Outcome:
        """An endpoint's answer leaves nothing open."""
        return outcome

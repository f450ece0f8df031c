"""Any HTTP endpoint: POSTs of NDJSON."""

from __future__ import annotations

from collections.abc import Sequence

from shipper.core.model import Outcome, Piece, Request, Response
from shipper.core.ndjson import decode_lines, encode_lines, header_fits


class HttpSink:
    """POSTs lines as they are; a 2xx answer means that all of them are taken."""

    kind = "an HTTP endpoint (NDJSON)"

    async def prepare(self, targets: frozenset[str]) -> None:
        """Nothing has to be there before the first POST."""

    def since(self, target: str) -> str:  # noqa: ARG002 (the interface)
        """An endpoint has no indices."""
        return ""

    def probe(self) -> Request:
        """Ask for the endpoint without sending anything."""
        return Request("GET", "")

    def fits(self, pieces: Sequence[Piece]) -> bool:
        """Tell whether the ids of *pieces* fit into one header."""
        return header_fits(pieces)

    def encode(self, pieces: Sequence[Piece]) -> Request:
        """Build the POST."""
        return encode_lines(pieces)

    def decode(self, pieces: Sequence[Piece], response: Response) -> Outcome:
        """Read the one answer that holds for all lines."""
        return decode_lines(pieces, response)

    async def look_up(self, pieces: Sequence[Piece]) -> Outcome:
        """There is no asking an endpoint what it has."""
        return Outcome(again=tuple(pieces))

    async def settle(self, outcome: Outcome) -> Outcome:
        """An endpoint's answer leaves nothing open."""
        return outcome

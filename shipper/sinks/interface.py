"""What the pipeline needs of a sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shipper.core.model import Outcome, Piece, Request, Response


class Sink(Protocol):
    """Turns pieces into requests and answers into outcomes; asks the store only where these leave something open."""

    @property
    def kind(self) -> str:
        """What it is, for messages."""

    @property
    def keyed(self) -> bool:
        """True when it knows requests by their keys, so that they have to come again as they were, after a crash, too."""

    async def prepare(self, targets: frozenset[str]) -> None:
        """
        Make sure that the first write to each of *targets* can only do what it should.

        Raises:
            SinkUnavailable: No usable answer came.
            SinkMisconfigured: An operator has to act.
        """

    def since(self, target: str) -> str:
        """Return the index that writes to *target* went to when that was last seen; empty when it is not known."""

    def probe(self) -> Request:
        """Build a small request that tells whether the sink is there again; any answer but "not now" says that it is."""

    def fits(self, pieces: Sequence[Piece]) -> bool:
        """Tell whether *pieces* can go in one request; a single piece always can."""

    def encode(self, pieces: Sequence[Piece]) -> Request:
        """Build the request that carries *pieces*."""

    def decode(self, pieces: Sequence[Piece], response: Response) -> Outcome:
        """Read what became of *pieces*."""

    async def look_up(self, pieces: Sequence[Piece]) -> Outcome:
        """
        Find out, before they are sent again, which lines of *pieces* the sink has already.

        Raises:
            SinkError: No telling now.
        """

    async def settle(self, outcome: Outcome) -> Outcome:
        """
        Deal with what an answer leaves open: ids that are taken, records that the mapping refuses.

        Raises:
            SinkError: No telling now; the lines are to be sent again.
        """

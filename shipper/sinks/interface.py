"""What the pipeline needs of a sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shipper.core.model import Outcome, Piece, Request, Response


class Sink(Protocol):
    """Turns pieces into requests and answers into outcomes; `prepare` is its only effect."""

    @property
    def kind(self) -> str:
        """What it is, for messages."""

    async def prepare(self, targets: frozenset[str]) -> None:
        """
        Make sure that the first write to each of *targets* can only do what it should.

        Raises:
            SinkUnavailable: No usable answer came.
            SinkMisconfigured: An operator has to act.
        """

    def fits(self, pieces: Sequence[Piece]) -> bool:
        """Tell whether *pieces* can go in one request; a single piece always can."""

    def encode(self, pieces: Sequence[Piece]) -> Request:
        """Build the request that carries *pieces*."""

    def decode(self, pieces: Sequence[Piece], response: Response) -> Outcome:
        """Read what became of *pieces*."""

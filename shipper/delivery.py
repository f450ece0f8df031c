"""
One batch on its way: dead letters first, then requests until every line is settled.

Nothing is ever given up here. What the store cannot take now is sent again; what it will never take is put aside, fsynced;
only then is the batch settled. Time, randomness and sleep are parameters.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from shipper.core.model import Advice, Batch, Outcome, Piece, Refused, count_lines
from shipper.core.ndjson import split
from shipper.core.retry import backoff_s, parse_retry_after
from shipper.deadletters import DeadLetters
from shipper.errors import SinkMisconfigured, SinkUnavailable, StoreFull
from shipper.events import DeadLettered, Delivered, Emit, SinkFailed, SinkRecovered
from shipper.sinks.interface import Sink
from shipper.transport import Transport

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Delivery:
    """
    Delivers batches to one sink.

    Args:
        sink: Builds requests and reads answers.
        transport: Carries them.
        dead: Takes what can never be delivered.
        emit: Takes events.
        sleep: Waits for some seconds.
        draw: Returns a random number in [0, 1).
    """

    sink: Sink
    transport: Transport
    dead: DeadLetters
    emit: Emit
    sleep: Sleep = asyncio.sleep
    draw: Callable[[], float] = random.random
    _accepts: bool = False  # the sink has taken something in this run, so a refusal is about the record
    _failing: bool = field(default=False)

    async def deliver(self, batch: Batch) -> None:
        """Return when every line of *batch* is delivered or stands in the dead-letter file."""
        await self._put_aside(batch.bad)
        todo = [batch.pieces]
        while todo:
            pieces = todo.pop()
            if pieces and not self.sink.fits(pieces):
                todo += [pieces[len(pieces) // 2 :], pieces[: len(pieces) // 2]]
            elif pieces:
                todo += await self._deliver(pieces)

    async def _deliver(self, pieces: tuple[Piece, ...]) -> list[tuple[Piece, ...]]:
        """Send until nothing is left, or until what is left has to be halved: the halves are returned."""
        attempt = 0
        while pieces:
            attempt += 1
            outcome = await self._attempt(pieces)
            await self._count(outcome, pieces)
            pieces = outcome.again
            if outcome.advice is Advice.SPLIT:
                if count_lines(pieces) > 1:
                    return list(split(pieces))
                if self._accepts:
                    await self._put_aside(tuple(_refuse(piece, outcome.reason) for piece in pieces))
                    return []
                # The only line of the first request: the fault may as well be the operator's.
            if pieces:
                self._complain(outcome)
                await self.sleep(backoff_s(attempt, self.draw(), outcome.retry_after_s))
        return []

    async def _attempt(self, pieces: tuple[Piece, ...]) -> Outcome:
        try:
            await self.sink.prepare(frozenset(piece.source.target for piece in pieces))
            response = await self.transport.send(self.sink.encode(pieces))
        except SinkUnavailable as exc:
            return Outcome(0, again=pieces, advice=Advice.RETRY, reason=str(exc))
        except SinkMisconfigured as exc:
            return Outcome(0, again=pieces, advice=Advice.WAIT, reason=str(exc))
        outcome = self.sink.decode(pieces, response)
        if outcome.again:
            wait = parse_retry_after(response.headers.get("retry-after"), time.time())
            return Outcome(
                outcome.delivered,
                outcome.duplicates,
                outcome.refused,
                outcome.again,
                outcome.advice,
                outcome.reason,
                wait,
            )
        return outcome

    async def _count(self, outcome: Outcome, pieces: Sequence[Piece]) -> None:
        await self._put_aside(outcome.refused)
        if outcome.delivered or outcome.duplicates or outcome.refused:
            self._accepts = True
        if outcome.delivered or outcome.duplicates:
            self.emit(Delivered(outcome.delivered, outcome.duplicates, sum(piece.size for piece in pieces)))
        if self._failing and outcome.advice in (Advice.DONE, Advice.SPLIT):
            self._failing = False
            self.emit(SinkRecovered())

    async def _put_aside(self, refused: tuple[Refused, ...]) -> None:
        """Write refused lines to the dead-letter file, waiting for room if there is none."""
        attempt = 0
        while refused:
            attempt += 1
            try:
                await asyncio.to_thread(self.dead.append, refused)
            except StoreFull as exc:
                self.emit(SinkFailed(str(exc), operator=True))
                await self.sleep(backoff_s(attempt, self.draw()))
                continue
            first = refused[0]
            self.emit(DeadLettered(len(refused), first.source.path, first.line, first.reason, str(self.dead.path)))
            return

    def _complain(self, outcome: Outcome) -> None:
        if not self._failing:
            self._failing = True
            self.emit(SinkFailed(outcome.reason, operator=outcome.advice in (Advice.WAIT, Advice.SPLIT)))


def _refuse(piece: Piece, reason: str) -> Refused:
    return Refused(piece.source, piece.first, bytes(piece.lines[0]), reason)

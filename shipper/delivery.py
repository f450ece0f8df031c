"""
One batch on its way: dead letters first, then requests until every line is settled.

Nothing is ever given up here. What the store cannot take now is sent again; what it will never take is put aside, fsynced;
only then is the batch settled. Time, randomness and sleep are parameters.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from shipper.core.accounting import Ledger, open_ledger
from shipper.core.bulk import describe
from shipper.core.doubt import in_doubt
from shipper.core.manifest import request_name
from shipper.core.model import Advice, Batch, Ended, Fate, Outcome, Piece, Refused, count_lines
from shipper.core.ndjson import split
from shipper.core.retry import backoff_s, parse_retry_after
from shipper.deadletters import DeadLetters
from shipper.errors import AnswerTooLarge, SinkError, SinkUnavailable, StoreFull
from shipper.events import Answered, DeadLettered, Emit, SinkFailed, SinkRecovered, StateFailed, StateRecovered
from shipper.failpoints import reach
from shipper.sinks.interface import Sink
from shipper.transport import Transport

_PATIENCE = 3  # attempts of one request; a busy store asks for a second one now and then
_BELIEVED = 3
_SMALL_BYTES = 64 * 1024  # a request that no store is too small for
Sleep = Callable[[float], Awaitable[None]]
Note = Callable[[Batch, str], Awaitable[None]]


@dataclass(slots=True)
class Delivery:
    """
    Delivers batches to one sink.

    Args:
        sink: Builds requests and reads answers.
        transport: Carries them.
        dead: Takes what can never be delivered.
        emit: Takes events.
        ordered: No line of a batch is sent before those that stand before it are settled.
        sleep: Waits for some seconds.
        draw: Returns a random number in [0, 1).
    """

    sink: Sink
    transport: Transport
    dead: DeadLetters
    emit: Emit
    ordered: bool = False
    sleep: Sleep = asyncio.sleep
    draw: Callable[[], float] = random.random
    _taken: int = 0  # answers by which the sink took something
    _in_a_row: int = 0  # lines put aside for a refusal of the whole request, since it last took something
    _failing: set[int] = field(default_factory=set)  # deliveries that wait for the sink
    _said: Advice | None = None  # what was last said of it; None: nothing, or that it is well again
    _state_fails: bool = False
    _is_out: bool = False  # no answer came, or none but that it is not there now
    _probing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def prepare(self, batch: Batch) -> None:
        """Return when the sink is ready for a batch, and knows which index it will go to."""
        targets = frozenset(piece.source.target for piece in batch.pieces)
        ticket, attempt = object(), 0
        while targets:
            await self._wait_for_the_sink(ticket)
            attempt += 1
            try:
                await self.sink.prepare(targets)
            except SinkError as exc:
                advice = self._failed(exc, (), {}).advice
                self._complain(ticket, advice, str(exc), attempt)
                await self.sleep(backoff_s(attempt, self.draw()))
            else:
                break
        self._is_fine(ticket)

    async def deliver(self, batch: Batch, note: Note | None = None) -> Ledger:
        """
        Return how the lines have ended, once every line of *batch* is delivered or stands in the dead-letter file.

        Args:
            batch: The lines.
            note: Told of each request that is refused as a whole, before its halves are sent.
        """
        ledger = open_ledger(batch)
        await self._put_aside(batch.bad, ledger)
        todo, held = deque([batch.pieces]), list[Outcome]()
        strange, before = 0, -1
        while todo or held:
            if held and (not todo or not self.ordered or len(held) > _BELIEVED):
                # The fault may as well be the operator's. The others first where any order will do, but not in a hurry.
                strange += 1
                self._complain(todo, Advice.SPLIT, held[0].reason, strange)
                await self.sleep(backoff_s(strange, self.draw()))
                todo.extendleft(reversed([one.again for one in held])) if self.ordered else todo.append(held[0].again)
                held.clear()
            pieces = todo.popleft()
            if pieces and (_was_halved(batch, pieces) or not self.sink.fits(pieces)):
                todo.extendleft(reversed(split(pieces)))
                continue
            left = await self._send(pieces, ledger)
            rest = left.again
            before = self._taken if rest and before < 0 else before
            if held and count_lines(rest) < count_lines(pieces):  # a later one was taken: they could only come too late
                await self._give_up(held, ledger)
            if count_lines(rest) > 1:
                if note is not None:
                    await note(batch, request_name(rest))
                todo.extendleft(reversed(split(rest)))
            elif rest and self._is_its_own_fault(before):
                self._in_a_row += 1
                await self._give_up([left], ledger)
            elif rest:
                held.append(left)
            if not held:
                self._is_fine(todo)
        return ledger

    async def _give_up(self, held: list[Outcome], ledger: Ledger) -> None:
        """Put lines aside that were refused alone."""
        await self._put_aside(tuple(_refuse(piece, one) for one in held for piece in one.again), ledger)
        held.clear()

    def _is_its_own_fault(self, before: int) -> bool:
        """
        Tell whether a line that is refused alone is refused for what it is.

        It is when the sink has taken another one since the line's batch was first refused, at *before*. A few lines are
        believed without that, so that a bad line which comes alone holds nothing up; not more, since a sink that has
        come to refuse everything is an operator's mistake.
        """
        return self._taken > before or (self._taken > 0 and self._in_a_row < _BELIEVED)

    async def _send(self, pieces: tuple[Piece, ...], ledger: Ledger) -> Outcome:
        """Send until nothing is left, or until what is left has to be halved; return that, and why."""
        attempt = refused = 0
        ticket = object()
        while pieces:
            await self._wait_for_the_sink(ticket)
            attempt += 1
            outcome = await self._attempt(pieces)
            await self._count(outcome, ledger)
            pieces = outcome.again
            refused = refused + 1 if outcome.too_much else 0
            if outcome.advice is Advice.SPLIT or (refused >= _PATIENCE and _can_be_less(pieces)):
                self._is_fine(ticket)
                return outcome
            if pieces and outcome.advice is not Advice.NOW:
                self._complain(ticket, outcome.advice, outcome.reason, attempt)
                await self.sleep(backoff_s(attempt, self.draw(), outcome.retry_after_s))
        self._is_fine(ticket)
        return Outcome()

    async def _attempt(self, pieces: tuple[Piece, ...]) -> Outcome:
        """Send once; what nobody knows the fate of comes back as in doubt, to be looked up before it is sent again."""
        found = Outcome()
        try:
            await self.sink.prepare(frozenset(piece.source.target for piece in pieces))
            if any(piece.since is not None for piece in pieces):
                reach("looking_up")
                found = await self.sink.look_up(pieces)
                reach("looked_up")
                pieces = found.again
            if not pieces:
                return found
        except SinkError as exc:
            return self._failed(exc, pieces, {})
        outcome = await self._exchange(pieces)
        return replace(outcome, ended=(*found.ended, *outcome.ended))

    async def _exchange(self, pieces: tuple[Piece, ...]) -> Outcome:
        since = {target: self.sink.since(target) for target in {piece.source.target for piece in pieces}}
        reach("sending")
        try:
            response = await self.transport.send(partial(self.sink.encode, pieces))
        except SinkError as exc:
            return self._failed(exc, pieces, since)
        reach("answered")
        outcome = self.sink.decode(pieces, response)
        self.emit(Answered(response.status, outcome.advice))
        self._is_out = outcome.advice is Advice.RETRY and not outcome.ended and response.status >= 500
        outcome = replace(outcome, again=(*outcome.again, *in_doubt(outcome.doubtful, since)), doubtful=())
        if outcome.conflicts or outcome.refused:
            reach("rescuing")
            outcome = await self._settle(outcome)
        if outcome.again:
            return replace(outcome, retry_after_s=parse_retry_after(response.headers.get("retry-after"), time.time()))
        return outcome

    async def _settle(self, outcome: Outcome) -> Outcome:
        """Let the sink deal with odd items; where it cannot now, they are sent again and come back the same."""
        try:
            return await self.sink.settle(outcome)
        except SinkError as exc:
            odd = (*outcome.conflicts, *map(_as_piece, outcome.refused))
            advice = Advice.RETRY if isinstance(exc, SinkUnavailable) else Advice.WAIT
            return replace(
                outcome, again=(*outcome.again, *odd), conflicts=(), refused=(), advice=advice, reason=str(exc)
            )

    def _failed(self, exc: SinkError, pieces: tuple[Piece, ...], since: dict[str, str]) -> Outcome:
        """Say what an attempt without an answer means; *since* is empty while nothing had been sent."""
        if not isinstance(exc, SinkUnavailable):
            advice = Advice.WAIT
        elif isinstance(exc, AnswerTooLarge) and count_lines(pieces) > 1:
            advice = Advice.SPLIT
        else:
            advice = Advice.RETRY
            self._is_out = True
        self.emit(Answered(0, advice))
        if since and isinstance(exc, SinkUnavailable) and exc.sent:
            pieces = in_doubt(pieces, since)
        return Outcome(again=pieces, advice=advice, reason=str(exc))

    async def _wait_for_the_sink(self, ticket: object) -> None:
        """While the sink is out, one delivery asks for it with a small request, and all others wait for what it hears."""
        attempt = 1
        while self._is_out:
            async with self._probing:
                while self._is_out and (reason := await self._probe()):
                    attempt += 1
                    self._complain(ticket, Advice.RETRY, reason, attempt)
                    await self.sleep(backoff_s(attempt, self.draw()))
                self._is_out = False

    async def _probe(self) -> str:
        """Ask whether the sink is there; return why it is not."""
        try:
            response = await self.transport.send(self.sink.probe())
        except SinkError as exc:
            return str(exc)
        return describe(response) if response.status >= 500 and response.status != 501 else ""

    async def _count(self, outcome: Outcome, ledger: Ledger) -> None:
        await self._put_aside(outcome.refused, ledger)
        ledger.add(outcome.ended)
        if outcome.ended or outcome.refused:
            self._taken += 1
            self._in_a_row = 0

    async def _put_aside(self, refused: tuple[Refused, ...], ledger: Ledger) -> None:
        """Write refused lines to the dead-letter file, waiting for room if there is none."""
        attempt = 0
        while refused:
            attempt += 1
            reach("dead_letter")
            try:
                await asyncio.to_thread(self.dead.append, refused, ledger.chunks)
            except StoreFull as exc:
                if not self._state_fails:
                    self._state_fails = True
                    self.emit(StateFailed("dead-letter file", str(exc)))
                await self.sleep(backoff_s(attempt, self.draw()))
                continue
            if self._state_fails:
                self._state_fails = False
                self.emit(StateRecovered("dead-letter file"))
            reach("dead_lettered")
            ledger.add(Ended(line.source.key, Fate.DEAD_LETTERED, 1) for line in refused)
            first = refused[0]
            self.emit(DeadLettered(len(refused), first.source.path, first.line, first.reason, str(self.dead.path)))
            return

    def _complain(self, ticket: object, advice: Advice, reason: str, attempt: int) -> None:
        """Say once that the sink fails: at once what an operator has to mend, later what may pass by itself."""
        self._failing.add(id(ticket))
        worse = advice is not Advice.RETRY and self._said is Advice.RETRY
        if worse or (self._said is None and (advice is not Advice.RETRY or attempt >= _PATIENCE)):
            self._said = advice
            self.emit(SinkFailed(reason, operator=advice is not Advice.RETRY))

    def _is_fine(self, ticket: object) -> None:
        self._failing.discard(id(ticket))
        if self._said is not None and not self._failing:
            self._said = None
            self.emit(SinkRecovered())


def _was_halved(batch: Batch, pieces: tuple[Piece, ...]) -> bool:
    """Tell whether an earlier run sent the halves of a request in its place."""
    return bool(batch.halved) and count_lines(pieces) > 1 and request_name(pieces) in batch.halved


def _refuse(piece: Piece, outcome: Outcome) -> Refused:
    line = piece.record(0) if piece.original is None else piece.original
    return Refused(piece.source, piece.first, line, outcome.reason, outcome.status, mark=piece.mark)


def _can_be_less(pieces: tuple[Piece, ...]) -> bool:
    """Tell whether half of it would be easier to take: a store may be too small for a request for ever."""
    return count_lines(pieces) > 1 and sum(piece.size for piece in pieces) > _SMALL_BYTES


def _as_piece(refused: Refused) -> Piece:
    """Give a refused record back as it was sent."""
    if refused.sent is None:
        return Piece(refused.source, refused.line, [refused.data + b"\n"], len(refused.data) + 1, mark=refused.mark)
    line = refused.sent
    return Piece(
        refused.source, refused.line, [line + b"\n"], len(line) + 1, Fate.RESCUED, refused.mark, original=refused.data
    )

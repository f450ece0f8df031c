"""
Asks a store what it has of lines that may have been sent before, and removes second copies.

What is asked, and how answers are read, is decided in `core.lookup`; here are the effects. Without the privileges for it the
shipper says so once, and goes on: then a record may be stored twice across a rollover, and none is lost.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec.structs import replace

from shipper.core.doubt import UNKNOWN
from shipper.core.lookup import (
    IDS_AT_ONCE,
    RECORDS_AT_ONCE,
    Backing,
    ask_alias,
    ask_delete,
    ask_ids,
    ask_records,
    ask_refresh,
    ask_stream,
    ids_of,
    is_alias,
    read_alias,
    read_deleted,
    read_ids,
    read_records,
    read_stream,
    select,
)
from shipper.core.model import Ended, Fate, Outcome, Piece, Request, Response, line_id
from shipper.core.rescue import is_same
from shipper.errors import SinkUnavailable
from shipper.events import Emit, LookupsForbidden, SameIdTwice, StoredTwice
from shipper.sinks.problem import problem
from shipper.transport import Transport

T = TypeVar("T")
_LOOKED_AT = 2  # backing indices, the youngest: a `create` meets only the last one, and a rollover may come in between


class Forbidden(Exception):
    """The store does not let us ask."""


@dataclass(slots=True)
class Lookup:
    """
    Finds out what became of lines.

    Args:
        transport: The way to the store.
        emit: Takes events.
    """

    transport: Transport
    emit: Emit
    _backing: dict[str, Backing] = field(default_factory=dict)  # as it was last seen
    _said: bool = False

    def since(self, target: str) -> str:
        """Return the write index of a stream as it was last seen: it may be older than the true one."""
        backing = self._backing.get(target)
        return backing.write if backing is not None else UNKNOWN

    async def learn(self, target: str, *, plain: bool = False) -> Backing | None:
        """
        Ask what stands behind a name; None when there is nothing yet.

        Args:
            target: The name.
            plain: Also take an index or an alias.

        Raises:
            Forbidden, SinkError: There is no answer to that.
        """
        response = await self.ask(ask_stream(target), (200, 400, 404))
        if response.status == 400 and not is_alias(response):
            raise problem(response, f"GET /_data_stream/{target}")
        backing = read(read_stream, target, response)
        if backing is None and plain:
            backing = read(read_alias, target, await self.ask(ask_alias(target), (200, 404)))
        if backing is not None:
            self._backing[target] = backing
        return backing

    async def look_up(self, pieces: Sequence[Piece]) -> Outcome:
        """
        Find out which lines are there already; those that are in doubt are looked for.

        Returns:
            Lines that are there as ended, the others as to be sent.
        """
        ended: list[Ended] = []
        again = [piece for piece in pieces if piece.since is None]
        for target in dict.fromkeys(piece.source.target for piece in pieces if piece.since is not None):
            doubtful = [piece for piece in pieces if piece.since is not None and piece.source.target == target]
            try:
                found, missing = await self._look_up(target, doubtful)
            except Forbidden as exc:
                self._say(str(exc))
                found, missing = (), tuple(doubtful)
            ended += [Ended(piece.source.key, Fate.DUPLICATE, len(piece.lines)) for piece in found]
            again += missing
        return Outcome(tuple(ended), again=tuple(again))

    async def compare(self, pieces: Sequence[Piece]) -> Outcome:
        """
        Find out whether the records whose ids are taken are the same ones.

        Returns:
            Those that are as ended; others to be sent under an id of their own.
        """
        ended: Counter[str] = Counter()
        again: list[Piece] = []
        for some in _singles(pieces):
            stored = await self._stored(some)
            for piece in some:
                record = None if stored is None else stored.get(line_id(piece, 0), b"")
                if record == b"":  # it is there, but not where it should be: look everywhere
                    again.append(replace(piece, since=UNKNOWN))
                elif record is not None and is_same(_original(piece), record):
                    ended[piece.source.key] += 1
                else:
                    self.emit(SameIdTwice(piece.source.path, piece.first, line_id(piece, 0)))
                    again.append(_under_new_id(piece))
        return Outcome(tuple(Ended(key, Fate.DUPLICATE, n) for key, n in ended.items()), again=tuple(again))

    async def check_privileges(self, target: str) -> None:
        """Try once whether look-ups are allowed, so that it is said before they are needed."""
        try:
            await self.ask(ask_refresh(target), (200, 404))
            await self.ask(ask_ids(target, ["-"]), (200, 404))
        except Forbidden as exc:
            self._say(str(exc))

    async def ask(self, request: Request, good: tuple[int, ...] = (200,)) -> Response:
        """Send a question; an answer that is none of *good* is an error."""
        response = await self.transport.send(request)
        if response.status in (401, 403):
            raise Forbidden(str(problem(response, f"{request.method} {request.path.partition('?')[0]}")))
        if response.status not in good:
            raise problem(response, f"{request.method} {request.path.partition('?')[0]}")
        return response

    async def _look_up(self, target: str, pieces: list[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
        backing = await self.learn(target, plain=True)
        if backing is None:
            return (), pieces
        if len(backing.indices) == 1:
            return (), [replace(piece, since=backing.write) for piece in pieces]
        protected = [piece for piece in pieces if piece.since and piece.since == backing.write]
        others = [piece for piece in pieces if not piece.since or piece.since != backing.write]
        there = await self._search(target, ids_of(others)) if others else {}
        copies = {key: where for key, where in there.items() if len(set(where)) > 1}
        if copies:
            await self._remove(copies, backing)
        missing = select(others, lambda key: key not in there)
        return select(others, there.__contains__), [
            *protected,
            *(replace(piece, since=backing.write) for piece in missing),
        ]

    async def _search(self, target: str, ids: Sequence[str]) -> dict[str, list[str]]:
        await self.ask(ask_refresh(target))
        there: dict[str, list[str]] = {}
        for start in range(0, len(ids), IDS_AT_ONCE):
            response = await self.ask(ask_ids(target, ids[start : start + IDS_AT_ONCE]))
            there |= read(lambda _, answer: read_ids(answer), target, response)
        return there

    async def _remove(self, copies: dict[str, list[str]], backing: Backing) -> None:
        """Remove all but the oldest of several copies."""
        order = {index: number for number, index in enumerate(backing.indices)}
        extra = [
            (index, key)
            for key, where in copies.items()
            for index in sorted(set(where), key=lambda index: order.get(index, -1))[1:]
        ]
        removed = read_deleted(await self.transport.send(ask_delete(extra)))
        if removed < len(extra):
            self.emit(StoredTwice(len(extra) - removed, extra[0][1]))

    async def _stored(self, pieces: Sequence[Piece]) -> dict[str, bytes] | None:
        """Fetch the records that have the ids of single lines of one stream; None when they may not be looked at."""
        target = pieces[0].source.target
        try:
            backing = await self.learn(target, plain=True)
            if backing is None:
                return {}
            places = [(index, key) for key in ids_of(pieces) for index in backing.indices[-_LOOKED_AT:]]
            response = await self.ask(ask_records(places))
        except Forbidden as exc:
            self._say(str(exc))
            return None
        return read(lambda _, answer: read_records(answer), target, response)

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            self.emit(LookupsForbidden(why))


def read(reader: Callable[[str, Response], T], target: str, response: Response) -> T:
    """Read an answer; one that cannot be understood is as good as none."""
    try:
        return reader(target, response)
    except ValueError as exc:
        raise SinkUnavailable(str(exc)) from exc


def _singles(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Take pieces apart into single lines, and group those for one question each."""
    by_target: dict[str, list[Piece]] = {}
    for piece in pieces:
        single = (piece.sub(index, index + 1) for index in range(len(piece.lines)))
        by_target.setdefault(piece.source.target, []).extend(single)
    for singles in by_target.values():
        for start in range(0, len(singles), RECORDS_AT_ONCE):
            yield singles[start : start + RECORDS_AT_ONCE]


def _under_new_id(piece: Piece) -> Piece:
    """Give a single line an id that only it can have, and has again when it is sent again."""
    digest = hashlib.blake2b(_original(piece), digest_size=6).hexdigest()
    return replace(piece, mark=f"{piece.mark}~{digest}")


def _original(piece: Piece) -> bytes:
    return piece.record(0) if piece.original is None else piece.original

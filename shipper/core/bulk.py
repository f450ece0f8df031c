"""
The `_bulk` API of Elasticsearch and OpenSearch: pieces to a body, an answer to an outcome.

Every line becomes `create` with its own id, so that a resend of what is there already is a 409 and not a second copy.
The answer is asked to hold only what is needed (`filter_path`); it counts for nothing unless it has one item per action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from shipper.core.accounting import taken
from shipper.core.gist import gist
from shipper.core.model import (
    Advice,
    Ended,
    Fate,
    Outcome,
    Piece,
    Refused,
    Request,
    Response,
    count_lines,
    cut_out,
    line_id,
)
from shipper.core.verdicts import Verdict, is_turned_away, judge_item, judge_response

CONTENT_TYPE = ("content-type", "application/x-ndjson")
_PATH = (
    "/_bulk?filter_path=errors,items.*.status,items.*.failure_store,"
    "items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
)
_WHERE = ",items.*._id,items.*._index"  # only for lines that may be there already: it doubles the answer
_REASON_LENGTH = 2000
_PART_BYTES = 256 * 1024
_TABLE = 0x1000
_PLAIN = tuple(b'%x"}}\n' % number for number in range(_TABLE))
_PADDED = tuple(b'%03x"}}\n' % number for number in range(_TABLE))


class _Cause(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    type: str = ""
    reason: str | None = None
    caused_by: _Cause | None = None

    def __str__(self) -> str:
        cause = self.caused_by.reason if self.caused_by else None
        return ": ".join(text for text in (self.type, self.reason, cause) if text)[:_REASON_LENGTH]


class _Result(msgspec.Struct):
    status: int
    error: _Error | None = None
    id: str = msgspec.field(name="_id", default="")
    index: str = msgspec.field(name="_index", default="")
    failure_store: str = ""


class _Item(msgspec.Struct):
    create: _Result


class _Answer(msgspec.Struct):
    errors: bool
    items: list[_Item] = []


_CREATED = _Item(_Result(201))


class _Whole(msgspec.Struct):
    error: _Error


_decoder = msgspec.json.Decoder(type=_Answer)
_whole_decoder = msgspec.json.Decoder(type=_Whole)


def encode_bulk(pieces: Sequence[Piece], *, parameters: str = "") -> Request:
    """
    Build the request that creates every line of *pieces*.

    Args:
        pieces: At least one line.
        parameters: More of the path's, each with `&` before it.
    """
    where = _WHERE if any(piece.since is not None for piece in pieces) else ""
    return Request("POST", _PATH + where + parameters, headers=(CONTENT_TYPE,), parts=in_parts(pieces, _with_actions))


def in_parts(pieces: Sequence[Piece], encode: Callable[[Piece], list[bytes]]) -> tuple[bytes, ...]:
    """Encode pieces one by one and join what comes to bodies in parts: many small files become one, large ones stay apart."""
    parts: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting += encode(piece)
        size += piece.size
        if size >= _PART_BYTES:
            parts.append(b"".join(waiting))
            waiting, size = [], 0
    return (*parts, b"".join(waiting)) if waiting else tuple(parts)


def _with_actions(piece: Piece) -> list[bytes]:
    """
    Put an action line before every line of a piece.

    No Python runs per line: the last three digits of the line numbers come ready from a table, and what stands before them
    is the same for 4,096 lines.
    """
    action = f'{{"create":{{"_index":"{piece.source.target}","_id":"{piece.source.key}{piece.mark}-'.encode()
    result: list[bytes] = []
    lines = list(piece.lines)
    done, count = 0, len(lines)
    while done < count:
        high, low = divmod(piece.first + done, _TABLE)
        size = min(count - done, _TABLE - low)
        block = [b"%b%x" % (action, high) if high else action] * (3 * size)
        block[1::3] = (_PADDED if high else _PLAIN)[low : low + size]
        block[2::3] = lines[done : done + size]
        result += block
        done += size
    return result


def decode_bulk(pieces: Sequence[Piece], response: Response) -> Outcome:
    """
    Read what became of each line.

    Args:
        pieces: Those the request was made of.
        response: Any answer, also one from a proxy or one that was cut short.
    """
    if not 200 <= response.status < 300:
        return _refused_whole(pieces, response)
    count = count_lines(pieces)
    if response.body == _all_created(count):
        return Outcome(taken(pieces))
    try:
        answer = _decoder.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        return unknown(pieces, f"the answer is not one of a _bulk request ({exc})")
    if len(answer.items) != count:
        return unknown(pieces, f"the answer has {len(answer.items)} items for {count} records")
    if all(item == _CREATED for item in answer.items):
        return Outcome(taken(pieces))
    return _sort(pieces, answer.items)


def _all_created(count: int) -> bytes:
    """The answer of every day, as both products write it: compared as a whole, without an object per item."""
    return b'{"errors":false,"items":[%b]}' % (b'{"create":{"status":201}},' * count)[:-1]


def whole(pieces: Sequence[Piece], response: Response) -> Outcome:
    """Say what an answer that is not 2xx means for all lines of a request."""
    outcome = Outcome(advice=judge_response(response.status), reason=describe(response), status=response.status)
    if is_turned_away(response.status):
        return replace(outcome, again=tuple(pieces))
    return replace(outcome, doubtful=tuple(pieces))


def unknown(pieces: Sequence[Piece], reason: str) -> Outcome:
    """Say that it is not known what became of a request."""
    return Outcome(doubtful=tuple(pieces), advice=Advice.RETRY, reason=reason)


def _refused_whole(pieces: Sequence[Piece], response: Response) -> Outcome:
    outcome = whole(pieces, response)
    if response.status == 429:
        return replace(outcome, too_much=True)
    if outcome.advice is Advice.SPLIT:
        try:
            error = _whole_decoder.decode(response.body).error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return outcome
        if judge_item(response.status, error.type, error.reason or "") is Verdict.WAIT:
            return replace(outcome, advice=Advice.WAIT)  # halving would not help
    return outcome


def _sort(pieces: Sequence[Piece], items: list[_Item]) -> Outcome:
    sorter = _Sorter(tuple({f"{piece.source.key}{piece.mark}-" for piece in pieces}))
    start = 0
    for piece in pieces:
        stop = start + len(piece.lines)
        if not sorter.add(piece, [item.create for item in items[start:stop]]):
            return unknown(pieces, "the items of the answer are not in the order of the records")
        start = stop
    return sorter.outcome()


@dataclass(slots=True)
class _Sorter:
    """
    Collects the lines of a request by what became of them.

    Args:
        prefixes: How the ids of all lines begin.
    """

    prefixes: tuple[str, ...]
    ended: list[Ended] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    kept: dict[Verdict, list[Piece]] = field(default_factory=dict)
    reasons: dict[Verdict, str] = field(default_factory=dict)

    def add(self, piece: Piece, results: list[_Result]) -> bool:
        """Take one piece; False when the answer speaks of other records."""
        positions: dict[Verdict, list[int]] = {}
        for position, result in enumerate(results):
            # Any other id was made by the store: by a pipeline, or where its failure store took the record.
            if result.id and result.id != line_id(piece, position) and result.id.startswith(self.prefixes):
                return False
            verdict = _judge(result)
            if verdict is Verdict.DELIVERED and piece.since and result.index not in ("", piece.since):
                verdict = Verdict.MOVED
            positions.setdefault(verdict, []).append(position)
            if verdict is Verdict.REFUSED:
                self.refused.append(_refuse(piece, position, result))
            elif verdict in _KEPT:
                self.reasons.setdefault(verdict, f"{result.status} {result.error or ''}".strip())
        for verdict, where in positions.items():
            fate = Fate.DUPLICATE if verdict is Verdict.CONFLICT and piece.since is not None else _FATES.get(verdict)
            if verdict is Verdict.DELIVERED:
                fate = piece.fate
            if fate is not None:
                self.ended.append(Ended(piece.source.key, fate, len(where)))
            elif verdict is not Verdict.REFUSED:
                self.kept.setdefault(verdict, []).extend(cut_out(piece, where))
        return True

    def outcome(self) -> Outcome:
        waiting, busy = self.kept.get(Verdict.WAIT, []), self.kept.get(Verdict.RETRY, [])
        doubtful = self.kept.get(Verdict.DOUBTFUL, [])
        # To be looked up before anything else happens to them: since when they may be elsewhere is open again.
        moved = [replace(piece, since="") for piece in self.kept.get(Verdict.MOVED, [])]
        left = waiting or busy or doubtful or moved
        conflicts = tuple(self.kept.get(Verdict.CONFLICT, []))
        return Outcome(
            tuple(self.ended),
            tuple(self.refused),
            again=(*waiting, *busy, *moved),
            doubtful=tuple(doubtful),
            conflicts=conflicts,
            advice=Advice.WAIT if waiting else Advice.RETRY if left else Advice.DONE,
            reason=next((self.reasons[verdict] for verdict in _KEPT if verdict in self.reasons), ""),
            # Nothing of it was taken: a shard has no room for what comes at once.
            too_much=bool(busy) and not (self.ended or self.refused or conflicts or waiting or doubtful or moved),
        )


_KEPT = (Verdict.WAIT, Verdict.RETRY, Verdict.DOUBTFUL, Verdict.MOVED)
_FATES = {Verdict.FILTERED: Fate.FILTERED, Verdict.FAILURE_STORED: Fate.FAILURE_STORED}


def _judge(result: _Result) -> Verdict:
    error = result.error
    kind, reason = (error.type, error.reason or "") if error is not None else ("", "")
    return judge_item(result.status, kind, reason, failure_store=result.failure_store)


def _refuse(piece: Piece, position: int, result: _Result) -> Refused:
    return Refused(
        piece.source,
        piece.first + position,
        piece.record(position) if piece.original is None else piece.original,
        str(result.error or f"HTTP {result.status}"),
        result.status,
        mark=piece.mark,
        sent=None if piece.original is None else piece.record(position),
    )


def describe(response: Response) -> str:
    """Quote an answer."""
    text = gist(response.body)
    return f"HTTP {response.status}" + (f": {text}" if text else "")

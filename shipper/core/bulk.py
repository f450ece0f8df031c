"""
The `_bulk` API of Elasticsearch and OpenSearch: pieces to a body, an answer to an outcome.

Every line becomes `create` with its own id, so that a resend of what is there already is a 409 and not a second copy.
The answer is asked to hold only what is needed (`filter_path`); it counts for nothing unless it has one item per action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from shipper.core.accounting import taken
from shipper.core.model import Advice, Ended, Fate, Outcome, Piece, Refused, Request, Response, count_lines
from shipper.core.verdicts import Verdict, judge_item, judge_response

CONTENT_TYPE = ("content-type", "application/x-ndjson")
_PATH = (
    "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
)
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


class _Item(msgspec.Struct):
    create: _Result


class _Answer(msgspec.Struct):
    errors: bool
    items: list[_Item] = []


_decoder = msgspec.json.Decoder(type=_Answer)


def encode_bulk(pieces: Sequence[Piece], *, require_data_stream: bool) -> Request:
    """
    Build the request that creates every line of *pieces*.

    Args:
        pieces: At least one line.
        require_data_stream: Ask the store to refuse an index that is no data stream (Elasticsearch knows this
            parameter, OpenSearch refuses it).
    """
    path = _PATH + "&require_data_stream=true" if require_data_stream else _PATH
    return Request("POST", path, headers=(CONTENT_TYPE,), parts=in_parts(pieces, _with_actions))


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
    is the same for 4,096 lines. Every line is followed by the newline and the action of the next one.
    """
    action = f'{{"create":{{"_index":"{piece.source.target}","_id":"{piece.source.key}-'.encode()
    result: list[bytes] = []
    done, count = 0, len(piece.lines)
    while done < count:
        high, low = divmod(piece.first + done, _TABLE)
        size = min(count - done, _TABLE - low)
        block = [b"\n%b%x" % (action, high) if high else b"\n" + action] * (3 * size)
        block[1::3] = (_PADDED if high else _PLAIN)[low : low + size]
        block[2::3] = piece.lines[done : done + size]
        result += block
        done += size
    result[0] = result[0][1:]
    result.append(b"\n")
    return result


def decode_bulk(pieces: Sequence[Piece], response: Response) -> Outcome:
    """
    Read what became of each line.

    Args:
        pieces: Those the request was made of.
        response: Any answer, also one from a proxy or one that was cut short.
    """
    if not 200 <= response.status < 300:
        return whole(pieces, judge_response(response.status), _describe(response))
    count = count_lines(pieces)
    if response.body == _all_created(count):
        return Outcome(taken(pieces))
    try:
        answer = _decoder.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        return whole(pieces, Advice.RETRY, f"the answer is not one of a _bulk request ({exc})")
    if len(answer.items) != count:
        return whole(pieces, Advice.RETRY, f"the answer has {len(answer.items)} items for {count} records")
    if not answer.errors and all(item.create.status in (200, 201) for item in answer.items):
        return Outcome(taken(pieces))
    return _sort(pieces, answer.items)


def _all_created(count: int) -> bytes:
    """The answer of every day, as both products write it: compared as a whole, without an object per item."""
    return b'{"errors":false,"items":[%b]}' % (b'{"create":{"status":201}},' * count)[:-1]


def whole(pieces: Sequence[Piece], advice: Advice, reason: str) -> Outcome:
    """Say that nothing of a request was delivered."""
    return Outcome(again=tuple(pieces), advice=advice, reason=reason)


def _sort(pieces: Sequence[Piece], items: list[_Item]) -> Outcome:
    ended: list[Ended] = []
    refused: list[Refused] = []
    again: list[Piece] = []
    reasons: dict[Verdict, str] = {}
    results = iter(items)
    for piece in pieces:
        kept: list[int] = []
        counts = dict.fromkeys(Verdict, 0)
        for position in range(len(piece.lines)):
            result = next(results).create
            verdict = judge_item(
                result.status, *((result.error.type, result.error.reason or "") if result.error else ("",))
            )
            counts[verdict] += 1
            if verdict in (Verdict.RETRY, Verdict.WAIT):
                kept.append(position)
                reasons.setdefault(verdict, f"{result.status} {result.error or ''}".strip())
            elif verdict is Verdict.REFUSED:
                line = piece.lines[position]
                refused.append(
                    Refused(piece.source, piece.first + position, line, str(result.error or ""), result.status)
                )
        again += _runs(piece, kept)
        fates = ((piece.fate, counts[Verdict.DELIVERED]), (Fate.DUPLICATE, counts[Verdict.DUPLICATE]))
        ended += [Ended(piece.source.key, fate, number) for fate, number in fates if number]
    advice = Advice.WAIT if Verdict.WAIT in reasons else Advice.RETRY if again else Advice.DONE
    return Outcome(
        tuple(ended),
        refused=tuple(refused),
        again=tuple(again),
        advice=advice,
        reason=reasons.get(Verdict.WAIT) or reasons.get(Verdict.RETRY, ""),
    )


def _runs(piece: Piece, positions: list[int]) -> list[Piece]:
    """Cut the lines at *positions* out of a piece, neighbours together."""
    runs: list[Piece] = []
    start = 0
    for index in range(1, len(positions) + 1):
        if index == len(positions) or positions[index] != positions[index - 1] + 1:
            runs.append(piece.sub(positions[start], positions[index - 1] + 1))
            start = index
    return runs


def _describe(response: Response) -> str:
    text = response.body[:300].decode("utf-8", "replace").strip()
    return f"HTTP {response.status}" + (f": {text}" if text else "")

"""
Requests to any HTTP endpoint, and what its one answer means for all lines of a request.

The ids of the lines travel beside the body in one header, `Shipper-Lines`, described in docs/design.md, section 3. A second
header, `Idempotency-Key`, is a digest of the first and of the body: the same lines have the same key whenever they are sent
together, and each half of a request that was split has a key of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from isal import isal_zlib

from shipper.core.accounting import taken
from shipper.core.bulk import unknown, whole
from shipper.core.model import Advice, Outcome, Piece, Refused, Request, Response, count_lines
from shipper.core.ndjson import LINES_HEADER, header_fits, lines_header
from shipper.core.shapes import SHAPES, Shape

IDEMPOTENCY_HEADER = "idempotency-key"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where records are sent that is no store.

    Args:
        shape: What it wants.
        path: Where to, relative to the URL.
        method: POST or another one.
        headers: Sent with each request.
        expected: Statuses that mean that it has taken everything; empty: any 2xx.
    """

    shape: Shape = SHAPES["http"]
    path: str = ""
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    expected: frozenset[int] = frozenset()


def fits(endpoint: Endpoint, pieces: Sequence[Piece]) -> bool:
    """Tell whether *pieces* can go in one request."""
    shape = endpoint.shape
    if shape.max_lines and count_lines(pieces) > shape.max_lines:
        return False
    if shape.max_bytes and count_lines(pieces) > 1 and sum(piece.size for piece in pieces) > shape.max_bytes:
        return False
    return header_fits(pieces)


def encode(endpoint: Endpoint, pieces: Sequence[Piece]) -> Request:
    """Build the request that carries every line of *pieces*."""
    lines, parts = lines_header(pieces), endpoint.shape.encode(pieces)
    key = _key(lines, parts)
    headers = (("content-type", endpoint.shape.content_type), (LINES_HEADER, lines), (IDEMPOTENCY_HEADER, key))
    return Request(endpoint.method, endpoint.path, headers=headers + endpoint.headers, parts=parts)


def _key(lines: str, parts: tuple[bytes, ...]) -> str:
    """
    Make the key of a request of its ids and its body.

    So the same lines have the same key whenever they are sent, and no body but theirs has it. The ids are unique already; the sum
    over the body is for settings that changed in between, and for files that another program wrote over.
    """
    digest, total = hashlib.blake2b(lines.encode(), digest_size=16), 0
    for part in parts:
        total = isal_zlib.crc32(part, total)
    digest.update(b"\0%x-%x" % (sum(map(len, parts)), total))
    return digest.hexdigest()


class _Partial(msgspec.Struct):
    rejected: int | str = msgspec.field(name="rejectedLogRecords", default=0)
    message: str = msgspec.field(name="errorMessage", default="")


class _Exported(msgspec.Struct):
    partial: _Partial = msgspec.field(name="partialSuccess", default_factory=_Partial)


_exported = msgspec.json.Decoder(type=_Exported)


def decode(endpoint: Endpoint, pieces: Sequence[Piece], response: Response) -> Outcome:
    """Read what became of the lines: all of them the same, since an endpoint answers once."""
    good = response.status in endpoint.expected if endpoint.expected else 200 <= response.status < 300
    if good:
        return _partial(pieces, response) if endpoint.shape.name == "otlp" else Outcome(taken(pieces))
    if 200 <= response.status < 300:
        return unknown(pieces, f"HTTP {response.status}, which is none of the expected statuses")
    return whole(pieces, response)


def _partial(pieces: Sequence[Piece], response: Response) -> Outcome:
    """
    Read a success of OTLP, which may be one in part.

    By the protocol it is not to be sent again then, and it does not say which records were refused: all are kept.
    """
    try:
        partial = _exported.decode(response.body or b"{}").partial
        rejected = int(partial.rejected)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return Outcome(taken(pieces))
    if not rejected:
        return Outcome(taken(pieces))
    reason = f"the receiver has refused {rejected} of {count_lines(pieces)} records: {partial.message[:500]}"
    refused = tuple(
        Refused(piece.source, piece.first + index, line[:-1], reason, response.status)
        for piece in pieces
        for index, line in enumerate(piece.lines)
    )
    return Outcome(refused=refused, advice=Advice.DONE)

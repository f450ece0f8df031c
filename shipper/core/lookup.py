"""
Questions to a store about records that it may have, and how its answers are read.

An id is unique within one backing index only: after a rollover the same `create` is taken once more. So a line that may have been
sent before is searched in all backing indices of its stream. What an answer leaves open is never taken as "not there".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from shipper.core.model import Piece, Request, Response, cut_out, line_id

IDS_AT_ONCE = 2000
RECORDS_AT_ONCE = 100
_JSON = (("content-type", "application/json"),)
_NDJSON = (("content-type", "application/x-ndjson"),)
_MOST_HITS = 10_000  # what both stores allow in one answer


@dataclass(frozen=True, slots=True)
class Backing:
    """
    What stands behind a name.

    Args:
        write: The index that new records go to; empty where that is not to be known.
        indices: All of them, the oldest first.
    """

    write: str
    indices: tuple[str, ...]


def ask_stream(target: str) -> Request:
    """Ask for a data stream."""
    return Request("GET", f"/_data_stream/{quote(target)}")


def read_stream(target: str, response: Response) -> Backing | None:
    """
    Read what a data stream consists of.

    Returns:
        None when there is none of that name: OpenSearch then answers 200 with an empty list, Elasticsearch 404, and 400
        where the name is an alias.

    Raises:
        ValueError: The answer is not one to `ask_stream`.
    """
    if response.status == 404 or is_alias(response):
        return None
    try:
        streams = json.loads(response.body)["data_streams"]
        found = next((stream for stream in streams if stream["name"] == target), None)
        if found is None:
            return None
        indices = tuple(str(index["index_name"]) for index in found["indices"])
        return Backing(indices[-1], indices)
    except (ValueError, KeyError, TypeError, IndexError) as exc:
        raise ValueError(f"GET /_data_stream/{target} was answered with what cannot be understood") from exc


def is_alias(response: Response) -> bool:
    """Tell whether an answer to `ask_stream` says that the name is an alias."""
    return response.status == 400 and b"matches an alias" in response.body


def ask_alias(target: str) -> Request:
    """Ask for an index, or for what an alias stands for."""
    return Request("GET", f"/{quote(target)}/_alias")


def read_alias(target: str, response: Response) -> Backing | None:
    """
    Read what an index or an alias consists of.

    Returns:
        None when there is none of that name yet.

    Raises:
        ValueError: The answer is not one to `ask_alias`.
    """
    if response.status == 404:
        return None
    try:
        answer = json.loads(response.body)
        writes = [name for name, said in answer.items() if said["aliases"].get(target, {}).get("is_write_index")]
        indices = tuple(sorted(answer))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"GET /{target}/_alias was answered with what cannot be understood") from exc
    write = writes[0] if writes else indices[0] if len(indices) == 1 else ""
    return Backing(write, indices) if indices else None


def ask_refresh(target: str) -> Request:
    """Make everything visible to a search that was stored before."""
    return Request("POST", f"/{quote(target)}/_refresh")


def ask_ids(target: str, ids: Sequence[str]) -> Request:
    """Search for records by id in everything behind a name; at most `IDS_AT_ONCE`."""
    body = {"query": {"ids": {"values": list(ids)}}, "size": _MOST_HITS, "_source": False, "track_total_hits": False}
    path = f"/{quote(target)}/_search?allow_partial_search_results=false"
    path += "&filter_path=timed_out,_shards.failed,hits.hits._id,hits.hits._index"
    return Request("POST", path, json.dumps(body).encode(), _JSON)


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index")


class _Hits(msgspec.Struct):
    hits: list[_Hit] = []


class _Shards(msgspec.Struct):
    failed: int


class _Found(msgspec.Struct):
    timed_out: bool
    shards: _Shards = msgspec.field(name="_shards")
    hits: _Hits = msgspec.field(default_factory=_Hits)


_found = msgspec.json.Decoder(type=_Found)


def read_ids(response: Response) -> dict[str, list[str]]:
    """
    Read which ids are there, each with the indices that hold it.

    Raises:
        ValueError: The answer leaves something open.
    """
    try:
        answer = _found.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(f"a search by ids was answered with what cannot be understood ({exc})") from exc
    if answer.timed_out or answer.shards.failed or len(answer.hits.hits) >= _MOST_HITS:
        raise ValueError("a search by ids was answered for a part of the stream only")
    there: dict[str, list[str]] = {}
    for hit in answer.hits.hits:
        there.setdefault(hit.id, []).append(hit.index)
    return there


def ask_delete(copies: Iterable[tuple[str, str]]) -> Request:
    """Remove records, each given as index and id."""
    lines = [json.dumps({"delete": {"_index": index, "_id": key}}) + "\n" for index, key in copies]
    path = "/_bulk?filter_path=items.*.status,items.*.error.type"
    return Request("POST", path, "".join(lines).encode(), _NDJSON)


def read_deleted(response: Response) -> int:
    """Count how many records were removed, or are not there any more."""
    try:
        items = json.loads(response.body)["items"] if response.status == 200 else []
        return sum(item["delete"]["status"] in (200, 404) for item in items)
    except (ValueError, KeyError, TypeError):
        return 0


def ask_records(places: Iterable[tuple[str, str]]) -> Request:
    """Fetch records, each given as index and id, at most `RECORDS_AT_ONCE`; this sees also what no search sees yet."""
    body = {"docs": [{"_index": index, "_id": key} for index, key in places]}
    path = "/_mget?filter_path=docs._id,docs.found,docs._source,docs.error"
    return Request("POST", path, json.dumps(body).encode(), _JSON)


class _Record(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    found: bool = False
    source: msgspec.Raw = msgspec.field(name="_source", default_factory=msgspec.Raw)


class _Records(msgspec.Struct):
    docs: list[_Record]


_records = msgspec.json.Decoder(type=_Records)


def read_records(response: Response) -> dict[str, bytes]:
    """
    Read the records that were found, by id.

    Raises:
        ValueError: The answer is not one to `ask_records`.
    """
    try:
        docs = _records.decode(response.body).docs
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(f"_mget was answered with what cannot be understood ({exc})") from exc
    return {doc.id: bytes(doc.source) for doc in docs if doc.found and bytes(doc.source)}


def select(pieces: Iterable[Piece], wanted: Callable[[str], bool]) -> tuple[Piece, ...]:
    """Cut the lines out of *pieces* whose id is *wanted*."""
    chosen: list[Piece] = []
    for piece in pieces:
        kept = [index for index in range(len(piece.lines)) if wanted(line_id(piece, index))]
        chosen += cut_out(piece, kept)
    return tuple(chosen)


def ids_of(pieces: Iterable[Piece]) -> list[str]:
    """List the ids of all lines."""
    return [line_id(piece, index) for piece in pieces for index in range(len(piece.lines))]

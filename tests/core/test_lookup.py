"""Questions about stored records: an answer that leaves something open is never "not there"."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shipper.core import lookup
from shipper.core.lookup import Backing
from shipper.core.model import Piece, Response
from tests.core.support import piece, pieces


def answer(body: Any, status: int = 200) -> Response:
    return Response(status, body if isinstance(body, bytes) else json.dumps(body).encode(), {})


def stream(name: str, *indices: str) -> dict[str, Any]:
    return {"name": name, "timestamp_field": {"name": "@timestamp"}, "indices": [{"index_name": i} for i in indices]}


def test_a_stream_and_its_write_index() -> None:
    """The last backing index is the one that is written to; no stream of that name is None on both products."""
    body = {"data_streams": [stream("other", "x"), stream("s", ".ds-s-1", ".ds-s-2")]}
    assert lookup.read_stream("s", answer(body)) == Backing(".ds-s-2", (".ds-s-1", ".ds-s-2"))
    assert lookup.read_stream("t", answer(body)) is None
    assert lookup.read_stream("s", answer({"data_streams": []})) is None
    assert lookup.read_stream("s", answer({}, 404)) is None
    alias = {
        "error": {
            "type": "illegal_argument_exception",
            "reason": "The provided expression [s] matches an alias, specify …",
        }
    }
    assert lookup.read_stream("s", answer(alias, 400)) is None


def test_an_index_and_an_alias() -> None:
    """An index stands for itself; of an alias only one index may be written to, or it is not known which."""
    assert lookup.read_alias("i", answer({"i": {"aliases": {}}})) == Backing("i", ("i",))
    one = {"i-2": {"aliases": {"a": {"is_write_index": True}}}, "i-1": {"aliases": {"a": {"is_write_index": False}}}}
    assert lookup.read_alias("a", answer(one)) == Backing("i-2", ("i-1", "i-2"))
    none = {"i-2": {"aliases": {"a": {}}}, "i-1": {"aliases": {"a": {}}}}
    assert lookup.read_alias("a", answer(none)) == Backing("", ("i-1", "i-2"))
    assert lookup.read_alias("a", answer({}, 404)) is None


FOUND = {"timed_out": False, "_shards": {"failed": 0}}


def test_ids_that_are_there() -> None:
    """Each id comes with every index that holds it."""
    hits = [{"_id": "a", "_index": "1"}, {"_id": "b", "_index": "2"}, {"_id": "a", "_index": "2"}]
    assert lookup.read_ids(answer({**FOUND, "hits": {"hits": hits}})) == {"a": ["1", "2"], "b": ["2"]}
    assert lookup.read_ids(answer(FOUND)) == {}, "filter_path leaves out an empty list"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", b"[]", b"null", {**FOUND, "timed_out": True}, {**FOUND, "_shards": {"failed": 1}},
     {"timed_out": False}, {"_shards": {"failed": 0}}, {**FOUND, "hits": {"hits": [{"_id": "a"}]}},
     {**FOUND, "hits": {"hits": [{"_id": "a", "_index": "1"}] * 10_000}}],
)  # fmt: skip
def test_an_answer_that_leaves_something_open(body: Any) -> None:
    """Cut short, timed out, a shard missing, or as many hits as fit: nothing may be taken as not there."""
    with pytest.raises(ValueError, match="search by ids"):
        lookup.read_ids(answer(body))


@pytest.mark.parametrize(
    "reader", [lambda r: lookup.read_stream("s", r), lambda r: lookup.read_alias("s", r), lookup.read_records]
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"5"])
def test_html_is_no_answer(reader: Any, body: bytes) -> None:
    """What a proxy says is not taken for the store's word."""
    with pytest.raises(ValueError, match="cannot be understood"):
        reader(answer(body))


def test_records() -> None:
    """Records come back as they are stored; those that are not there, or not to be read, are absent."""
    docs = [{"_id": "a", "found": True, "_source": {"n": 1}}, {"_id": "b", "found": False}, {"_id": "c", "error": {}}]
    assert lookup.read_records(answer({"docs": docs})) == {"a": b'{"n": 1}'}


def test_removed_copies_are_counted() -> None:
    """A copy that somebody else removed is gone, too; a refusal is not."""
    items = [{"delete": {"status": s}} for s in (200, 404, 403)]
    assert lookup.read_deleted(answer({"items": items})) == 2
    for body in (b"", b"<html>", {}, {"items": [{}]}):
        assert lookup.read_deleted(answer(body)) == 0
    assert lookup.read_deleted(answer({"items": items}, 403)) == 0


def test_questions_are_what_the_stores_read() -> None:
    """Names are quoted; the search may not leave out shards, and asks for ids alone."""
    assert (
        lookup.ask_stream("a b/c").path == "/_data_stream/a%20b%2Fc"
        or lookup.ask_stream("a b").path == "/_data_stream/a%20b"
    )
    request = lookup.ask_ids("s", ["a", "b"])
    assert "allow_partial_search_results=false" in request.path
    assert json.loads(request.body)["query"] == {"ids": {"values": ["a", "b"]}}
    assert json.loads(request.body)["_source"] is False
    actions = lookup.ask_delete([("i-2", "a")]).body.splitlines()
    assert [json.loads(a) for a in actions] == [{"delete": {"_index": "i-2", "_id": "a"}}]


@given(pieces(), st.integers(1, 3))
def test_lines_are_chosen_by_their_ids(given_pieces: tuple[Piece, ...], modulus: int) -> None:
    """What is wanted and what is not are together what there was, each line with its own id."""
    every = lookup.ids_of(given_pieces)
    wanted = set(every[::modulus])
    inside = lookup.select(given_pieces, wanted.__contains__)
    outside = lookup.select(given_pieces, lambda key: key not in wanted)
    assert sorted(lookup.ids_of(inside) + lookup.ids_of(outside)) == sorted(every)
    assert set(lookup.ids_of(inside)) <= wanted
    assert not set(lookup.ids_of(outside)) & wanted


def test_marked_lines_have_marked_ids() -> None:
    """A mark stands between key and number."""
    assert lookup.ids_of([replace(piece(b"{}", first=26), mark="~x")]) == ["k~x-1a"]

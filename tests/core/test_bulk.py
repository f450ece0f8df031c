"""`_bulk`: what a server reads is what was meant, and every line has exactly one fate whatever the answer."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.bulk import decode_bulk, encode_bulk
from shipper.core.model import Advice, Fate, Outcome, Piece, Response, count_lines
from tests.core.support import piece, pieces

ITEMS: dict[str, dict[str, Any]] = {
    "created": {"status": 201},
    "there": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "r"}},
    "busy": {"status": 429, "error": {"type": "es_rejected_execution_exception"}},
    "bad": {
        "status": 400,
        "error": {"type": "document_parsing_exception", "reason": "r", "caused_by": {"reason": "c"}},
    },
    "block": {"status": 403, "error": {"type": "cluster_block_exception", "reason": None}},
    "missing": {"status": 404, "error": {"type": "index_not_found_exception"}},
    "broken": {"status": 500, "error": {"type": "x"}},
    "none": {"status": 503},
}


def ids(of: tuple[Piece, ...]) -> list[str]:
    return [f"{p.source.key}-{p.first + i:x}" for p in of for i in range(len(p.lines))]


def answer(items: list[dict[str, Any]], errors: bool = True, status: int = 200) -> Response:
    return Response(status, json.dumps({"errors": errors, "items": [{"create": i} for i in items]}).encode(), {})


@given(pieces())
def test_a_server_reads_what_was_meant(given_pieces: tuple[Piece, ...]) -> None:
    """The body is pairs of an action with the line's own id and target, and the line's bytes."""
    request = encode_bulk(given_pieces, require_data_stream=False)
    assert (request.method, dict(request.headers)["content-type"]) == ("POST", "application/x-ndjson")
    body = b"".join(request.parts).split(b"\n")
    assert body.pop() == b""
    actions = [json.loads(a) for a in body[::2]]
    assert [a["create"]["_id"] for a in actions] == ids(given_pieces)
    assert {a["create"]["_index"] for a in actions} == {"logs-a.jsonlog-b"}
    assert body[1::2] == [x for p in given_pieces for x in p.lines]


def test_elasticsearch_is_asked_to_insist_on_a_data_stream() -> None:
    """The parameter stands in the path only where it is asked for."""
    assert "require_data_stream=true" in encode_bulk([piece(b"{}")], require_data_stream=True).path
    assert "require_data_stream" not in encode_bulk([piece(b"{}")], require_data_stream=False).path


@given(pieces(), st.data())
def test_every_line_has_one_fate(given_pieces: tuple[Piece, ...], data: st.DataObject) -> None:
    """For any mix of items each line is delivered, a duplicate, refused or to be sent again, and none is two of them."""
    total = count_lines(given_pieces)
    names = data.draw(st.lists(st.sampled_from(sorted(ITEMS)), min_size=total, max_size=total))
    outcome = decode_bulk(given_pieces, answer([ITEMS[n] for n in names], errors=data.draw(st.booleans())))
    ended = Counter()
    for one in outcome.ended:
        ended[one.key, one.fate] += one.lines
    by_key = [p.source.key for p in given_pieces for _ in p.lines]
    wanted = {"created": Fate.DELIVERED, "there": Fate.DUPLICATE}
    assert ended == Counter((key, wanted[n]) for key, n in zip(by_key, names, strict=True) if n in wanted)
    by_line = list(zip(ids(given_pieces), names, strict=True))
    assert [f"{r.source.key}-{r.line:x}" for r in outcome.refused] == [i for i, n in by_line if n == "bad"]
    again = {"busy", "block", "missing", "broken", "none"}
    assert ids(outcome.again) == [i for i, n in by_line if n in again]
    lines = (
        dict(zip(ids(given_pieces), (x for p in given_pieces for x in p.lines), strict=True))
        if not _twice(given_pieces)
        else {}
    )
    assert all(
        lines.get(i, x) == x
        for i, x in zip(ids(outcome.again), (x for p in outcome.again for x in p.lines), strict=True)
    )
    if {"block", "missing"} & set(names):
        assert outcome.advice is Advice.WAIT
    else:
        assert outcome.advice is (Advice.RETRY if again & set(names) else Advice.DONE)
    assert bool(outcome.again) == (outcome.advice is not Advice.DONE) == bool(outcome.reason)


def _twice(of: tuple[Piece, ...]) -> bool:
    return len(set(ids(of))) != len(ids(of))


@given(pieces(), st.sampled_from([-1, 1, 5]), st.booleans())
def test_a_wrong_number_of_items_counts_for_nothing(given_pieces: tuple[Piece, ...], more: int, errors: bool) -> None:
    """With too few or too many items nothing is taken as delivered, and all of it is sent again."""
    items = [ITEMS["created"]] * max(0, count_lines(given_pieces) + more)
    assert_nothing(decode_bulk(given_pieces, answer(items, errors=errors)), given_pieces, Advice.RETRY)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", b'{"errors":false}', b'{"errors":false,"items":[{"create":{"status":201}', b"null", b"[]",
     b'{"errors":false,"items":[{"index":{"status":201}}]}', b'{"errors":"no","items":[]}', b"\xff", b"[" * 100_000,
     b'{"errors":false,"items":[{"create":{"status":"201"}}]}'],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_counts_for_nothing(body: bytes) -> None:
    """HTML, half an answer or anything else with status 200 is no delivery."""
    given_pieces = (piece(b"{}"),)
    assert_nothing(decode_bulk(given_pieces, Response(200, body, {})), given_pieces, Advice.RETRY)


@pytest.mark.parametrize(
    ("status", "advice"),
    [(301, Advice.WAIT), (400, Advice.SPLIT), (401, Advice.WAIT), (403, Advice.WAIT), (404, Advice.WAIT), (405, Advice.WAIT),
     (408, Advice.RETRY), (413, Advice.SPLIT), (429, Advice.RETRY), (500, Advice.RETRY), (502, Advice.RETRY), (503, Advice.RETRY)],
)  # fmt: skip
def test_a_whole_refusal_delivers_nothing(status: int, advice: Advice) -> None:
    """Each status of a whole answer has its advice, keeps all lines, and is named in the reason."""
    given_pieces = (piece(b"{}", b"{}"),)
    outcome = decode_bulk(given_pieces, Response(status, b"why " * 200, {}))
    assert_nothing(outcome, given_pieces, advice)
    assert f"HTTP {status}: why" in outcome.reason
    assert len(outcome.reason) < 400


def assert_nothing(outcome: Outcome, given_pieces: tuple[Piece, ...], advice: Advice) -> None:
    assert (outcome.ended, outcome.refused) == ((), ())
    assert outcome.again == given_pieces
    assert outcome.advice is advice
    assert outcome.reason


def test_a_refusal_keeps_the_stores_words() -> None:
    """The reason of a dead letter names type, reason and cause."""
    (refused,) = decode_bulk([piece(b"{}", first=17)], answer([ITEMS["bad"]])).refused
    assert (refused.reason, refused.status, refused.line, refused.data) == (
        "document_parsing_exception: r: c",
        400,
        17,
        b"{}",
    )

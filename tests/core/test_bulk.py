"""`_bulk`: what a server reads is what was meant, and every line has exactly one fate whatever the answer."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shipper.core.bulk import decode_bulk, encode_bulk
from shipper.core.model import Advice, Fate, Outcome, Piece, Response, count_lines
from tests.core.support import piece, pieces

ITEMS: dict[str, dict[str, Any]] = {
    "created": {"status": 201},
    "dropped": {"status": 200},
    "failure": {"status": 201, "failure_store": "used"},
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
    request = encode_bulk(given_pieces)
    assert (request.method, dict(request.headers)["content-type"]) == ("POST", "application/x-ndjson")
    body = b"".join(request.parts).split(b"\n")
    assert body.pop() == b""
    actions = [json.loads(a) for a in body[::2]]
    assert [a["create"]["_id"] for a in actions] == ids(given_pieces)
    assert {a["create"]["_index"] for a in actions} == {"logs-a.jsonlog-b"}
    assert body[1::2] == [x[:-1] for p in given_pieces for x in p.lines]


def test_where_records_went_is_asked_only_in_doubt() -> None:
    """Id and index of each item are asked for only where lines may be there already; parameters follow."""
    doubtful = replace(piece(b"{}"), since="")
    assert "_index" in encode_bulk([piece(b"{}"), doubtful]).path
    plain = encode_bulk([piece(b"{}")], parameters="&pipeline=p").path
    assert "_index" not in plain
    assert plain.endswith("&pipeline=p")


def test_a_mark_makes_another_id() -> None:
    """Lines under a mark have ids of their own."""
    body = b"".join(encode_bulk([replace(piece(b"{}", first=31), mark="~ab")]).parts)
    assert json.loads(body.split(b"\n")[0])["create"]["_id"] == "k~ab-1f"


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
    wanted = {"created": Fate.DELIVERED, "dropped": Fate.FILTERED, "failure": Fate.FAILURE_STORED}
    assert ended == Counter((key, wanted[n]) for key, n in zip(by_key, names, strict=True) if n in wanted)
    by_line = list(zip(ids(given_pieces), names, strict=True))
    assert [f"{r.source.key}-{r.line:x}" for r in outcome.refused] == [i for i, n in by_line if n == "bad"]
    assert ids(outcome.conflicts) == [i for i, n in by_line if n == "there"]
    assert sorted(ids(outcome.again)) == sorted(i for i, n in by_line if n in AGAIN)
    assert ids(outcome.doubtful) == [i for i, n in by_line if n in DOUBTFUL]
    if not _twice(given_pieces):
        lines = dict(zip(ids(given_pieces), (x for p in given_pieces for x in p.lines), strict=True))
        for left in (outcome.again, outcome.doubtful, outcome.conflicts):
            assert [lines[i] for i in ids(left)] == [x for p in left for x in p.lines]
    left = (AGAIN | DOUBTFUL) & set(names)
    assert outcome.advice is (Advice.WAIT if {"block", "missing"} & left else Advice.RETRY if left else Advice.DONE)
    assert bool(left) == bool(outcome.reason)


def test_ids_of_the_stores_own_making() -> None:
    """Ids are compared where lines are in doubt, but not those that a pipeline or the failure store has made."""
    items = [{"_id": "k-0", "status": 201}, {"_id": "made there", "status": 201}]
    doubtful = [replace(piece(b"{}", b"{}"), since="")]
    outcome = decode_bulk(doubtful, answer(items, errors=False))
    assert [(one.fate, one.lines) for one in outcome.ended] == [(Fate.DELIVERED, 2)]
    items[1]["failure_store"] = "used"
    outcome = decode_bulk(doubtful, answer(items, errors=False))
    assert [(one.fate, one.lines) for one in outcome.ended] == [(Fate.DELIVERED, 1), (Fate.FAILURE_STORED, 1)]
    assert decode_bulk(doubtful, answer([items[0], {"_id": "k-2", "status": 201}])).doubtful, "another record"


AGAIN = {"busy", "block", "missing"}
DOUBTFUL = {"broken", "none"}


@given(pieces())
def test_an_id_that_may_have_been_sent_is_a_duplicate(given_pieces: tuple[Piece, ...]) -> None:
    """A conflict counts as delivery only where the line may have been sent before."""
    doubtful = [replace(p, since="") for p in given_pieces]
    outcome = decode_bulk(doubtful, answer([ITEMS["there"]] * count_lines(given_pieces)))
    assert {one.fate for one in outcome.ended} == {Fate.DUPLICATE}
    assert sum(one.lines for one in outcome.ended) == count_lines(given_pieces)
    assert outcome.conflicts == ()


def test_a_record_in_another_index_than_looked_up_is_looked_up_again() -> None:
    """A line in doubt that was created after a rollover is in question again, since it may be in the index before, too."""
    doubtful = replace(piece(b"{}", b"{}"), since="ds-1")
    items = [{"status": 201, "_id": "k-0", "_index": "ds-1"}, {"status": 201, "_id": "k-1", "_index": "ds-2"}]
    outcome = decode_bulk([doubtful], answer(items, errors=False))
    assert [one.lines for one in outcome.ended] == [1]
    assert [(p.first, p.since) for p in outcome.again] == [(1, "")]


def test_items_in_another_order_count_for_nothing() -> None:
    """Where the answer names ids, they must be those that were sent, in their order."""
    items = [{"status": 201, "_id": "k-1"}, {"status": 201, "_id": "k-0"}]
    given_pieces = (replace(piece(b"{}", b"{}"), since=""),)
    assert_nothing(decode_bulk(given_pieces, answer(items)), given_pieces, Advice.RETRY)


def test_a_setting_of_the_store_that_is_missing_is_not_halved() -> None:
    """A whole refusal for what an operator has to mend waits for it; others are halved to find the record at fault."""
    body = json.dumps(
        {"error": {"type": "illegal_argument_exception", "reason": "pipeline with id [p] does not exist"}}
    )
    assert decode_bulk([piece(b"{}")], Response(400, body.encode(), {})).advice is Advice.WAIT
    other = json.dumps(
        {"error": {"type": "illegal_argument_exception", "reason": "Malformed action/metadata line [3]"}}
    )
    assert decode_bulk([piece(b"{}")], Response(400, other.encode(), {})).advice is Advice.SPLIT


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
    assert (outcome.ended, outcome.refused, outcome.conflicts) == ((), (), ())
    assert outcome.again + outcome.doubtful == given_pieces
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

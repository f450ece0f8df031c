"""NDJSON: the ids in the header are those of the lines in the body, and halves are a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.endpoint import Endpoint, decode, encode
from shipper.core.model import Advice, Ended, Fate, Piece, Response, count_lines
from shipper.core.ndjson import LINES_HEADER, header_fits, split
from tests.core.support import piece, pieces
from tests.core.test_bulk import ids
from tests.fakes import header_ids

ENDPOINT = Endpoint()


@given(pieces(max_pieces=6))
def test_the_header_names_the_lines_of_the_body(given_pieces: tuple[Piece, ...]) -> None:
    """An endpoint that reads the header by the design document gets each line's id, in the order of the body."""
    request = encode(ENDPOINT, given_pieces)
    assert b"".join(request.parts).split(b"\n") == [*(x[:-1] for p in given_pieces for x in p.lines), b""]
    assert header_ids(dict(request.headers)[LINES_HEADER]) == ids(given_pieces)


def test_neighbours_share_an_item() -> None:
    """Pieces of one file that follow each other are one run in the header."""
    given_pieces = [
        piece(b"{}", b"{}", first=10),
        piece(b"{}", first=12),
        piece(b"{}", first=14),
        piece(b"{}", first=15, key="q"),
    ]
    assert dict(encode(ENDPOINT, given_pieces).headers)[LINES_HEADER] == "k:a+3, k:e+1, q:f+1"


def test_the_header_is_bounded() -> None:
    """Many pieces do not fit into one header, a single one always does, and what fits is under 4 KiB."""
    many = [piece(b"{}", first=2 * i, key="k" * 200) for i in range(100)]
    assert not header_fits(many)
    assert header_fits(many[:1])
    fitting = max(n for n in range(1, 100) if header_fits(many[:n]))
    assert len(dict(encode(ENDPOINT, many[:fitting]).headers)[LINES_HEADER]) <= 4096
    assert header_fits([piece(b"{}", first=i, key="k" * 200) for i in range(100)]), "one run"


@given(pieces(max_pieces=5).filter(lambda p: count_lines(p) > 1))
def test_halves_are_the_whole(given_pieces: tuple[Piece, ...]) -> None:
    """Both halves hold at least one line, and together every line under its own id, in order."""
    first, second = split(given_pieces)
    assert abs(count_lines(first) - count_lines(second)) <= 1
    assert ids(first) + ids(second) == ids(given_pieces)
    assert [x for p in first + second for x in p.lines] == [x for p in given_pieces for x in p.lines]


@given(st.integers(200, 299))
def test_any_2xx_delivers_all(status: int) -> None:
    """Any 2xx answer means that all lines are taken, whatever its body."""
    assert decode(ENDPOINT, [piece(b"{}", b"{}")], Response(status, b"<html>", {})).ended == (
        Ended("k", Fate.DELIVERED, 2),
    )


@pytest.mark.parametrize(
    ("status", "advice"),
    [(302, Advice.WAIT), (400, Advice.SPLIT), (422, Advice.SPLIT), (429, Advice.RETRY), (500, Advice.RETRY)],
)
def test_any_other_answer_delivers_none(status: int, advice: Advice) -> None:
    """Any other answer keeps all lines and says why."""
    given_pieces = (piece(b"{}"),)
    outcome = decode(ENDPOINT, given_pieces, Response(status, b"\xffno", {}))
    assert (outcome.again + outcome.doubtful, outcome.advice, outcome.ended) == (given_pieces, advice, ())
    assert str(status) in outcome.reason

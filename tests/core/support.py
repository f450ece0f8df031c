"""Values that the tests of the core are made of."""

from __future__ import annotations

from hypothesis import strategies as st

from shipper.core.enrich import Rules
from shipper.core.framing import check
from shipper.core.model import Checked, Piece, Position, Source

SOURCE = Source("shop-web-7-k3v9.0", "logs-shop.jsonlog-prod", "/logs/shop.jsonl")


AT = "2026-11-27T00:00:00.000Z"
STRICT = Rules(wrap=False)


def checked(data: bytes, rules: Rules = STRICT, *, offset: int = 0, line: int = 0, source: Source = SOURCE) -> Checked:
    return check(source, Position(offset, line), data, rules, at=AT)


def piece(*lines: bytes, first: int = 0, key: str = "k") -> Piece:
    source = Source(key, "logs-a.jsonlog-b", "/f")
    whole = [line + b"\n" for line in lines]
    return Piece(source, first, whole, sum(map(len, whole)))


@st.composite
def pieces(draw, max_pieces: int = 4, max_lines: int = 5):
    """Pieces of one or more files, some of them neighbours."""
    result, line = [], draw(st.integers(0, 2**40))
    for _ in range(draw(st.integers(1, max_pieces))):
        count = draw(st.integers(1, max_lines))
        lines = [b'{"n":%d}' % draw(st.integers(0, 9)) for _ in range(count)]
        line += draw(st.sampled_from([0, 0, 1, 70000]))
        result.append(piece(*lines, first=line, key=draw(st.sampled_from(["a", "b-1%2D.0"]))))
        line += count
    return tuple(result)

"""
How ids travel to an HTTP endpoint, and how pieces are halved.

The ids stand in one header, `Shipper-Lines`, described in docs/design.md, section 3; an endpoint that does not know it is delivered
to at least once.
"""

from __future__ import annotations

from collections.abc import Sequence

from shipper.core.model import Piece, count_lines

LINES_HEADER = "shipper-lines"
_MAX_HEADER = 4096  # servers take 8 KiB for one header or for all of them together


def header_fits(pieces: Sequence[Piece]) -> bool:
    """Tell whether the ids of *pieces* fit into one header; a single piece always does."""
    return len(pieces) <= 1 or len(lines_header(pieces)) <= _MAX_HEADER


def lines_header(pieces: Sequence[Piece]) -> str:
    """Write the ids of all lines as runs: `key:first+count, …`."""
    runs: list[tuple[str, int, int]] = []  # key, first line, count
    for piece in pieces:
        key, first, count = piece.source.key + piece.mark, piece.first, len(piece.lines)
        if runs and runs[-1][0] == key and runs[-1][1] + runs[-1][2] == first:
            _, first, before = runs.pop()
            count += before
        runs.append((key, first, count))
    return ", ".join(f"{key}:{first:x}+{count}" for key, first, count in runs)


def split(pieces: Sequence[Piece]) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Halve *pieces* by lines; at least two lines."""
    half, first = count_lines(pieces) // 2, []
    rest = list(pieces)
    while half:
        piece = rest.pop(0)
        taken = min(half, len(piece.lines))
        first.append(piece.sub(0, taken) if taken < len(piece.lines) else piece)
        if taken < len(piece.lines):
            rest.insert(0, piece.sub(taken, len(piece.lines)))
        half -= taken
    return tuple(first), tuple(rest)

"""The numbers of a run: from the edges alone follows exactly what is missing and what is there twice, however it is cut into pages."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.sequences import Edge, Gap, Place, edges, gap_of, lines_between, place_of


@given(st.lists(st.integers(0, 40), min_size=1), st.data())
def test_edges_tell_everything(numbers: list[int], data: st.DataObject) -> None:
    """For any numbers, in pages of any size: the gaps are what is missing, the other edges what is there twice."""
    records = sorted((number, f"k-{number:x}") for number in numbers)
    found: list[Edge] = []
    last = None
    while records:
        size = data.draw(st.integers(1, 5))
        some, last = edges(records[:size], last)
        found += some
        records = records[size:]
    gaps = [gap for edge in found if (gap := gap_of(edge)) is not None]
    missing = [number for gap in gaps for number in range(gap.first, gap.last + 1)]
    assert missing == sorted(set(range(min(numbers), max(numbers))) - set(numbers))
    assert sum(gap.size for gap in gaps) == len(missing)
    twice = Counter(edge.before for edge in found if gap_of(edge) is None)
    assert twice == +Counter({number: count - 1 for number, count in Counter(numbers).items()})


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [
        ("a-h-1-r.0-f", "a-h-1-r.0-10", 0),
        ("a-h-1-r.0-f", "a-h-1-r.0-13", 3),
        ("a-h-1-r.0-f", "a-h-1-r.1-0", None),
        ("", "a-h-1-r.0-10", None),
        ("a-h-1-r.0-10", "", None),
        ("random", "a-h-1-r.0-10", None),
    ],
)
def test_ids_tell_how_many_lines_stood_between(before: str, after: str, between: int | None) -> None:
    """Within one file the lines in the ids are counted; across two, or without a neighbour, nothing is claimed."""
    assert lines_between(Gap(5, 6, before, after)) == between


def test_an_id_is_read() -> None:
    """File and line stand in an id of ours; others are no place."""
    assert place_of("shop-web-7-k3v9.0-1f") == Place("shop-web-7-k3v9.0", 31)
    assert place_of("nothing") is None
    assert place_of("x-not hexadecimal") is None

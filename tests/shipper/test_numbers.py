"""Asking a store for the numbers of a run: whatever it has, and however small the windows, what is told is what a look at all would tell."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from shipper.commands.numbers import SearchNumbers
from shipper.core.model import Request, Response
from shipper.core.sequences import Edge, Summary, gap_of


class Store:
    """Answers the searches that are made of it, as Elasticsearch does, from a list of numbers."""

    url = "http://store"

    def __init__(self, numbers: list[int]) -> None:
        self.records = [(number, f"k-{index}") for index, number in enumerate(sorted(numbers))]
        self.most = 0

    async def send(self, request: Request) -> Response:
        body = json.loads(request.body)
        bounds = next(f["range"]["event.sequence"] for f in body["query"]["bool"]["filter"] if "range" in f)
        found = [r for r in self.records if bounds["gte"] <= r[0] < bounds.get("lt", float("inf"))]
        counted = Counter(number for number, _ in found)
        hits = [{"_id": key, "fields": {"event.sequence": [number]}} for number, key in found[: body["size"]]]
        answer: dict[str, Any] = {"_shards": {"failed": 0}, "hits": {"total": {"value": len(found)}, "hits": hits}}
        if "aggs" in body:
            least = body["aggs"]["twice"]["histogram"]["min_doc_count"]
            buckets = [{"key": float(n), "doc_count": c} for n, c in counted.items() if c >= least]
            answer["aggregations"] = {"twice": {"buckets": buckets}}
        self.most = max(self.most, len(hits))
        return Response(200, json.dumps(answer).encode(), {})


async def ask(numbers: SearchNumbers, summary: Summary) -> list[Edge]:
    return [edge async for edge in numbers.edges(summary)]


@given(st.lists(st.integers(0, 60), min_size=1), st.integers(2, 9))
@example([*range(5), *range(8, 30)], 5)  # the end of one window is missing, the next one is whole
@example([0, 1_000_000], 5)
@example([*range(20), *range(25, 40), 25], 5)
def test_what_is_told_is_what_is_there(numbers: list[int], window: int) -> None:
    """Gaps, with the records around them, and what is there twice are told exactly, and nothing else."""
    store = Store(numbers)
    reader = SearchNumbers(store, window=window, page=4 * window + 200)  # type: ignore[arg-type]
    found = asyncio.run(ask(reader, Summary("r", len(numbers), min(numbers), max(numbers))))
    expected = [
        Edge(*a, *b) for a, b in zip(store.records, store.records[1:], strict=False) if b[0] != a[0] + 1
    ]  # fmt: skip
    gaps = [(e.before, e.after) for e in expected if gap_of(e)]
    assert [(e.before, e.after) for e in found if gap_of(e)] == gaps
    assert Counter(e.before for e in found if not gap_of(e)) == Counter(e.before for e in expected if not gap_of(e))
    by_id = {key: number for number, key in store.records}
    assert all((by_id[e.before_id], by_id[e.after_id]) == (e.before, e.after) for e in found)


def test_whole_runs_cost_no_records() -> None:
    """Of a run that is whole no record is asked for at all."""
    store = Store(list(range(100_000)))
    assert asyncio.run(ask(SearchNumbers(store), Summary("r", 100_000, 0, 99_999))) == []  # type: ignore[arg-type]
    assert store.most == 0

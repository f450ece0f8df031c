"""The model's random programs on the way to an endpoint that knows requests by their keys alone."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.core.enrich import Rules
from shipper.events import NotRepeated
from tests.fakes import QUICK, World, say
from tests.shipper.support import Keyed
from tests.shipper.test_model import OPERATIONS, Simulation, Way, reset, run_program, ways

KINDS = {name: weight for name, weight in OPERATIONS.items() if name != "rollover"}
operation = st.tuples(
    st.sampled_from([name for name, weight in KINDS.items() for _ in range(weight)]),
    st.sampled_from(["a.log", "b.log"]),
    st.integers(1, 14),
)


class KeyedSimulation(Simulation):
    """What an endpoint may answer, and what holds where a file was destroyed while a request with lines of it was under way."""

    async def answer(self, _: str, number: int) -> None:
        answers = [say(503), say(429, retry_after="0"), say(403), reset, self.store_and_reset]
        self.world.store.script.append(answers[number % len(answers)])

    def compare(self) -> None:
        stored = Counter(self.world.store.numbers)
        assert self.must <= set(stored), f"lost: {self.must - set(stored)}"
        assert set(stored) <= self.must | self.maybe
        twice = sum(count - 1 for count in stored.values())
        assert twice <= sum(event.lines for event in self.world.seen(NotRepeated)), (
            "something was stored twice, and not said"
        )


async def run(program: list[tuple[str, str, int]], *, folder: Path, way: Way, most: int) -> None:
    world = World(
        folder / "logs",
        store=Keyed(most=most),
        sink="http",
        patterns=("*.log*", "*.jsonl", "a*"),
        finished={"fate": way.finished, "archive": folder / "archive"},
        watch=way.watch,
        rules=Rules(wrap=way.wrap),
        limits=replace(QUICK, ordered=way.ordered, batch_records=20),
        max_line_bytes=1024,
        max_open=50,
    )
    await run_program(KeyedSimulation(world), program)


@settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", "25")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.lists(operation, min_size=3, max_size=40), ways, st.sampled_from([10_000, 5]))
def test_an_endpoint_has_every_record_once_by_keys_alone(
    program: list[tuple[str, str, int]], way: Way, most: int
) -> None:
    """Whatever is written, rotated, destroyed, killed or answered: once, and where that could not be, it was said."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(program, folder=Path(folder), way=way, most=most))

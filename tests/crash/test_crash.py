"""SIGKILL at every place where the order of effects matters, each time with a rollover before the next start; and at random."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from shipper.failpoints import POINTS
from tests import fakes
from tests.crash.chaos import Chaos
from tests.crash.collector import Collector
from tests.fakes import Part, append
from tests.servers import KINDS, Server, start

FULL = bool(os.environ.get("CRASH_FULL"))
# Where a place is come to only after an earlier crash, that one comes first.
BEFORE = {"looking_up": ["answered:2"], "looked_up": ["answered:2"]}
RECORDS, FOREIGN = 300, 200


# Each place on one of the stores; with CRASH_FULL=1 on both, and the third time that it is come to as well.
CASES = (
    [*product(POINTS, KINDS, (1, 3))]
    if FULL
    else [(point, KINDS[number % len(KINDS)], 1) for number, point in enumerate(POINTS)]
)


class Site:
    """Parts of ours, one line of each of which the mapping refuses, and a foreign file, one line of which is no JSON."""

    def __init__(self, folder: Path, store: Server) -> None:
        self.folder, self.store, self.service = folder, store, f"t{secrets.token_hex(6)}"
        self.logs = folder / "logs"
        self.logs.mkdir()
        (folder / "shipper.yaml").write_text("bad_lines: dead_letter\nbatch_records: 50\nfinished: delete\n")
        facts = {"@timestamp": "2026-01-01T00:00:00.000Z", "service": {"name": self.service, "environment": "test"}}
        for number in range(3):
            lines = [{**facts, "n": number * 100 + i, "run": "r", "event": {"sequence": i}} for i in range(100)]
            lines[7]["@timestamp"] = "no time at all"
            Part(self.logs, b"".join(json.dumps(one).encode() + b"\n" for one in lines)).end()
        foreign = [json.dumps({**facts, "n": RECORDS + i}).encode() + b"\n" for i in range(FOREIGN)]
        append(self.logs / "app.log", b"".join([*foreign[:50], b"no JSON at all\n", *foreign[50:]]))

    def ship(self, crash_at: str = "") -> int:
        """Run once, and tell how it ended."""
        program = fakes.start(
            self.folder / "shipper.log", "run", "--once", "--config", str(self.folder / "shipper.yaml"), "--path",
            str(self.logs / "*"), "--to", self.store.url, "--state", str(self.folder / "state"),
            env={"SHIPPER_CRASH_AT": crash_at},
        )  # fmt: skip
        return program.wait(60)

    def roll_over(self) -> None:
        for profile in ("", "_foreign"):
            self.store.call("POST", f"/logs-{self.service}.jsonlog{profile}-test/_rollover")

    def numbers(self) -> Counter[int]:
        streams = f"logs-{self.service}.jsonlog*-test"
        self.store.call("POST", f"/{streams}/_refresh")
        status, answer = self.store.call("POST", f"/{streams}/_search", {"size": 10_000, "_source": ["n"]})
        assert status == 200, answer
        return Counter(hit["_source"]["n"] for hit in answer["hits"]["hits"])

    def dead(self) -> list[str]:
        path = self.folder / "state" / "dead-letters.jsonl"
        return [json.loads(text)["data"] for text in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.server
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("point", "kind", "times"), CASES)
def test_killed_at(point: str, kind: str, times: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Killed at a place, a rollover, a new start: every record is there once, the bad line is kept, finished files are gone."""
    site = Site(tmp_path, request.getfixturevalue(kind))
    for crash in [*BEFORE.get(point, []), f"{point}:{times}"]:
        code = site.ship(crash)
        assert code == -signal.SIGKILL or times > 1, f"{crash} was not reached: {code}"
        site.roll_over()
    assert site.ship() == 0, (site.folder / "shipper.log").read_text()
    numbers = site.numbers()
    assert set(numbers) == set(range(RECORDS + FOREIGN)), "lost"
    assert set(numbers.values()) == {1}, f"doubled: {[n for n, count in numbers.items() if count > 1]}"
    assert set(site.dead()) == {"no JSON at all"}
    assert len(site.dead()) <= 2 + len(BEFORE.get(point, ())), "at most once more for each kill"
    assert [path.name for path in site.logs.iterdir()] == ["app.log"]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [*(pytest.param(kind, marks=pytest.mark.server) for kind in KINDS), "collector"])
def test_killed_at_random(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Under load with rotation, while the store goes and comes: nothing is lost, nothing is there twice."""
    if kind in KINDS:
        request.getfixturevalue(kind)  # skips where there is none
    with start(kind) if kind in KINDS else Collector(tmp_path) as store:
        chaos = Chaos(store, tmp_path, f"t{secrets.token_hex(4)}", secrets.randbits(30))
        figures = chaos.run(int(os.environ.get("CRASH_KILLS", "12")))
    assert figures["written"] > 200

"""SIGKILL on the way to an endpoint that knows requests by their keys alone: every record once, one body for each key."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.failpoints import HTTP_POINTS, POINTS
from tests import fakes
from tests.fakes import REPOSITORY, Part, append, line, lines, wait_for

# An endpoint is not asked what it has, and nothing is reserved for it.
ALL_POINTS = [point for point in (*POINTS, *HTTP_POINTS) if point not in ("reserving", "reserved", "looking_up", "looked_up", "rescuing")]  # fmt: skip
RECORDS = 400
REFUSED = 333


class Endpoint:
    def __init__(self, seed: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.keyed", str(seed)], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    made = Endpoint(getattr(request, "param", 1))
    yield made
    made.close()


class Site:
    """Parts of ours and a foreign file, on the way to an endpoint."""

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        self.folder, self.endpoint = folder, endpoint
        self.logs = folder / "logs"
        self.logs.mkdir()
        (folder / "shipper.yaml").write_text(
            "bad_lines: dead_letter\nbatch_records: 100\nmax_line_bytes: 2048\nfinished: delete\nsink: http\ntimeout_s: 10\n"
        )

    def start(self, crash_at: str = "", *, once: bool = True) -> fakes.Program:
        return fakes.start(
            self.folder / "shipper.log", "run", *(["--once"] if once else []), "--config", str(self.folder / "shipper.yaml"),
            "--path", str(self.logs / "*"), "--to", self.endpoint.url, "--state", str(self.folder / "state"),
            env={"SHIPPER_CRASH_AT": crash_at},
        )  # fmt: skip

    def check(self, records: set[int]) -> dict[str, Any]:
        state = self.endpoint.ask("/state")
        assert not state["conflicts"], "one key for two bodies"
        found = {number: count for number, count in state["numbers"] if number is not None}
        assert set(found) == records, f"lost: {sorted(records - set(found))[:9]}"
        assert set(found.values()) == {1}, f"doubled: {[n for n, count in found.items() if count > 1][:9]}"
        said = (self.folder / "shipper.log").read_text()
        assert not [words for words in ("cannot be repeated", "Traceback", "does not close") if words in said], said
        return state


@pytest.mark.timeout(120)
@pytest.mark.parametrize("times", [1, 3] if os.environ.get("CRASH_FULL") else [1])
@pytest.mark.parametrize("point", ALL_POINTS)
def test_killed_at(point: str, times: int, endpoint: Endpoint, tmp_path: Path) -> None:
    """Killed at a place between reading, writing down, sending, hearing and committing: the endpoint has every record once."""
    site = Site(tmp_path, endpoint)
    for number in range(3):
        Part(site.logs, lines(range(number * 100, number * 100 + 100))).end()
    foreign = [line(n, **({"text": "refuse me"} if n == REFUSED else {})) for n in range(300, RECORDS)]
    append(site.logs / "app.log", b"".join([*foreign[:50], b"no JSON at all\n", *foreign[50:]]))
    code = site.start(f"{point}:{times}").wait(60)
    assert code == -signal.SIGKILL or times > 1, f"{point} was not reached: {code}"
    append(site.logs / "app.log", lines(range(RECORDS, RECORDS + 20)))
    assert site.start().wait(60) == 0, (site.folder / "shipper.log").read_text()
    site.check(set(range(RECORDS + 20)) - {REFUSED})
    assert [path.name for path in site.logs.iterdir()] == ["app.log"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ordered", [False, True], ids=["any order", "ordered"])
@pytest.mark.parametrize("endpoint", [secrets.randbits(20)], indirect=True, ids=["any"])
def test_killed_at_random(endpoint: Endpoint, ordered: bool, tmp_path: Path) -> None:
    """Killed again and again while files grow and rotate, by an endpoint that is busy, silent and deaf in turn; in order if asked."""
    site, chance = Site(tmp_path, endpoint), random.Random(secrets.randbits(30))
    endpoint.ask("/unkind")
    with (tmp_path / "shipper.yaml").open("a") as file:
        file.write(f"ordered: {str(ordered).lower()}\n")
    written, part = 0, Part(site.logs)
    for kill in range(int(os.environ.get("CRASH_KILLS", "12"))):
        program = site.start(once=False)
        wait_for(lambda log=program: "the sink is" in log.said.rpartition("shipping ")[2], "the start")
        until = time.monotonic() + chance.uniform(0.05, 1.0)
        while time.monotonic() < until:
            append(site.logs / "app.log", lines(range(written, written + 20)))
            part.write(lines(range(written + 20, written + 40)))
            written += 40
            time.sleep(0.02)
        if kill % 3 == 0:
            (site.logs / "app.log").rename(site.logs / f"app.log.{kill}")
            part.end()
            part = Part(site.logs)
        program.kill()
    part.end()
    endpoint.ask("/state")  # from now on it is kind
    assert site.start().wait(120) == 0, (site.folder / "shipper.log").read_text()[-3000:]
    state = site.check(set(range(written)))
    assert not (ordered and state["early"]), "in order"
    print(
        f"{written} records, {state['requests']} requests, {state['repeated']} repeated, {len(state['early'])} out of order"
    )

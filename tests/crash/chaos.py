"""
Kills at random under load: writers that rotate, a shipper that is killed again and again, a real store that is stopped, killed,
started and rolled over meanwhile. At the end every record is in the store exactly once.

    python -m tests.crash --store opensearch --kills 200

A cycle takes about two seconds: the shipper starts, and is killed soon after it has found the store, when it sends what has come
meanwhile. The writers are gentle (some 150 records a second), so that the comparison at the end takes seconds.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import fakes
from tests.crash.collector import Collector
from tests.fakes import Program
from tests.servers import Server

OWN = """
import logging, random, sys, time
from jsonlog import JsonFormatter, ProcessFileHandler
service, folder, stop = sys.argv[1], sys.argv[2], sys.argv[3]
from pathlib import Path
handler = ProcessFileHandler(folder, max_bytes=30_000)
handler.setFormatter(JsonFormatter(service=service, environment="test"))
log = logging.Logger("crash"); log.addHandler(handler)
n = 0
while not Path(stop).exists():
    for _ in range(random.randrange(40)):
        log.warning("record %d", n, extra={"number": n}); n += 1
    time.sleep(random.random())
handler.close()
print(n)
"""
FOREIGN = """
import json, os, random, sys, time
from pathlib import Path
service, path, stop = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
n = 0
while not stop.exists():
    with path.open("a") as file:
        for _ in range(random.randrange(30)):
            file.write(json.dumps({"@timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "n": n,
                                   "service": {"name": service, "environment": "test"}}) + "\\n"); n += 1
    if path.stat().st_size > 20_000:
        path.rename(f"{path}.{time.time_ns()}")
    time.sleep(random.random())
print(n)
"""


@dataclass
class Chaos:
    """
    One run.

    Args:
        store: A node of its own: it is stopped and killed.
        folder: Logs, state and output.
        service: Names the streams.
        seed: The same seed gives the same order of events, not the same moments.
        say: Takes lines of progress.
        options: More of the shipper's command line.
    """

    store: Server | Collector
    folder: Path
    service: str
    seed: int
    say: Any = print
    options: tuple[str, ...] = ()
    kills: int = 0
    restarts: int = 0
    rollovers: int = 0
    _found: int = 0
    _begun: float = field(default_factory=time.monotonic)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _coming: Future[None] | None = None  # the store, while it starts
    _writers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def streams(self) -> str:
        return f"logs-{self.service}.jsonlog*-test"

    def run(self, kills: int) -> dict[str, int]:
        """Kill *kills* times, let everything drain, and compare; return the figures."""
        self.logs.mkdir()
        dice = random.Random(self.seed)
        stop = self.folder / "stop"
        for number in range(3):
            self._begin(OWN, str(self.logs), stop)
            if number == 0:
                self._begin(FOREIGN, str(self.logs / "app.log"), stop)
        shipper = self._ship()
        try:
            while self.kills < kills:
                if dice.random() < 0.9:  # else it may be killed while it starts
                    self._wait_for_the_sink()
                # Half of them at once, while what has come meanwhile is sent; the others anywhere.
                time.sleep(dice.uniform(0.0, 0.3) if dice.random() < 0.5 else dice.uniform(0.0, 2.0))
                self._something(dice)
                shipper.kill()
                self.kills += 1
                if self.kills % 10 == 0:
                    self.say(
                        f"{self.kills} kills, {self.restarts} restarts of the store, {self.rollovers} rollovers, {self._age_s} s"
                    )
                shipper = self._ship()
            stop.touch()
            written = [int(writer.communicate(timeout=30)[0]) for writer in self._writers]
            self._bring_back()
            shipper.signal(signal.SIGTERM)
            shipper.wait(120)
            code = self._ship("--once").wait(240)
            assert code == 0, self.said
        finally:
            stop.touch()
            shipper.kill()
            self._pool.shutdown()
            for writer in self._writers:
                writer.kill()
                writer.wait()
        return self._compare(written)

    @property
    def said(self) -> str:
        return (self.folder / "shipper.log").read_text()

    def _wait_for_the_sink(self) -> None:
        """Wait until the shipper that runs now has found the store; not for long where the store is away or starts."""
        is_there = self.store.process is not None and self._coming is None
        deadline = time.monotonic() + (30 if is_there else 2)
        while self.said.count("the sink is") <= self._found and time.monotonic() < deadline:
            time.sleep(0.05)
        self._found = self.said.count("the sink is")

    def _begin(self, code: str, target: str, stop: Path) -> None:
        command = [sys.executable, "-c", code, self.service, target, str(stop)]
        self._writers.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=fakes.clean_environment({}))
        )

    def _ship(self, *more: str) -> Program:
        return fakes.start(
            self.folder / "shipper.log", "run", "--path", str(self.logs / "*.jsonl"), "--path", str(self.logs / "app.log*"),
            "--to", self.store.url, "--state", str(self.folder / "state"), "--finished", "delete", *self.options, *more
        )  # fmt: skip

    def _something(self, dice: random.Random) -> None:
        """Let something happen to the store, now and then; the kills go on while it starts."""
        if self._coming is not None:
            if self._coming.done():
                self._bring_back()
            return
        if self.store.process is None:
            if dice.random() < 0.4:
                self._coming = self._pool.submit(self.store.restart)
            return
        what = dice.choices(("nothing", "rollover", "down"), (10, 5, 1))[0]
        if what == "down":
            (self.store.kill if dice.random() < 0.5 else self.store.stop)()
        elif what == "rollover":
            for profile in ("", "_foreign"):
                status, _ = self.store.call("POST", f"/logs-{self.service}.jsonlog{profile}-test/_rollover")
                self.rollovers += status == 200

    def _bring_back(self) -> None:
        """Return when the store is there."""
        if self._coming is None and self.store.process is None:
            self._coming = self._pool.submit(self.store.restart)
        if self._coming is not None:
            self._coming.result()
            self._coming = None
            self.restarts += 1

    @property
    def _age_s(self) -> int:
        return round(time.monotonic() - self._begun)

    def _compare(self, written: list[int]) -> dict[str, int]:
        runs: dict[str, list[int]] = {}
        for run, number in self.store.numbers() if isinstance(self.store, Collector) else self._numbers():
            runs.setdefault(run, []).append(number)
        lost = doubled = 0
        for numbers in runs.values():
            doubled += len(numbers) - len(set(numbers))
        counts = sorted(len(set(numbers)) for numbers in runs.values())
        lost = sum(written) - sum(counts)
        figures = {"written": sum(written), "stored": sum(map(len, runs.values())), "lost": lost, "doubled": doubled,
                   "kills": self.kills, "restarts": self.restarts, "rollovers": self.rollovers, "seconds": self._age_s}  # fmt: skip
        self.say(str(figures))
        dead = self.folder / "state" / "dead-letters.jsonl"
        assert not dead.exists() or not dead.read_text(), dead.read_text()[:2000]
        assert (lost, doubled) == (0, 0), figures
        assert counts == sorted(written)
        self._verify(sum(len(numbers) for run, numbers in runs.items() if run != "foreign"))
        return figures

    def _verify(self, records: int) -> None:
        """Ask `shipper verify` the same: it finds every record of ours, none missing and none there twice."""
        program = fakes.start(
            self.folder / "verify.json", "verify", "--json", "--to", self.store.url, "--index", self.streams,
            "--path", str(self.logs / "*.jsonl"), "--state", str(self.folder / "state"),
        )  # fmt: skip
        assert program.wait(240) == 0, program.said
        answer = json.loads(program.said)
        assert (answer["whole"], sum(run["records"] for run in answer["runs"])) == (True, records)

    def _numbers(self) -> Iterator[tuple[str, int]]:
        """Run (of foreign lines "foreign") and number of each record."""
        self.store.call("POST", f"/{self.streams}/_refresh")
        body = {"size": 5000, "_source": ["run", "event.sequence", "n"], "sort": ["_doc"]}
        status, answer = self.store.call("POST", f"/{self.streams}/_search?scroll=1m", body)
        while True:
            assert status == 200, answer
            sources = [hit["_source"] for hit in answer["hits"]["hits"]]
            yield from (
                (one["run"], one["event"]["sequence"]) if "run" in one else ("foreign", one["n"]) for one in sources
            )
            if not sources:
                return
            again = {"scroll": "1m", "scroll_id": answer["_scroll_id"]}
            status, answer = self.store.call("POST", "/_search/scroll", again)

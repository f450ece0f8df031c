"""Writers and a shipper on one folder, beside a real store: what the end-to-end tests are made of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import fakes
from tests.fakes import Program, wait_for
from tests.servers import Server

WRITER = """
import logging, sys, time
from jsonlog import JsonFormatter, ProcessFileHandler
service, folder, count, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
handler = ProcessFileHandler(folder, max_bytes=200_000)
handler.setFormatter(JsonFormatter(service=service, environment="test"))
log = logging.Logger("e2e"); log.addHandler(handler)
for number in range(count):
    if number % 50 == 0:
        time.sleep(pause)
    log.warning("record %d", number, extra={"number": number})
"""


class Site:
    """Writers and a shipper on one folder, and the questions to the store."""

    def __init__(self, folder: Path, store: Server, service: str) -> None:
        self.folder, self.store, self.service = folder, store, service
        self.url = store.url
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.stream = f"logs-{service}.jsonlog-test"
        self.processes: list[Any] = []

    def write(self, count: int = 100, pause: float = 0.0) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-c", WRITER, self.service, str(self.logs), str(count), str(pause)]
        process = subprocess.Popen(arguments, env=fakes.clean_environment({}))
        self.processes.append(process)
        return process

    def ship(self, *more: str) -> Program:
        program = fakes.start(
            self.folder / "shipper.log", "run", "--path", str(self.logs), "--to", self.url, "--state",
            str(self.folder / "state"), *more
        )  # fmt: skip
        self.processes.append(program.process)
        return program

    @property
    def said(self) -> str:
        return (self.folder / "shipper.log").read_text()

    def count(self, stream: str | None = None) -> int:
        try:
            self.store.call("POST", f"/{stream or self.stream}/_refresh")
            status, answer = self.store.call("GET", f"/{stream or self.stream}/_count")
        except OSError:  # the node is down
            return -1
        return answer["count"] if status == 200 else -1

    def wait_for_count(self, count: int, timeout_s: float = 90) -> None:
        wait_for(lambda: self.count() >= count, f"{count} records; the shipper said:\n{self.said}", timeout_s=timeout_s)
        assert self.count() == count

    def assert_gap_free(self, writers: int, records: int) -> None:
        """Ask the store for each run's count, lowest, highest and distinct number."""
        runs = {
            "size": 0,
            "aggs": {"run": {"terms": {"field": "run", "size": 100}, "aggs": {
                "low": {"min": {"field": "event.sequence"}}, "high": {"max": {"field": "event.sequence"}},
                "distinct": {"cardinality": {"field": "event.sequence", "precision_threshold": 40_000}}}}},
        }  # fmt: skip
        self.store.call("POST", f"/{self.stream}/_refresh")
        status, answer = self.store.call("POST", f"/{self.stream}/_search", runs)
        assert status == 200, answer
        buckets = answer["aggregations"]["run"]["buckets"]
        assert len(buckets) == writers
        for bucket in buckets:
            assert (bucket["doc_count"], bucket["low"]["value"], bucket["high"]["value"]) == (records, 0, records - 1)
            assert bucket["distinct"]["value"] == pytest.approx(
                records, rel=0.01
            )  # the exact proof is count, low and high
        # A count, a range and unique ids (file, line) leave room for one number twice and one missing: look at each number.
        assert self.all_numbers() == {bucket["key"]: list(range(records)) for bucket in buckets}

    def assert_exactly_once(self, counts: list[int]) -> None:
        """Compare the numbers of every run with what its writer wrote."""
        self.store.call("POST", f"/{self.stream}/_refresh")
        found = self.all_numbers()
        assert sorted(map(len, found.values())) == sorted(counts)
        assert all(numbers == list(range(len(numbers))) for numbers in found.values())

    def all_numbers(self) -> dict[str, list[int]]:
        """Read `(run, event.sequence)` of every record."""
        found: dict[str, list[int]] = {}
        after: list[Any] | None = None
        while True:
            body = {"size": 10_000, "_source": False, "fields": ["run", "event.sequence"],
                    "sort": [{"event.sequence": "asc"}, {"run": "asc"}]}  # fmt: skip
            if after:
                body["search_after"] = after
            _, answer = self.store.call("POST", f"/{self.stream}/_search", body)
            hits = answer["hits"]["hits"]
            for hit in hits:
                found.setdefault(hit["fields"]["run"][0], []).append(hit["fields"]["event.sequence"][0])
            # Two records with equal sort values cannot hide behind a page: pages are compared with the count.
            if len(hits) < 10_000:
                assert sum(map(len, found.values())) == self.count()
                return found
            after = hits[-1]["sort"]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

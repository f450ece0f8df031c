"""The corpus of the questions and the stores that hold it: made once for all tests in this folder, and gone after them."""

import os
import secrets
import subprocess
import sys

import httpx
import pytest

from schemas.build import ROOT
from shipper.commands.setup import Options, setup
from shipper.config import Settings
from tests.collector.conftest import start  # noqa: F401 (a fixture: the collector in a process of its own)
from tests.e2e.corpus import PROCESSES
from tests.e2e.questions import Corpus

RECORDS = int(os.environ.get("QUESTIONS_RECORDS", "100000"))


@pytest.fixture(scope="package")
def corpus(tmp_path_factory):
    """The files of four processes, which logged side by side; one of them in profile `ecs`."""
    folder = tmp_path_factory.mktemp("corpus")
    namespace = f"q{secrets.token_hex(4)}"
    command = [sys.executable, "-P", "-m", "tests.e2e.corpus"]
    running = [
        subprocess.Popen(
            [*command, folder / spec.get("profile", "ours"), name, str(RECORDS // len(PROCESSES)), namespace],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for name, spec in PROCESSES.items()
    ]
    assert [process.wait(timeout=500) for process in running] == [0] * len(PROCESSES)
    it = Corpus(folder, namespace).read()
    assert len(it.records) == RECORDS // len(PROCESSES) * len(PROCESSES)
    return it


def ship(corpus, url, state, *profiles):
    """Ship the files with `shipper run --once`, as anybody would, but in order: the first value of a key decides on its type."""
    command = [sys.executable, "-P", "-m", "shipper", "run", "--once", "--to", url, "--state", state]
    paths = [option for profile in profiles for option in ("--path", corpus.folder / profile / "*.jsonl")]
    environment = {**os.environ, "SHIPPER_IN_FLIGHT": "1"}
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr


class Answers:
    """A real store that holds the corpus."""

    def __init__(self, server, corpus, state):
        self.kind = server.kind
        self.path = f"/logs-*.jsonlog*-{corpus.namespace}"
        self.http = httpx.Client(base_url=server.url, timeout=120)
        setup(Settings(to=server.url), Options())
        ship(corpus, server.url, state, "ours", "ecs")
        self.ask("POST", f"{self.path}/_refresh")

    def ask(self, method, path, body=None):
        answer = self.http.request(method, path, json=body)
        assert answer.is_success, answer.text[:2000]
        return answer.json()

    def search(self, body):
        return self.ask("POST", f"{self.path}/_search", {"track_total_hits": True, **body})

    def aggregate(self, aggs, query=None):
        return self.search({"size": 0, "query": query or {"match_all": {}}, "aggs": aggs})["aggregations"]

    def close(self):
        for profile in ("", "_ecs"):
            self.http.delete(f"/_data_stream/logs-*.jsonlog{profile}-{self.path.rpartition('-')[2]}")
        self.http.close()


@pytest.fixture(scope="package")
def loaded(corpus, tmp_path_factory):
    """The stores that hold the corpus by now."""
    stores = {}
    yield (
        lambda server: (
            stores.get(server.kind)
            or stores.setdefault(server.kind, Answers(server, corpus, tmp_path_factory.mktemp(server.kind)))
        )
    )
    for one in stores.values():
        one.close()


@pytest.fixture
def answers(store, loaded):
    return loaded(store)

import asyncio
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette

from shipper.collector.app import create_app
from shipper.collector.store import Store

_SERVE = """
import sys
from pathlib import Path
from shipper.collector.app import CollectorError, serve
try:
    serve(sys.argv[1], Path(sys.argv[2]))
except CollectorError as exc:
    sys.exit(f"collector: {exc}")
"""


def record(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A record as jsonlog writes it; fields replace or add."""
    return {
        "@timestamp": f"2026-11-22T05:{number // 60 % 60:02}:{number % 60:02}.220Z",
        "msecs": 220,
        "log": {"level": "INFO", "logger": "shop.pay"},
        "message": f"charge {number}",
        "service": {"name": "shop", "environment": "prod"},
        "host": {"name": "web-1"},
        "process": {"pid": 7},
        "extra": {"order": number},
        "run": "k3v9",
        "event": {"sequence": number},
        **fields,
    }


def ndjson(*records: Any) -> bytes:
    return b"".join(orjson.dumps(item) + b"\n" for item in records)


@dataclass(frozen=True)
class Client:
    """The application without a network: one call, one answer."""

    app: Starlette

    def __call__(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8089") as client:
                return await client.request(method, url, **kwargs)

        return asyncio.run(call())

    def send(self, body: bytes, **headers: str) -> httpx.Response:
        return self(
            "POST", "/", content=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    def ids(self, **parameters: Any) -> list[str]:
        answer = self("GET", "/api/search", params={"limit": 1000, **parameters})
        assert answer.status_code == 200, answer.text
        return [found["_id"] for found in answer.json()["records"]]

    def sql(self, query: str) -> httpx.Response:
        return self("GET", "/api/sql", params={"q": query})


@dataclass
class Process:
    """A collector in a process of its own."""

    data: Path
    listen: str = "127.0.0.1:0"
    line: str = ""
    url: str = ""
    popen: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _SERVE, self.listen, str(self.data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
        assert self.popen.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.popen.stdout, selectors.EVENT_READ)
            assert selector.select(30), "nothing was printed within 30 s"
        self.line = self.popen.stdout.readline().strip()
        self.url = self.line.split(" ")[3] if self.line else ""

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.popen.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str]:
        _, errors = self.popen.communicate(timeout=30)
        return self.popen.returncode, errors


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def client(store: Store) -> Client:
    return Client(create_app(store))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start collectors; what still runs at the end of the test is killed."""
    started: list[Process] = []

    def start(**kwargs: Any) -> Process:
        started.append(Process(**{"data": tmp_path / "data", **kwargs}))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.communicate(timeout=30)

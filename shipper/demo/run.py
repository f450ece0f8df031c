"""
`shipper demo`: starts the real parts as real processes, drives them, and counts.

The figures that are compared come from different places: the application's own tally of log calls, and the store.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx

from shipper.demo.queries import Store, find_store
from shipper.demo.tally import total
from shipper.errors import ConfigError, ShipperError
from shipper.urls import check_url, hide_password

# -P: a file of the user's that is called like one of our modules, in the working directory, is not imported.
_PYTHON = (sys.executable, "-P", "-m")
_CLIENTS = 8
_STOP_S = 30


@dataclass(frozen=True, slots=True)
class Folder:
    """Where everything of one run of the demo lies."""

    path: Path

    @property
    def logs(self) -> Path:
        """The shop's log files."""
        return self.path / "logs"

    @property
    def tally(self) -> Path:
        """What the shop counted."""
        return self.path / "tally"


def run_demo(*, to: str | None, serve: bool, requests: int) -> int:
    """
    Run the demo.

    Args:
        to: A store to ship to; None starts the embedded collector.
        serve: Stay up afterwards until a signal.
        requests: How many requests the shop gets.

    Returns:
        0 when every log call is in the store exactly once, else 1.

    Raises:
        ConfigError: A part is not installed, or *to* is not usable.
        ShipperError: A part did not do what it should.
    """
    missing = [
        name for name in ("gunicorn", *(() if to else ("duckdb", "starlette", "uvicorn"))) if find_spec(name) is None
    ]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} not installed; install the demo with: pip install 'jsonlog-shipper[demo]'"
        )
    if to is not None:
        check_url(to)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = Folder(Path(tempfile.mkdtemp(prefix="jsonlog-demo-")))
    folder.logs.mkdir()
    try:
        return _run(folder, to=to, serve=serve, requests=requests)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)


def _run(folder: Folder, *, to: str | None, serve: bool, requests: int) -> int:
    environment = f"demo_{secrets.token_hex(3)}"
    with ExitStack() as stack:
        url = to or stack.enter_context(_collector(folder))
        store = find_store(url, service="shop", environment=environment)
        _say(f"store      {store.name} at {hide_password(url)}")
        with _shipper(folder, url) as shipper:
            with _shop(folder, environment) as (shop, address):
                _say(f"shop       gunicorn with 4 workers at {address}, logging to {folder.logs}")
                answered = _drive(folder, address, requests)
                shop.send_signal(signal.SIGTERM)
                shop.wait(_STOP_S)
            made, files = total(folder.tally), len(list(folder.logs.glob("*.jsonl")))
            _say(
                f"requests   {requests} sent, {answered} answered; one worker killed with SIGKILL in the middle of one"
            )
            shipper.send_signal(signal.SIGTERM)
            if shipper.wait(_STOP_S + 30) != 0:
                raise ShipperError(f"the shipper ended with exit code {shipper.returncode}")
        store.refresh()
        _print_answers(store)
        good = _account(store, made, files)
        if serve:
            _stay(store)
        return 0 if good else 1


def _drive(folder: Folder, address: str, requests: int) -> int:
    """Send the requests from several clients, and kill a worker on the way; return how many were answered."""
    chance = random.Random(17)  # noqa: S311 (the same requests each time)
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client, ThreadPoolExecutor(_CLIENTS) as pool:
        first = list(pool.map(lambda path: _get(client, path), _paths(chance, requests // 2)))
        _kill_a_worker(folder, client, pool)
        second = list(pool.map(lambda path: _get(client, path), _paths(chance, requests - requests // 2 - 1)))
    return sum(first) + sum(second)


def _paths(chance: random.Random, count: int) -> Iterator[str]:
    for number in range(count):
        user = chance.choice(["ann", "bob", "cem", "dai"])
        yield chance.choices(
            [
                f"/?user={user}",
                f"/search?q={chance.choice(['book', 'a long question about lamps', 'desk'])}",
                f"/order?item={chance.choice(['book', 'lamp', 'chair'])}&user={user}",
                f"/order?item=desk&card=slow&user={user}",
                f"/order?item=desk&card=broken&user={user}",
                f"/order?item=sofa&user={user}",
                f"/nothing/{number}",
            ],
            weights=[30, 25, 30, 5, 3, 4, 3],
        )[0]


def _get(client: httpx.Client, path: str) -> bool:
    # A killed worker takes with it what waits in its socket; a shop's customer would press the button again.
    for _ in range(20):
        with suppress(httpx.TransportError):
            client.get(path, headers={"x-request-id": secrets.token_hex(8)})
            return True
        time.sleep(0.1)
    return False


def _kill_a_worker(folder: Folder, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    """SIGKILL the worker that sits in the middle of a slow report; its log says which one that is."""
    report = pool.submit(lambda: client.get("/report?seconds=30"))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not report.done():
        time.sleep(0.2)
        pid = _worker_in_report(folder)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            with suppress(httpx.TransportError):
                report.result()
            return
    raise ShipperError("no worker could be killed in the middle of a request")


def _worker_in_report(folder: Folder) -> int | None:
    for path in folder.logs.glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n"):
            if b'"report started"' in line:
                return int(json.loads(line)["process"]["pid"])
    return None


@contextmanager
def _collector(folder: Folder) -> Iterator[str]:
    """Start the embedded collector; yields its address."""
    command = [*_PYTHON, "shipper", "collect", "--listen", "127.0.0.1:0", "--data", str(folder.path / "collector")]
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = re.search(rb"http://\S+", process.stdout.readline())
        if found is None:
            raise ShipperError("the collector did not start")
        yield found[0].decode()


@contextmanager
def _shipper(folder: Folder, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the shipper."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHIPPER_")}
    command = [*_PYTHON, "shipper", "run", "--path", str(folder.logs / "*.jsonl"), "--to", url]
    with _process(command, environment=environment) as process:
        yield process


@contextmanager
def _shop(folder: Folder, environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the shop under gunicorn on a free port; yields the process and its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = {
            **os.environ,
            "JSONLOG_DIRECTORY": str(folder.logs),
            "JSONLOG_TALLY": str(folder.tally),
            "JSONLOG_SERVICE": "shop",
            "JSONLOG_ENVIRONMENT": environment,
            "SHOP_BIND": f"fd://{listener.fileno()}",
        }
        config = ["--config", "python:shipper.demo.gunicorn_conf", "shipper.demo.shop:app"]
        with _process([*_PYTHON, "gunicorn", *config], environment=settings, pass_fds=(listener.fileno(),)) as process:
            _wait_until_up(address, process)
            yield process, address


@contextmanager
def _process(
    command: list[str],
    *,
    environment: dict[str, str] | None = None,
    stdout: int | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that does not outlive the block."""
    with subprocess.Popen(
        command, env=environment, stdout=stdout, pass_fds=pass_fds, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def _wait_until_up(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{address}/healthz", timeout=5, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise ShipperError(f"the shop did not start (exit code {process.poll()})")


def _print_answers(store: Store) -> None:
    _table("records per level", ("level", "records"), store.levels())
    _table("exceptions by type", ("type", "records"), store.exceptions())
    _table("the slowest requests", ("request", "ms"), store.slowest())


def _account(store: Store, made: int, files: int) -> bool:
    """Compare what the shop counted with what the store has."""
    stored, distinct = store.count()
    good = made == stored == distinct
    _say("\naccounting")
    _say(f"  log calls made   {made:>7}   (counted by the application, in {files} processes)")
    _say(f"  records stored   {stored:>7}")
    _say(f"  stored twice     {stored - distinct:>7}   (by run and event.sequence)")
    _say(f"  lost             {made - distinct:>7}")
    _say("  every log call is in the store exactly once" if good else "  THE FIGURES DO NOT AGREE")
    return good


def _stay(store: Store) -> None:
    _say(f"\n{store.page}\npress Ctrl-C to end", flush=True)
    with suppress(KeyboardInterrupt):
        signal.pause()


def _table(title: str, head: tuple[str, str], rows: list[tuple[str, float]]) -> None:
    width = max([len(head[0]), *(len(name) for name, _ in rows)])
    _say(f"\n{title}\n  {head[0]:<{width}}  {head[1]:>9}")
    for name, value in rows:
        _say(f"  {name:<{width}}  {value:>9g}")


def _say(text: str, *, flush: bool = True) -> None:
    print(text, flush=flush)  # noqa: T201 (the demo is for people)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt

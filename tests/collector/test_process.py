import contextlib
import random
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.collector.conftest import Process, ndjson, record

Start = Callable[..., Process]


def send(process: Process, first: int, count: int) -> dict[str, int]:
    body = ndjson(*(record(n) for n in range(first, first + count)))
    answer = httpx.post(process.url, content=body, headers={"Shipper-Lines": f"k:{first:x}+{count}"}, timeout=30)
    answer.raise_for_status()
    return answer.json()


def count(process: Process) -> tuple[int, int]:
    query = "SELECT count(*), count(DISTINCT id) FROM records"
    (row,) = httpx.get(f"{process.url}/api/sql", params={"q": query}, timeout=30).json()["rows"]
    return tuple(row)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_graceful_end(start: Start, tmp_path: Path, number: int) -> None:
    """It says in one line where it listens, and ends with success on a signal, silently."""
    process = start()
    assert re.fullmatch(rf"collector listening on http://127\.0\.0\.1:\d+ \(data in {tmp_path}/data\)", process.line)
    assert httpx.get(f"{process.url}/healthz").json() == {"status": "ok"}
    assert process.stop(number) == (0, "")


def test_signal_at_once(start: Start) -> None:
    """A signal right after that line is not too early."""
    for _ in range(3):
        assert start().stop() == (0, "")


def test_ipv6(start: Start) -> None:
    """It listens on IPv6, and the address it prints can be used as it is."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        process = start(listen="[::1]:0")
        assert process.url.startswith("http://[::1]:")
        assert httpx.get(f"{process.url}/healthz").status_code == 200
        assert process.stop()[0] == 0


def test_warning_beyond_loopback(start: Start) -> None:
    """Outside loopback it warns that there is no authentication."""
    code, errors = start(listen="0.0.0.0:0").stop()
    assert code == 0
    assert "no authentication" in errors


def test_address_in_use(start: Start, tmp_path: Path) -> None:
    """A port that is taken is named."""
    first = start()
    listen = first.url.removeprefix("http://")
    code, errors = start(listen=listen, data=tmp_path / "other").end()
    assert code == 1
    assert errors.startswith(f"collector: cannot listen on {listen}: Address already in use; ")


def test_data_in_use(start: Start, tmp_path: Path) -> None:
    """A second collector on the same data is refused, and the first goes on."""
    first = start()
    code, errors = start().end()
    assert (code, str(tmp_path / "data") in errors, "another collector" in errors) == (1, True, True)
    assert send(first, 0, 3) == {"stored": 3, "duplicates": 0}


@pytest.mark.parametrize(
    "listen", ["8089", "127.0.0.1", "127.0.0.1:99999", "::1:8089", "a b:1", "127.0.0.1:x", "nowhere.invalid:1"]
)
def test_bad_address(start: Start, listen: str) -> None:
    """An address that cannot be listened on is named."""
    code, errors = start(listen=listen).end()
    assert (code, "Traceback" in errors, listen in errors) == (1, False, True)


def store_until_killed(process: Process, answered: set[int], after: int) -> None:
    """Send bodies of 500 and note those that were answered; the kill comes while one more is on its way."""
    enough = threading.Event()
    killer = threading.Thread(target=lambda: (enough.wait(20), process.popen.kill()))
    killer.start()
    with contextlib.suppress(httpx.TransportError):
        for first in range(500 * len(answered), 10_000_000, 500):
            send(process, first, 500)
            answered.add(first)
            if len(answered) >= after:
                enough.set()
    killer.join()
    process.end()


def test_killed_while_it_stores(start: Start) -> None:
    """Killed again and again in the middle of storing, it has every record it answered for, each once."""
    chance = random.Random(7)
    answered: set[int] = set()
    for _ in range(5):
        process = start()
        assert all(send(process, first, 500)["stored"] == 0 for first in sorted(answered))
        store_until_killed(process, answered, len(answered) + chance.randrange(2, 12))
    survivor = start()
    stored, distinct = count(survivor)
    assert stored == distinct
    assert 0 <= stored - 500 * len(answered) <= 5 * 500
    for first in answered:
        assert send(survivor, first, 500)["duplicates"] == 500
    assert survivor.stop()[0] == 0


def test_history_survives_a_restart(start: Start) -> None:
    """Records, and the knowledge of their ids, outlive a restart that follows a kill and one that follows a clean end."""
    first = start()
    send(first, 0, 1000)
    first.popen.kill()
    first.end()
    second = start()
    assert send(second, 500, 1000) == {"stored": 500, "duplicates": 500}
    assert second.stop()[0] == 0
    assert count(start()) == (1500, 1500)

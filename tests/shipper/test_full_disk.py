"""A disk that is full under logs, checkpoint and dead letters at once: a real one, of a few megabytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shipper.deadletters import DEAD_LETTERS
from tests.fakes import append, clean_environment, wait_for
from tests.servers.fixtures import require
from tests.shipper.support import Endpoint, Shipper

SIZE = 6 * 1024 * 1024

WRITER = """
import logging, sys, time
from jsonlog import JsonFormatter, ProcessFileHandler
handler = ProcessFileHandler(sys.argv[1], max_bytes=300_000)
handler.setFormatter(JsonFormatter(service="full"))
log = logging.Logger("full"); log.addHandler(handler)
number = 0
for line in sys.stdin:
    for _ in range(int(line)):
        log.warning("record %d", number, extra={"padding": "x" * 500})
        number += 1
    print(number, flush=True)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], capture_output=True)
    require(None if done.returncode == 0 else "a small tmpfs cannot be mounted here (root is needed)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def writer(disk: Path) -> Iterator[subprocess.Popen[str]]:
    """An application that logs as many records as it is told to, and says how many it has tried."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(disk / "logs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environment({}),
    )
    yield process
    process.kill()
    process.communicate()


def log(writer: subprocess.Popen[str], count: int) -> int:
    """Let the application log; return how many records it has tried in all."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(f"{count}\n")
    writer.stdin.flush()
    return int(writer.stdout.readline())


def free(disk: Path) -> int:
    info = os.statvfs(disk)
    return info.f_bavail * info.f_frsize


def written(folder: Path) -> set[int]:
    """The numbers of all whole records that stand in files."""
    return {
        json.loads(line)["event"]["sequence"]
        for path in folder.glob("full-*.jsonl")
        for line in path.read_bytes().split(b"\n")[:-1]
    }


def arrived(endpoint: Endpoint) -> list[int]:
    records = [json.loads(value) for value in list(endpoint.records.values())]
    return sorted(record["event"]["sequence"] for record in records if "event" in record)


def run(shipper: Shipper, disk: Path, endpoint: Endpoint) -> object:
    return shipper.run(
        "run", "--path", str(disk / "logs"), "--to", endpoint.url, "--finished", "delete",
        env={"SHIPPER_BAD_LINES": "dead_letter"},
    )  # fmt: skip


def test_what_is_acknowledged_makes_the_room(
    shipper: Shipper, endpoint: Endpoint, disk: Path, writer: subprocess.Popen[str]
) -> None:
    """While the store is away the logs fill the disk; when it is back finished parts go, and everything goes on by itself."""
    log(writer, 10)
    program = run(shipper, disk, endpoint)
    wait_for(lambda: len(endpoint.records) == 10, "the first records")
    endpoint.status = 503
    tried = log(writer, 12_000)
    assert free(disk) < 64 * 1024, "the disk is not full"
    kept = written(disk / "logs")
    assert len(kept) < tried, "the application could write it all"
    endpoint.status = 200
    wait_for(lambda: set(arrived(endpoint)) >= kept, "all that was written", timeout_s=60)
    wait_for(lambda: free(disk) > SIZE / 2, "room again", timeout_s=60)
    append(disk / "logs" / "foreign.jsonl", b"bad line\n")
    before = log(writer, 100)
    wait_for(lambda: arrived(endpoint)[-1] == before - 1, "what was logged after that")
    dead = disk / "logs" / ".shipper" / DEAD_LETTERS
    wait_for(lambda: dead.exists() and b"bad line" in dead.read_bytes(), "the dead letter")
    writer.kill()
    writer.wait()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    numbers = arrived(endpoint)
    assert len(numbers) == len(set(numbers)), "something came twice"
    assert set(numbers) >= kept | set(range(before - 100, before))
    assert "nothing is left" in program.said
    assert list((disk / "logs").glob("full-*.jsonl")) == []


def test_no_room_at_all_for_a_while(shipper: Shipper, endpoint: Endpoint, disk: Path) -> None:
    """With not a byte left nothing is passed over, it is said once, and when there is room it goes on by itself."""
    logs = disk / "logs"
    logs.mkdir()
    append(logs / "a.jsonl", b'{"n":0}\n')
    program = run(shipper, disk, endpoint)
    wait_for(lambda: len(endpoint.records) == 1, "the first record")
    append(logs / "a.jsonl", b"bad line %d\n" % 1 + b'{"n":1}\n' * 50)
    wait_for(lambda: len(endpoint.records) == 51, "more records")
    ballast = disk / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(fd, b"x" * 4096):
            pass
    os.close(fd)
    size = (logs / ".shipper" / DEAD_LETTERS).stat().st_size
    room = 4096 - size % 4096  # a page that is begun can be filled
    bad = b"".join(b"%d " % number + b"y" * 2000 + b"\n" for number in range(room // 2000 + 300))
    with (shipper.folder / "elsewhere.jsonl").open("wb") as file:
        file.write(bad)
    os.symlink(shipper.folder / "elsewhere.jsonl", logs / "link.jsonl")
    wait_for(lambda: "trying again" in program.said, "the message", timeout_s=60)
    assert program.process.poll() is None
    ballast.unlink()
    entries = logs / ".shipper" / DEAD_LETTERS
    wait_for(lambda: entries.read_bytes().count(b'yyy"}') == bad.count(b"\n"), "the dead letters", timeout_s=60)
    append(logs / "a.jsonl", b'{"n":2}\n')
    wait_for(lambda: len(endpoint.records) == 52, "the record behind it")
    program.signal(signal.SIGINT)
    assert program.wait() == 0
    assert "nothing is left" in program.said

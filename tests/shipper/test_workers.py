"""Several workers: each file belongs to one of them, whatever happens to them, and nothing is sent twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from shipper.checkpoint import peek
from shipper.workers import Share, owner
from tests.fakes import Part, append, line, lines, wait_for
from tests.shipper.support import Endpoint, Shipper


def write_parts(folder: Path, count: int, start: int = 0) -> list[Part]:
    return [Part(folder, lines(range(start + 10 * i, start + 10 * i + 10))) for i in range(count)]


def keys_by_folder(state: Path) -> dict[str, set[str]]:
    folders = [state, *sorted(state.glob("worker-*"))]
    return {
        f.name: {a.state.key for a in peek(f) if a.state.key} for f in folders if (f / "checkpoint.sqlite").exists()
    }


def work(shipper: Shipper, endpoint: Endpoint, workers: int) -> None:
    program = shipper.run(
        "run",
        "--once",
        "--path",
        "logs",
        "--to",
        endpoint.url,
        "--state",
        "state",
        env={"SHIPPER_WORKERS": str(workers)},
    )
    assert program.wait() == 0, program.said


def test_every_file_has_one_owner(tmp_path: Path) -> None:
    """All parts of a run belong to one worker, foreign files to the first, and the workers get about the same number."""
    names = [str(part.name) for part in write_parts(tmp_path, 200)]
    owners = Counter(owner(f"/logs/{name}", 4) for name in names)
    assert set(owners) == {0, 1, 2, 3}
    assert min(owners.values()) > 20
    for name in names[:20]:
        assert owner(name.replace(".0.jsonl", ".17.jsonl"), 4) == owner(name, 4)
        assert [Share(i, 4).holds(name) for i in range(4)].count(True) == 1
    assert owner("/logs/app.log", 4) == 0


def test_the_number_of_workers_changes(shipper: Shipper, endpoint: Endpoint) -> None:
    """With 1, 3, 2 and 1 workers in turn each line arrives once: what is known of a file goes to the worker that has it now."""
    arrived = 0
    state = shipper.folder / "state"
    append(shipper.logs / "app.log.jsonl", line(9999))
    for turn, workers in enumerate((1, 3, 2, 1)):
        parts = write_parts(shipper.logs, 20, start=1000 * turn)
        for part in parts:
            part.end()
        endpoint.records.clear()
        work(shipper, endpoint, workers)
        assert len(endpoint.records) == 200 + (turn == 0), "sent again, or not at all"
        arrived += 200
        known = keys_by_folder(state)
        assert sum(map(len, known.values())) == len(set().union(*known.values())) == arrived // 10 + 1
        filled = [name for name, keys in known.items() if keys]
        assert filled == ["state", "worker-1", "worker-2"][:workers]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all(shipper: Shipper, endpoint: Endpoint, number: int) -> None:
    """After the first signal all workers drain and the exit code is 0; what is logged meanwhile arrives, too."""
    parts = write_parts(shipper.logs, 12)
    program = shipper.run(
        "run", "--path", "logs", "--to", endpoint.url, "--state", "state", env={"SHIPPER_WORKERS": "2"}
    )
    wait_for(lambda: len(endpoint.records) == 120, "the records")
    program.signal(number)
    if number == signal.SIGTERM:
        wait_for(lambda: program.said.count("stopping") == 2, "both to drain")
        for part in parts:
            part.write(lines(range(500, 503)))
            part.end()
    assert program.wait() == 0, program.said
    assert len(endpoint.records) == 120 + (36 if number == signal.SIGTERM else 0)


def children(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_dies_ends_all(shipper: Shipper, endpoint: Endpoint) -> None:
    """When a worker is killed the others end, the exit code tells of it, and the next start goes on where each was."""
    parts = write_parts(shipper.logs, 12)
    program = shipper.run(
        "run", "--path", "logs", "--to", endpoint.url, "--state", "state", env={"SHIPPER_WORKERS": "2"}
    )
    wait_for(lambda: len(endpoint.records) == 120, "the records")
    for part in parts:
        part.write(lines([700]))
        part.end()
    os.kill(children(program.process.pid)[1], signal.SIGKILL)
    assert program.wait() == 128 + signal.SIGKILL
    work(shipper, endpoint, 2)
    assert len(endpoint.records) == 132


def test_workers_do_not_outlive_their_parent(shipper: Shipper, endpoint: Endpoint) -> None:
    """A parent that is killed leaves no worker behind that would hold the state, not even to wait for writers."""
    parts = write_parts(shipper.logs, 4)
    program = shipper.run(
        "run", "--path", "logs", "--to", endpoint.url, "--state", "state", env={"SHIPPER_WORKERS": "2"}
    )
    wait_for(lambda: len(endpoint.records) == 40, "the records")
    workers = children(program.process.pid)
    assert len(workers) == 2
    program.kill()
    wait_for(
        lambda: (
            not any(
                Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
                for pid in workers
            )
        ),
        "the workers to end",
    )
    for part in parts:
        part.end()
    work(shipper, endpoint, 2)


def test_wrong_settings_are_said_once(shipper: Shipper) -> None:
    """What is wrong for all workers is said by their parent, in one line."""
    program = shipper.run("run", "--path", "logs", "--to", "localhost:9200", env={"SHIPPER_WORKERS": "2"})
    assert program.wait() == 2
    assert program.said.count("\n") == 1

"""`shipper status`, asked of real shippers: while they run, after they were killed, and when they have never run."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shipper.checkpoint import Checkpoint
from tests.fakes import Part, append, line, lines, wait_for
from tests.shipper.support import Endpoint, Shipper


def status(shipper: Shipper, *more: str, code: int = 0) -> str:
    """Ask, and return what is said."""
    program = shipper.run("status", "--path", "logs", *more)
    assert program.wait() == code, program.said
    return program.said


def figures(shipper: Shipper, *more: str, code: int = 0) -> dict[str, Any]:
    """Ask for the JSON."""
    answer = json.loads(status(shipper, "--json", *more, code=code))
    answer["files"] = {Path(file["path"]).name: file for file in answer["files"]}
    return answer


def test_a_shipper_that_runs(shipper: Shipper, endpoint: Endpoint) -> None:
    """Offset, size, lag, age, writer and store are right while the store takes nothing, and once it does again."""
    alive, ended = Part(shipper.logs, lines(range(3))), Part(shipper.logs, lines(range(2))).end()
    append(shipper.logs / "foreign.jsonl", lines(range(4)) + b"\n")
    program = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: len(endpoint.records) == 9, "the first records")
    wait_for(lambda: figures(shipper)["lag_bytes"] == 0, "the commit")
    endpoint.status = 503
    written = datetime.now(UTC) - timedelta(hours=3)
    late = b'{"@timestamp":"%s","n":9}\n' % written.isoformat(timespec="milliseconds").encode()
    alive.write(late + line(10))
    wait_for(lambda: figures(shipper)["in_flight_lines"] == 2, "the lines to be read")
    wait_for(lambda: figures(shipper)["not_ready"], "the store to be out")
    got = figures(shipper)
    assert got["running"] == f"pid {program.process.pid}"
    assert got["records"] == {
        "delivered": 9, "duplicate": 0, "filtered": 0, "rescued": 0, "wrapped": 0, "failure_stored": 0, "dead_lettered": 0,
        "empty": 1,
    }  # fmt: skip
    file = got["files"][alive.path.name]
    size = alive.path.stat().st_size
    assert (file["size"], file["offset"], file["lag_bytes"]) == (
        size,
        size - len(late + line(10)),
        len(late + line(10)),
    )
    assert 3 * 3600 <= file["oldest_unacknowledged_s"] < 3 * 3600 + 60
    assert got["oldest_unacknowledged_s"] == pytest.approx(file["oldest_unacknowledged_s"], abs=1)
    assert (file["writer"], got["files"][ended.path.name]["writer"]) == ("alive", "ended")
    assert (got["files"]["foreign.jsonl"]["writer"], got["files"]["foreign.jsonl"]["lines"]) == (None, 5)
    text = status(shipper)
    assert text.splitlines()[0].split() == ["OFFSET", "SIZE", "LAG", "OLDEST", "WRITER", "FILE"]
    assert alive.path.name in text.splitlines()[1], "the file that is furthest behind comes first"
    assert "9 delivered, 1 empty, 2 in flight" in text
    assert "takes no records: HTTP 503" in text
    endpoint.status = 200
    wait_for(lambda: figures(shipper)["lag_bytes"] == 0, "the rest")
    wait_for(lambda: f"at {endpoint.url} takes records" in status(shipper), "the store to be well")
    program.signal(signal.SIGINT)
    assert program.wait() == 0


def test_a_shipper_that_was_killed(shipper: Shipper, endpoint: Endpoint) -> None:
    """What the checkpoint and the files say is there after SIGKILL, too; new and deleted files are told."""
    for name in ("a", "b"):
        append(shipper.logs / f"{name}.jsonl", lines(range(5)))
    program = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: len(endpoint.records) == 10, "the records")
    wait_for(lambda: figures(shipper)["records"]["delivered"] == 10, "the commit")
    wait_for(lambda: "an HTTP endpoint" in figures(shipper)["store"], "what the running shipper says of the endpoint")
    program.kill()
    append(shipper.logs / "a.jsonl", line(5))
    append(shipper.logs / "new.jsonl", line(6))
    (shipper.logs / "b.jsonl").unlink()
    got = figures(shipper)
    assert (got["running"], got["in_flight_lines"], got["lag_bytes"]) == (None, None, len(line(5) + line(6)))
    assert got["files"]["a.jsonl"]["lag_bytes"] == len(line(5))
    assert (got["files"]["b.jsonl"]["size"], got["files"]["b.jsonl"]["problem"]) == (None, "the file is gone")
    assert (got["files"]["new.jsonl"]["offset"], got["files"]["new.jsonl"]["problem"]) == (0, "not read yet")
    assert f"no shipper runs; the last one sent to an HTTP endpoint (NDJSON) at {endpoint.url}" in got["store"]


def test_looking_turns_no_shipper_away(tmp_path: Path) -> None:
    """A shipper that starts while somebody looks whether one runs waits a moment."""
    Checkpoint(tmp_path).close()
    fd = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    looking = threading.Timer(0.06, os.close, (fd,))
    looking.start()
    Checkpoint(tmp_path).close()
    looking.join()


def test_nothing_has_run_yet(shipper: Shipper) -> None:
    """Without a checkpoint it says so, and what to give."""
    assert "no shipper has run with these settings yet" in status(shipper, code=2)
    assert "--state" in shipper_says(shipper, "status")


def shipper_says(shipper: Shipper, *arguments: str) -> str:
    program = shipper.run(*arguments)
    assert program.wait() == 2
    return program.said


def test_an_accounting_that_does_not_close(shipper: Shipper, endpoint: Endpoint) -> None:
    """When lines have ended in no class or in two, status and the next run say which file, and their exit codes say it, too."""
    append(shipper.logs / "a.jsonl", lines(range(5)))
    command = ("run", "--once", "--path", "logs", "--to", endpoint.url)
    assert shipper.run(*command).wait() == 0
    db = sqlite3.connect(shipper.logs / ".shipper" / "checkpoint.sqlite")
    db.execute("UPDATE counts SET lines = 4 WHERE fate = 'delivered'")
    db.commit()
    db.close()
    got = figures(shipper, code=1)
    assert (got["accounting_closes"], got["files"]["a.jsonl"]["accounting_closes"]) == (False, False)
    assert "THE ACCOUNTING DOES NOT CLOSE" in status(shipper, code=1)
    program = shipper.run(*command)
    assert program.wait() == 4
    assert "a.jsonl does not close: of 5 lines 4 have ended" in program.said


def test_many_files(shipper: Shipper, endpoint: Endpoint) -> None:
    """The table holds those that are furthest behind, and says how many more there are."""
    for number in range(60):
        append(shipper.logs / f"{number}.jsonl", line(number))
    assert shipper.run("run", "--once", "--path", "logs", "--to", endpoint.url).wait() == 0
    append(shipper.logs / "59.jsonl", line(1))
    text = status(shipper)
    assert "59.jsonl" in text.splitlines()[1]
    assert "and 10 files more that are not as far behind (--all)" in text
    assert status(shipper, "--all").count(".jsonl") == 60


def test_several_workers_are_told_together(shipper: Shipper, endpoint: Endpoint) -> None:
    """The files, counts and dead letters of all workers stand in one answer."""
    parts = [Part(shipper.logs, lines(range(2))).end() for _ in range(8)]
    append(shipper.logs / "foreign.jsonl", lines(range(3)) + b"bad\n")
    program = shipper.run(
        "run", "--path", "logs", "--to", endpoint.url,
        env={"SHIPPER_WORKERS": "2", "SHIPPER_BAD_LINES": "dead_letter"},
    )  # fmt: skip
    wait_for(lambda: len(endpoint.records) == 19, "the records", timeout_s=60)
    wait_for(lambda: figures(shipper)["records"]["delivered"] == 19, "the commits", timeout_s=60)
    got = figures(shipper)
    assert sorted(got["files"]) == sorted([*(part.path.name for part in parts), "foreign.jsonl"])
    assert got["running"].count("pid ") == 2
    assert (got["dead_letters"], got["accounting_closes"], got["lag_bytes"]) == (1, True, 0)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert figures(shipper)["running"] is None


def test_the_last_error_of_a_file_is_that_of_its_delivery_too(shipper: Shipper, endpoint: Endpoint) -> None:
    """A line that became a dead letter is told beside its file, the last one of several, until it was dealt with."""
    append(shipper.logs / "a.jsonl", line(0) + b"bad\n" + line(1) + b"worse\n")
    append(shipper.logs / "b.jsonl", line(2))
    program = shipper.run(
        "run", "--once", "--path", "logs", "--to", endpoint.url, env={"SHIPPER_BAD_LINES": "dead_letter"}
    )
    assert program.wait() == 0, program.said
    files = figures(shipper)["files"]
    assert "line 4 is a dead letter: not JSON" in files["a.jsonl"]["last_error"]
    assert (files["a.jsonl"]["problem"], files["b.jsonl"]["last_error"]) == (None, None)
    assert "line 4 is a dead letter: not JSON" in status(shipper)
    purge = shipper.run("dead", "purge", "--all", "--path", "logs")
    assert purge.wait() == 0, purge.said
    assert figures(shipper)["files"]["a.jsonl"]["last_error"] is None

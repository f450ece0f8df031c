"""Runs programs that log, as processes of their own, and reads what came of it."""

import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import IO

from tests.jsonlog.support import LINE
from tests.jsonlog_files.reading import check_gap_free, read_runs


def run(tmp_path: Path, body: str, *arguments: str, timeout: float = 105, code: int = 0) -> subprocess.CompletedProcess:
    """Run *body* as a program; its first argument is a folder `logs`. A file, since spawn has to import it."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, "-P", program, str(tmp_path / "logs"), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=tmp_path,
    )
    assert done.returncode == code, (done.returncode, done.stderr[-4000:])
    return done


def records(directory: Path, *, torn_allowed: bool = False) -> list[dict]:
    """All records of a folder, each valid by the schema; the writers' numbers are gap-free."""
    runs = read_runs(directory, torn_allowed=torn_allowed)
    check_gap_free(runs)
    found = [record for run in runs.values() for record in run]
    for record in found:
        errors = [f"{error.json_path}: {error.message[:200]}" for error in LINE.iter_errors(record)]
        assert not errors, (errors, json.dumps(record)[:2000])
    return found


def check_senders(found: list[dict]) -> dict[str, list[int]]:
    """Every sender's numbers are gap-free and none is there twice; returns them by sender."""
    senders: dict[str, list[int]] = {}
    for record in found:
        senders.setdefault(record["sender"]["run"], []).append(record["sender"]["sequence"])
    for run, numbers in senders.items():
        assert sorted(numbers) == list(range(len(numbers))), (run, len(numbers), sorted(numbers)[:20])
    return senders


class Receiver:
    """A real `jsonlog receive`, on a port that stays the same over restarts."""

    def __init__(self, directory: Path, *options: str):
        self.directory = directory
        self.options = options
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen | None = None
        self._log: IO | None = None

    def start(self, program: str = "") -> "Receiver":
        code = program + "\nimport sys\nfrom jsonlog.cli import main\nsys.exit(main(sys.argv[1:]))"
        arguments = ["receive", "--listen", f"127.0.0.1:{self.port}", "--directory", str(self.directory), *self.options]
        if self._log is not None:
            self._log.close()
        self._log = open(self.directory.with_name("receiver.log"), "a+")  # noqa: SIM115 (closed by `stop`)
        self.process = subprocess.Popen([sys.executable, "-P", "-c", code, *arguments], stderr=self._log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, self.text()
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("the receiver does not listen")

    def text(self) -> str:
        return self.directory.with_name("receiver.log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self._log.close()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            assert self.process.wait(30) == 0, self.text()
        self._log.close()
        self.process = None

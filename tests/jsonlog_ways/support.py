"""What the tests of the ways share: running programs as users run them, and reading what they logged."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from tests.jsonlog_files.reading import check_gap_free, read_runs

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent


def environment(**changes):
    """This checkout's packages, and none of the variables that change what is logged."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("JSONLOG_", "PYTHON", "CELERY_", "GUNICORN_")) and key not in {"NO_COLOR", "TERM"}
    }
    return kept | {"PYTHONPATH": str(ROOT), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | changes


def run(program, *arguments, cwd, expect=0, timeout=60, env=None):
    """Run a Python program, given as text or as a path, to its end; gives what it printed."""
    what = [str(program)] if isinstance(program, Path) else ["-c", textwrap.dedent(program)]
    done = subprocess.run(
        [sys.executable, "-P", *what, *map(str, arguments)],
        cwd=cwd, env=environment(**(env or {})), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert expect is None or done.returncode == expect, (done.returncode, done.stderr)
    return done


def logged(directory):
    """All records of a folder, each run gap-free, in the order of their times."""
    runs = read_runs(Path(directory))
    check_gap_free(runs)
    return sorted((record for records in runs.values() for record in records), key=lambda one: one["@timestamp"])


def by_message(directory):
    """The records by their messages, of which none may stand there twice."""
    found = logged(directory)
    result = {record["message"]: record for record in found}
    assert len(result) == len(found), sorted(record["message"] for record in found)
    return result


def free_port():
    """A port that nobody listens at right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(*command, cwd, port, path="/", env=None, stop=signal.SIGTERM, log="server.out"):
    """Start a server, wait until it answers, and stop it by a signal; it must end by itself."""
    with (Path(cwd) / log).open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=cwd, env=environment(**(env or {})), stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: answers(port, path) or process.poll() is not None, (Path(cwd) / log).read_text)
        assert process.poll() is None, (Path(cwd) / log).read_text()
        yield process
        process.send_signal(stop)
        process.wait(30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(port, path="/"):
    try:
        get(port, path)
    except OSError:
        return False
    return True


def get(port, path="/", **headers):
    """Ask a server on this machine; gives status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def until(condition, explain=lambda: "waited in vain", timeout_s=30):
    """Ask again and again until *condition* gives something true; the only place that waits."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)
    return result


def facts(text):
    """Read the JSON objects that a program printed, one a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

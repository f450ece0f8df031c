"""Runs writers as processes of their own, reads what they left behind, and holds it to the file protocol."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest

from jsonlog.files.protocol import parse_name

HEAD = """
import logging, os, signal, sys, threading, time
import jsonlog
handler = jsonlog.ProcessFileHandler(sys.argv[1], **eval(sys.argv[2]))
log = logging.getLogger("torture")
log.addHandler(handler); log.setLevel("INFO"); log.propagate = False
"""


def command(directory, body, **options):
    """The command line of a program that logs to *directory* with a handler of these options and runs *body*."""
    return [sys.executable, "-P", "-c", HEAD + textwrap.dedent(body), str(directory), repr(options)]


def run_program(directory, body, *, timeout=60, handler=None, returncode=0, **options):
    """Run a program to its end; returns what it printed."""
    done = subprocess.run(
        command(directory, body, **(handler or {})), capture_output=True, text=True, timeout=timeout, **options
    )
    assert done.returncode == returncode, done.stderr
    return done


@contextlib.contextmanager
def small_disk(place, size):
    """A tmpfs of this size, where root may mount one; else the test fails in CI, and is skipped elsewhere."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        absent = pytest.fail if os.environ.get("SHIPPER_REQUIRE_PARTS") == "1" else pytest.skip
        absent("a small tmpfs cannot be mounted here (root is needed)")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def read_runs(directory: Path, *, torn_allowed: bool = False) -> dict[str, list[dict]]:
    """
    Read all records by run, in file order, checking that each line is whole and of the run its file is named after.

    Args:
        torn_allowed: Accept one unfinished line at the end of a file, as a SIGKILL in the middle of a write may leave it.
    """
    parts = sorted(
        ((parse_name(path.name), path) for path in directory.glob("*.jsonl")),
        key=lambda item: (item[0].run, item[0].part),
    )
    runs = defaultdict(list)
    for name, path in parts:
        *lines, rest = path.read_bytes().split(b"\n")
        assert rest == b"" or torn_allowed, f"{path.name} ends in half a line"
        for line in lines:
            record = json.loads(line)
            assert record["run"] == name.run
            runs[name.run].append(record)
    return runs


def check_gap_free(runs: dict[str, list[dict]]) -> None:
    """Every run is numbered 0, 1, 2, … in file order."""
    for run, records in runs.items():
        numbers = [record["event"]["sequence"] for record in records]
        assert numbers == list(range(len(numbers))), f"run {run} has {numbers[:5]}… of {len(numbers)}"


def messages(runs: dict[str, list[dict]]) -> list[str]:
    """All messages, in no order between runs."""
    return [record["message"] for records in runs.values() for record in records]

"""Runs programs that log, as processes of their own, and reads what came of it."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.jsonlog.support import LINE
from tests.jsonlog_files.reading import check_gap_free, read_runs


def run(tmp_path: Path, body: str, *arguments: str, timeout: float = 60, code: int = 0) -> subprocess.CompletedProcess:
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


def records(directory: Path) -> list[dict]:
    """All records of a folder, each valid by the schema; the writers' numbers are gap-free."""
    runs = read_runs(directory)
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

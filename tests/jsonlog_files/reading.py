"""Reads what writers left behind, and holds it to the file protocol."""

import json
from collections import defaultdict
from pathlib import Path

from jsonlog.files.protocol import parse_name


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

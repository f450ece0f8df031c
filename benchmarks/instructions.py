"""
Instructions that the hot path takes, as multiples of a floor in the same run: a figure that a busy machine does not change.

    python benchmarks/instructions.py

Counts with valgrind what check and encoding take for the same lines, in a process each. The floor is what no shipper of this
kind can do without: the parser's pass over the bytes, and one join. tests/test_instructions.py fails when a ratio has grown by a
fifth.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "instructions.json"
VERSION = "{}.{}".format(*sys.version_info)
LINES = 1500
ROUNDS = 3
_COMMON = f"""
import random
from benchmarks.parts import make_line
rng = random.Random(7)
data = "".join(make_line("k000000000000000", number, rng) for number in range({LINES})).encode()
source = Source("shop-web%2D1-7-k000000000000000.0", "logs-shop.jsonlog-default", "/logs/shop.jsonl")
start = Position(10**9, 10**6)
decoder = msgspec.json.Decoder(type=msgspec.Raw)
"""
_IMPORTS = """
import msgspec
from shipper.core.bulk import encode_bulk
from shipper.core.framing import check
from shipper.core.model import Position, Source
from shipper.core.endpoint import Endpoint, encode
endpoint = Endpoint()
"""
CASES = {
    "floor": "b''.join(decoder.decode_lines(data))",
    "check + _bulk with ids": "encode_bulk(check(source, start, data).pieces)",
    "check + NDJSON": "encode(endpoint, check(source, start, data).pieces)",
}


def count(statement: str, rounds: int) -> int:
    """Run a statement some times under valgrind and give the instructions of the whole process."""
    script = f"{_IMPORTS}{_COMMON}\nfor _ in range({rounds}):\n    {statement}"
    command = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
        sys.executable,
        "-c",
        script,
    ]
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "PYTHONMALLOC": "pymalloc"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"valgrind: {done.stderr[-2000:]}")
    return int(found[1].replace(",", ""))


def measure() -> dict[str, float]:
    """Count the instructions per line of each case."""
    return {name: (count(text, ROUNDS + 1) - count(text, 1)) / (LINES * ROUNDS) for name, text in CASES.items()}


def ratios(figures: dict[str, float]) -> dict[str, float]:
    """Give the figures as multiples of the floor."""
    return {name: round(figure / figures["floor"], 3) for name, figure in figures.items()}


def main() -> None:
    figures = measure()
    print(f"{'instructions':28} {'per line':>10} {'x floor':>8}")
    for name, ratio in ratios(figures).items():
        print(f"{name:28} {figures[name]:10,.0f} {ratio:8.2f}")
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**known, VERSION: ratios(figures)}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

"""
`jsonlog view` side by side with pino-pretty, over the same files in one run.

    python benchmarks/view.py [--megabytes 1024]

Makes the data, installs pino-pretty with npm (both under .cache/benchmarks), prints a table and writes
benchmarks/results/view.json and view.md. pino-pretty is told where time, level and message stand and which fields to
leave out, which is faster for it than its defaults. It neither merges nor filters by text or field, and its
--minimumLevel lets all of these records through: its time is always that of printing everything. All commands take
turns, --rounds times, and the fastest round of each counts, so that a busy machine harms all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "benchmarks"
RESULTS = ROOT / "benchmarks" / "results"
WRITERS = 8
PINO = (
    "--colorize --singleLine --timestampKey @timestamp --levelKey log.level --messageKey message "
    "--ignore msecs,host,process,ecs,run,event,service,log"
)
TRACEBACK = (
    r"Traceback (most recent call last):\n  File \"/app/shop/pay.py\", line 12, in charge\n    bank.charge(order)\n"
    r"  File \"/app/shop/bank.py\", line 71, in charge\n    raise CardError(\"declined\")\nshop.errors.CardError: declined"
)
CASES = (
    ("everything in colour", "--color always", 2.0),
    ("--level error (1 in 1000)", "--color always --level error", 10.0),
    ("--grep TEXT (1 in 5000)", "--color always --grep user4711", 10.0),
    ("--field text (1 in 5000)", "--color always --field extra.user=user4711", 10.0),
    ("--field number (1 record)", "--color always --field extra.order=4711", 10.0),
    ("merged as JSON lines", "--output json", 10.0),
)


@dataclass(frozen=True)
class Result:
    """One program over all the data."""

    case: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    ratio: float
    cpu_ratio: float
    wanted: float


def make_data(folder: Path, size: int) -> int:
    """Write *size* bytes as eight interleaved writers would; give the number of records."""
    folder.mkdir(parents=True, exist_ok=True)
    count = folder / "count"
    if count.exists():
        return int(count.read_text())
    rng = random.Random(7)
    runs = ["".join(rng.choices("0123456789abcdefghjkmnpqrstvwxyz", k=16)) for _ in range(WRITERS)]
    files = [
        (folder / f"shop-web%2D1-{4000 + i}-{run}.0.jsonl").open("wb", buffering=1 << 20) for i, run in enumerate(runs)
    ]
    numbers = [0] * WRITERS
    now = datetime(2026, 11, 22, 5, tzinfo=UTC).timestamp() * 1000
    written = records = 0
    while written < size:
        now += rng.random() * 0.4
        writer = int(rng.random() * WRITERS)
        line = make_line(records, int(now), rng, run=runs[writer], pid=4000 + writer, number=numbers[writer])
        numbers[writer] += 1
        records += 1
        written += files[writer].write(line)
    for file in files:
        file.close()
    count.write_text(str(records))
    return records


def make_line(serial: int, now_ms: int, rng: random.Random, *, run: str, pid: int, number: int) -> bytes:
    """Make a line as `jsonlog.JsonFormatter` writes it."""
    stamp = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{now_ms % 1000:03d}Z"
    chance = rng.random()
    level = "ERROR" if chance < 0.001 else "WARNING" if chance < 0.01 else "DEBUG" if chance < 0.3 else "INFO"
    logger = ("shop.pay", "shop.cart", "shop.search", "uvicorn.access")[serial & 3]
    user = f"user{int(rng.random() * 5000)}"
    exc = f'"exc":{{"type":"CardError","module":"shop.errors","message":"declined","traceback":"{TRACEBACK}"}},'
    return (
        f'{{"@timestamp":"{stamp}","msecs":{now_ms % 1000},"log":{{"level":"{level}","logger":"{logger}",'
        f'"origin":{{"file":{{"name":"pay.py","line":{serial % 300}}},"function":"charge"}}}},'
        f'"message":"order {serial} placed by {user}",{exc if level == "ERROR" else ""}'
        f'"service":{{"name":"shop"}},"host":{{"name":"web-1"}},"process":{{"pid":{pid},"name":"MainProcess",'
        f'"entity_id":"01jdk3v9q7m2c4x8","thread":{{"id":140735340871680,"name":"MainThread"}}}},'
        f'"ecs":{{"version":"9.0.0"}},"extra":{{"user":"{user}","order":{serial},"amount":{serial % 1000 / 8}}},'
        f'"run":"{run}","event":{{"sequence":{number}}}}}\n'
    ).encode()


def install_pino() -> Path:
    """Install pino-pretty once; give its program."""
    program = CACHE / "node_modules" / ".bin" / "pino-pretty"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", CACHE, "pino-pretty"], check=True)
    return program


def measure(command: str) -> tuple[float, float, float]:
    """Run a shell command with its output thrown away; give seconds, CPU seconds and the peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(["sh", "-c", command], stdout=subprocess.DEVNULL, cwd=CACHE)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: exit code {process.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    megabytes = arguments.megabytes
    folder = CACHE / f"view-{megabytes}"
    records = make_data(folder, megabytes << 20)
    commands = [f"cat {shlex.quote(str(folder))}/*.jsonl | {shlex.quote(str(install_pino()))} {PINO}"] + [
        f"exec {shlex.quote(sys.executable)} -P -m jsonlog view {options} {shlex.quote(str(folder))}"
        for _, options, _ in CASES
    ]
    rounds = [[measure(command) for command in commands] for _ in range(arguments.rounds)]
    peer, *ours = [tuple(map(min, zip(*measured, strict=True))) for measured in zip(*rounds, strict=True)]
    results = [
        Result(case, *(round(one, 2) for one in mine), round(peer[0] / mine[0], 1), round(peer[1] / mine[1], 1), wanted)
        for (case, _, wanted), mine in zip(CASES, ours, strict=True)
    ]
    version = json.loads((CACHE / "node_modules/pino-pretty/package.json").read_text())["version"]
    text = table(results, megabytes, records, f"pino-pretty {version}", peer)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "view.md").write_text(text)
    facts = {"megabytes": megabytes, "records": records, "pino_pretty": version, "pino_seconds": round(peer[0], 2)}
    (RESULTS / "view.json").write_text(
        json.dumps(facts | {"results": [asdict(one) for one in results]}, indent=1) + "\n"
    )
    print(text)


def table(results: list[Result], megabytes: int, records: int, peer: str, took: tuple[float, ...]) -> str:
    """Make the table as Markdown."""
    rows = [
        f"# jsonlog view and {peer}",
        "",
        f"Made by `python benchmarks/view.py --megabytes {megabytes}`: {records:,} records of {WRITERS} processes, one run,",
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, output to /dev/null, the fastest round of each.",
        f"{peer} prints everything in colour from `cat` in {took[0]:.1f} s ({took[1]:.1f} s of CPU, {took[2]:.0f} MB); it neither",
        "merges nor filters these records, so every ratio is to that time.",
        f"Load average at the end: {os.getloadavg()[0]:.1f}; with more than the cores can carry, the CPU columns are what counts.",
        "",
        "| jsonlog view | s | CPU s | times as fast | times less CPU | wanted | peak memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {r.case} | {r.seconds} | {r.cpu_seconds} | {r.ratio} | {r.cpu_ratio} | {r.wanted:g} | {r.peak_mb} |"
        for r in results
    ]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()

"""
`jsonlog view` side by side with pino-pretty, over the same files in one run.

    python benchmarks/view.py [--megabytes 1024]

Makes the data, installs pino-pretty with npm (both under .cache/benchmarks), prints a table and writes
benchmarks/results/view.json and view.md. pino-pretty is told where time, level and message stand and which fields to
leave out, which is faster for it than its defaults. It cannot merge, nor filter by text or field: there its time is
that of printing everything, through which one would have to look for the few records.
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
    peak_mb: float
    ratio: float
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


def measure(command: str) -> tuple[float, float]:
    """Run a shell command with its output thrown away; give the seconds and the peak memory of its largest process."""
    began = time.perf_counter()
    process = subprocess.Popen(["sh", "-c", command], stdout=subprocess.DEVNULL, cwd=CACHE)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: exit code {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    megabytes = parser.parse_args().megabytes
    folder = CACHE / f"view-{megabytes}"
    records = make_data(folder, megabytes << 20)
    pino = install_pino()
    files = f"{shlex.quote(str(folder))}/*.jsonl"
    pino_seconds, pino_mb = measure(f"cat {files} | {shlex.quote(str(pino))} {PINO}")
    results = []
    for case, arguments, wanted in CASES:
        command = f"exec {shlex.quote(sys.executable)} -P -m jsonlog view {arguments} {shlex.quote(str(folder))}"
        seconds, peak_mb = measure(command)
        results.append(Result(case, round(seconds, 2), round(peak_mb, 1), round(pino_seconds / seconds, 1), wanted))
        print(results[-1], flush=True)
    version = json.loads((CACHE / "node_modules/pino-pretty/package.json").read_text())["version"]
    text = table(results, megabytes, records, f"pino-pretty {version}", pino_seconds, pino_mb)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "view.md").write_text(text)
    facts = {"megabytes": megabytes, "records": records, "pino_pretty": version, "pino_seconds": round(pino_seconds, 2)}
    (RESULTS / "view.json").write_text(
        json.dumps(facts | {"results": [asdict(one) for one in results]}, indent=1) + "\n"
    )
    print(text)


def table(results: list[Result], megabytes: int, records: int, peer: str, seconds: float, peak_mb: float) -> str:
    """Make the table as Markdown."""
    rows = [
        f"# jsonlog view and {peer}",
        "",
        f"Made by `python benchmarks/view.py --megabytes {megabytes}`: {records:,} records of {WRITERS} processes, one run,",
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, output to /dev/null.",
        f"pino-pretty prints everything in colour from `cat` in {seconds:.1f} s ({peak_mb:.0f} MB); it neither merges nor",
        "filters by text or field, so every ratio is to that time.",
        "",
        "| jsonlog view | s | times as fast | wanted | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    rows += [f"| {r.case} | {r.seconds} | {r.ratio} | {r.wanted:g} | {r.peak_mb} |" for r in results]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()

"""
The shipper beside rsyslog, syslog-ng and a floor, over the same files into the same sink, in one run.

    python benchmarks/shipper.py backlog  [--megabytes 1024] [--rounds 3]     drains a backlog; table, JSON and a plot in results/
    python benchmarks/shipper.py workers                                      one and two worker processes
    python benchmarks/shipper.py scale                                        size of the backlog, number of files, length of lines
    python benchmarks/shipper.py worst                                        every line no JSON; every line refused
    python benchmarks/shipper.py start                                        from start to the first record
    python benchmarks/shipper.py live     [--rate 10000] [--files 8]          steady loads: CPU, memory, record to acknowledgement
    python benchmarks/shipper.py idle     --files 10000                       CPU and memory with files that nobody writes
    python benchmarks/shipper.py store    --to URL                            a real store: a bare loop of the same requests beside ours

The sink is sink.c: it counts lines, adds up a hash of each, and answers `_bulk` truthfully. Every run is checked: each line
arrived, and none twice. rsyslog and syslog-ng are Debian's packages, unpacked under .cache; their lines go unparsed and without
ids, in batches of 10,000 lines or 8 MB, with two workers. The floor sends the bytes of the files in POSTs of 4 MB, and does
nothing else. Wall time is that from the start of the process to the last acknowledged line; CPU is that of the shipper with
its children. All take turns, and the fastest round of each counts.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.parts import (
    CACHE,
    ROOT,
    Cost,
    Sink,
    copies,
    drain,
    make_data,
    make_line,
    ours,
    rsyslog,
    shipper,
    syslog_ng,
    usage,
)

RESULTS = ROOT / "benchmarks" / "results"
MB = 1 << 20
TEN_TIMES = "10 times that"


@dataclass(frozen=True)
class Row:
    """The best round of one contender."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    wall_rate: float
    cpu_rate: float


def floor(url: str, folder: str) -> None:
    """Send the bytes of all files in order, nothing else."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    for path in sorted(Path(folder).glob("*.jsonl")):
        with path.open("rb", buffering=0) as file:
            rest = b""
            while block := file.read(4 * MB):
                whole = block.rfind(b"\n") + 1
                connection.request("POST", "/", rest + block[:whole], {"content-type": "application/x-ndjson"})
                connection.getresponse().read()
                rest = block[whole:]


def run_floor(folder: Path, sink: Sink, lines: int) -> Cost:
    return drain([sys.executable, __file__, "floor", "--to", sink.url, "--data", str(folder)], sink, lines)


def run_peer(
    peer: Callable[[Path, Sink, Path], tuple[list[str | Path], dict[str, str]]],
) -> Callable[[Path, Sink, int], Cost]:
    def run(folder: Path, sink: Sink, lines: int) -> Cost:
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            command, env = peer(folder, sink, Path(work))
            return drain(command, sink, lines, env=env)

    return run


def run_ours(*options: str) -> Callable[[Path, Sink, int], Cost]:
    return lambda folder, sink, _lines: ours(folder, sink, *options)


CONTENDERS: dict[str, Callable[[Path, Sink, int], Cost]] = {
    "floor: raw POST": run_floor,
    "ours, _bulk": run_ours("--compression", "none"),
    "ours, _bulk gzip": run_ours("--compression", "gzip"),
    "ours, NDJSON": run_ours("--sink", "http", "--compression", "none"),
    "ours, NDJSON gzip": run_ours("--sink", "http", "--compression", "gzip"),
    "syslog-ng, _bulk": run_peer(syslog_ng),
    "rsyslog, _bulk": run_peer(rsyslog),
}


def compare(
    contenders: dict[str, Callable[[Path, Sink, int], Cost]], folder: Path, lines: int, rounds: int
) -> list[Row]:
    """Let the contenders take turns; give the best round of each, with rates in MB/s of the lines."""
    size = sum(path.stat().st_size for path in folder.glob("*.jsonl")) / 1e6
    best: dict[str, Cost] = {}
    sums: set[str] = set()
    sink = Sink()
    try:
        for _ in range(rounds):
            for name, run in contenders.items():
                cost = run(folder, sink, lines)
                stats = sink.stats()
                sums.add(stats["sum"])
                if stats["lines"] != lines or len(sums) > 1:
                    sys.exit(f"{name}: {stats['lines']} of {lines} lines, or not the same ones")
                best[name] = min(best.get(name, cost), cost, key=lambda c: c.seconds)
                print(
                    f"  {name}: {cost.seconds:.2f} s, CPU {cost.cpu_seconds:.2f} s, {cost.peak_mb:.0f} MB",
                    file=sys.stderr,
                )
    finally:
        sink.close()
    return [
        Row(name, c.seconds, c.cpu_seconds, c.peak_mb, size / c.seconds, size / max(c.cpu_seconds, 1e-3))
        for name, c in best.items()
    ]


def backlog(options: argparse.Namespace) -> None:
    folder, lines = make_data(options.megabytes * MB)
    rows = compare(CONTENDERS, folder, lines, options.rounds)
    by_name = {row.name: row for row in rows}
    peers = [by_name[name] for name in ("syslog-ng, _bulk", "rsyslog, _bulk")]
    wall, cpu = max(p.wall_rate for p in peers), max(p.cpu_rate for p in peers)
    text = [
        f"{options.megabytes} MiB in 4 files, {lines} lines; best of {options.rounds} rounds; x the better of the two peers",
        "",
        "| | MB/s wall | MB per CPU-second | peak RSS, MB | x peers, wall | x peers, CPU | floor ÷ wall |",
        "|---|---|---|---|---|---|---|",
    ]
    text += [
        f"| {row.name} | {row.wall_rate:.0f} | {row.cpu_rate:.0f} | {row.peak_mb:.0f} | {row.wall_rate / wall:.1f} | "
        f"{row.cpu_rate / cpu:.1f} | {by_name['floor: raw POST'].wall_rate / row.wall_rate:.1f} |"
        for row in rows
    ]
    publish("shipper-backlog", "\n".join(text), rows)
    (RESULTS / "shipper-backlog.svg").write_text(plot(rows))


def plot(rows: list[Row]) -> str:
    """Bars of wall and CPU rates, as an SVG."""
    top = max(max(row.wall_rate, row.cpu_rate) for row in rows)
    bars = []
    for index, row in enumerate(rows):
        y = 30 + 46 * index
        bars.append(f'<text x="10" y="{y + 22}">{row.name}</text>')
        for shift, rate, color in ((0, row.wall_rate, "#2b6cb0"), (18, row.cpu_rate, "#a0aec0")):
            width = 480 * rate / top
            bars.append(f'<rect x="170" y="{y + shift}" width="{width:.0f}" height="15" fill="{color}"/>')
            bars.append(f'<text x="{175 + width:.0f}" y="{y + shift + 12}">{rate:.0f}</text>')
    head = '<text x="170" y="18" fill="#2b6cb0">MB/s wall</text><text x="270" y="18" fill="#718096">MB per CPU-second</text>'
    height = 40 + 46 * len(rows)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" font-family="sans-serif" font-size="12">{head}{"".join(bars)}</svg>\n'


def publish(name: str, table: str, rows: list[Row]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(table + "\n")
    (RESULTS / f"{name}.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(table)


def publish_table(name: str, head: str, rows: list[str]) -> None:
    """Print a table and keep it in results/."""
    rule = "|" + "---|" * (head.count("|") - 1)
    table = "\n".join([head, rule, *rows])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(table + "\n")
    print(table)


def simple_table(title: str, rows: list[Row]) -> str:
    text = [title, "", "| | MB/s wall | MB per CPU-second | peak RSS, MB |", "|---|---|---|---|"]
    text += [f"| {r.name} | {r.wall_rate:.0f} | {r.cpu_rate:.0f} | {r.peak_mb:.0f} |" for r in rows]
    return "\n".join(text)


def workers(options: argparse.Namespace) -> None:
    folder, lines = make_data(options.megabytes * MB, files=8)  # four for each of two workers
    os.environ["SHIPPER_COMPRESSION"] = "none"
    contenders = {f"{n} worker{'s' * (n > 1)}": with_env({"SHIPPER_WORKERS": str(n)}) for n in (1, 2)}
    publish(
        "shipper-workers", simple_table("`workers`", rows := compare(contenders, folder, lines, options.rounds)), rows
    )


def with_env(env: dict[str, str]) -> Callable[[Path, Sink, int], Cost]:
    def run(folder: Path, sink: Sink, lines: int) -> Cost:  # noqa: ARG001
        os.environ.update(env)
        try:
            return ours(folder, sink)
        finally:
            for name in env:
                del os.environ[name]

    return run


def scale(options: argparse.Namespace) -> None:
    """One dimension at a time; the time of a start with nothing to do is taken off."""
    rows = []
    one = {"x": run_ours("--compression", "none")}
    with tempfile.TemporaryDirectory(dir=CACHE) as nothing:
        (Path(nothing) / "shop-h-1-k000000000000000.0.jsonl").write_text(
            make_line("k000000000000000", 0, random.Random(1))
        )
        start = compare(one, Path(nothing), 1, 5)[0].seconds
    cases = [(f"{mb} MiB", mb, 4, 0) for mb in (10, 100, options.megabytes)]
    cases.append((TEN_TIMES, options.megabytes, 4, 0))
    cases += [(f"{files} files", 100, files, 0) for files in (1, 10, 100, 1000)]
    cases += [(f"lines of {filler + 330} bytes", 100, 4, filler) for filler in (0, 10_000, 100_000)]
    for name, mb, files, filler in cases:
        folder, lines = make_data(mb * MB, files=files, filler=filler)
        if name == TEN_TIMES:
            folder, lines = copies(folder, 10)
        row = compare(one, folder, lines, options.rounds)[0]
        size = row.wall_rate * row.seconds
        rows.append(Row(name, row.seconds, row.cpu_seconds, row.peak_mb, size / (row.seconds - start), row.cpu_rate))
    publish("shipper-scale", simple_table(f"start ({start:.2f} s) taken off the wall time", rows), rows)


def worst(options: argparse.Namespace) -> None:
    """Every line no JSON, to be wrapped; every line refused, to become a dead letter (by a sink that says so)."""
    size = options.megabytes * MB // 8
    folder = CACHE / "data-bad"
    folder.mkdir(parents=True, exist_ok=True)
    line = (
        b"2026-11-22 05:02:17 INFO order 17 placed by nobody in particular, a line of plain text that is no JSON "
        + b"." * 200
        + b"\n"
    )
    (folder / "app.jsonl").write_bytes(line * (size // len(line)))
    good, lines = make_data(size)
    rows = []
    for name, data, refuse in (("not JSON", folder, False), ("refused", good, True)):
        sink = Sink(refuse=refuse)
        try:
            cost = ours(data, sink, "--compression", "none")
            arrived = sink.stats()["lines"]
        finally:
            sink.close()
        read = sum(path.stat().st_size for path in data.glob("*.jsonl")) / 1e6
        end = "dead-lettered, each once" if refuse else "delivered, wrapped in records"
        expected = lines if refuse else size // len(line)
        rows.append(
            f"| {name} | {read / cost.seconds:.0f} | {read / cost.cpu_seconds:.0f} | {cost.peak_mb:.0f} | {arrived} of {expected} {end} |"
        )
    publish_table("shipper-worst", "| | MB/s wall | MB per CPU-second | peak RSS, MB | |", rows)


def start(options: argparse.Namespace) -> None:
    """From the start of the process to the first acknowledged record."""
    sink = Sink()
    times = []
    try:
        for _ in range(max(options.rounds, 5)):
            with tempfile.TemporaryDirectory(dir=CACHE) as folder, tempfile.TemporaryDirectory(dir=CACHE) as state:
                path = Path(folder) / "shop-h-1-k000000000000000.0.jsonl"
                path.write_text(make_line("k000000000000000", 0, random.Random(1)))
                sink.stats("DELETE")
                began = time.monotonic()
                process = subprocess.Popen(
                    shipper(str(path), sink.url, state),
                    cwd=ROOT,
                    stderr=subprocess.DEVNULL,
                )
                while not sink.stats()["lines"]:
                    time.sleep(0.002)
                times.append(time.monotonic() - began)
                process.terminate()
                process.wait()
    finally:
        sink.close()
    rows = [f"| start to first record, s | {min(times):.2f} | {statistics.median(times):.2f} |"]
    publish_table("shipper-start", "| | best | median |", rows)


def write_steadily(paths: list[Path], rate: int, seconds: float) -> int:
    """Append records to files in turn, some every 10 ms; give their number. The lines are made before: it is not they that are measured."""
    files = [path.open("ab", buffering=0) for path in paths]
    rng = random.Random(3)
    ready = [make_line("k000000000000000", number, rng).encode() for number in range(4096)]
    began, written, turn = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < seconds:
        due = int(now * rate)
        while written < due:
            share = min(due - written, max(1, rate // 100 // len(files)), len(ready))
            files[turn % len(files)].write(b"".join(ready[:share]))
            written += share
            turn += 1
        time.sleep(0.01)
    return written


def live(options: argparse.Namespace) -> None:
    """Steady loads; the latency is that from the instant at which a record was due to be written to its acknowledgement."""
    rows = []
    for rate, files in ((options.rate, options.files), (1000, 1000), (300_000, 8)):
        rows += live_load(rate, files, options.seconds)
    head = "| load | watching | arrived | % of a core | RSS, MB | behind, p50, ms | p99, ms |"
    publish_table("shipper-live", head, rows)


def live_load(rate: int, files: int, seconds: float) -> list[str]:
    rows = []
    for interval in ("inotify", "poll"):
        sink = Sink()
        with tempfile.TemporaryDirectory(dir=CACHE) as folder, tempfile.TemporaryDirectory(dir=CACHE) as state:
            paths = [Path(folder) / f"shop-h-{n}-k{n:015d}.0.jsonl" for n in range(files)]
            command = shipper(f"{folder}/*.jsonl", sink.url, state, "--compression", "none")
            process = subprocess.Popen(
                command, cwd=ROOT, stderr=subprocess.DEVNULL, env={**os.environ, "SHIPPER_WATCH": interval}
            )
            time.sleep(2)
            cpu_before = usage(process.pid)[0]
            lag: list[float] = []
            over = threading.Event()
            marks: list[tuple[float, int]] = []

            def watch(marks: list[tuple[float, int]] = marks, over: threading.Event = over, sink: Sink = sink) -> None:
                while not over.wait(0.005):
                    marks.append((time.monotonic(), sink.stats()["lines"]))

            thread = threading.Thread(target=watch)
            thread.start()
            began = time.monotonic()
            written = write_steadily(paths, rate, seconds)
            elapsed = time.monotonic() - began
            time.sleep(1)
            over.set()
            thread.join()
            cpu, resident = usage(process.pid)
            for at, count in marks:  # when record number `count` was acknowledged, against when it was written
                if 0 < count < written:
                    lag.append(at - (began + count / rate))
            arrived = sink.stats()["lines"]
            process.terminate()
            process.wait()
        sink.close()
        lag.sort()
        p50, p99 = (lag[int(len(lag) * q)] * 1000 for q in (0.5, 0.99)) if lag else (0, 0)
        rows.append(
            f"| {written / elapsed:,.0f} records/s over {files} files | {interval} | {arrived} of {written} | "
            f"{(cpu - cpu_before) / elapsed * 100:.1f} | {resident:.0f} | {p50:.0f} | {p99:.0f} |"
        )
    return rows


def idle(options: argparse.Namespace) -> None:
    """Files that nobody writes: what is the shipper's own cost?"""
    rows = []
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for n in range(options.files):
            (Path(folder) / f"shop-h-{n}-k{n:015d}.0.jsonl").write_text(make_line(f"k{n:015d}", 0, random.Random(n)))
        for how in ("inotify", "poll"):
            sink = Sink()
            with tempfile.TemporaryDirectory(dir=CACHE) as state:
                command = shipper(f"{folder}/*.jsonl", sink.url, state)
                began = time.monotonic()
                process = subprocess.Popen(
                    command, cwd=ROOT, stderr=subprocess.DEVNULL, env={**os.environ, "SHIPPER_WATCH": how}
                )
                while sink.stats()["lines"] < options.files and time.monotonic() - began < 60:
                    time.sleep(0.02)
                shipped = time.monotonic() - began
                time.sleep(3)
                before, at = usage(process.pid)[0], time.monotonic()
                time.sleep(options.seconds)
                cpu, resident = usage(process.pid)
                share = (cpu - before) / (time.monotonic() - at)
                process.terminate()
                process.wait()
            sink.close()
            rows.append(f"| {options.files} files | {how} | {shipped:.1f} | {share * 100:.2f} | {resident:.0f} |")
    publish_table("shipper-idle", "| | watching | shipped in, s | then % of a core | RSS, MB |", rows)


def ask(url: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request(method, path, body, headers or {})
    return connection.getresponse().read()


def bare_loop(url: str, folder: Path, stream: str, *, own_ids: bool) -> tuple[float, float]:
    """Send a folder in requests as ours make them, one after the other; give the seconds, and the MB that it takes when merged."""
    from shipper.core.bulk import encode_bulk  # noqa: PLC0415
    from shipper.core.framing import check  # noqa: PLC0415
    from shipper.core.model import Position, Source  # noqa: PLC0415

    ask(url, "PUT", f"/_data_stream/{stream}")
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    began = time.monotonic()
    for path in sorted(folder.glob("*.jsonl")):
        position = Position()
        source = Source(path.stem, stream, str(path))
        with path.open("rb") as file:
            while data := file.read(4 * MB) + file.readline():
                checked = check(source, position, data)
                position = checked.chunk.end
                request = encode_bulk(checked.pieces)
                body = b"".join(request.parts)
                body = body if own_ids else re.sub(rb',"_id":"[^"]*"', b"", body)
                connection.request("POST", request.path, body, dict(request.headers))
                connection.getresponse().read()
    took = time.monotonic() - began
    ask(url, "POST", f"/{stream}/_forcemerge?max_num_segments=1")
    ask(url, "POST", f"/{stream}/_refresh")
    ask(url, "POST", f"/{stream}/_flush")
    size = json.loads(ask(url, "GET", f"/{stream}/_stats/store"))["_all"]["primaries"]["store"]["size_in_bytes"]
    return took, size / 1e6


def store(options: argparse.Namespace) -> None:
    """Into a real store: the same requests by a bare loop, with our ids and with the store's own, and ours; in a new order each round."""
    folder, lines = make_data(options.megabytes * MB)
    rows = []
    for index in range(options.rounds):
        rates, sizes = {}, {}
        ways = [("store's ids", False), ("our ids", True)]
        for name, own_ids in ways if index % 2 else ways[::-1]:
            stream = f"logs-bench{index}{int(own_ids)}.jsonlog-default"
            took, sizes[name] = bare_loop(options.to, folder, stream, own_ids=own_ids)
            rates[name] = lines / took
        with tempfile.TemporaryDirectory(dir=CACHE) as state:
            command = shipper(f"{folder}/*.jsonl", options.to, state, "--once", "--compression", "none")
            began = time.monotonic()
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "SHIPPER_DATASET": f"ours{index}"}, stderr=subprocess.DEVNULL
            )
            _, _, used = os.wait4(process.pid, 0)
            mine = time.monotonic() - began
        cpu, everything = used.ru_utime + used.ru_stime, mine * (os.cpu_count() or 1)
        bare = " | ".join(f"{rates[name]:,.0f} | {sizes[name]:.1f}" for name, _ in ways)
        rows.append(f"| {bare} | {lines / mine:,.0f} | {cpu:.1f} s of {everything:.1f} s |")
    head = "| bare loop, store's ids: records/s | MB | our ids: records/s | MB | ours, records/s | our CPU of all |"
    kind = "opensearch" if b"opensearch" in ask(options.to, "GET", "/") else "elasticsearch"
    publish_table(f"shipper-store-{kind}", head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {f.__name__: f for f in (backlog, workers, scale, worst, start, live, idle, store)}
    parser.add_argument("command", choices=[*commands, "floor"])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--to", default="")
    parser.add_argument("--data", default="")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as where the package is installed
    if options.command == "floor":
        floor(options.to, options.data)
    else:
        commands[options.command](options)


if __name__ == "__main__":
    main()

"""
What bounds the shipper, at full size: memory and processor in an outage, many files, few descriptors.

    python benchmarks/bounds.py outage [--megabytes 3072] [--seconds 60]   the store goes, a backlog comes, the store is back
    python benchmarks/bounds.py files  [--files 10000]                     files of one record each
    python benchmarks/bounds.py few    [--files 2000]                      files that are all written to, with 256 descriptors

The sink is that of shipper.py; each run ends with every line at the sink, or says how many are there.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.parts import CACHE, ROOT, Sink, make_data, make_line, ours, usage

PART_MB = 64


@contextmanager
def shipper(folder: Path, url: str, *, descriptors: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A shipper that runs until the end of the block, with its own state."""
    with tempfile.TemporaryDirectory(dir=CACHE) as state, (CACHE / "last.log").open("wb") as log:
        few = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
        command = [
            *few,
            sys.executable,
            "-m",
            "shipper",
            "run",
            "--path",
            f"{folder}/*.jsonl",
            "--to",
            url,
            "--state",
            state,
        ]
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def wait_for(sink: Sink, lines: int, pid: int, limit_s: float = 600) -> tuple[float, float]:
    """Wait until the sink has *lines*; return how long that took, and the most memory meanwhile, in MB."""
    started, most = time.monotonic(), 0.0
    while (there := sink.stats()["lines"]) < lines:
        most = max(most, usage(pid)[1])
        time.sleep(0.02)
        if time.monotonic() - started > limit_s:
            break
    if there != lines:
        sys.exit(f"{there} of {lines} lines arrived; {(CACHE / 'last.log').read_text()[-2000:]}")
    return time.monotonic() - started, max(most, usage(pid)[1])


def outage(options: argparse.Namespace) -> None:
    """A store that goes away; memory and processor must not depend on how much waits meanwhile."""
    block, lines = make_data(PART_MB << 20, files=1)
    (source,) = block.glob("*.jsonl")
    for megabytes in (PART_MB, options.megabytes):
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            first = Path(folder) / f"shop-h-7-k{0:015d}.0.jsonl"
            first.write_text(make_line("k", 0, random.Random(0)))
            sink = Sink()
            with shipper(Path(folder), sink.url) as process:
                wait_for(sink, 1, process.pid)
                sink.close()
                for number in range(1, 1 + megabytes // PART_MB):
                    hidden = Path(folder) / "hidden"
                    shutil.copyfile(source, hidden)
                    hidden.rename(first.with_name(f"shop-h-7-k{number:015d}.0.jsonl"))
                time.sleep(5)
                (before, most), at = usage(process.pid), time.monotonic()
                while time.monotonic() - at < options.seconds:
                    time.sleep(0.1)
                    cpu, resident = usage(process.pid)
                    most = max(most, resident)
                share = (cpu - before) / (time.monotonic() - at)
                print(f"store away, {megabytes} MB waiting: {share * 100:.2f} % of a core, at most {most:.0f} MB")
                sink = Sink(sink.port)
                took, most = wait_for(sink, lines * (megabytes // PART_MB), process.pid)
                print(f"  store back: all {megabytes} MB there after {took:.1f} s, at most {most:.0f} MB", flush=True)
            sink.close()


def files(options: argparse.Namespace) -> None:
    """Many files of one record."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for n in range(options.files):
            (Path(folder) / f"shop-h-{n}-k{n:015d}.0.jsonl").write_text(make_line(f"k{n:015d}", 0, random.Random(n)))
        sink = Sink()
        cost = ours(Path(folder), sink)
        stats = sink.stats()
        sink.close()
    if stats["lines"] != options.files:
        sys.exit(f"{stats['lines']} lines of {options.files} arrived")
    print(
        f"{options.files} files of one record: {cost.seconds:.1f} s, {cost.cpu_seconds:.1f} s of CPU; {cost.peak_mb:.0f} MB"
    )


def few(options: argparse.Namespace) -> None:
    """More files than descriptors, all of them written to again and again."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        paths = [Path(folder) / f"shop-h-{n}-k{n:015d}.0.jsonl" for n in range(options.files)]
        sink, rounds = Sink(), 20
        with shipper(Path(folder), sink.url, descriptors=256) as process:
            started = time.monotonic()
            for number in range(rounds):
                for n, path in enumerate(paths):
                    with path.open("a") as file:
                        file.write(make_line(f"k{n:015d}", number, random.Random(n)))
            written = time.monotonic() - started
            took, most = wait_for(sink, rounds * options.files, process.pid)
            opened = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        sink.close()
    print(
        f"{options.files} files, {rounds} records each within {written:.1f} s, 256 descriptors ({opened} open): "
        f"all there {took:.1f} s later, each once, at most {most:.0f} MB"
    )


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run, count in (("outage", outage, 0), ("files", files, 10_000), ("few", few, 2000)):
        command = commands.add_parser(name, help=run.__doc__)
        command.add_argument("--files", type=int, default=count)
        command.add_argument("--megabytes", type=int, default=3072)
        command.add_argument("--seconds", type=float, default=60.0)
        command.set_defaults(run=run)
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    options.run(options)


if __name__ == "__main__":
    main()

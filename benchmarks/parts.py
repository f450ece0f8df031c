"""What the shipper's benchmarks are made of: data, the sink, the peers, and a process that is measured."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "benchmarks"
FILES = 4
_FRAME = r"  File \"/app/shop/m{0}.py\", line {0}, in f{0}\n    return g{0}(order)\n"
_TRACEBACK = (
    r"Traceback (most recent call last):\n" + "".join(map(_FRAME.format, range(14))) + "shop.errors.CardError: declined"
)
_EXC = f'"exc":{{"type":"CardError","module":"shop.errors","message":"declined","traceback":"{_TRACEBACK}"}},'
_DEBS = {
    "isal": ("libisal2", "libisal-dev"),
    "rsyslog": ("rsyslog", "rsyslog-elasticsearch", "libestr0", "libfastjson4", "liblognorm5"),
    "syslog-ng": ("syslog-ng-core", "syslog-ng-mod-http", "libivykis0", "libpcre3"),
}


def make_line(run: str, number: int, rng: random.Random, filler: str = "") -> str:
    """One record of 300 bytes, one in fifty of 1,500 bytes with an exception; with its newline."""
    exc = _EXC if rng.random() < 0.02 else ""
    return (
        f'{{"@timestamp":"2026-11-22T05:02:17.{number % 1000:03d}Z","msecs":{number % 1000},"log":{{"level":"INFO","logger":"shop.pay"}},'
        f'"message":"order {number} placed{filler}",{exc}"service":{{"name":"shop"}},"host":{{"name":"web-1"}},"process":{{"pid":7,'
        f'"entity_id":"01JD"}},"extra":{{"user":{rng.randrange(9999)},"amount":12.5}},"run":"{run}","event":{{"sequence":{number}}}}}\n'
    )


def make_data(size: int, *, files: int = FILES, filler: int = 0) -> tuple[Path, int]:
    """Write *size* bytes in *files* files as writers would; give the folder and the number of lines."""
    folder = CACHE / f"data-{size >> 20}-{files}-{filler}"
    done = folder / "lines"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        lines = 0
        for index in range(files):
            rng, run, written, number = random.Random(index), f"k{index:015d}", 0, 0
            with (folder / f"shop-web%2D1-7-{run}.0.jsonl").open("w") as file:
                while written < size // files:
                    written += file.write(make_line(run, number, rng, "." * filler))
                    number += 1
            lines += number
        done.write_text(str(lines))
    return folder, int(done.read_text())


def copies(folder: Path, count: int) -> tuple[Path, int]:
    """Copy the files of a folder some times, each under a name of its own; give the new folder and its number of lines."""
    lines, many = int((folder / "lines").read_text()), folder.with_name(f"{folder.name}-{count}-times")
    done = many / "lines"
    if not done.exists():
        shutil.rmtree(many, ignore_errors=True)
        many.mkdir()
        for number in range(count):
            for path in folder.glob("*.jsonl"):
                shutil.copyfile(path, many / path.name.replace("-k0", f"-c{number}"))
        done.write_text(str(count * lines))
    return many, int(done.read_text())


def unpack(name: str) -> Path:
    """Get Debian's packages of a peer and unpack them, without installing: some of them exclude each other."""
    folder = CACHE / name
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", *_DEBS[name]], cwd=folder, check=True, capture_output=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
        (folder / "done").touch()
    return folder


def build_sink() -> Path:
    """Compile the sink; with ISA-L, whose inflate costs least, else with zlib."""
    source, program = ROOT / "benchmarks" / "sink.c", CACHE / "sink"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    CACHE.mkdir(parents=True, exist_ok=True)
    common = ["gcc", "-O2", "-march=native", "-pthread", source, "-o", program]
    isal = unpack("isal") / "usr"
    library = next(isal.glob("lib/*/libisal.a"), None)
    with_isal = [*common, "-DUSE_ISAL", f"-I{isal / 'include'}", str(library)]
    if library is None or subprocess.run(with_isal, check=False, capture_output=True).returncode:
        subprocess.run([*common, "-lz"], check=True)
    return program


class Sink:
    """The C sink as a process."""

    def __init__(self, port: int = 0, *, refuse: bool = False) -> None:
        command = [build_sink(), str(port), *(["refuse"] if refuse else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"
        self.pid = self._process.pid

    def stats(self, method: str = "GET") -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/_stats", method=method)
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass
class Cost:
    """What a process and its children took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds and resident MB of a process and its children, now."""
    cpu = resident = 0.0
    for one in (pid, *children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        cpu += sum(map(int, fields[11:15])) / _TICK
        resident += int(fields[21]) * _PAGE_MB
    return cpu, resident


def children(pid: int) -> list[int]:
    try:
        below = [
            int(x) for task in Path(f"/proc/{pid}/task").iterdir() for x in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for child in below for found in (child, *children(child))]


def drain(
    command: Sequence[str | Path], sink: Sink, lines: int, *, env: dict[str, str] | None = None, limit_s: float = 300
) -> Cost:
    """Run a shipper until the sink has *lines* lines, then stop it; wall time is that to the last acknowledged line."""
    sink.stats("DELETE")
    cost, started = Cost(), time.monotonic()
    log = CACHE / "last.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **(env or {})}, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    while sink.stats()["lines"] < lines:
        cost.seconds = time.monotonic() - started
        cpu, resident = usage(process.pid)
        cost.cpu_seconds, cost.peak_mb = max(cost.cpu_seconds, cpu), max(cost.peak_mb, resident)
        if cost.seconds > limit_s or process.poll() is not None:
            break
        time.sleep(0.01)
    cost.seconds = time.monotonic() - started
    cpu, resident = usage(process.pid)
    if process.poll() is None:
        cost.cpu_seconds, cost.peak_mb = max(cost.cpu_seconds, cpu), max(cost.peak_mb, resident)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if sink.stats()["lines"] != lines:
        sys.exit(f"{command[0]}: {sink.stats()['lines']} of {lines} lines arrived; {log.read_text()[-2000:]}")
    return cost


def shipper(path: str, url: str, state: str, *options: str) -> list[str]:
    """The command that ships."""
    return [sys.executable, "-m", "shipper", "run", "--path", path, "--to", url, "--state", state, *options]


def ours(folder: Path, sink: Sink, *options: str) -> Cost:
    """Drain a folder with our shipper, its state in a fresh folder; wall time ends with the process."""
    with tempfile.TemporaryDirectory(dir=CACHE) as state:
        command = shipper(f"{folder}/*.jsonl", sink.url, state, "--once", *options)
        sink.stats("DELETE")
        started = time.monotonic()
        log = CACHE / "last.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stderr=out, cwd=ROOT)
        cost = Cost()
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            cost.peak_mb = max(cost.peak_mb, usage(process.pid)[1])
            time.sleep(0.02)
        cost.seconds = time.monotonic() - started
        cost.cpu_seconds = used.ru_utime + used.ru_stime
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(log.read_text())
    return cost


def rsyslog(folder: Path, sink: Sink, work: Path) -> tuple[list[str | Path], dict[str, str]]:
    """Command and environment of an rsyslog that drains a folder: lines unparsed, large batches, two workers."""
    base = unpack("rsyslog")
    library = next(base.glob("usr/lib/*/rsyslog")).parent
    config = work / "rsyslog.conf"
    inputs = "\n".join(
        f'input(type="imfile" File="{path}" Tag="x" ruleset="out" readTimeout="0")'
        for path in sorted(folder.glob("*.jsonl"))
    )
    config.write_text(f"""
global(workDirectory="{work}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off")
module(load="imfile" mode="inotify")
module(load="omelasticsearch")
template(name="raw" type="string" string="%msg%")
ruleset(name="out" queue.type="LinkedList" queue.size="500000" queue.dequeueBatchSize="10000" queue.workerThreads="2"
        queue.workerThreadMinimumMessages="1000") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{sink.port}" searchIndex="logs" searchType="" template="raw"
         bulkmode="on" maxbytes="8m" skipverifyhost="on" action.resumeRetryCount="-1")
}}
{inputs}
""")
    command = [base / "usr/sbin/rsyslogd", "-n", "-f", config, "-i", work / "pid", "-M", f"{library}/rsyslog"]
    return command, {"LD_LIBRARY_PATH": str(library)}


def syslog_ng(folder: Path, sink: Sink, work: Path) -> tuple[list[str | Path], dict[str, str]]:
    """Command and environment of a syslog-ng that drains a folder: lines unparsed, large batches, two workers."""
    base = unpack("syslog-ng")
    library = next(path for path in base.glob("usr/lib/*") if (path / "libivykis.so.0").exists())
    config = work / "syslog-ng.conf"
    files = "\n".join(
        f'  file("{path}" flags(no-parse) follow-freq(0.1) log-fetch-limit(10000) log-iw-size(100000));'
        for path in sorted(folder.glob("*.jsonl"))
    )
    body = r"{\"create\":{}}\n${MSG}"
    config.write_text(f"""@version: 3.38
options {{ threaded(yes); log-msg-size(262144); stats-freq(0); keep-hostname(yes); use-dns(no); }};
source s {{
{files}
}};
destination d {{ http(url("{sink.url}/_bulk?filter_path=errors,items.*.status") method("POST") headers("content-type: application/x-ndjson")
  body("{body}") batch-lines(10000) batch-bytes(8192Kb) batch-timeout(100) workers(2) log-fifo-size(500000)); }};
log {{ source(s); destination(d); flags(flow-control); }};
""")
    own = base / "usr/lib/syslog-ng"
    command = [
        base / "usr/sbin/syslog-ng", "-F", "--no-caps", "-f", config, "-R", work / "persist", "-c", work / "control", "-p", work / "pid",
        "--module-path", own / "3.38",
    ]  # fmt: skip
    return command, {"LD_LIBRARY_PATH": f"{own}:{library}:{base / 'lib' / library.name}"}

"""
What a record costs: `jsonlog` against the other JSON formatters for Python's logging.

    python -m venv .peers && .peers/bin/pip install orjson msgspec python-json-logger structlog loguru \\
        ecs-logging json-log-formatter python-logstash-async
    .peers/bin/python benchmarks/formatter.py

Every case is timed for every library in one process, in short batches, in a new random order each round; the shortest
batch counts, since whatever else the machine does can only make one longer. That is done in several processes, one after
the other: where a process happens to lay its memory moves a ratio by a tenth, so the median of theirs is what is told.
Records are made anew for each batch, so that no library finds what another has left on them. Ratios are to the standard library's text formatter with time,
level, name and message. Ours always writes the complete record (service, host, process, thread, call site), with every
check. A library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import logging
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import jsonlog  # noqa: E402 (from this checkout)

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
EXTRA = {"order": 17, "amount": 12.5, "user": "u-4711", "ok": True, "address": "10.0.0.1"}
BOUND = {"request": "r-17", "tenant": "acme"}
REDACT = {"keys": ["password"], "patterns": ["bearer", "email", "card", "aws", "private_key", "url_password"]}
STDLIB, OURS = "stdlib text", "jsonlog"
BATCH = 100


def raise_at(depth):
    if depth:
        raise_at(depth - 1)
    raise ValueError("declined")


def chained():
    try:
        raise_at(3)
    except ValueError as exc:
        raise RuntimeError("charge failed") from exc


def caught(function, *args):
    try:
        function(*args)
    except Exception:  # noqa: BLE001 (that is what is wanted)
        return sys.exc_info()
    raise AssertionError


DEEP = caught(raise_at, 4)
CHAIN = caught(chained)
# What each record of a case has: its fields, its exception.
CASES = {
    "simple": ({}, None),
    "5 extras": (EXTRA, None),
    "exception": ({}, DEEP),
    "chain": ({}, CHAIN),
    "2 bound": (BOUND, None),
    "redaction": (EXTRA, None),
}


def records(case, count=BATCH):
    extra, exc_info = CASES[case]
    made = []
    for _ in range(count):
        record = logging.LogRecord(
            "shop.pay", logging.INFO, "/app/shop/pay.py", 12, "hello %s", ("x",), exc_info, "charge"
        )
        record.__dict__.update(extra)
        made.append(record)
    return made


def optional(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def formatters():
    """Each library's formatter, with the fields that its documentation asks for."""
    fields = ["asctime", "levelname", "name", "message"]
    found = {
        STDLIB: logging.Formatter(TEXT),
        OURS: jsonlog.JsonFormatter(service="shop", version="1", environment="prod"),
    }
    if optional("pythonjsonlogger.orjson"):
        found["pjl orjson"] = sys.modules["pythonjsonlogger.orjson"].OrjsonFormatter(fields)
    if optional("pythonjsonlogger.msgspec"):
        found["pjl msgspec"] = sys.modules["pythonjsonlogger.msgspec"].MsgspecFormatter(fields)
    if optional("structlog"):
        found["structlog + orjson"] = structlog_formatter()
    if module := optional("ecs_logging"):
        found["ecs-logging"] = module.StdlibFormatter()
    if module := optional("json_log_formatter"):
        found["json-log-formatter"] = module.VerboseJSONFormatter()
    if module := optional("logstash_async.formatter"):
        found["logstash-async"] = module.LogstashFormatter()
    return found


def structlog_formatter():
    import orjson  # noqa: PLC0415 (a peer's)
    import structlog  # noqa: PLC0415

    def encode(event, **_):
        return orjson.dumps(event, default=str).decode()

    before = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(serializer=encode),
        ],
    )


def time_batch(function, items):
    start = time.perf_counter()
    for item in items:
        function(item)
    return (time.perf_counter() - start) / len(items) * 1e6


def format_jobs():
    """Every pair of case and library that only formats: a function that times one batch."""
    jobs = {}
    for name, formatter in formatters().items():
        for case in CASES:
            jobs[case, name] = lambda f=formatter.format, case=case: time_batch(f, records(case))
    ours = formatters()[OURS]
    careful = jsonlog.JsonFormatter(service="shop", version="1", environment="prod", redact=REDACT)
    for case in CASES:
        formatter = careful if case == "redaction" else ours
        jobs[case, OURS] = lambda f=formatter.format_bytes, case=case: ours_batch(f, case)
        jobs[case, f"{OURS} (str)"] = lambda f=formatter.format, case=case: ours_batch(f, case)
    return jobs


def ours_batch(function, case):
    if case != "2 bound":
        return time_batch(function, records(case))
    with jsonlog.bind(**BOUND):
        return time_batch(function, records("simple"))


def call_jobs(directory):
    """Every pair of case and library for a whole log call that ends in a file."""
    jobs = {}
    for name, log in loggers(directory).items():
        for case, call in (("call: simple", simple), ("call: 5 extras", extras), ("call: exception", failed)):
            jobs[case, name] = lambda log=log, call=call: call(log)
    return jobs


def simple(log):
    start = time.perf_counter()
    for _ in range(BATCH):
        log.info("hello %s", "x")
    return (time.perf_counter() - start) / BATCH * 1e6


def extras(log):
    start = time.perf_counter()
    for _ in range(BATCH):
        log.info("hello %s", "x", extra=EXTRA)
    return (time.perf_counter() - start) / BATCH * 1e6


def failed(log):
    start = time.perf_counter()
    for _ in range(BATCH):
        log.info("hello %s", "x", exc_info=DEEP)
    return (time.perf_counter() - start) / BATCH * 1e6


def loggers(directory):
    found = {}
    for name, formatter in formatters().items():
        if name != OURS:
            handler = logging.FileHandler(directory / f"{name}.log")
            handler.setFormatter(formatter)
            found[name] = logger(logging.Logger, handler)
    for kind, name in ((logging.Logger, OURS), (jsonlog.Logger, "jsonlog + jsonlog.Logger")):
        handler = jsonlog.ProcessFileHandler(directory / "ours")
        handler.setFormatter(formatters()[OURS])
        found[name] = logger(kind, handler)
    if optional("loguru"):
        found["loguru serialize"] = loguru_logger(directory / "loguru.log")
    if optional("structlog"):
        found["structlog native"] = structlog_logger(directory / "structlog.log")
    return found


def logger(kind, handler):
    made = kind("shop.pay", logging.INFO)
    made.addHandler(handler)
    return made


class Loguru:
    """loguru's API differs: exceptions go through `opt`, fields through keywords, arguments are braces."""

    def __init__(self, log):
        self.log = log

    def info(self, message, argument, extra=None, exc_info=None):
        log = self.log if exc_info is None else self.log.opt(exception=exc_info)
        log.info(message.replace("%s", "{}"), argument, **(extra or {}))


def loguru_logger(path):
    from loguru import logger as log  # noqa: PLC0415

    log.remove()
    log.add(path, serialize=True, backtrace=False, diagnose=False)
    return Loguru(log)


class Structlog:
    """structlog's own logger has no line, function or thread unless it is told to look for them."""

    def __init__(self, log):
        self.log = log

    def info(self, message, argument, extra=None, exc_info=None):
        if exc_info is None:
            self.log.info(message, argument, **(extra or {}))
        else:
            self.log.info(message, argument, exc_info=exc_info)


def structlog_logger(path):
    import orjson  # noqa: PLC0415
    import structlog  # noqa: PLC0415

    file = io.open(path, "ab")  # noqa: SIM115, UP020 (open for the whole run)
    return Structlog(
        structlog.wrap_logger(
            structlog.BytesLogger(file),
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
        )
    )


def measure(jobs, rounds):
    best = dict.fromkeys(jobs, float("inf"))
    order = list(jobs)
    for number in range(rounds):
        random.shuffle(order)
        for key in order:
            best[key] = min(best[key], jobs[key]())
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return best


def measure_in_processes(options):
    """
    Measure in fresh interpreters, one after the other.

    Returns:
        By case and library: the median of the shortest batches, in microseconds, and that of the ratios to the text formatter.
    """
    runs = []
    for _ in range(options.processes):
        command = [sys.executable, __file__, "--rounds", str(options.rounds), "--processes", "0"]
        rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        runs.append({(case, name): micros for case, name, micros in rows})
    return {
        key: (
            statistics.median(run[key] for run in runs),
            statistics.median(run[key] / run[key[0], STDLIB] for run in runs),
        )
        for key in runs[0]
    }


def table(best):
    cases = list(dict.fromkeys(case for case, _ in best))
    names = sorted({name for _, name in best}, key=lambda name: (name != STDLIB, not name.startswith(OURS), name))
    lines = ["| times stdlib text (µs) | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
    for name in names:
        cells = ["{1:.2f} ({0:.1f})".format(*best[case, name]) if (case, name) in best else "" for case in cases]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(best):
    """Draw one group of bars for each case, on a logarithmic scale of microseconds, as SVG."""
    import math  # noqa: PLC0415

    cases = list(dict.fromkeys(case for case, _ in best))
    parts, y = [], 10
    for case in cases:
        parts.append(f'<text x="10" y="{y + 12}" font-weight="bold">{case}</text>')
        y += 18
        for name in sorted((name for other, name in best if other == case), key=lambda name: best[case, name][0]):
            width = 90 * math.log2(best[case, name][0] + 1)
            color = "#1f77b4" if name.startswith(OURS) else "#999" if name == STDLIB else "#d9a441"
            parts.append(f'<text x="200" y="{y + 11}" text-anchor="end">{name}</text>')
            parts.append(f'<rect x="210" y="{y}" width="{width:.0f}" height="13" fill="{color}"/>')
            parts.append(f'<text x="{215 + width:.0f}" y="{y + 11}">{best[case, name][0]:.1f} µs</text>')
            y += 16
        y += 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="1150" height="{y}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--processes", type=int, default=7, help="0: this one, which prints its figures as JSON")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    options = parser.parse_args()
    if not options.processes:
        with tempfile.TemporaryDirectory() as directory:
            best = measure({**format_jobs(), **call_jobs(Path(directory))}, options.rounds)
        print(json.dumps([[*key, micros] for key, micros in best.items()]))
        return
    best = measure_in_processes(options)
    version = ".".join(platform.python_version_tuple()[:2])
    options.results.mkdir(parents=True, exist_ok=True)
    stem = str(options.results / f"formatter-{version}")
    text = table(best)
    print(text)
    Path(f"{stem}.md").write_text(
        f"Python {platform.python_version()}, the median of {options.processes} processes\n\n{text}\n"
    )
    Path(f"{stem}.svg").write_text(plot(best))
    rows = [
        {"case": case, "library": name, "micros": round(micros, 3), "ratio": round(ratio, 3)}
        for (case, name), (micros, ratio) in best.items()
    ]
    Path(f"{stem}.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

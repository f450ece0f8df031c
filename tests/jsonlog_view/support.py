"""What the tests of `jsonlog view` share: making lines, running the command, and waiting with a bound."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jsonlog.cli import _parse
from jsonlog.view import command
from jsonlog.view.merge import Merge
from jsonlog.view.options import read_options
from jsonlog.view.paths import Search
from jsonlog.view.readers import Handles

COMMAND = [sys.executable, "-P", "-m", "jsonlog", "view"]
ROOT = Path(__file__).parents[2]
MINUTE = "2026-11-22T05:02:"


def environment(**changes: str) -> dict[str, str]:
    """The environment of a run: this checkout's packages, nothing that changes colours or times."""
    kept = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "TERM", "TZ"}}
    return {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"} | kept | changes


def run(*arguments: Any, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `jsonlog view` to its end."""
    options.setdefault("env", environment())
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, timeout=60, check=False, **options
    )


def show(*arguments: Any, stdin: bytes = b"", **options: Any) -> str:
    """Run `jsonlog view`, which must succeed and say nothing on stderr, and give what it printed."""
    done = run(*arguments, stdin=stdin, **options)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def record(number: int = 0, stamp: str = "2026-11-22T05:02:17.220Z", **fields: Any) -> dict[str, Any]:
    """A record in the shape and order that `jsonlog` writes; *fields* replace or add to what is at the top."""
    log = {"level": fields.pop("level", "INFO"), "logger": fields.pop("logger", "shop.pay")}
    result = {
        "@timestamp": stamp, "msecs": int(stamp[20:23]), "log": log, "message": "hello", "service": {"name": "shop"},
        "host": {"name": "web-1"}, "process": {"pid": 7}, "run": "k3v9q7m2c4x8w5tz", "event": {"sequence": number},
    }  # fmt: skip
    return result | fields


def line(*arguments: Any, **fields: Any) -> bytes:
    """A record as the bytes of one line, with its newline."""
    return json.dumps(record(*arguments, **fields), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def part_name(number: int, part: int = 0, service: str = "shop") -> str:
    """The name of a part of ours; the run is made of *number*."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    run_name = "".join(alphabet[number >> shift & 31] for shift in range(75, -1, -5))
    return f"{service}-web%2D1-{number + 1}-{run_name}.{part}.jsonl"


def seen(*arguments: Any) -> list[bytes]:
    """The lines that pass, in the order in which they are printed, by the program's own pieces within this process."""
    options = read_options(_parse(["view", *map(str, arguments)]))
    found = Search(options.paths, waiting=False).find()
    make = partial(command._make_source, Handles(), command._make_sieve(options), follow=False)
    sources = command._begin(options, found, make)
    return [one for batch in command._last(Merge(sources).batches(), options) for one in batch]


def until(condition: Callable[[], Any], timeout_s: float = 15) -> Any:
    """Ask again and again until *condition* gives something true; the only place that waits."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return result

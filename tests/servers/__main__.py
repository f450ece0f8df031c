"""Runs a real server from a shell, alone or under the demo.

python -m tests.servers prepare [KIND ...]
python -m tests.servers run KIND [--port PORT] [--data DIR] [--set NAME=VALUE ...]
python -m tests.servers demo --store collector|opensearch|elasticsearch -- ARGS...
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDED_BY = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says and return the exit code; 2 means that this machine lacks a part."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (servers.Missing, servers.DidNotStart) as exc:
        print(f"{exc}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    prepare = commands.add_parser("prepare", help="fetch and compile, so that the next start is quick")
    prepare.add_argument("kinds", nargs="*", default=servers.KINDS, metavar="KIND")
    prepare.set_defaults(run=_prepare)
    run = commands.add_parser("run", help="start a server and keep it up until SIGINT or SIGTERM")
    run.add_argument("kind", choices=servers.KINDS)
    run.add_argument("--port", type=int, default=0, help="default: a free one")
    run.add_argument("--data", type=Path, help="keep the data here; default: a folder that is removed at the end")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    run.set_defaults(run=_serve)
    demo = commands.add_parser("demo", help="run `shipper demo` with the store of your choice")
    demo.add_argument("--store", choices=("collector", *servers.KINDS), default="collector")
    demo.add_argument("arguments", nargs="*", metavar="ARGS", help="what `shipper demo` is given; put -- before it")
    demo.set_defaults(run=_demo)
    return parser


def _prepare(options: argparse.Namespace) -> int:
    for kind in options.kinds:
        began = time.monotonic()
        folder = servers.prepare(kind)
        print(f"{kind}: {folder.name} ({time.monotonic() - began:.1f} s)")
    return 0


def _serve(options: argparse.Namespace) -> int:
    settings = dict(pair.partition("=")[::2] for pair in options.set)
    stop = threading.Event()
    for number in ENDED_BY:
        signal.signal(number, lambda *_: stop.set())
    with servers.start(options.kind, port=options.port, data=options.data, settings=settings) as server:
        print(f"{options.kind} answers at {server.url} (log: {server.log})", flush=True)
        while not stop.wait(0.2):
            if server.process is not None and server.process.poll() is not None:
                print(f"{options.kind} ended by itself with code {server.process.returncode}", file=sys.stderr)
                return 1
    return 0


def _demo(options: argparse.Namespace) -> int:
    shipper = [found] if (found := shutil.which("shipper")) else [sys.executable, "-m", "shipper"]
    if options.store == "collector":
        os.execvp(shipper[0], [*shipper, "demo", *options.arguments])
    reason = servers.available(options.store)
    if reason:
        raise servers.Missing(f"cannot run {options.store}: {reason}")
    print(f"starting a real {options.store} (the first time its jars are fetched) ...", flush=True)
    with servers.start(options.store) as server:
        print(f"{options.store} answers at {server.url}", flush=True)
        return _run_through([*shipper, "demo", "--to", server.url, *options.arguments])


def _run_through(command: Sequence[str]) -> int:
    """Run a child to its end, whatever signal comes, so that the server stops after it and not before."""
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: Any) -> None:
        # Ctrl-C at a terminal has reached the child already; SIGTERM is sent to this process alone.
        if child is not None and number == signal.SIGTERM:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in ENDED_BY}
    try:
        child = subprocess.Popen(command)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`jsonlog receive`: from the arguments to the exit code."""

from __future__ import annotations

import argparse
import asyncio
import platform
import signal

from jsonlog.errors import CommandError
from jsonlog.files.stderr import say
from jsonlog.relay.receive import serve
from jsonlog.relay.receive_options import Options, read_options
from jsonlog.relay.store import Store


def run(given: argparse.Namespace) -> int:
    """
    Receive until SIGTERM or Ctrl-C.

    Returns:
        0.

    Raises:
        CommandError: Something is wrong that the user can put right.
    """
    options = read_options(given)
    if options.is_open_to_others:
        say("anybody who reaches this address can write records: set a token (--token-file, JSONLOG_TOKEN)")
    try:
        store = Store(options.directory, host=platform.node(), max_bytes=options.max_bytes, mode=options.mode)
    except OSError as exc:
        raise CommandError(f"--directory {options.directory}: {exc.strerror or exc}") from exc
    try:
        return asyncio.run(_main(options, store))
    finally:
        store.close()


async def _main(options: Options, store: Store) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        receiver = await serve(options, store, stop)
    except OSError as exc:
        raise CommandError(f"--listen: {exc.strerror or exc}") from exc
    say(f"{store.written} records received, {store.duplicates} sent again, {receiver.refused} connections refused")
    return 0

"""The `shipper` command: errors become one sentence and an exit code here, and nowhere else."""

from __future__ import annotations

import os
import signal
import sys


def _end_early(number: int, frame: object) -> None:
    """
    End without a word, until a command has its own way to stop: there is nothing to clean up yet.

    A handler and not the system's default, which does nothing in process 1 of a container. A service that was told to
    stop has done well; with `--once` something was left undone.
    """
    del frame
    os._exit(0 if number == signal.SIGTERM and "--once" not in sys.argv else 128 + number)


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["run"]:
        # It comes to an application and its sidecar together: it is kept until there is something that drains (`Stop`).
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_early)
    try:
        from shipper.cli import app  # noqa: PLC0415 (a missing extra is to be explained, not to be a traceback)
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] in ("shipper", "jsonlog"):
            raise
        sys.exit(
            f"shipper: {exc.name} is not installed; install the shipper with: pip install 'jsonlog-shipper[shipper]'"
        )
    app()


if __name__ == "__main__":
    main()

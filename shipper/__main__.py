"""The `shipper` command: errors become one sentence and an exit code here, and nowhere else."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line."""
    # Until a command has its own way to stop, Ctrl-C ends it without a word: there is nothing to clean up yet.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
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

"""The command `jsonlog`: its subcommands, how it ends, and with which exit code."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence

from jsonlog.view import options as view_options
from jsonlog.view.command import view
from jsonlog.view.errors import ViewError


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jsonlog", description="Tools for the logs that jsonlog writes.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    view_options.add_arguments(commands.add_parser("view", help=view_options.HELP))
    return parser


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _make_parser()
    parsed, rest = parser.parse_known_args(arguments)
    if any(argument[:1] == "-" != argument for argument in rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    parsed.paths += rest  # argparse gives up at a path that stands behind an option
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Args:
        arguments: Without the program's name; by default those of this process.

    Returns:
        0; 2 for what the user can put right. Where nobody reads the output any more, and at Ctrl-C, the process ends by
        SIGPIPE or SIGINT, silently, as other tools do.
    """
    gc.disable()  # lines and records make no cycles; looking for some takes a tenth of the time
    try:
        view(view_options.read_options(_parse(arguments)))
    except ViewError as exc:
        sys.stderr.write(f"jsonlog view: {exc}\n")
        return 2
    except BrokenPipeError:
        _end_by(signal.SIGPIPE)
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
    except OSError as exc:
        sys.stderr.write(f"jsonlog view: cannot write: {exc.strerror or exc}\n")
        return 2
    return 0


def _end_by(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

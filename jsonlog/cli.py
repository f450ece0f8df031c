"""The command `jsonlog`: its subcommands, how it ends, and with which exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jsonlog.errors import CommandError
from jsonlog.files import prune_command
from jsonlog.relay import receive_options
from jsonlog.view import command as view_command
from jsonlog.view import options as view_options


@dataclass(frozen=True, slots=True)
class Command:
    """
    One subcommand.

    Attributes:
        help: One line for the list of commands.
        add_arguments: Declares its arguments.
        run: Does it; returns the exit code. A `CommandError` is one line on stderr and exit code 2.
        paths: The argument that takes paths which stand behind an option, where argparse gives up.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    paths: str = ""


def _receive(given: argparse.Namespace) -> int:
    from jsonlog.relay.receive_command import run  # noqa: PLC0415 (brings asyncio, which `view` has no use for)

    return run(given)


COMMANDS = {
    "view": Command(view_options.HELP, view_options.add_arguments, view_command.run, "paths"),
    "prune": Command(prune_command.HELP, prune_command.add_arguments, prune_command.run),
    "receive": Command(receive_options.HELP, receive_options.add_arguments, _receive),
}


class _ShowVersion(argparse.Action):
    """Looks the version up only when somebody asks for it: that takes longer than everything else here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415

        parser.exit(message=f"jsonlog {version('jsonlog-shipper')}\n")


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jsonlog", description="Tools for the logs that jsonlog writes.")
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help))
    return parser


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _make_parser()
    parsed, rest = parser.parse_known_args(arguments)
    paths = COMMANDS[parsed.command].paths
    if rest and (not paths or any(argument[:1] == "-" != argument for argument in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        getattr(parsed, paths).extend(rest)
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Args:
        arguments: Without the program's name; by default those of this process.

    Returns:
        What the subcommand returns; 2 for what the user can put right. Where nobody reads the output any more, and at
        Ctrl-C, the process ends by SIGPIPE or SIGINT, silently, as other tools do.
    """
    parsed = _parse(arguments)
    try:
        return COMMANDS[parsed.command].run(parsed)
    except CommandError as exc:
        sys.stderr.write(f"jsonlog {parsed.command}: {exc}\n")
    except BrokenPipeError:
        _end_by(signal.SIGPIPE)
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
    except OSError as exc:
        sys.stderr.write(f"jsonlog {parsed.command}: cannot write: {exc.strerror or exc}\n")
    return 2


def _end_by(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

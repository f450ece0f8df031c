"""The command line of `jsonlog view`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from jsonlog.view.errors import ViewError
from jsonlog.view.query import Query, parse_condition, parse_level, parse_regex
from jsonlog.view.times import parse_when

HELP = "print what all processes wrote, merged in time order"
_DESCRIPTION = """\
Print what all processes wrote, merged in the order of time: coloured text for people, JSON lines or CSV for programs.

PATH is a folder (its *.jsonl and *.jsonl.gz), a file, a glob in quotes, or - for stdin."""
_EXAMPLES = """\
examples:
  jsonlog view                                 everything in ./logs
  jsonlog view -f -n 20 logs                   the last 20 records, then what comes
  jsonlog view --level warning --since 10m     what went wrong in the last ten minutes
  jsonlog view --field extra.user=7 --field 'extra.amount>100'
  jsonlog view --logger shop.pay --grep declined 'logs/shop-*.jsonl'
  jsonlog view --output json logs | jq .message
  jsonlog view --color always logs | less -R
  kubectl logs -f shop | jsonlog view -

All filters must hold. A line that is not JSON has no level, logger or fields, so only --grep, --regex and the times
can let it through. Exit code: 0, also when nothing matched; 2 when a path or a filter cannot be used."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    What was asked for.

    Attributes:
        since: The least key; empty for none.
        until: The key at which it ends; empty for none.
        last: Only so many at the end; None for all.
    """

    paths: tuple[str, ...]
    query: Query
    since: bytes
    until: bytes
    last: int | None
    follow: bool
    output: str
    colour: bool
    local: bool
    everything: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `view`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="*", help="folder, file, glob or - for stdin (default: logs)")
    add("-f", "--follow", action="store_true", help="go on with what comes: new files, new parts, new processes")
    add("-n", "--last", metavar="N", type=int, help="only the last N that match")
    filters = parser.add_argument_group("filters")
    add = filters.add_argument
    add("--level", metavar="LEVEL", help="this level and above, as WARNING; names that are not known are shown")
    add("--logger", metavar="NAME", help="this logger and its children")
    add("--since", metavar="TIME", help="10m, 2h, 1d ago; 05:00; 2026-11-22; 2026-11-22T05:00Z (without a zone: UTC)")
    add("--until", metavar="TIME", help="the same; this moment is not included")
    add("--field", metavar="NAME=VALUE", action="append", default=[], help="also != > >= < <= and ~REGEX; repeatable")
    add("--grep", metavar="TEXT", action="append", default=[], help="TEXT stands anywhere in the line; repeatable")
    add("--regex", metavar="RE", action="append", default=[], help="RE is found anywhere in the line; repeatable")
    output = parser.add_argument_group("output")
    add = output.add_argument
    add("-o", "--output", choices=("text", "json", "csv"), default="text", help="default: text")
    add(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set",
    )
    add("-l", "--local", action="store_true", help="show and read times in this machine's time zone instead of UTC")
    add("-a", "--all", action="store_true", help="show also process, host, trace and the other quiet fields")


def read_options(arguments: argparse.Namespace) -> Options:
    """
    Turn parsed arguments into options.

    Raises:
        ViewError: A filter is wrong.
    """
    if arguments.last is not None and arguments.last < 0:
        raise ViewError(f"--last {arguments.last}: not a number of records")
    query = Query(
        level=None if arguments.level is None else parse_level(arguments.level),
        logger=arguments.logger,
        conditions=tuple(map(parse_condition, arguments.field)),
        texts=tuple(arguments.grep),
        patterns=tuple(parse_regex("--regex", text) for text in arguments.regex),
    )
    now = datetime.now(UTC)
    times = {}
    for name in ("since", "until"):
        text = getattr(arguments, name)
        try:
            times[name] = b"" if text is None else parse_when(text, local=arguments.local, now=now)
        except ValueError as exc:
            raise ViewError(f"--{name} {exc}") from exc
    return Options(
        paths=tuple(arguments.paths) or ("logs",),
        query=query,
        since=times["since"],
        until=times["until"],
        last=arguments.last,
        follow=arguments.follow,
        output=arguments.output,
        colour=_wants_colour(arguments.color),
        local=arguments.local,
        everything=arguments.all,
    )


def _wants_colour(choice: str) -> bool:
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

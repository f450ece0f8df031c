"""`jsonlog prune`: deletes old parts by hand, where no shipper does."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from datetime import UTC, datetime

from jsonlog.errors import CommandError
from jsonlog.files.prune import Bounds, Found, Pruned, prune

HELP = "delete the oldest finished files, where no shipper does"
_DESCRIPTION = """\
Delete the oldest files of a directory until the rest is within the bounds that you give.

Only files that are named as jsonlog names them, and never one whose writer lives. Nothing here knows what a shipper has
delivered: where one runs, let it delete (`finished: delete`)."""
_EXAMPLES = """\
examples:
  jsonlog prune --max-bytes 10G logs              what is over 10 GiB in all
  jsonlog prune --max-age 7d --dry-run logs       what was last written more than a week ago: only say it
  jsonlog prune --max-age 30d --nolock /mnt/logs  also files of a disk without locks, whose writers may live

Exit code: 0; 1 when a file could not be deleted; 2 when an argument cannot be used."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE | re.ASCII)
_UNITS = " KMGT"
_AGE = re.compile(r"(?:\d+[smhdw])+", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `prune`."""
    parser.description = _DESCRIPTION
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("directory", metavar="DIRECTORY", help="where the log files are")
    add("--max-bytes", metavar="SIZE", help="all files together: 500M, 10G (K, M, G and T are powers of 1024)")
    add("--max-age", metavar="AGE", help="since a file was last written: 90m, 12h, 7d, 2w, 1d12h")
    add("--service", metavar="NAME", help="only files of this service count and are deleted")
    add("--nolock", action="store_true", help="with --max-age, also files named .nolock, whose writer may live")
    add("-n", "--dry-run", action="store_true", help="say what would be deleted, and delete nothing")


def run(arguments: argparse.Namespace) -> int:
    """
    Run `jsonlog prune`.

    Returns:
        0; 1 when a file could not be deleted.

    Raises:
        CommandError: An argument is wrong, or the directory cannot be read.
    """
    bounds = _read_bounds(arguments)
    try:
        done = prune(arguments.directory, bounds, time.time(), dry_run=arguments.dry_run)
    except OSError as exc:
        raise CommandError(f"{arguments.directory}: {exc.strerror or exc}") from exc
    _report(done, dry_run=arguments.dry_run)
    return 1 if done.failed else 0


def _read_bounds(arguments: argparse.Namespace) -> Bounds:
    if arguments.max_bytes is None and arguments.max_age is None:
        raise CommandError("say what may stay: --max-bytes SIZE, --max-age AGE, or both")
    if arguments.nolock and arguments.max_age is None:
        raise CommandError("--nolock needs --max-age: nothing but its age tells whether such a file is finished")
    return Bounds(
        max_bytes=None if arguments.max_bytes is None else parse_size(arguments.max_bytes),
        max_age_s=None if arguments.max_age is None else parse_age(arguments.max_age),
        service=arguments.service,
        nolock=arguments.nolock,
    )


def parse_size(text: str) -> int:
    """
    Read a number of bytes as people write it.

    Raises:
        CommandError: It is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"--max-bytes {text}: not a size such as 500M or 10G")
    return int(float(found[1]) * 1024 ** _UNITS.index(found[2].upper() or " "))


def parse_age(text: str) -> float:
    """
    Read a duration as people write it, in seconds.

    Raises:
        CommandError: It is none.
    """
    if _AGE.fullmatch(text.strip()) is None:
        raise CommandError(f"--max-age {text}: not an age such as 12h or 7d")
    return float(sum(int(number) * _UNIT_S[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text)))


def _report(done: Pruned, *, dry_run: bool) -> None:
    verb = "would delete" if dry_run else "deleted"
    lines = [f"{verb} {_describe(part)}" for part in done.deleted]
    size = sum(part.size for part in done.deleted)
    lines.append(f"{verb} {len(done.deleted)} files with {_human(size)}; {_human(done.left_bytes)} are left")
    if done.alive:
        lines.append(f"{len(done.alive)} files over the bounds are being written and stay")
    sys.stdout.write("".join(f"{_printable(line)}\n" for line in lines))
    sys.stdout.flush()
    for part, exc in done.failed:
        sys.stderr.write(f"jsonlog prune: {_printable(part.path)}: {exc.strerror or exc}\n")


def _printable(text: str) -> str:
    """Escape what a file name may hold and a terminal cannot show."""
    return text.encode("utf-8", "backslashreplace").decode()


def _describe(part: Found) -> str:
    moment = datetime.fromtimestamp(part.written_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{os.path.normpath(part.path)} ({_human(part.size)}, last written {moment})"


def _human(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"

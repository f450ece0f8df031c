"""What `jsonlog receive` is told on the command line and by the environment."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass, field

from jsonlog.errors import CommandError

HELP = "take records from jsonlog.SocketHandler and write them to files"
_MIB = 1024 * 1024
_LOCAL = ("127.", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Options:
    """
    How to receive.

    Args:
        listen: Pairs of address and port, or paths of Unix sockets.
        directory: Where the files go.
        token: What senders have to know; None: nothing.
        max_line_bytes: Of one record.
        max_connections: At a time.
        max_memory_bytes: Of unfinished lines, in all.
        max_bytes: The size at which a file is left for the next.
        mode: Permission bits of the files.
        socket_mode: Permission bits of a Unix socket.
    """

    listen: tuple[tuple[str, int] | str, ...]
    directory: str
    token: str | None = field(repr=False)
    max_line_bytes: int
    max_connections: int
    max_memory_bytes: int
    max_bytes: int
    mode: int
    socket_mode: int

    @property
    def is_open_to_others(self) -> bool:
        """Whether somebody on another machine could send records without a token."""
        return not self.token and any(isinstance(it, tuple) and not it[0].startswith(_LOCAL) for it in self.listen)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--listen", action="append", metavar="ADDRESS", help="host:port, [::1]:port or unix:/path; may be repeated (127.0.0.1:9020)")  # fmt: skip
    add("--directory", required=True, metavar="DIR", help="where the files go; made if it is missing")
    add("--token-file", metavar="FILE", help="senders have to know what stands there; else JSONLOG_TOKEN, else nothing")
    add("--max-line-bytes", default="2M", metavar="N", help="of one record (2M)")
    add("--max-connections", default="200", metavar="N", help="at a time (200)")
    add("--max-memory-bytes", default="64M", metavar="N", help="of unfinished lines, in all (64M)")
    add(
        "--max-bytes",
        default="128M",
        metavar="N",
        help="the size at which a file is left for the next; 0: never (128M)",
    )
    add("--mode", default="640", metavar="OCTAL", help="permission bits of the files (640)")
    add("--socket-mode", default="600", metavar="OCTAL", help="permission bits of a Unix socket (600)")


def read_options(given: argparse.Namespace) -> Options:
    """
    Check what was given.

    Raises:
        CommandError: Something is wrong; names it.
    """
    return Options(
        listen=tuple(_place(text) for text in given.listen or ["127.0.0.1:9020"]),
        directory=os.path.abspath(os.path.expanduser(given.directory)),  # noqa: PTH100, PTH111
        token=_token(given.token_file),
        max_line_bytes=_number("--max-line-bytes", given.max_line_bytes, 1024, 2**30),
        max_connections=_number("--max-connections", given.max_connections, 1, 100_000),
        max_memory_bytes=_number("--max-memory-bytes", given.max_memory_bytes, 64 * 1024, 2**40),
        max_bytes=_number("--max-bytes", given.max_bytes, 0, 2**50),
        mode=_mode("--mode", given.mode),
        socket_mode=_mode("--socket-mode", given.socket_mode),
    )


def _place(text: str) -> tuple[str, int] | str:
    if text.startswith("unix:") or "/" in text:
        path = text.removeprefix("unix:")
        if not path or len(os.fsencode(path)) > 100:
            raise CommandError(f"--listen {text}: the path of a socket has 1 to 100 bytes")
        return path
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CommandError(f"--listen {text}: expected host:port, [::1]:port or unix:/path")
    return host.strip("[]"), int(port)


def _token(path: str | None) -> str | None:
    if path is None:
        return os.environ.get("JSONLOG_TOKEN") or None
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            token = file.read().strip()
    except (OSError, ValueError) as exc:
        raise CommandError(f"--token-file {path}: {getattr(exc, 'strerror', None) or exc}") from None
    if not token:
        raise CommandError(f"--token-file {path}: it is empty")
    return token


def _number(name: str, text: str, least: int, most: int) -> int:
    found = re.fullmatch(r"([0-9]{1,15})([kKmMgG]?)", text)
    number = int(found[1]) * 1024 ** "kmg".find(found[2].lower() or " ").__add__(1) if found else -1
    if not least <= number <= most:
        raise CommandError(f"{name} {text}: expected a number from {least} to {most}, such as 500, 64K or 2M")
    return number


def _mode(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-7]{3,4}", text):
        raise CommandError(f"{name} {text}: expected permission bits in octal, such as 640")
    return int(text, 8)

"""
Deletes the oldest finished parts of a directory until what is left is within bounds.

For those who run no shipper: the shipper deletes what it has delivered, this deletes whatever is old. It keeps to the
file protocol: a part whose writer lives stays, and so does everything that is not named as a part.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from jsonlog.files.protocol import MAX_SERVICE, PartName, encode_piece, parse_name, writer_alive

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator

_LEFTOVER_AGE_S = 3600.0  # a part under construction has its hidden name for a millisecond


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    What may stay.

    Attributes:
        max_bytes: Of all parts together, those being written included; None: any number.
        max_age_s: Since a part was last written; None: any.
        service: Only parts of this service count and are deleted; None: those of all.
        nolock: Whether parts without a lock (`.nolock`) may go, too, by age alone: nothing tells whether their writer lives.
    """

    max_bytes: int | None = None
    max_age_s: float | None = None
    service: str | None = None
    nolock: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A part as it stands in the directory; `name` is None for what a creation left that never came to its end."""

    path: str
    name: PartName | None
    size: int
    written_at: float
    identity: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pruned:
    """
    What was done.

    Attributes:
        deleted: In the order in which they went; with `dry_run` those that would have.
        alive: Parts over the bounds that stay because they are being written.
        failed: Parts that could not be deleted, with the reason.
        left_bytes: What the parts that are still there hold together.
    """

    deleted: tuple[Found, ...]
    alive: tuple[Found, ...]
    failed: tuple[tuple[Found, OSError], ...]
    left_bytes: int


def prune(directory: str, bounds: Bounds, now: float, *, dry_run: bool = False) -> Pruned:
    """
    Delete the parts that are over the bounds, the oldest first.

    Args:
        directory: Where the parts are; folders within it are not looked into.
        bounds: What may stay.
        now: Seconds since the epoch.
        dry_run: Find out, and delete nothing.

    Raises:
        OSError: The directory cannot be read.
    """
    parts = sorted(_find(directory, bounds.service), key=lambda part: (part.written_at, part.path))
    total = sum(part.size for part in parts)
    deleted: list[Found] = []
    alive: list[Found] = []
    failed: list[tuple[Found, OSError]] = []
    for part in parts:
        if not _is_over(part, bounds, total, now):
            continue
        try:
            is_alive = _is_alive(part)
            if not is_alive and not dry_run:
                os.unlink(part.path)  # noqa: PTH108 (a Path costs more than the call it wraps)
        except FileNotFoundError:  # another one deletes here too
            total -= part.size
        except OSError as exc:
            failed.append((part, exc))
        else:
            (alive if is_alive else deleted).append(part)
            total -= 0 if is_alive else part.size
    return Pruned(tuple(deleted), tuple(alive), tuple(failed), total)


def _is_over(part: Found, bounds: Bounds, total: int, now: float) -> bool:
    age_s = now - part.written_at
    if part.name is None:
        return age_s > _LEFTOVER_AGE_S
    is_old = bounds.max_age_s is not None and age_s > bounds.max_age_s
    if not part.name.locked:
        return bounds.nolock and is_old
    return is_old or (bounds.max_bytes is not None and total > bounds.max_bytes)


def _find(directory: str, service: str | None) -> Iterator[Found]:
    begin = "" if service is None else encode_piece(service, MAX_SERVICE) + "-"
    with os.scandir(directory) as entries:
        for entry in entries:
            is_leftover = entry.name.startswith(".") and entry.name.endswith(".tmp")
            text = entry.name[1:-4] if is_leftover else entry.name
            name = parse_name(text) if text.startswith(begin) else None
            if name is None:
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
                if not entry.is_file(follow_symlinks=False):
                    continue
            except OSError:  # deleted since
                continue
            identity = (facts.st_dev, facts.st_ino)
            yield Found(entry.path, None if is_leftover else name, facts.st_size, facts.st_mtime, identity)


def _is_alive(part: Found) -> bool:
    """
    Tell whether a part is being written, or has become another one since it was found.

    Raises:
        OSError: It cannot be told.
    """
    fd = os.open(part.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        if (part.name is None or part.name.locked) and writer_alive(fd):
            return True
        facts = os.fstat(fd)
        return (facts.st_dev, facts.st_ino) != part.identity or facts.st_size != part.size
    finally:
        os.close(fd)

"""Finds the files that a command line names, and puts the parts of one writer together."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jsonlog.files.protocol import SUFFIX, PartName, parse_name
from jsonlog.view.errors import ViewError
from jsonlog.view.readers import refuse

_IN_FOLDERS = (SUFFIX, SUFFIX + ".gz")
_SETTLED_NS = 2 * 10**9  # coarser than any file system's clock that we know
_NEVER = -1
Rank = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """
    One file.

    Attributes:
        path: None is stdin.
        rank: The same for all parts of one writer; at equal times the lower rank comes first. It begins with the run.
        name: The facts in the name; None for a foreign file.
    """

    path: Path | None
    rank: Rank
    name: PartName | None

    @property
    def part(self) -> int:
        """The number of the part, 0 for a foreign file."""
        return self.name.part if self.name else 0

    @property
    def may_return(self) -> bool:
        """Whether the name can be used again for something new: foreign ones are, ours and packed ones are not."""
        return self.name is None and self.path is not None and self.path.suffix != ".gz"


class Search:
    """
    Finds what the arguments name: files, folders (their `*.jsonl` and `*.jsonl.gz`), globs, `-`.

    Args:
        arguments: As given on the command line.
        waiting: Whether files that do not exist yet are waited for; otherwise each argument must name something.
    """

    def __init__(self, arguments: Iterable[str], *, waiting: bool) -> None:
        self._waiting = waiting
        self._stamps = dict.fromkeys(arguments, _NEVER)  # when each folder had changed, at the last look
        self._found: dict[str, Found] = {}

    def find(self) -> list[Found]:
        """
        List what is there now.

        Returns:
            Each file once; the parts of one writer in order, next to each other.

        Raises:
            ViewError: An argument names nothing, or a folder cannot be listed.
        """
        found: dict[str, Found] = {}
        for argument in self._stamps:
            names = dict(_expand(argument))
            for key, name in names.items():
                found[key] = found.get(key) or self._found.get(key) or _describe(name)
            if not names and not self._waiting and not os.path.isdir(argument):  # noqa: PTH112
                raise ViewError(f"{argument}: no such file or folder")
        self._found = found
        plain = {key for key in found if not key.endswith(".gz")}
        kept = (file for key, file in found.items() if not (key.endswith(".gz") and key[:-3] in plain))
        return sorted(kept, key=lambda file: (file.rank, file.part))

    def may_find_more(self) -> bool:
        """Look whether anything can be new, which a folder's time of change tells without listing it."""
        changed = [self._has_changed(argument) for argument in self._stamps]  # each is to be looked at
        return any(changed)

    def _has_changed(self, argument: str) -> bool:
        before = self._stamps[argument]
        try:
            stamp = os.stat(os.path.join(argument, "")).st_mtime_ns  # noqa: PTH116, PTH118 (only a folder may end so)
        except OSError:
            return True
        # One that changed just now may change once more without its time telling.
        self._stamps[argument] = stamp if stamp < time.time_ns() - _SETTLED_NS else _NEVER
        return stamp != before


def _expand(argument: str) -> Iterator[tuple[str, str]]:
    """Give the files that one argument names, each with what it is known by: its absolute path."""
    if argument == "-":
        yield "-", "-"
    elif os.path.isdir(argument):  # noqa: PTH112
        yield from _inside(argument)
    elif os.path.lexists(argument):
        yield os.path.abspath(argument), argument  # noqa: PTH100
    elif glob.has_magic(argument):
        for name in glob.iglob(argument, recursive=True):  # noqa: PTH207 (the argument may be absolute)
            if os.path.isdir(name):  # noqa: PTH112
                yield from _inside(name)
            else:
                yield os.path.abspath(name), name  # noqa: PTH100


def _inside(folder: str) -> Iterator[tuple[str, str]]:
    place = os.path.join(os.path.abspath(folder), "")  # noqa: PTH100, PTH118 (once, not for each of 10,000 files)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_IN_FOLDERS) and not entry.name.startswith(".") and not _is_folder(entry):
                    yield place + entry.name, entry.path
    except OSError as exc:
        raise refuse(folder, exc) from exc


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere: reading it will tell
        return False


def _describe(name: str) -> Found:
    if name == "-":
        return Found(None, ("", "-"), None)
    folder, base = os.path.split(name)
    part = parse_name(base.removesuffix(".gz"))
    if part is None:
        return Found(Path(name), ("", name), None)
    return Found(Path(name), (part.run, folder), part)

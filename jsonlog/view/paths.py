"""Finds the files that a command line names, and puts the parts of one writer together."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jsonlog.files.protocol import SUFFIX, PartName, parse_name
from jsonlog.view.errors import ViewError
from jsonlog.view.readers import refuse

_IN_FOLDERS = (SUFFIX, SUFFIX + ".gz")
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


def find(arguments: Iterable[str], *, waiting: bool) -> list[Found]:
    """
    Find what the arguments name: files, folders (their `*.jsonl` and `*.jsonl.gz`), globs, `-`.

    Args:
        arguments: As given on the command line.
        waiting: Whether files that do not exist yet are waited for; otherwise each argument must name something.

    Returns:
        Each file once; the parts of one writer in order, next to each other.

    Raises:
        ViewError: An argument names nothing, or a folder cannot be listed.
    """
    found: dict[str, Found] = {}
    for argument in arguments:
        before = len(found)
        names = ["-"] if argument == "-" else list(_expand(argument))
        for name in names:
            key = name if name == "-" else os.path.abspath(name)  # noqa: PTH100 (10,000 Paths cost a second)
            found.setdefault(key, _describe(name))
        if len(found) == before and not names and not waiting and not os.path.isdir(argument):  # noqa: PTH112
            raise ViewError(f"{argument}: no such file or folder")
    plain = {key for key in found if not key.endswith(".gz")}
    kept = (file for key, file in found.items() if not (key.endswith(".gz") and key[:-3] in plain))
    return sorted(kept, key=lambda file: (file.rank, file.part))


def _expand(argument: str) -> Iterator[str]:
    if os.path.isdir(argument):  # noqa: PTH112
        yield from _inside(argument)
    elif os.path.lexists(argument):
        yield argument
    elif glob.has_magic(argument):
        for name in glob.iglob(argument, recursive=True):  # noqa: PTH207 (the argument may be absolute)
            if os.path.isdir(name):  # noqa: PTH112
                yield from _inside(name)
            else:
                yield name


def _inside(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_IN_FOLDERS) and not entry.name.startswith(".") and not _is_folder(entry):
                    yield entry.path
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

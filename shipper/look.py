"""
One look at the file system: which files match, which of them are input, and which cannot be read.

Blocking, and free of effects, so that it can run in a worker thread. A file that several names lead to is seen once.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from jsonlog.files.protocol import parse_name

Number = tuple[int, int]
"""Device and inode."""

COMPRESSED = "compressed files are not read"
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as a look found it."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int

    @property
    def number(self) -> Number:
        """What tells two files apart, whatever they are called."""
        return self.device, self.inode


@dataclass(slots=True)
class View:
    """
    What one look found.

    Args:
        files: Input, by number.
        paths: Everything that matched a pattern.
        unmatched: Patterns that match nothing.
        unreadable: Why a path is not read.
    """

    files: dict[Number, Seen] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    unmatched: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def look(patterns: Iterable[str], exclude: Path) -> View:
    """
    Look which files there are.

    Args:
        patterns: Globs, absolute.
        exclude: A folder whose files are never input, by whatever name they are reached.
    """
    view = View()
    for pattern in patterns:
        paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (a Path's glob finds hidden files)
        if not paths:
            view.unmatched.append(pattern)
        view.paths.update(paths)
        for path in paths:
            _add(view, path)
    # After the look: a file that came into the folder meanwhile is in this list, too.
    for number in _files_in(exclude):
        view.files.pop(number, None)
    prefix = f"{exclude}{os.sep}"
    for seen in [seen for seen in view.files.values() if seen.path.startswith(prefix)]:
        del view.files[seen.number]
    return view


def absolute_patterns(patterns: Iterable[str], base: Path) -> tuple[str, ...]:
    """Make globs absolute; a folder stands for the `.jsonl` files in it."""
    result = []
    for pattern in patterns:
        path = base / Path(pattern).expanduser()
        result.append(str(path / "*.jsonl") if path.is_dir() else os.path.abspath(path))  # noqa: PTH100 (resolve would follow the links of a glob)
    return tuple(result)


def fixed_folder(pattern: str) -> Path:
    """Return the folder of a glob down to its first wildcard."""
    fixed = []
    for piece in Path(pattern).parts[:-1]:
        if glob.has_magic(piece):
            break
        fixed.append(piece)
    return Path(*fixed) if fixed else Path()


def _add(view: View, path: str) -> None:
    try:
        info = os.stat(path)  # noqa: PTH116 (asked of every file, at every look)
    except FileNotFoundError:  # gone since the glob, or a dangling link
        return
    except OSError as exc:
        view.unreadable[path] = exc.strerror or str(exc)
        return
    if not stat.S_ISREG(info.st_mode):
        return
    if path.endswith(_COMPRESSED):
        view.unreadable[path] = COMPRESSED
        return
    seen = Seen(path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
    other = view.files.setdefault(seen.number, seen)
    # Of several names, one by the file protocol says what the file is.
    if other is not seen and is_own(path) and not is_own(other.path):
        view.files[seen.number] = seen


def is_own(path: str) -> bool:
    """Tell whether a file bears a name by the file protocol."""
    return parse_name(os.path.basename(path)) is not None  # noqa: PTH119


def _files_in(folder: Path) -> set[Number]:
    numbers = set()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                info = entry.stat()
                numbers.add((info.st_dev, info.st_ino))
    return numbers

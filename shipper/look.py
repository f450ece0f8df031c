"""
One look at the file system: which files match, which of them are input, and which cannot be read.

Blocking, and free of effects, so that it can run in a worker thread. A file that several names lead to is seen once. A look
is at everything, or at some paths, where it is known that nothing else has changed.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct

from jsonlog.files.protocol import parse_name

Number = tuple[int, int]
"""Device and inode."""

PACKED = (".gz", ".zst")
NO_TEXT = "its name is not UTF-8; rename it"
COMPRESSED = "files that are compressed in this way are not read"
_COMPRESSED = (".bz2", ".xz", ".zip", ".lz4")


class Seen(Struct, frozen=True):
    """A file as a look found it."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int
    names: int = 1

    @property
    def packed(self) -> bool:
        """Tell whether it is a compressed file."""
        return self.path.endswith(PACKED)

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
        paths: Everything that was looked at.
        unmatched: Patterns that match nothing; only known after a look at everything.
        unreadable: Why a path is not read.
        links: Names that are symbolic links, by the path of the file that they lead to.
        folders: A path that was looked at is a folder: what is in it may have to be looked at, too.
    """

    files: dict[Number, Seen] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    unmatched: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    links: dict[str, set[str]] = field(default_factory=dict)
    folders: bool = False


def look(patterns: Iterable[str], exclude: Collection[Path]) -> View:
    """
    Look which files there are.

    Args:
        patterns: Globs, absolute.
        exclude: Folders whose files are never input, by whatever name they are reached. Nor are standard output and error.
    """
    view = View()
    for pattern in patterns:
        paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (a Path's glob finds hidden files)
        if not paths:
            view.unmatched.append(pattern)
        view.paths.update(paths)
        for path in paths:
            _add(view, path)
    _leave_out(view, exclude)
    return view


def look_at(
    paths: Collection[str], patterns: Iterable[str], exclude: Collection[Path], known: Callable[[Number], str | None]
) -> View:
    """
    Look at some paths; see `look`.

    Args:
        paths: What may have changed.
        patterns: As for `look`.
        exclude: As for `look`.
        known: Tells under which name a file is followed; it keeps that one as long as it has it.
    """
    view = View(paths=set(paths))
    for path in sorted(paths):
        if any(matches(pattern, path) for pattern in patterns):
            _add(view, path)
        elif os.path.isdir(path):  # noqa: PTH112 (asked of every path that changes)
            view.folders = True
    for number, seen in list(view.files.items()):
        name = known(number)
        if name is not None and name != seen.path:
            with suppress(OSError):
                info = os.stat(name)  # noqa: PTH116
                if (info.st_dev, info.st_ino) == number:
                    view.files[number] = _seen(name, info)
    _leave_out(view, exclude)
    return view


def matches(pattern: str, path: str) -> bool:
    """Tell whether `glob` would find *path* by *pattern*, both absolute; `**` stands for any number of folders."""
    return _match(pattern.split("/"), path.split("/"))


def _match(pattern: list[str], path: list[str]) -> bool:
    if not pattern or not path:
        return not pattern and not path
    if pattern[0] == "**":
        if len(pattern) == 1:  # `**` at the end takes files and folders
            return not any(piece.startswith(".") for piece in path)
        return _match(pattern[1:], path) or (not path[0].startswith(".") and _match(pattern, path[1:]))
    hidden = path[0].startswith(".") and not pattern[0].startswith(".")
    found = fnmatchcase(path[0], pattern[0]) if glob.has_magic(pattern[0]) else path[0] == pattern[0]
    return found and not hidden and _match(pattern[1:], path[1:])


def folders_of(patterns: Iterable[str]) -> dict[str, Number]:
    """
    List the folders in which something may appear that matters to a pattern, with what tells each of them apart.

    Those are the folders that files are in, those above them down to the first wildcard, and where the first of them is
    not there yet, the nearest one above it.
    """
    found: dict[str, Number] = {}
    for pattern in patterns:
        fixed = fixed_folder(pattern)
        pieces = Path(pattern).parts[len(fixed.parts) : -1]
        paths = [str(next(folder for folder in (fixed, *fixed.parents) if folder.is_dir()))]
        for count in range(1, len(pieces) + 1):
            paths += glob.glob(str(fixed.joinpath(*pieces[:count], "")) + os.sep, recursive=True)  # noqa: PTH207
        for path in paths:
            with suppress(OSError):
                info = os.stat(path)  # noqa: PTH116
                found[path.rstrip(os.sep) or os.sep] = (info.st_dev, info.st_ino)
    return found


def _leave_out(view: View, exclude: Collection[Path]) -> None:
    # After the look: a file that came into a folder meanwhile is in this list, too.
    for number in set().union(*map(_files_in, exclude), _own_output()):
        view.files.pop(number, None)
    prefixes = tuple(f"{folder}{os.sep}" for folder in exclude)
    for seen in [seen for seen in view.files.values() if seen.path.startswith(prefixes)]:
        del view.files[seen.number]


def _own_output() -> set[Number]:
    """Tell what standard output and error lead to: reading what is written about reading would never end."""
    numbers = set()
    for fd in (1, 2):
        with suppress(OSError):
            info = os.fstat(fd)
            numbers.add((info.st_dev, info.st_ino))
    return numbers


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


def is_text(path: str) -> bool:
    """Tell whether a path is UTF-8: bytes that are none come as lone surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    if not is_text(path):  # neither the checkpoint nor a record could hold it
        view.unreadable[path] = NO_TEXT
        return
    if path.endswith(_COMPRESSED):
        view.unreadable[path] = COMPRESSED
        return
    if os.path.islink(path):  # noqa: PTH114
        view.links.setdefault(os.path.realpath(path), set()).add(path)
    seen = _seen(path, info)
    other = view.files.setdefault(seen.number, seen)
    # Of several names, one by the file protocol says what the file is.
    if other is not seen and is_own(path) and not is_own(other.path):
        view.files[seen.number] = seen


def _seen(path: str, info: os.stat_result) -> Seen:
    return Seen(path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_nlink)


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

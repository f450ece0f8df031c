"""What stands in a file that is new to a look: enough to know whether it is an old one."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from jsonlog.files.protocol import PartName, parse_name
from shipper.checkpoint import FileState
from shipper.look import Seen
from shipper.tailer import CHUNK_BYTES

_HEAD_BYTES = 1024
Recognise = Callable[[FileIO, Seen, bytes, PartName | None], FileState | None]


class Opened(Struct, frozen=True):
    """A file as a look into it found it."""

    seen: Seen
    head: bytes
    first_line: bytes
    part: PartName | None
    state: FileState | None  # what the checkpoint holds of it
    packed: bool = False  # head and first line are those of what is in the compressed file
    file: FileIO | None = None  # its descriptor, kept open while there is room


def open_all(found: list[Seen], *, room: int, recognise: Recognise) -> list[Opened | tuple[str, str] | None]:
    """
    Look into files; blocking.

    Args:
        found: The files.
        room: How many descriptors may be kept open.
        recognise: Finds a file in the checkpoint.

    Returns:
        For each file what it holds; a path with a reason where it cannot be read, None where it is empty.
    """
    result: list[Opened | tuple[str, str] | None] = []
    for seen in found:
        try:
            opened = _open(seen, recognise, keep=room > 0)
        except OSError as exc:
            result.append((seen.path, exc.strerror or str(exc)))
        else:
            room -= opened is not None and opened.file is not None
            result.append(opened)
    return result


def still(file: FileIO, seen: Seen, state: FileState) -> bool:
    """Tell whether a file still holds, before the saved offset, what was read of it."""
    offset = state.position.offset
    if seen.size < offset:
        return False
    return os.pread(file.fileno(), len(state.tail), offset - len(state.tail)) == state.tail


def stem_of(path: str) -> str:
    """Return what the ids of a file of ours begin with, by its path; empty for a foreign one."""
    part = parse_name(Path(path).name)
    return part.stem if part is not None else ""


def _open(seen: Seen, recognise: Recognise, *, keep: bool) -> Opened | None:
    file = open(seen.path, "rb", buffering=0)  # noqa: SIM115, PTH123 (kept open beyond this function)
    try:
        opened = _look_into(file, seen.path, recognise)
        # The name of a file of ours cannot change, so it can be opened later.
        if opened is not None and keep and (opened.part is None or (opened.state is not None and opened.state.foreign)):
            opened = replace(opened, file=file)
    except BaseException:
        file.close()
        raise
    if opened is None or opened.file is None:
        file.close()
    return opened


def _look_into(file: FileIO, path: str, recognise: Recognise) -> Opened | None:
    info = os.fstat(file.fileno())
    seen = Seen(path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
    head = file.read(_HEAD_BYTES)
    if not head:
        return None
    part = parse_name(Path(path).name)
    first = head if b"\n" in head else os.pread(file.fileno(), CHUNK_BYTES, 0)
    return Opened(seen, head, first.partition(b"\n")[0], part, recognise(file, seen, head, part))

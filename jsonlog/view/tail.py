"""Finds where to begin when only the last lines are asked for, so that the rest of a huge file is not read."""

from __future__ import annotations

from pathlib import Path

from jsonlog.view.readers import refuse
from jsonlog.view.source import Source

_STEP = 64 << 10
_WINDOW = 64 << 10


def shorten(sources: list[Source], count: int) -> None:
    """
    Let each source begin near its end.

    Args:
        sources: Not begun yet.
        count: How many lines at the end must still be read; a window more is, since lines may be out of order.

    Raises:
        ViewError: A file cannot be read.
    """
    for source in sources:
        if source.is_pipe():
            continue
        need = count
        for index in range(len(source.files) - 1, -1, -1):
            path = source.files[index].path
            if path is None or path.name.endswith(".gz"):
                break
            offset, lines = _begin(path, need)
            need -= lines
            if offset:
                del source.files[:index]
                source.offset = offset
                break


def _begin(path: Path, count: int) -> tuple[int, int]:
    """Give the offset of a line with *count* lines and a window behind it, 0 for the whole file, and the lines found."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            position, lines = end, 0
            while position > 0 and (lines <= count or end - position < _WINDOW):
                step = min(_STEP, position)
                position -= step
                file.seek(position)
                block = file.read(step)
                lines += block.count(b"\n")
            if position <= 0:
                return 0, lines
            return position + block.find(b"\n") + 1, lines
    except FileNotFoundError:
        return 0, 0
    except OSError as exc:
        raise refuse(path, exc) from exc

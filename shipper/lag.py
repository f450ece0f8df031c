"""How far behind a file is: bytes that are not acknowledged, and when the oldest record in them was written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

_ENOUGH = 4096  # of a record, to find its time in


class _Timed(msgspec.Struct):
    timestamp: str | None = msgspec.field(name="@timestamp", default=None)


_decoder = msgspec.json.Decoder(type=_Timed)
_OURS = b'{"@timestamp":"'


def oldest_at(files: Iterable[tuple[str, int]]) -> float | None:
    """
    Find when the oldest record was written that is not acknowledged; blocking.

    Args:
        files: Paths, and how far they are acknowledged.

    Returns:
        Seconds since 1970; None when all is acknowledged.
    """
    return min((at for path, offset in files if (at := record_at(path, offset)) is not None), default=None)


def record_at(path: str, offset: int) -> float | None:
    """
    Read when the record at a place was written; where it does not say so, when the file was last written to.

    Returns:
        Seconds since 1970; None when there is nothing at that place, or the file is gone.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.pread(fd, _ENOUGH, offset)
        if not data:
            return None
        at = written_at(data)
        return at if at is not None else os.fstat(fd).st_mtime
    except OSError:
        return None
    finally:
        os.close(fd)


def written_at(data: bytes) -> float | None:
    """
    Read when a record was written.

    Args:
        data: Its line, with others behind it or cut off as may be.

    Returns:
        Seconds since 1970; None when the first line does not say it.
    """
    if data.startswith(_OURS):
        text = data[len(_OURS) : data.find(b'"', len(_OURS))].decode("ascii", "replace")
    else:
        try:
            text = _decoder.decode(data[: data.find(b"\n") + 1] or data).timestamp or ""
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None

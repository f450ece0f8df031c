"""How a writer writes: what the options of a handler come to, each checked when the handler is made."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from typing import Any

    from jsonlog.files.prune import Bounds

_DEFAULT_MAX_BYTES = 128 * 1024 * 1024
_PARTS_IN_BOUNDS = 8  # what is being written cannot be deleted, so a part is a small piece of what may stay
_SYNC = {"never": (False, 0.0), "record": (True, 0.0)}


@dataclass(frozen=True, slots=True)
class Policy:
    """
    How a writer writes.

    Attributes:
        max_bytes: A part that has reached this size is left. 0: never.
        max_age_s: A part that has been written for so long is left. 0: never.
        sync: Whether each write waits for the disk itself.
        sync_interval_s: At most so long what is written is not on the disk itself. 0: as long as the system likes.
        buffer_bytes: So many bytes of records wait to be written together. 0: none does.
        flush_interval_s: At most so long they wait.
        raise_errors: Whether a record that cannot be written is an OSError for who logged it.
        is_retried: Whether who gets that OSError will bring the record again: it is not lost, and takes no number.
    """

    max_bytes: int = 0
    max_age_s: float = 0.0
    sync: bool = False
    sync_interval_s: float = 0.0
    buffer_bytes: int = 0
    flush_interval_s: float = 0.0
    raise_errors: bool = False
    is_retried: bool = False

    @property
    def syncs(self) -> bool:
        """Whether anything is synced."""
        return self.sync or self.sync_interval_s > 0

    @property
    def tick_s(self) -> float:
        """How often something has to be done that no record triggers; 0: never."""
        periods = [self.sync_interval_s] if self.sync_interval_s else []
        return min([*periods, self.flush_interval_s] if self.buffer_bytes else periods, default=0.0)


def read_policy(given: dict[str, Any]) -> Policy:
    """
    Check the options that say how a writer writes.

    Args:
        given: `max_bytes`, `max_age_s`, `fsync`, `buffer_bytes`, `flush_interval_s`, `raise_errors`, and the two of
            `read_bounds`, of which parts are a small piece.

    Raises:
        ValueError: One is wrong; names it.
    """
    sync, sync_interval_s = _read_fsync(given["fsync"])
    buffer_bytes = _whole(given, "buffer_bytes")
    if buffer_bytes and sync:
        raise _wrong("fsync", "'never' or a number of seconds beside 'buffer_bytes', which lets records wait", "record")
    total, total_age_s = _whole(given, "max_total_bytes") or _whole(given, "hard_max_bytes"), given["max_total_age_s"]
    max_bytes = given["max_bytes"]
    if max_bytes is None:
        max_bytes = min(_DEFAULT_MAX_BYTES, max(1, total // _PARTS_IN_BOUNDS)) if total else _DEFAULT_MAX_BYTES
    elif total and not 0 < _whole(given, "max_bytes") <= total // 2:
        name = "max_total_bytes" if given["max_total_bytes"] else "hard_max_bytes"
        raise _wrong(
            "max_bytes", f"at most half of '{name}', since a part that is written cannot be deleted", max_bytes
        )
    max_age_s = given["max_age_s"]
    if max_age_s is None:
        max_age_s = _seconds(given, "max_total_age_s") / _PARTS_IN_BOUNDS if total_age_s else 0.0
    return Policy(
        max_bytes=_whole({"max_bytes": max_bytes}, "max_bytes"),
        max_age_s=_seconds({"max_age_s": max_age_s}, "max_age_s"),
        sync=sync,
        sync_interval_s=sync_interval_s,
        buffer_bytes=buffer_bytes,
        flush_interval_s=_seconds(given, "flush_interval_s", positive=buffer_bytes > 0),
        raise_errors=_flag(given, "raise_errors"),
    )


def read_bounds(given: dict[str, Any]) -> tuple[Bounds, bool] | None:
    """
    Check the options that bound the directory.

    Args:
        given: `without_shipper`, `max_total_bytes`, `max_total_age_s`, `hard_max_bytes`.

    Returns:
        The bounds, and whether a part that goes is a loss; None where nothing is ever deleted.

    Raises:
        ValueError: They contradict each other; names them.
    """
    total, age_s = _whole(given, "max_total_bytes"), _seconds(given, "max_total_age_s")
    hard = _whole(given, "hard_max_bytes")
    if not _flag(given, "without_shipper"):
        for name in ("max_total_bytes", "max_total_age_s"):
            if given[name]:
                raise _wrong(
                    name, "given with 'without_shipper=True' only: it deletes what nobody may have", given[name]
                )
        return (_bounds(max_bytes=hard), True) if hard else None
    if hard:
        raise _wrong("hard_max_bytes", "given for a shipper only; with 'without_shipper' it is 'max_total_bytes'", hard)
    if not total and not age_s:
        raise _wrong("without_shipper", "given with 'max_total_bytes', 'max_total_age_s' or both", True)
    return _bounds(max_bytes=total or None, max_age_s=age_s or None, nolock=bool(age_s)), False


def _bounds(**given: Any) -> Bounds:
    from jsonlog.files.prune import Bounds  # noqa: PLC0415 (only where it is asked for)

    return Bounds(**given)


def read_mode(given: dict[str, Any], name: str) -> int:
    """
    Check permission bits.

    Raises:
        ValueError: They are none.
    """
    mode = given[name]
    if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o7777:
        raise _wrong(name, "permission bits such as 0o640", mode)
    return mode


def read_group(group: object) -> int | None:
    """
    Find a group by name or number.

    Raises:
        ValueError: There is none, or this system has no groups.
    """
    if group is None:
        return None
    if isinstance(group, int) and not isinstance(group, bool) and group >= 0:
        return group
    try:
        import grp  # noqa: PLC0415 (only where it is asked for)

        return grp.getgrnam(str(group)).gr_gid
    except (ImportError, KeyError, ValueError):
        raise _wrong("group", "the name or number of a group of this machine", group) from None


def read_directory(directory: object) -> str:
    """
    Make a directory's path absolute, so that a `chdir` does not move it.

    Raises:
        ValueError: It is no path, or empty.
    """
    if not isinstance(directory, (str, os.PathLike)):
        raise _wrong("directory", "a path", directory)
    path = os.fspath(directory)
    if not isinstance(path, str) or not path or "\0" in path:
        raise _wrong("directory", "a path that is not empty", directory)
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111


def read_level(level: object) -> int:
    """
    Check the level from which on the buffer is written at once.

    Raises:
        ValueError: It is none.
    """
    number = logging.getLevelName(level) if isinstance(level, str) else level
    if isinstance(number, bool) or not isinstance(number, int):
        raise _wrong("flush_level", "a level such as 'ERROR'", level)
    return number


def _read_fsync(value: object) -> tuple[bool, float]:
    if isinstance(value, str) and value in _SYNC:
        return _SYNC[value]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return False, float(value)
    raise _wrong("fsync", "'never', 'record' or a number of seconds", value)


def _whole(given: dict[str, Any], name: str) -> int:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(name, "a number of bytes, 0 or more", value)
    return value


def _seconds(given: dict[str, Any], name: str, *, positive: bool = False) -> float:
    value = given[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < math.inf
        or (positive and not value)
    ):
        raise _wrong(name, f"a number of seconds, {'more than 0' if positive else '0 or more'}", value)
    return float(value)


def _flag(given: dict[str, Any], name: str) -> bool:
    value = given[name]
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


def _wrong(name: str, expected: str, value: object) -> ValueError:
    return ValueError(f"ProcessFileHandler: '{name}' must be {expected}, got {value!r}")

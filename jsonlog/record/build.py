"""
The facts of a LogRecord, read so that no record can fail.

A LogRecord may come from another version of Python, from `makeLogRecord` with half of its fields, or from code that has
set anything on it. Nothing here changes the record.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from jsonlog.record.encode import TAG_ARGS, TAG_VALUE, Bounds, safe_repr, safe_text

# Everything that some version of Python sets on a record: the union, so that a record from another version leaks nothing.
STANDARD_ATTRIBUTES = frozenset(
    logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys()
    | {
        "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text",
        "stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName",
        "processName", "process", "taskName", "message", "asctime",
    }
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def split_time(record: Any, tags: set[str]) -> tuple[int, int]:
    """
    Read the time of a record.

    Returns:
        Whole seconds since 1970 (negative before) and milliseconds 0..999. A time that no calendar has (NaN, beyond
        the year 9999) is replaced by now, with a tag.
    """
    created: Any = getattr(record, "created", None)
    try:
        seconds = math.floor(created)
        fraction = (created - seconds) * 1000
        _EPOCH + timedelta(seconds=seconds)
    except (TypeError, ValueError, OverflowError):
        tags.add(TAG_VALUE)
        now = time.time_ns() // 1_000_000
        return now // 1000, now % 1000
    # `msecs` is exact where `created`, a double, may lie just below the millisecond; believed only where both agree.
    millis: Any = getattr(record, "msecs", None)
    if type(millis) in (int, float) and 0 <= millis < 1000 and abs(fraction - millis) <= 1:
        return seconds, int(millis)
    return seconds, min(int(fraction), 999)


def format_second(second: int) -> str:
    """Format whole seconds since 1970 as `2026-11-22T05:02:17`."""
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


def read_message(record: Any, bounds: Bounds, tags: set[str]) -> tuple[str, dict[str, Any]]:
    """
    Apply the arguments to the message.

    Returns:
        The message, and what has to be added to `extra`: where template and arguments do not fit each other, the
        message is the template, and the arguments and the error are kept.
    """
    message, args = getattr(record, "msg", ""), getattr(record, "args", None)
    try:
        if type(record).getMessage is logging.LogRecord.getMessage:
            text = message if type(message) is str else str(message)
            text = text % args if args else text
        else:
            text = record.getMessage()
        return (text if type(text) is str else "".join(text)), {}
    except Exception as exc:  # noqa: BLE001 (whatever __str__ and __format__ of message and arguments raise)
        text = message if type(message) is str else safe_text(message, tags)
        if not args:
            return text, {}
        tags.add(TAG_ARGS)
        given = list(args) if isinstance(args, tuple) else [args]
        return text, {
            "args": [safe_repr(arg, bounds, tags) for arg in given[: bounds.items]],
            "args_error": f"{type(exc).__name__}: {safe_text(exc, set())}",
        }


def read_extra(record: Any) -> dict[str, Any]:
    """Collect what `extra=` has set on the record, in its order."""
    return {key: value for key, value in list(record.__dict__.items()) if key not in STANDARD_ATTRIBUTES}

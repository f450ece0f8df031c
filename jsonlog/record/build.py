"""
The facts of a LogRecord, read so that no record can fail.

A LogRecord may come from another version of Python, from `makeLogRecord` with half of its fields, or from code that has
set anything on it. Nothing here changes the record.
"""

from __future__ import annotations

import logging
import math
import os
import time
from datetime import UTC, datetime, timedelta

from jsonlog.files.protocol import new_run
from jsonlog.record.text import TAG_ARGS, TAG_VALUE, Bounds, name_text, plain_str, safe_repr, safe_text

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from typing import Any

# What this Python sets on each record, and everything that some version sets or a formatter leaves: a record from another
# version leaks nothing. `jsonlog_extra` is where `jsonlog.Logger` keeps names that a record itself has; `jsonlog_sent` is
# the line that a record was formatted to where it was logged, if it came through a queue.
OWN_ATTRIBUTES = tuple(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
CLASHES = "jsonlog_extra"
SENT = "jsonlog_sent"
STANDARD_ATTRIBUTES = frozenset(OWN_ATTRIBUTES) | {
    "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text",
    "stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName",
    "processName", "process", "taskName", "message", "asctime", CLASHES, SENT,
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_LINE = 2**31
_LONG_MAX = 2**63 - 1
_process = (0, "")


def split_time(facts: dict[Any, Any], tags: set[str]) -> tuple[int, int]:
    """
    Read the time of a record.

    Returns:
        Whole seconds since 1970 (negative before) and microseconds. A time that no calendar has (NaN, beyond the year
        9999) is replaced by now, with a tag.
    """
    created: Any = facts.get("created")
    try:
        seconds = math.floor(created)
        fraction = float(created - seconds)
        _EPOCH + timedelta(seconds=seconds)
    except Exception:  # noqa: BLE001 (a number of the user's own making)
        tags.add(TAG_VALUE)
        now = time.time_ns() // 1000
        return now // 1_000_000, now % 1_000_000
    micros = min(round(fraction * 1_000_000), 999_999)
    # `msecs` is exact where `created`, a double, may lie just below the millisecond; believed only where both agree.
    millis: Any = facts.get("msecs")
    if type(millis) in (int, float) and 0 <= millis < 1000 and abs(fraction * 1000 - millis) <= 1:
        known = int(millis)
        if micros // 1000 != known:
            micros = known * 1000 if micros < known * 1000 else known * 1000 + 999
    return seconds, micros


def format_second(second: int) -> str:
    """Format whole seconds since 1970 as `2026-11-22T05:02:17`."""
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


def format_time(seconds: int, micros: int, *, decimals: int) -> str:
    """Format a time as RFC 3339 in UTC with three or six decimals."""
    fraction = f"{micros // 1000:03d}" if decimals == 3 else f"{micros:06d}"
    return f"{format_second(seconds)}.{fraction}Z"


def read_message(record: Any, bounds: Bounds, tags: set[str]) -> tuple[str, dict[str, Any]]:
    """
    Apply the arguments to the message.

    Returns:
        The message, not yet bounded, and what has to be added to `extra`: where template and arguments do not fit
        each other, the message is the template, and the arguments and the error are kept.
    """
    facts = record.__dict__
    message, args = facts.get("msg", ""), facts.get("args")
    try:
        if type(record).getMessage is logging.LogRecord.getMessage:
            text = message if type(message) is str else str(message)
            text = text % args if args else text
        else:
            text = record.getMessage()
        return plain_str(text), {}
    except Exception as exc:  # noqa: BLE001 (whatever __str__, __format__ and __bool__ of message and arguments raise)
        return safe_text(message, tags), _kept_arguments(args, exc, bounds, tags)


def _kept_arguments(args: Any, exc: Exception, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    if args is None or (type(args) is tuple and not args):
        return {}
    tags.add(TAG_ARGS)
    given = list(args[: bounds.items]) if type(args) is tuple else [args]
    return {
        "args": [safe_repr(arg, bounds, tags) for arg in given],
        "args_error": f"{type(exc).__name__}: {safe_text(exc, set())}",
    }


def read_extra(facts: dict[Any, Any]) -> dict[Any, Any]:
    """Collect what `extra=` has set on the record, in its order."""
    extra = {key: value for key, value in list(facts.items()) if key not in STANDARD_ATTRIBUTES}
    clashes = facts.get(CLASHES)
    return {**extra, **clashes} if type(clashes) is dict else extra


def log_fields(facts: dict[Any, Any], bounds: Bounds, tags: set[str], *, level_number: bool) -> dict[str, Any]:
    """Describe the level, the logger and the place of the call."""
    log: dict[str, Any] = {"level": name_text(facts.get("levelname"), bounds, tags) or "NOTSET"}
    number = facts.get("levelno")
    if level_number and type(number) is int and abs(number) <= _LONG_MAX:
        log["level_number"] = number
    log["logger"] = name_text(facts.get("name"), bounds, tags) or "root"
    line = facts.get("lineno")
    file = present(
        name=name_text(facts.get("filename"), bounds, tags),
        line=line if type(line) is int and 0 <= line < _MAX_LINE else None,
    )
    origin = present(file=file or None, function=name_text(facts.get("funcName"), bounds, tags))
    if origin:
        log["origin"] = origin
    return log


def entity_id() -> str:
    """Name this process, the same in all its records: its pid is used again, this is not."""
    global _process  # noqa: PLW0603 (what a process is called is one fact of the process)
    if _process[0] != os.getpid():
        _process = (os.getpid(), new_run())
    return _process[1]


def process_fields(facts: dict[Any, Any], entity_id: str, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    """
    Describe the process and the thread that made the call.

    Args:
        facts: The record's attributes.
        entity_id: Of this process; left out of a record that another process made.
        bounds: How long a name may be.
        tags: Gets a tag for what had to be changed.
    """
    pid, thread = facts.get("process"), facts.get("thread")
    here = os.getpid()
    thread_fields = present(
        id=thread if type(thread) is int and 0 <= thread <= _LONG_MAX else None,
        name=name_text(facts.get("threadName"), bounds, tags),
    )
    return present(
        pid=pid if type(pid) is int and 0 <= pid <= _LONG_MAX else here,
        name=name_text(facts.get("processName"), bounds, tags),
        entity_id=entity_id if pid == here else None,
        thread=thread_fields or None,
    )


def present(**fields: Any) -> dict[str, Any]:
    """Keep the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}

"""
Where the time, level, logger and message stand, in our records and in the JSON of others. Pure.

Ours have one place for each. Others (pino, structlog, python-json-logger, ECS with dots in the keys, zap, zerolog) are
looked up by the names they use.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from jsonlog.view.times import key_of

_TIMES = ("@timestamp", "timestamp", "time", "ts", "datetime", "asctime")
_LEVELS = ("log.level", "level", "levelname", "severity", "lvl")
_LOGGERS = ("log.logger", "logger", "logger_name", "name")
_MESSAGES = ("message", "msg", "event")
_NUMBERED = {10: "TRACE", 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR", 60: "FATAL"}  # pino and bunyan
RANKS = {
    "TRACE": 5, "DEBUG": 10, "INFO": 20, "INFORMATION": 20, "NOTICE": 25, "SUCCESS": 25, "WARN": 30, "WARNING": 30,
    "ERR": 40, "ERROR": 40, "CRIT": 50, "CRITICAL": 50, "FATAL": 50, "ALERT": 50, "EMERGENCY": 50, "PANIC": 50,
}  # fmt: skip
_NUMBER = re.compile(r"(?:LEVEL )?(\d{1,4})", re.ASCII)  # what logging calls a level that has no name


def parse(line: bytes) -> dict[str, Any] | None:
    """Read a line as a JSON object; None when it is anything else."""
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if type(value) is dict else None


def rank_of(level: str) -> int | None:
    """Give the number of a level's name, in any case; None for a name that is not known."""
    name = level.strip().upper()
    rank = RANKS.get(name)
    if rank is None:
        found = _NUMBER.fullmatch(name)
        return int(found[1]) if found else None
    return rank


def _first(record: dict[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    for name in names:
        value = record.get(name)
        if value is not None:
            return name, value
    return "", None


def time_key(record: dict[str, Any]) -> bytes:
    """Give the key of a record's time; empty when it has none."""
    return key_of(_first(record, _TIMES)[1])


def level_of(record: dict[str, Any]) -> str | None:
    """Give the level's name as the record has it."""
    log = record.get("log")
    if type(log) is dict:
        level = log.get("level")
        if type(level) is str:
            return level
    value = _first(record, _LEVELS)[1]
    if type(value) is int:
        return _NUMBERED.get(value, f"Level {value}")
    return value if type(value) is str else None


def logger_of(record: dict[str, Any]) -> str | None:
    """Give the logger's name as the record has it."""
    log = record.get("log")
    if type(log) is dict:
        logger = log.get("logger")
        if type(logger) is str:
            return logger
    value = _first(record, _LOGGERS)[1]
    return value if type(value) is str else None


def is_ours(record: dict[str, Any]) -> bool:
    """Tell whether a record has the shape that `jsonlog` writes, as far as `view` relies on it."""
    return (
        type(record.get("@timestamp")) is str and type(record.get("log")) is dict and type(record.get("message")) is str
    )


def adapt(record: dict[str, Any]) -> dict[str, Any]:
    """
    Bring somebody else's record into the shape of ours.

    Returns:
        `@timestamp` (may be empty), `log`, `message`, `exc` where there is one; every other field stays what it was.
    """
    rest = dict(record)
    level, logger = level_of(record), logger_of(record)
    stamp_name, _ = _first(record, _TIMES)
    message_name, message = _first(record, _MESSAGES)
    names = [stamp_name, message_name]
    log = record.get("log")
    if type(log) is dict:
        names.append("log")
    else:
        names += [_first(record, _LEVELS)[0], _first(record, _LOGGERS)[0]]
    for name in names:
        rest.pop(name, None)
    key = time_key(record)
    result: dict[str, Any] = {
        "@timestamp": key.decode() + "Z" if key else "",
        "log": {name: value for name, value in (("level", level), ("logger", logger)) if value is not None},
        "message": message if type(message) is str else "" if message is None else orjson.dumps(message).decode(),
    }
    exc = _exception(rest)
    if exc is not None:
        result["exc"] = exc
    return result | rest


def _exception(rest: dict[str, Any]) -> dict[str, Any] | None:
    """Take the exception out of *rest*, under the names that others give it."""
    for name in ("exc", "error", "err"):
        value = rest.get(name)
        if type(value) is dict:
            text = value.get("traceback") or value.get("stack_trace") or value.get("stack")
            if type(text) is str or type(value.get("message")) is str:
                del rest[name]
                return {"traceback": text, "type": value.get("type"), "message": value.get("message")}
    for name in ("exc_info", "exception", "stack_trace", "error.stack_trace"):
        value = rest.get(name)
        if type(value) is str:
            del rest[name]
            return {"traceback": value}
    return None

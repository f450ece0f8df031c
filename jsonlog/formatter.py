"""`JsonFormatter`: a LogRecord in, one line of JSON out. The record it writes stands in docs/design.md, section 1."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import orjson

from jsonlog.files.protocol import new_run
from jsonlog.record.build import format_second, read_extra, read_message, split_time
from jsonlog.record.encode import TAG_CUT, TAG_VALUE, Bounds, clean, encode_extra, encode_text, safe_text
from jsonlog.record.exceptions import cut_middle, describe, find_exception

if TYPE_CHECKING:
    from collections.abc import Mapping

ECS_VERSION = "9.0.0"
_ECS = f',"ecs":{{"version":"{ECS_VERSION}"}}'.encode()
_DEFAULT = Bounds()
_MAX_CACHED = 2048
_MAX_NAME = 1024  # logger, thread and process names: the stores index no more of a keyword


class JsonFormatter(logging.Formatter):
    """
    Format each record as one JSON object on one line, without a format string.

    Set it as the formatter class in `dictConfig` (`class: jsonlog.JsonFormatter`), or with options
    (`(): jsonlog.JsonFormatter`). It works in any handler: `format` returns a string without `run` and number, which
    only a handler that writes can give. It never raises for what a record holds, and never changes the record.

    `converter`, `formatTime` and `usesTime` have no effect: the time is always UTC. `formatException` and `formatStack`
    are not called.

    Args:
        fmt, datefmt, style, validate: Accepted as `logging.config` passes them; only their defaults have a meaning.
        defaults: Fields for the `extra` of every record that does not give them itself.
        service: `service.name`; default: the environment variable `JSONLOG_SERVICE`, else absent.
        version: `service.version`; default: `JSONLOG_VERSION`, else absent.
        environment: `service.environment`; default: `JSONLOG_ENVIRONMENT`, else absent.
        host: `host.name`; default: the name of this machine.
        max_text: Characters of the message, the traceback, the stack and of each string in `extra`; more is cut.
        max_items: Items of each list or mapping in `extra`.
        max_depth: Levels of nesting in `extra`.
        max_line_bytes: Bytes of the whole line; beyond it `extra` goes first, then the tracebacks.

    Raises:
        ValueError: An option is of the wrong kind, or a format string was given.
    """

    def __init__(  # noqa: PLR0913 (named options, and the four positions of logging.Formatter)
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,  # noqa: FBT001, FBT002, ARG002 (the position that logging.config uses)
        *,
        defaults: Mapping[str, Any] | None = None,
        service: str | None = None,
        version: str | None = None,
        environment: str | None = None,
        host: str | None = None,
        max_text: int = _DEFAULT.text,
        max_items: int = _DEFAULT.items,
        max_depth: int = _DEFAULT.depth,
        max_line_bytes: int = _DEFAULT.line,
    ) -> None:
        _refuse_format(fmt=fmt, datefmt=datefmt, style=style)
        super().__init__()
        if defaults is not None and not (isinstance(defaults, dict) and all(type(key) is str for key in defaults)):
            raise ValueError(f"JsonFormatter: 'defaults' must be a dict with string keys, got {defaults!r}")
        self._defaults = dict(defaults or {})
        self.service = _text_option("service", service)
        self.host = _text_option("host", host, environment_too=False) or os.uname().nodename
        self._bounds = Bounds(
            text=_size_option("max_text", max_text, 16),
            items=_size_option("max_items", max_items, 1),
            depth=_size_option("max_depth", max_depth, 1, 100),
            line=_size_option("max_line_bytes", max_line_bytes, 4096),
        )
        # A character takes at most six bytes as JSON, and six texts at most share a line that would be too long.
        self._tight = Bounds(text=self._bounds.line // 48, items=32, depth=2, line=self._bounds.line)
        self._static = _encode_static(
            {
                "service": {
                    "name": self.service,
                    "version": _text_option("version", version),
                    "environment": _text_option("environment", environment),
                },
                "host": {"name": self.host},
            }
        )
        # Fragments that repeat from record to record, encoded once. A tuple is swapped whole, so threads need no lock.
        self._second: tuple[int, bytes] = (-1, b"")
        self._sites: dict[Any, bytes] = {}
        self._processes: dict[Any, bytes] = {}
        self._process = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a string without a newline, `run` and number."""
        return self.format_bytes(record).decode()

    def format_bytes(self, record: logging.LogRecord) -> bytes:
        """
        Format a record as UTF-8 without a newline, `run` and number.

        Returns:
            One JSON object. Where a part of the record cannot be written as it is, `tags` says so.

        Raises: nothing for what the record holds; KeyboardInterrupt and SystemExit pass through.
        """
        tags: set[str] = set()
        line = self._build(record, self._bounds, tags)
        if len(line) <= self._bounds.line:
            return line
        # What people look for first stays: the message, the exception and its innermost frames. The extras are named.
        tags = {TAG_CUT}
        return self._build(record, self._tight, tags)

    def _build(self, record: logging.LogRecord, bounds: Bounds, tags: set[str]) -> bytes:
        message, kept = read_message(record, bounds, tags)
        extra = read_extra(record)
        if self._defaults or kept:
            extra = {**self._defaults, **extra, **kept}
        if bounds is self._tight and extra:
            extra = {
                "cut": f"[cut: {len(extra)} fields of a line over {bounds.line} bytes]",
                "fields": _names(extra, tags),
            }
        time = self._time(record, tags)
        site = self._site(record, tags)
        text = encode_text(message, bounds, tags)
        trouble = self._trouble(record, bounds, tags)
        process = self._process_facts(record, tags)
        fields = b',"extra":' + encode_extra(extra, bounds, tags) if extra else b""
        marks = b',"tags":' + orjson.dumps(sorted(tags)) if tags else b""
        return b"".join((time, site, b',"message":', text, trouble, self._static, process, _ECS, marks, fields, b"}"))

    def _time(self, record: logging.LogRecord, tags: set[str]) -> bytes:
        seconds, millis = split_time(record, tags)
        cached, prefix = self._second
        if cached != seconds:
            prefix = b'{"@timestamp":"' + format_second(seconds).encode()
            self._second = (seconds, prefix)
        return prefix + b'.%03dZ","msecs":%d,' % (millis, millis)

    def _site(self, record: logging.LogRecord, tags: set[str]) -> bytes:
        """Encode level, logger and place of the call, which are the same each time a line of code logs."""
        facts = record.__dict__
        key = (
            facts.get("levelname"),
            facts.get("name"),
            facts.get("filename"),
            facts.get("lineno"),
            facts.get("funcName"),
        )
        try:
            return self._sites[key]
        except (KeyError, TypeError):
            pass
        level, logger, filename, line, function = key
        origin = {
            "file": _present(name=_name(filename, tags), line=_line_number(line)),
            "function": _name(function, tags),
        }
        log = _present(
            level=_name(level, tags) or "NOTSET",
            logger=_name(logger, tags) or "root",
            origin=_present(**{name: value for name, value in origin.items() if value}),
        )
        if not log["origin"]:
            del log["origin"]
        return self._remember(self._sites, key, b'"log":' + orjson.dumps(log), tags)

    def _process_facts(self, record: logging.LogRecord, tags: set[str]) -> bytes:
        facts = record.__dict__
        key = (facts.get("process"), facts.get("processName"), facts.get("threadName"), facts.get("taskName"))
        try:
            return self._processes[key]
        except (KeyError, TypeError):
            pass
        pid, name, thread, task = key
        process = _present(
            pid=pid if type(pid) is int and 0 <= pid < 2**31 else os.getpid(),
            name=_name(name, tags),
            entity_id=self._entity_id() if pid == os.getpid() else None,
            thread=_present(name=_name(thread, tags)) or None,
            task=_present(name=_name(task, tags)) or None,
        )
        return self._remember(self._processes, key, b',"process":' + orjson.dumps(process), tags)

    def _entity_id(self) -> str:
        """Name this process: its pid is used again, this is not."""
        pid, entity = self._process
        if pid != os.getpid():
            entity = new_run()
            self._process = (os.getpid(), entity)
        return entity

    @staticmethod
    def _remember(cache: dict[Any, bytes], key: Any, data: bytes, tags: set[str]) -> bytes:
        # Only keys of plain values: a subclass could compare equal to something it is not. 1 == True is one of those.
        if not tags and all(type(item) in (str, int, type(None)) for item in key):
            if len(cache) >= _MAX_CACHED:
                cache.clear()
            cache[key] = data
        return data

    @staticmethod
    def _trouble(record: logging.LogRecord, bounds: Bounds, tags: set[str]) -> bytes:
        """Encode `exc` and `stack`."""
        facts = record.__dict__
        parts = b""
        if facts.get("exc_info"):
            try:
                exc = find_exception(record)
                field = None if exc is None else describe(exc, bounds, tags)
            except Exception as error:  # noqa: BLE001 (an exception class of user code that breaks its own description)
                tags.add(TAG_VALUE)
                field = {"type": type(exc).__name__, "message": f"could not be described: {type(error).__name__}"}
            if field is not None:
                parts = b',"exc":' + orjson.dumps(field)
        elif type(facts.get("exc_text")) is str and facts["exc_text"]:
            text = cut_middle(clean(facts["exc_text"], tags), bounds.text, tags)
            parts = b',"exc":' + orjson.dumps({"traceback": text})
        if facts.get("stack_info"):
            text = clean(safe_text(facts["stack_info"], tags), tags)
            parts += b',"stack":' + orjson.dumps(cut_middle(text, bounds.text, tags))
        return parts


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _names(extra: dict[Any, Any], tags: set[str]) -> list[str]:
    return [clean(safe_text(name, tags), tags)[:64] for name in list(extra)[:32]]


def _name(value: Any, tags: set[str]) -> str | None:
    """Return a name as bounded plain text; None for None and for an empty one."""
    if value is None:
        return None
    return clean(safe_text(value, tags), tags)[:_MAX_NAME] or None


def _line_number(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def _encode_static(fields: dict[str, dict[str, str | None]]) -> bytes:
    present = {name: _present(**inner) for name, inner in fields.items()}
    data = orjson.dumps({name: inner for name, inner in present.items() if inner})
    return b"," + data[1:-1] if data != b"{}" else b""


def _refuse_format(*, fmt: str | None, datefmt: str | None, style: str) -> None:
    if fmt is not None:
        raise ValueError(
            f"JsonFormatter takes no format string, got {fmt!r}: it writes every field of a record; remove 'format' ('fmt')"
        )
    if datefmt is not None:
        raise ValueError(
            f"JsonFormatter takes no date format, got {datefmt!r}: the time is RFC 3339 in UTC; remove 'datefmt'"
        )
    if style not in ("%", "{", "$"):
        raise ValueError(f"JsonFormatter: 'style' must be '%', '{{' or '$' (it has no effect), got {style!r}")


def _text_option(name: str, value: object, *, environment_too: bool = True) -> str | None:
    if value is None:
        value = os.environ.get(f"JSONLOG_{name.upper()}") if environment_too else None
        return clean(value, set())[:_MAX_NAME] or None if isinstance(value, str) else None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"JsonFormatter: {name!r} must be a string that is not empty, got {value!r}")
    return clean(str(value), set())[:_MAX_NAME]


def _size_option(name: str, value: object, least: int, most: int = 2**31) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(
            f"JsonFormatter: {name!r} must be a whole number of {least} or more (at most {most}), got {value!r}"
        )
    return value

"""`JsonFormatter`: a LogRecord in, one line of JSON out. The record it writes stands in docs/design.md, section 1."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from itertools import islice
from operator import itemgetter

import orjson

from jsonlog.options import refuse_format, resolve
from jsonlog.record.build import (
    OWN_ATTRIBUTES,
    SENT,
    STANDARD_ATTRIBUTES,
    entity_id,
    format_second,
    format_time,
    log_fields,
    process_fields,
    read_extra,
    split_time,
)
from jsonlog.record.context import bound, trace_ids
from jsonlog.record.encode import Encoder
from jsonlog.record.exceptions import exception_fields, find_exception, format_traceback
from jsonlog.record.sent import adopt
from jsonlog.record.shape import FIELDS
from jsonlog.record.text import TAG_CUT, Bounds, cut_middle, safe_text
from jsonlog.record.whole import ECS_VERSION, build_whole, last_resort

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jsonlog.options import Options

_DEFAULT = Bounds()
_MAX_CACHED = 2048
_OTEL = "opentelemetry.trace"

# Attributes are read in groups by C code. Together the groups read every attribute that this Python gives to a record, so
# a record that lacks one raises KeyError, and one that has as many as that has no others.
_SITE = itemgetter("levelname", "levelno", "name", "pathname", "filename", "module", "lineno", "funcName")
_PROCESS = itemgetter("process", "processName", "thread", "threadName")
_HEAD = itemgetter(
    "msg", "args", "exc_info", "exc_text", "stack_info", "created", "msecs", "relativeCreated",
    "taskName" if "taskName" in OWN_ATTRIBUTES else "stack_info",  # Python 3.11 knows no tasks
)  # fmt: skip
_OWN = len(OWN_ATTRIBUTES)
_LEFT_BY_FORMATTERS = ("message", "asctime")
# The rest of the time and `msecs`, by the float that a record has; filled by the first formatter.
_MILLIS: dict[float, bytes] = {}
_getMessage = logging.LogRecord.getMessage  # noqa: N816 (logging's name)
_dumps = orjson.dumps
_modules = sys.modules


class JsonFormatter(logging.Formatter):
    """
    Format each record as one JSON object on one line, without a format string.

    Set it as the formatter class in `dictConfig` (`class: jsonlog.JsonFormatter`), or with options
    (`(): jsonlog.JsonFormatter`). It works in any handler: `format` returns a string without `run` and number, which
    only a handler that writes can give. It never raises for what a record holds, and never changes the record.

    The time is always UTC, so `converter` has no effect. `format` does not call `formatTime`, `formatException` and
    `formatStack`; they are there for others to call. To see and change each record, override `edit`.

    Args:
        fmt, datefmt, style, validate: Accepted as `logging.config` passes them; only their defaults have a meaning.
        defaults: As `static`, by the name that `logging.Formatter` has for it; `static` wins.
        service: `service.name`; default: the environment variable `JSONLOG_SERVICE`, else absent.
        version: `service.version`; default: `JSONLOG_VERSION`, else absent.
        environment: `service.environment`; default: `JSONLOG_ENVIRONMENT`, else absent.
        node: `service.node.name`; default: `JSONLOG_NODE`, else absent.
        host: `host.name`; default: the name of this machine.
        labels: Names and strings for the field `labels` of every record.
        tags: Words for the field `tags` of every record, before the marks.
        static: Fields for the `extra` of every record that does not give them itself; read now, once.
        context: A callable without arguments, or a list of them, that is asked at each record for a mapping of more
            fields. `trace.id`, `span.id` and `transaction.id` go to those fields, all others to `extra`.
        trace: Whether the ids of the OpenTelemetry span that is current are written, where there is one.
        profile: `jsonlog`, or `ecs` for names of the Elastic Common Schema alone.
        precision: `ms` or `us`: the decimals of `@timestamp`.
        level_number: Whether `log.level_number` is written.
        extra_key: The name of `extra`; None for the top level of the record, where names of the record stay its own.
        rename: Dotted names of fields to other dotted names, or to None to drop them.
        order: Names at the top level that come first.
        redact: `keys`, `paths` and `patterns` of secrets; see docs/formatter.md.
        max_text: Characters of the message, the traceback, the stack and of each string in `extra`; more is cut.
        max_items: Items of each list or mapping in `extra`.
        max_depth: Levels of nesting in `extra`.
        max_line_bytes: Bytes of the whole line; beyond it `extra` goes first, then the tracebacks.

    Raises:
        ValueError: An option is unknown or of the wrong kind, or a format string was given; names the option.
    """

    def __init__(  # noqa: PLR0913 (named options, and the four positions of logging.Formatter)
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,  # noqa: FBT001, FBT002 (the position that logging.config uses)
        *,
        defaults: Mapping[str, Any] | None = None,
        service: str | None = None,
        version: str | None = None,
        environment: str | None = None,
        node: str | None = None,
        host: str | None = None,
        labels: Mapping[str, str] | None = None,
        tags: list[str] | tuple[str, ...] | None = None,
        static: Mapping[str, Any] | None = None,
        context: Callable[[], Mapping[str, Any]] | list[Callable[[], Mapping[str, Any]]] | None = None,
        trace: bool = True,
        profile: str = "jsonlog",
        precision: str = "ms",
        level_number: bool = False,
        extra_key: str | None = "extra",
        rename: Mapping[str, str | None] | None = None,
        order: list[str] | tuple[str, ...] | None = None,
        redact: Mapping[str, Any] | None = None,
        max_text: int = _DEFAULT.text,
        max_items: int = _DEFAULT.items,
        max_depth: int = _DEFAULT.depth,
        max_line_bytes: int = _DEFAULT.line,
        **unknown: Any,
    ) -> None:
        given = dict(locals())
        for name in ("self", "unknown", "validate", "__class__"):
            given.pop(name, None)
        refuse_format(given.pop("fmt"), given.pop("datefmt"), given.pop("style"), unknown, list(given))
        options = resolve(given)
        super().__init__()
        if not _MILLIS:
            _MILLIS.update((float(n), b'.%03dZ","msecs":%d,' % (n, n)) for n in range(1000))
        self.service, self.host = options.service, options.host
        self._prepare(options)
        self._moment: tuple[float, bytes] = (-1.0, b"")  # swapped whole, so threads need no lock

    def _prepare(self, options: Options) -> None:
        """Encode once what stands in every record, and decide which way records go."""
        redactor = options.redactor
        self._scrub = redactor.scrub if redactor else None
        self._bounds = dataclasses.replace(options.bounds, room=options.bounds.line, scrub=self._scrub)
        is_secret = redactor.is_secret_name if redactor else lambda _: False
        self._encoder = Encoder(self._bounds, is_secret, redactor.suspects if redactor else None)
        marks: set[str] = set()
        static = self._encoder.careful(options.static, self._bounds, marks)
        if redactor:
            redactor.apply({"extra": static})
        self._options = dataclasses.replace(options, static=static, static_marks=frozenset(marks))
        self._static_names = frozenset(static)
        self._facts_json = b"".join(b",%b:%b" % (_dumps(name), _dumps(value)) for name, value in options.facts.items())
        self._labels_json = b',"labels":' + _dumps(options.labels) if options.labels else b""
        self._extra_lead = b",%b:" % _dumps(options.extra_key or "extra")
        self._static_lead = self._extra_lead + _dumps(static)[:-1] + b","
        self._end = self._end_with(self._options.static_marks)
        # What changes the shape of a record, or needs the whole of it, takes the careful way.
        self._is_direct = (
            type(self).edit is JsonFormatter.edit
            and not (options.moves or options.order or options.providers)
            and options.extra_key is not None
            and options.decimals == 3
            and not (redactor and redactor.touches((*FIELDS, *(f"labels.{name}" for name in options.labels))))
        )
        self._more_fields = bool(options.static)
        # Pieces that repeat from record to record, encoded once: the place of the call, and the process with and without
        # what follows it. And what each record is measured by, in one place since it is read for each.
        self._sites: dict[Any, bytes] = {}
        self._processes: dict[Any, tuple[bytes, bytes]] = {}
        bounds = self._bounds
        self._direct = self._sites, self._processes, bounds.text, self._scrub, self._more_fields, bounds.line

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a string without a newline, `run` and number."""
        return self.format_bytes(record).decode()

    def format_bytes(self, record: logging.LogRecord) -> bytes:
        """
        Format a record as UTF-8 without a newline, `run` and number.

        The usual record is written directly from encoded pieces. Whatever is unusual about one, it is built anew by
        `_carefully`, which knows every case; for a usual one both give the same bytes.

        Returns:
            One JSON object. Where a part of the record cannot be written as it is, `tags` says so.

        Raises: nothing for what the record holds; KeyboardInterrupt and SystemExit pass through.
        """
        try:
            facts = record.__dict__
            message, args, exc_info, exc_text, stack, created, msecs, _, task = _HEAD(facts)
            sites, processes, limit, scrub, more, most = self._direct
            site, (process, closed) = sites[_SITE(facts)], processes[_PROCESS(facts)]
            second = created // 1
            moment = self._moment
            if moment[0] != second:
                moment = self._moment = (second, b'{"@timestamp":"' + format_second(int(second)).encode())
            millis = _MILLIS[msecs]
            if args:
                message = message % args
            if (
                type(message) is str
                and len(message) <= limit
                and -0.001 <= created - second - msecs / 1000 <= 0.001
                and type(record).getMessage is _getMessage
            ):
                if scrub is not None:
                    message = scrub(message)
                if exc_info is exc_text is stack is task is None and _OTEL not in _modules:
                    if len(facts) == _OWN and not more and not bound.get():
                        line = b"".join((moment[1], millis, site, _dumps(message), closed))
                    else:
                        extra = self._direct_extra(facts)
                        line = b"".join((moment[1], millis, site, _dumps(message), process, self._end, extra))
                else:
                    trouble, end, extra = self._rest(facts)
                    line = b"".join((moment[1], millis, site, _dumps(message), trouble, process, end, extra))
                if len(line) <= most:
                    return line
        except Exception:  # noqa: BLE001, S110 (something about the record is unusual)
            pass
        # Not within the `except`: what `exc_info=True` means is asked of the interpreter.
        return self._carefully(record)

    def edit(self, record: logging.LogRecord, fields: dict[str, Any]) -> None:
        """
        See and change what is written of a record: for subclasses to override; does nothing here.

        It is called once for each record, by the thread that logs. What it puts in may be anything: it is made valid
        and bounded afterwards. What it raises, if it is an Exception, costs its changes only, and is marked.

        Args:
            record: The LogRecord, not to be changed.
            fields: The record that will be written, with the names of docs/design.md, before redaction by key and
                before fields are moved; change it in place.
        """

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 (logging's names)
        """Return the text of `@timestamp`; *datefmt* has no effect."""
        return format_time(*split_time(record.__dict__, set()), decimals=self._options.decimals)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        """Return the text of `exc.traceback` for what `sys.exc_info()` gave, without the newline at its end."""
        exc = find_exception(ei)
        return "" if exc is None else format_traceback(exc, self._bounds, set()).removesuffix("\n")

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 (logging's name)
        """Return the text of `stack`."""
        return cut_middle(safe_text(stack_info, set()), self._bounds, set())

    def usesTime(self) -> bool:  # noqa: N802 (logging's name)
        """Tell that the time is written: it always is."""
        return True

    def _rest(self, facts: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        """
        Encode what only some records have.

        Returns:
            `exc` and `stack`; what stands between `process` and `extra`; `extra` and the end of the record.

        Raises:
            ValueError: It takes the careful way.
        """
        trouble, tags = b"", self._options.static_marks
        if facts["exc_info"] is not None or facts["exc_text"] is not None or facts["stack_info"] is not None:
            marks = set(tags)
            fields = exception_fields(facts, self._bounds, marks)
            if fields:
                trouble, tags = b"," + _dumps(fields)[1:-1], frozenset(marks)
        end = self._end if tags is self._options.static_marks else self._end_with(tags)
        if facts.get("taskName") is not None or _OTEL in _modules:
            end = self._with_task_and_trace(facts, end)
        if len(facts) == _OWN and not self._more_fields and not bound.get():
            return trouble, end, b"}"
        return trouble, end, self._direct_extra(facts)

    def _direct_extra(self, facts: dict[str, Any]) -> bytes:
        """
        Encode what stands in `extra` and close the record.

        Raises:
            ValueError: It takes the careful way.
        """
        fields = dict(islice(facts.items(), _OWN, None))
        here = bound.get()
        if here:
            fields = {**here, **fields}
        if not self._more_fields:
            # No attribute of a record is ever a key that is known to be good, so this looks for those as well.
            data = self._encoder.known(fields)
            if data is not None:
                return self._extra_lead + data + b"}"
        return self._any_extra(facts, fields)

    def _any_extra(self, facts: dict[str, Any], fields: dict[str, Any]) -> bytes:
        """Do the same for fields that are new, nested or beside static ones."""
        if not STANDARD_ATTRIBUTES.isdisjoint(fields):
            if "taskName" in fields or SENT in fields:  # of a later Python; formatted already
                raise ValueError
            for name in _LEFT_BY_FORMATTERS:
                fields.pop(name, None)
            if not STANDARD_ATTRIBUTES.isdisjoint(fields):
                fields = {**(bound.get() or {}), **read_extra(facts)}
        static = self._options.static
        if not self._static_names.isdisjoint(fields):
            fields, static = {**static, **fields}, {}
        if not fields:
            return self._extra_lead + _dumps(static) + b"}" if static else b"}"
        data = self._encoder.direct(fields)
        if data is None:
            raise ValueError
        return self._static_lead + data[1:] + b"}" if static else self._extra_lead + data + b"}"

    def _end_with(self, tags: frozenset[str]) -> bytes:
        """Encode what stands between `process` and `extra`."""
        words = [*self._options.tags, *sorted(tags)]
        marks = b',"tags":' + _dumps(words) if words else b""
        return b'}%b,"ecs":{"version":"%b"}%b' % (self._labels_json, ECS_VERSION.encode(), marks)

    def _carefully(self, record: logging.LogRecord) -> bytes:
        """Format any record whatever."""
        try:
            if self._is_direct and SENT not in record.__dict__ and self._learn(record):
                return self.format_bytes(record)
            edit = None if type(self).edit is JsonFormatter.edit else self.edit
            if SENT in record.__dict__:
                return adopt(record, self, self._options, self._bounds, edit)
            tags: set[str] = set(self._options.static_marks)
            for bounds in self._bounds.steps():
                fields = build_whole(record, self._options, bounds, tags, entity_id=entity_id(), edit=edit)
                line = _dumps(fields)
                if len(line) <= bounds.line:
                    return line
                tags = {TAG_CUT, *self._options.static_marks}
        except Exception:  # noqa: BLE001, S110 (the stack or the memory is at its end, or we have a bug)
            pass
        return _dumps(last_resort(record, os.getpid()))

    def _learn(self, record: logging.LogRecord) -> bool:
        """
        Encode the pieces of a record that will be the same for others.

        Returns:
            Whether there is something new to go on. Only plain values are learned: a subclass of `str` could compare
            equal to something it is not.
        """
        facts = record.__dict__
        tags: set[str] = set()
        learned = False
        try:
            site, process = _SITE(facts), _PROCESS(facts)
            if site not in self._sites and all(type(item) in (str, int) for item in site):
                log = log_fields(facts, self._bounds, tags, level_number=self._options.level_number)
                learned |= not tags and _remember(self._sites, site, b'"log":' + _dumps(log) + b',"message":')
            kinds = [type(item) for item in process]
            if process not in self._processes and kinds[0] is int and all(kind in (str, int) for kind in kinds):
                data = _dumps(process_fields(facts, entity_id(), self._bounds, tags))[:-1]
                data = self._facts_json + b',"process":' + data
                learned |= not tags and _remember(self._processes, process, (data, data + self._end + b"}"))
        except (KeyError, TypeError):  # a record with fields missing
            return False
        return learned

    def _with_task_and_trace(self, facts: dict[str, Any], end: bytes) -> bytes:
        """
        Put the asyncio task and the ids of the trace into the end of the record.

        Raises:
            ValueError: It takes the careful way.
        """
        task, inside = facts.get("taskName"), b""
        if task is not None:
            if type(task) is not str or not 0 < len(task) <= self._bounds.name:
                raise ValueError
            inside = b',"task":{"name":%b}' % _dumps(task)
        ids = (trace_ids() if self._options.trace else None) or {}
        after = b"".join(b',"%b":{"id":"%b"}' % (name[:-3].encode(), value.encode()) for name, value in ids.items())
        return b"%b}%b%b" % (inside, after, end[1:])


def _remember(cache: dict[Any, Any], key: Any, data: Any) -> bool:
    if len(cache) >= _MAX_CACHED:
        cache.clear()
    cache[key] = data
    return True

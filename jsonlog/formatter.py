"""`JsonFormatter`: a LogRecord in, one line of JSON out. The record it writes stands in docs/design.md, section 1."""

from __future__ import annotations

import dataclasses
import logging
import os

import orjson

from jsonlog.options import refuse_format, refuse_paths, resolve
from jsonlog.record.build import SENT, entity_id, format_time, split_time
from jsonlog.record.direct import Direct
from jsonlog.record.encode import Encoder
from jsonlog.record.exceptions import find_exception, format_traceback
from jsonlog.record.sent import adopt
from jsonlog.record.shape import FIELDS
from jsonlog.record.text import TAG_CUT, Bounds, cut_middle, safe_text
from jsonlog.record.whole import build_whole, last_resort

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jsonlog.options import Options

_DEFAULT = Bounds()


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
        self.service, self.host = options.service, options.host
        self._prepare(options)

    def _prepare(self, options: Options) -> None:
        """Encode once what stands in every record, and decide which way records go."""
        redactor = options.redactor
        scrub = redactor.scrub if redactor else None
        is_secret = redactor.is_secret_name if redactor else None
        self._bounds = dataclasses.replace(options.bounds, room=options.bounds.line, scrub=scrub, is_secret=is_secret)
        encoder = Encoder(self._bounds, redactor.suspects if redactor else None)
        marks: set[str] = set()
        static = encoder.careful(options.static, self._bounds, marks)
        if redactor:
            redactor.apply({"extra": static})
            if type(self).edit is JsonFormatter.edit:  # else there may be fields that only the hook knows
                refuse_paths(redactor)
        self._options = dataclasses.replace(options, static=static, static_marks=frozenset(marks))
        # What changes the shape of a record, or needs the whole of it, takes the careful way.
        is_direct = (
            type(self).edit is JsonFormatter.edit
            and not (options.moves or options.order or options.providers)
            and options.extra_key is not None
            and options.decimals == 3
            and not (redactor and redactor.touches((*FIELDS, *(f"labels.{name}" for name in options.labels))))
        )
        self._direct = Direct(self._options, self._bounds, encoder) if is_direct else None
        self._write = self._direct.writer(self._carefully) if self._direct else self._carefully
        if type(self).format_bytes is JsonFormatter.format_bytes:  # one call less for each record
            self.format_bytes = self._write  # type: ignore[method-assign, assignment]

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
        return self._write(record)

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

    def _carefully(self, record: logging.LogRecord) -> bytes:
        """Format any record whatever."""
        try:
            if self._direct and SENT not in record.__dict__ and self._direct.learn(record):
                return self._write(record)
            edit = None if type(self).edit is JsonFormatter.edit else self.edit
            if SENT in record.__dict__:
                adopted = adopt(record, self, self._options, self._bounds, edit)
                if adopted is not None:
                    return adopted
            tags: set[str] = set(self._options.static_marks)
            for bounds in self._bounds.steps():
                fields = build_whole(record, self._options, bounds, tags, entity_id=entity_id(), edit=edit)
                line = orjson.dumps(fields)
                if len(line) <= bounds.line:
                    return line
                tags = {TAG_CUT, *self._options.static_marks}
        except Exception:  # noqa: BLE001, S110 (the stack or the memory is at its end, or we have a bug)
            pass
        return orjson.dumps(last_resort(record, os.getpid()))

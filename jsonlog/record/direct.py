"""
The usual record, joined from pieces of JSON that were encoded before.

What repeats from record to record is encoded once: the time (for a millisecond), the place of the call together with the
process and thread (for a place and thread), and what `bind` has bound (for a binding). What is left for one record is its
message and its extras. Rules:

1. Each piece is known by everything it was made of, read from the record by name, so no record gets a piece of another's.
2. Together the attributes that are read are all that this Python gives to a record. A record that lacks one raises
   KeyError, and one that has as many as that has no others: so its extras are known by their number.
3. Whatever is unusual raises or is handed on; the careful way, which gives a usual record the same bytes, then writes it.
"""

from __future__ import annotations

import logging
import sys
from itertools import islice
from operator import itemgetter

import orjson

from jsonlog.record.build import (
    OWN_ATTRIBUTES,
    SENT,
    STANDARD_ATTRIBUTES,
    entity_id,
    format_second,
    log_fields,
    process_fields,
    read_extra,
)
from jsonlog.record.context import bound, trace_ids
from jsonlog.record.encode import STRICT
from jsonlog.record.exceptions import exception_fields
from jsonlog.record.whole import ECS_VERSION

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jsonlog.options import Options
    from jsonlog.record.encode import Encoder
    from jsonlog.record.text import Bounds

_MAX_PIECES = 2048
_MAX_CALLS = 8192
_OTEL = "opentelemetry.trace"

_SITE = itemgetter("levelname", "levelno", "name", "pathname", "filename", "module", "lineno", "funcName")
_PROCESS = itemgetter("process", "processName", "thread", "threadName")
_CALL = itemgetter(
    "levelname", "levelno", "name", "pathname", "filename", "module", "lineno", "funcName",
    "process", "processName", "thread", "threadName",
)  # fmt: skip
_HEAD = itemgetter(
    "msg", "args", "exc_info", "exc_text", "stack_info", "created", "msecs", "relativeCreated",
    "taskName" if "taskName" in OWN_ATTRIBUTES else "stack_info",  # Python 3.11 knows no tasks
)  # fmt: skip
_OWN = len(OWN_ATTRIBUTES)
_PLAIN = frozenset({str, int, type(None)})
_EXACT = frozenset({str, int, bool, type(None)})
# The rest of the time and `msecs`, by the float that a record has; filled by the first formatter.
_MILLIS: dict[float, bytes] = {}
_getMessage = logging.LogRecord.getMessage  # noqa: N816 (logging's name)


class Direct:
    """
    The pieces that one formatter has encoded, and what joins them. Used by all its threads.

    Args:
        options: Of the formatter.
        bounds: What a record is measured by.
        encoder: For `extra`.
    """

    def __init__(self, options: Options, bounds: Bounds, encoder: Encoder) -> None:
        self._options = options
        self._bounds = bounds
        self._encoder = encoder
        if not _MILLIS:
            _MILLIS.update((float(n), b'.%03dZ","msecs":%d,' % (n, n)) for n in range(1000))
        self._facts = b"".join(b",%b:%b" % (orjson.dumps(k), orjson.dumps(v)) for k, v in options.facts.items())
        self._labels = b',"labels":' + orjson.dumps(options.labels) if options.labels else b""
        self._end = self._end_with(options.static_marks)
        lead = b",%b:" % orjson.dumps(options.extra_key or "extra")
        static = orjson.dumps(options.static)
        # What stands before the user's own fields, and what stands there when there are none; `}` closes the record.
        self._bare_lead = lead
        self._lead = lead + static[:-1] + b"," if options.static else lead
        self._alone = lead + static + b"}" if options.static else b"}"
        self._static_names = frozenset(options.static)
        self._second: tuple[float, bytes] = (-1.0, b"")  # swapped whole, so threads need no lock
        self._sites: dict[Any, bytes] = {}
        self._processes: dict[Any, bytes] = {}
        # By the call and thread: up to the message; from there to the extras; to the end where there are none; how long a
        # message may be for the line to be within its bound; the names of the extras that came last.
        self._calls: dict[Any, tuple[bytes, bytes, bytes, int, tuple[str, ...]]] = {}

    def writer(  # noqa: C901
        self, careful: Callable[[logging.LogRecord], bytes]
    ) -> Callable[[logging.LogRecord], bytes]:
        """Make the function that formats a record, with all it needs as local names; *careful* formats any whatever."""
        calls, moment_at, rest, own, exact = self._calls, self._moment_at, self._rest, _OWN, _EXACT
        most, scrub, has_static = self._bounds.line, self._bounds.scrub, bool(self._static_names)
        most_extra, suspects = self._encoder.most, self._encoder.suspects
        here, dumps, modules = bound.get, orjson.dumps, sys.modules
        now = (-1.0, 0.0, 0.0, b"")  # swapped whole, so threads need no lock

        def write(record: logging.LogRecord) -> bytes:  # noqa: C901, PLR0912 (calls would cost as much as the work)
            nonlocal now
            try:
                facts = record.__dict__
                message, args, exc_info, exc_text, stack, created, msecs, _, task = _HEAD(facts)
                head, opened, closed, limit, names = calls[_CALL(facts)]
                at, low, high, moment = now
                if msecs != at or not low <= created < high:
                    now = moment_at(created, msecs)
                    moment = now[3]
                if type(message) is not str or type(record).getMessage is not _getMessage:
                    return careful(record)
                if args:
                    message = message % args
                if scrub is not None and len(message) <= limit:
                    message = scrub(message)
                if type(message) is not str or len(message) > limit:
                    return careful(record)
                data = None
                if (
                    exc_info is None and exc_text is None and stack is None and task is None
                    and _OTEL not in modules and not here()
                ):  # fmt: skip
                    if len(facts) == own:
                        return b"".join((moment, head, dumps(message), closed))
                    if names and (len(facts) == own + len(names) or is_left(facts, names)):
                        try:
                            fields = {}
                            for name in names:
                                value = facts[name]
                                if type(value) not in exact and (type(value) is not float or value - value != 0.0):
                                    break
                                fields[name] = value
                            else:
                                data = dumps(fields, None, STRICT)
                        except KeyError:  # others, as many as the last time
                            pass
                if data is None or len(data) > most_extra or (suspects is not None and suspects(data)):
                    line = b"".join((moment, head, dumps(message), rest(facts)))
                else:
                    line = b"".join((moment, head, dumps(message), opened, data[1:] if has_static else data, b"}"))
                if len(line) <= most:
                    return line
            except Exception:  # noqa: BLE001, S110 (something about the record is unusual)
                pass
            # Not within the `except`: what `exc_info=True` means is asked of the interpreter.
            return careful(record)

        return write

    def learn(self, record: logging.LogRecord) -> bool:
        """
        Encode the pieces of a record that will be the same for others.

        Returns:
            Whether there is something new to go on. Only plain values are learned: a subclass of `str` could compare
            equal to something it is not.
        """
        facts = record.__dict__
        try:
            call = _CALL(facts)
            if call in self._calls or type(facts["process"]) is not int or not _PLAIN.issuperset(map(type, call)):
                return False
            site, process = self._site(facts), self._process(facts)
        except (KeyError, TypeError):  # a record with fields missing
            return False
        if site is None or process is None:
            return False
        opened, closed = process + self._end + self._lead, process + self._end + self._alone
        # A character takes at most six bytes as JSON.
        limit = min(self._bounds.text, (self._bounds.line - len(site) - len(closed) - 64) // 6)
        _remember(self._calls, call, (site, opened, closed, limit, ()), _MAX_CALLS)
        return True

    def _site(self, facts: dict[str, Any]) -> bytes | None:
        """Encode the level, the logger and the place of the call, and the name of the message."""
        key = _SITE(facts)
        data = self._sites.get(key)
        if data is None:
            tags: set[str] = set()
            log = log_fields(facts, self._bounds, tags, level_number=self._options.level_number)
            if tags:
                return None
            data = b'"log":' + orjson.dumps(log) + b',"message":'
            _remember(self._sites, key, data, _MAX_PIECES)
        return data

    def _process(self, facts: dict[str, Any]) -> bytes | None:
        """Encode the fields of the service, the process and the thread, but for the brace that closes the process."""
        key = _PROCESS(facts)
        data = self._processes.get(key)
        if data is None:
            tags: set[str] = set()
            fields = process_fields(facts, entity_id(), self._bounds, tags)
            if tags:
                return None
            data = self._facts + b',"process":' + orjson.dumps(fields)[:-1]
            _remember(self._processes, key, data, _MAX_PIECES)
        return data

    def _moment_at(self, created: float, msecs: float) -> tuple[float, float, float, bytes]:
        """
        Encode the time and `msecs`.

        Returns:
            The milliseconds, the times (from, below) for which they hold, and the piece.

        Raises:
            Exception: Anything: `created` and `msecs` do not agree, or are no usual numbers.
        """
        second = created // 1
        known = self._second
        if known[0] != second:
            known = self._second = (second, b'{"@timestamp":"' + format_second(int(second)).encode())
        middle = second + msecs / 1000
        low, high = max(second, middle - 0.001), min(second + 1, middle + 0.001)
        if not low <= created < high:
            raise ValueError
        return msecs, low, high, known[1] + _MILLIS[msecs]

    def _rest(self, facts: dict[str, Any]) -> bytes:
        """
        Encode what stands behind the message of a record that has what only some have.

        Raises:
            ValueError: The record takes the careful way.
        """
        trouble, marks = b"", self._options.static_marks
        if facts["exc_info"] is not None or facts["exc_text"] is not None or facts["stack_info"] is not None:
            tags = set(marks)
            fields = exception_fields(facts, self._bounds, tags)
            if fields:
                trouble, marks = b"," + orjson.dumps(fields)[1:-1], frozenset(tags)
        end = self._end if marks is self._options.static_marks else self._end_with(marks)
        if facts.get("taskName") is not None or _OTEL in sys.modules:
            end = self._with_task_and_trace(facts, end)
        return b"".join((trouble, self._processes[_PROCESS(facts)], end, self._any_extra(facts)))

    def _any_extra(self, facts: dict[str, Any]) -> bytes:
        """
        Encode extras that are bound, new or nested, and close the record.

        Raises:
            Exception: Anything: the record takes the careful way.
        """
        fields = own_fields(facts) if len(facts) > _OWN else {}
        here = bound.get()
        if not (here or fields):
            return self._alone
        if not self._static_names.isdisjoint(fields) or (here and not self._static_names.isdisjoint(here)):
            data = self._encoder.direct({**self._options.static, **(here or {}), **fields})
            return b"%b%b}" % (self._bare_lead, data)
        if here:
            data = self._encoder.with_bound(here, fields)
        else:
            data = self._encoder.direct(fields)
            self._expect(facts, fields)
        return b"%b%b}" % (self._lead, data[1:] if self._static_names else data)

    def _expect(self, facts: dict[str, Any], fields: dict[str, Any]) -> None:
        """Remember the names of the extras for the next record of this call."""
        call = _CALL(facts)
        if self._encoder.is_flat(fields) and STANDARD_ATTRIBUTES.isdisjoint(fields):
            self._calls[call] = (*self._calls[call][:4], tuple(fields))

    def _end_with(self, tags: frozenset[str]) -> bytes:
        """Encode what stands between the process and the extras."""
        words = [*self._options.tags, *sorted(tags)]
        marks = b',"tags":' + orjson.dumps(words) if words else b""
        return b'}%b,"ecs":{"version":"%b"}%b' % (self._labels, ECS_VERSION.encode(), marks)

    def _with_task_and_trace(self, facts: dict[str, Any], end: bytes) -> bytes:
        """
        Put the asyncio task and the ids of the trace into the end of the record.

        Raises:
            ValueError: The record takes the careful way.
        """
        task, inside = facts.get("taskName"), b""
        if task is not None:
            if type(task) is not str or not 0 < len(task) <= self._bounds.name:
                raise ValueError
            inside = b',"task":{"name":%b}' % orjson.dumps(task)
        ids = (trace_ids() if self._options.trace else None) or {}
        after = b"".join(b',"%b":{"id":"%b"}' % (name[:-3].encode(), value.encode()) for name, value in ids.items())
        return b"%b}%b%b" % (inside, after, end[1:])


def is_left(facts: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Tell whether all that a record has more than these names was left on it by other formatters."""
    return len(facts) == _OWN + len(names) + ("message" in facts) + ("asctime" in facts)


def own_fields(facts: dict[str, Any]) -> dict[str, Any]:
    """
    Collect the extras of a record that has all of its own attributes, in their order.

    Raises:
        ValueError: The record takes the careful way.
    """
    fields = dict(islice(facts.items(), _OWN, None))
    if STANDARD_ATTRIBUTES.isdisjoint(fields):
        return fields
    if "taskName" in fields or SENT in fields:  # of a record from a later Python; formatted already
        raise ValueError
    return read_extra(facts)


def _remember(cache: dict[Any, Any], key: Any, data: Any, limit: int) -> None:
    if len(cache) >= limit:
        cache.clear()
    cache[key] = data

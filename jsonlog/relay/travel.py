"""
What of a LogRecord goes into a queue, and what is made of it at the other end.

The line goes with it, formatted where the call was made. Beside that a handler that is not ours shall find what it knows:

* Within a process the record keeps everything, arguments and exception too. Only its message stands fixed.
* To another process it is made of plain values: the message applied, the traceback and the stack as text where
  `logging.Formatter` looks for them, and what `extra=` gave, of which what is not plain stands as it does in `extra`.
"""

from __future__ import annotations

import logging

import orjson

from jsonlog.record.build import (
    CLASHES,
    OWN_ATTRIBUTES,
    SENT,
    format_time,
    read_extra,
    read_message,
    split_time,
)
from jsonlog.record.exceptions import find_exception
from jsonlog.record.sent import mark_of
from jsonlog.record.text import Bounds, safe_text
from jsonlog.record.values import Careful

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jsonlog.formatter import JsonFormatter

_BOUNDS = Bounds()
_PLAIN = frozenset({str, int, float, bool, type(None)})
_TRACEBACK = "Traceback (most recent call last):\n"
_TRACEBACKS = ("\n" + _TRACEBACK, "\n  + Exception Group " + _TRACEBACK)
_STACK = "\nStack (most recent call last):\n"
_JSON = '{"@timestamp":"'
_TO_MILLIS = len("2026-11-22T05:02:17.220")


class _Kept(logging.LogRecord):
    """A record whose message was applied where it was logged; its arguments may have changed since."""

    def getMessage(self) -> str:  # noqa: N802 (logging's name)
        return self.message


def crosses_processes(queue: object) -> bool:
    """Tell whether what is put into a queue is pickled: all but those of the modules `queue` and `asyncio` are."""
    names = {kind.__module__.partition(".")[0] for kind in type(queue).__mro__}
    return names.isdisjoint({"queue", "_queue", "asyncio"})


def keep(record: logging.LogRecord, line: bytes, formatter: JsonFormatter) -> logging.LogRecord:
    """Copy a record for another thread of this process."""
    kept = _Kept.__new__(_Kept)
    facts = kept.__dict__
    facts.update(record.__dict__)
    facts["message"] = _message(record)
    info = facts.get("exc_info")
    if info is not None and type(info) is not tuple:  # True means the exception that is being handled here and now
        exc = find_exception(info)
        facts["exc_info"] = None if exc is None else (type(exc), exc, exc.__traceback__)
    facts[SENT] = (line, mark_of(formatter))
    return kept


def flatten(record: logging.LogRecord, line: bytes, formatter: JsonFormatter) -> logging.LogRecord:
    """Copy a record for another process: a plain `logging.LogRecord`, which any Python can unpickle."""
    facts = record.__dict__
    message = _message(record)
    exc = find_exception(facts.get("exc_info"))
    flat = facts.copy()
    flat.pop(SENT, None)
    flat.update(
        msg=message,
        message=message,
        args=None,
        exc_info=None,
        exc_text=_text(facts.get("exc_text")) if exc is None else formatter.formatException(exc),
        stack_info=_text(facts.get("stack_info")),
    )
    if not _PLAIN.issuperset(map(type, flat.values())):
        flat = _flattened(flat)
    flat[SENT] = (line, None)
    return _make(flat)


def _flattened(facts: dict[str, Any]) -> dict[str, Any]:
    """Make plain what is not."""
    flat = {name: _plain(facts[name]) for name in OWN_ATTRIBUTES if name in facts}
    flat["message"] = facts["message"]
    clashes = facts.pop(CLASHES, None)
    flat.update(Careful(_BOUNDS, set()).mapping(read_extra(facts), 0))
    if clashes:
        flat[CLASHES] = Careful(_BOUNDS, set()).mapping(clashes, 0)
    return flat


def separate(record: logging.LogRecord) -> logging.LogRecord:
    """
    Take apart what the standard `QueueHandler` has glued into the message, on a copy.

    It formats a record and keeps nothing but the text. With a `JsonFormatter` as its formatter that text is the whole
    record. With any other, the traceback and the stack stand behind the message: they go back to where formatters
    look for them, and any text formatter will print the same as before.

    Returns:
        *record* itself where there is nothing to take apart.
    """
    facts = record.__dict__
    text = facts.get("msg")
    if SENT in facts or type(text) is not str or facts.get("message") != text or _has_parts(facts):
        return record
    parts = _from_json(facts, text) if text.startswith(_JSON) else _from_text(text)
    return _make({**facts, **parts}) if parts else record


def _has_parts(facts: dict[str, Any]) -> bool:
    return any(facts.get(name) for name in ("args", "exc_info", "exc_text", "stack_info"))


def _from_text(text: str) -> dict[str, Any]:
    stack = None
    start, mark, rest = text.rpartition(_STACK)
    if mark:
        text, stack = start, mark[1:] + rest
    places = [place for place in (text.find(mark) for mark in _TRACEBACKS) if place >= 0]
    if not places and stack is None:
        return {}
    end = min(places, default=len(text))
    return {"msg": text[:end], "message": text[:end], "exc_text": text[end + 1 :] or None, "stack_info": stack}


def _from_json(facts: dict[str, Any], text: str) -> dict[str, Any]:
    """Read a line of a `JsonFormatter`. Anybody can log such a text, so it has to tell the record's own facts."""
    try:
        fields = orjson.loads(text)
        process = fields["process"]
        said = fields["@timestamp"][:_TO_MILLIS], fields["log"]["logger"], fields["log"]["level"], process["pid"]
        known = format_time(*split_time(facts, set()), decimals=3)[:_TO_MILLIS], facts["name"], facts["levelname"], facts["process"]  # fmt: skip
        if said != known or process["thread"]["id"] != facts["thread"]:
            return {}
        message = fields["message"]
        exc = fields.get("exc") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    parts = {"msg": message, "message": message, "exc_text": exc.get("traceback"), "stack_info": fields.get("stack")}
    return {**parts, SENT: (text.encode(), None)}


def _make(facts: dict[str, Any]) -> logging.LogRecord:
    record = logging.LogRecord.__new__(logging.LogRecord)
    record.__dict__.update(facts)
    return record


def _message(record: logging.LogRecord) -> str:
    return read_message(record, _BOUNDS, set())[0]


def _plain(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    return int(value) if isinstance(value, int) else safe_text(value, set())


def _text(value: Any) -> str | None:
    return None if value is None or value is False or value == "" else safe_text(value, set())

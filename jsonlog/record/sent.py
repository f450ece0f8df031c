"""
A record that was formatted where it was logged, and is written somewhere else.

The line is the record: exception, bound fields, ids of the trace, names of process, thread and task are known only where
the call was made. So the formatter at the other end keeps it, and adds what that end was told: the service, where the
sender named none, labels, static fields; its redaction, names and order.
"""

from __future__ import annotations

import os

import orjson

from jsonlog.record.build import SENT
from jsonlog.record.shape import TOP_LEVEL
from jsonlog.record.whole import cleaned, finish

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jsonlog.options import Options
    from jsonlog.record.text import Bounds


def adopt(
    record: Any,
    formatter: object,
    options: Options,
    bounds: Bounds,
    edit: Callable[[Any, dict[str, Any]], None] | None,
) -> bytes | None:
    """
    Give the line of a record that has been formatted already.

    Args:
        record: A LogRecord with the attribute `jsonlog_sent`: the line, and the mark of the formatter that made it if
            that was in the same process.
        formatter: The one that is asked; what it has made itself is taken as it is.
        options: Of *formatter*.
        bounds: What is cut.
        edit: The hook of a subclass.

    Returns:
        The line; None where the attribute is somebody else's and holds none.
    """
    sent = record.__dict__[SENT]
    if type(sent) is not tuple or len(sent) != 2 or type(sent[0]) is not bytes:
        return None
    line: bytes = sent[0]
    maker = sent[1]
    if maker == mark_of(formatter):
        return line
    try:
        whole = orjson.loads(line)
    except ValueError:
        return None
    if type(whole) is not dict or not whole or b"\n" in line:
        return None
    if not (edit or _adds(options)):
        return line
    tags: set[str] = set()
    sender = whole.get("sender")

    def read() -> dict[str, Any]:
        fields = orjson.loads(line)
        fields.pop("sender", None)
        fields = _filled(fields, options)
        # The patterns of a redaction look at every text.
        return fields if options.redactor is None else cleaned(fields, bounds, tags)

    fields = finish(read, record, options, bounds, tags, edit=edit)
    return orjson.dumps({**fields, "sender": sender} if sender else fields)


def mark_of(formatter: object) -> str:
    """Tell a formatter from any other, also of other processes, by a text that can be pickled."""
    return f"{os.getpid()}.{id(formatter)}"


def _adds(options: Options) -> bool:
    return bool(
        options.facts.keys() - {"host"}
        or options.labels
        or options.tags
        or options.static
        or options.moves
        or options.order
        or options.redactor
        or options.extra_key != "extra"
    )


def _filled(fields: dict[str, Any], options: Options) -> dict[str, Any]:
    """Put in what the sender left out. `service` is one fact: half of it is never added to another's half."""
    given = {**options.facts, **fields}
    for name, value in (("labels", options.labels), ("extra", options.static)):
        if value:
            given[name] = {**value, **given.get(name, {})}
    first = {name: given[name] for name in TOP_LEVEL if name in given}
    return {**first, **{name: value for name, value in given.items() if name not in first}}

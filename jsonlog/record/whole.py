"""
The whole record, field by field: the careful way, which knows every case.

Order: what the LogRecord says, then the user's hook, then redaction by key, then the shape. So rules for redaction and
for moves always name fields as docs/design.md does, and a hook can neither break the line nor let a secret through.
"""

from __future__ import annotations

import dataclasses
import time

from jsonlog.record.build import format_time, log_fields, process_fields, read_extra, read_message, split_time
from jsonlog.record.context import bound, trace_ids
from jsonlog.record.exceptions import exception_fields
from jsonlog.record.shape import apply_moves, ordered, place_extra
from jsonlog.record.text import TAG_CUT, TAG_KEY, TAG_VALUE, Bounds, bounded, name_text, plain_str
from jsonlog.record.values import Careful, unused

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jsonlog.options import Options

ECS_VERSION = "9.0.0"
TRACE_IDS = frozenset({"trace.id", "span.id", "transaction.id"})
_SPLICED = ("sender", "run", "event")  # put in by the handler that writes


def build_whole(
    record: Any,
    options: Options,
    bounds: Bounds,
    tags: set[str],
    *,
    entity_id: str,
    edit: Callable[[Any, dict[str, Any]], None] | None,
) -> dict[str, Any]:
    """
    Build a record of plain values, in its final shape.

    Args:
        record: The LogRecord.
        options: Of the formatter.
        bounds: What is cut this time.
        tags: Gets a tag for every kind of change; ends up in the field `tags`.
        entity_id: Of this process.
        edit: The hook of a subclass; what it raises, if it is an Exception, costs its changes only.
    """
    return finish(lambda: _read(record, options, bounds, tags, entity_id), record, options, bounds, tags, edit=edit)


def finish(
    read: Callable[[], dict[str, Any]],
    record: Any,
    options: Options,
    bounds: Bounds,
    tags: set[str],
    *,
    edit: Callable[[Any, dict[str, Any]], None] | None,
) -> dict[str, Any]:
    """Do to the fields that *read* gives what is done to any: the hook (if it fails, they are read anew), redaction, shape."""
    fields = read()
    stamp = fields["@timestamp"]
    if edit is not None:
        if not _edited(record, fields, edit):
            fields = read()
            tags.add(TAG_VALUE)
        fields = cleaned(fields, bounds, tags)
    if options.redactor is not None:
        options.redactor.apply(fields)
    _put_tags(fields, options, tags)
    apply_moves(fields, options.moves)
    if options.extra_key != "extra":
        place_extra(fields, options.extra_key, tags)
        _put_tags(fields, options, tags)
    # A hook and the moves may have left nothing, but the handler puts run and number after something.
    return ordered(fields, options.order) or {"@timestamp": stamp}


def _edited(record: Any, fields: dict[str, Any], edit: Callable[[Any, dict[str, Any]], None]) -> bool:
    """Run the hook; False when it failed: what it had changed by then is to be thrown away."""
    try:
        edit(record, fields)
    except Exception:  # noqa: BLE001 (user code)
        return False
    return True


def _read(record: Any, options: Options, bounds: Bounds, tags: set[str], entity_id: str) -> dict[str, Any]:
    facts = record.__dict__
    message, kept = read_message(record, bounds, tags)
    seconds, micros = split_time(facts, tags)
    fields: dict[str, Any] = {
        "@timestamp": format_time(seconds, micros, decimals=options.decimals),
        "msecs": micros // 1000,
        "log": log_fields(facts, bounds, tags, level_number=options.level_number),
        "message": bounded(message, bounds, tags),
        **exception_fields(facts, bounds, tags),
        **{name: dict(value) for name, value in options.facts.items()},
        "process": process_fields(facts, entity_id, bounds, tags),
    }
    task = name_text(facts.get("taskName"), bounds, tags)
    if task is not None:
        fields["process"]["task"] = {"name": task}
    extra, ids = _gather(facts, options, kept, tags)
    fields |= {name.partition(".")[0]: {"id": value} for name, value in ids.items()}
    if options.labels:
        fields["labels"] = dict(options.labels)
    fields["ecs"] = {"version": ECS_VERSION}
    fields["tags"] = []
    if extra:
        fields["extra"] = Careful(bounds, tags).mapping(extra, 0)
    return fields


def _gather(
    facts: dict[Any, Any], options: Options, kept: dict[str, Any], tags: set[str]
) -> tuple[dict[Any, Any], dict[str, str]]:
    """Collect the fields for `extra`, the nearest to the call last, and the ids of the trace."""
    given = dict(options.static)
    given.update(_ask(options.providers, tags))
    ids = (trace_ids() or {}) if options.trace else {}
    for name in sorted(TRACE_IDS & given.keys()):
        value = given.pop(name)
        if isinstance(value, str) and value.strip():
            ids[name] = bounded(plain_str(value), Bounds(text=128), tags)
    given.update(bound.get() or {})
    given.update(read_extra(facts))
    for name, value in kept.items():
        given[unused(name, given)] = value
    return given, {name: ids[name] for name in ("trace.id", "span.id", "transaction.id") if name in ids}


def _ask(providers: tuple[Callable[[], Any], ...], tags: set[str]) -> dict[str, Any]:
    """Ask each provider for its fields; one that raises, or returns something else, costs its fields and is marked."""
    given: dict[str, Any] = {}
    for provider in providers:
        try:
            given.update(provider() or {})
        except Exception:  # noqa: BLE001 (user code)
            tags.add(TAG_VALUE)
    return given


def cleaned(fields: Any, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    """Make plain what a hook has left: it may have put anything anywhere."""
    if type(fields.get("tags")) is not list:
        fields["tags"] = []
    looser = dataclasses.replace(
        bounds, text=bounds.text + 64, items=bounds.items + 64, depth=bounds.depth + 4, room=2 * bounds.room + 8192
    )
    cleaned = Careful(looser, tags).mapping(fields, 0)
    for name in _SPLICED:
        if name in cleaned:
            tags.add(TAG_KEY)
            cleaned[unused(f"{name}~2", cleaned)] = cleaned.pop(name)
    return cleaned


def _put_tags(fields: dict[str, Any], options: Options, tags: set[str]) -> None:
    """Write the operator's tags, those of a hook, and the marks."""
    given = [*options.tags, *(fields.get("tags") or [])]
    words = list(dict.fromkeys([*(tag for tag in given if type(tag) is str), *sorted(tags)]))
    if words:
        fields["tags"] = words
    else:
        fields.pop("tags", None)


def last_resort(record: Any, pid: int) -> dict[str, Any]:
    """Say what can be said with next to no stack or memory left, and without any of the user's code."""
    now = time.time_ns() // 1_000_000
    facts = record.__dict__
    message, level = facts.get("msg"), facts.get("levelname")
    message = message[:1024] if type(message) is str else "<a record that could not be formatted>"
    return {
        "@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1000)) + f".{now % 1000:03d}Z",
        "msecs": now % 1000,
        "log": {"level": level if type(level) is str and level.isidentifier() else "NOTSET"},
        "message": message.encode("utf-8", "backslashreplace").decode(),
        "process": {"pid": pid},
        "ecs": {"version": ECS_VERSION},
        "tags": [TAG_CUT, TAG_VALUE],
    }

"""
The shape of a record where it is not the usual one: fields moved, dropped or ordered, the ECS profile, extras on top.

A move is a pair of dotted names, or a name and None to drop the field. Moves are applied one after the other; an object
that is empty afterwards is gone.
"""

from __future__ import annotations

from jsonlog.record.text import TAG_KEY
from jsonlog.record.values import unused

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

Moves = dict[str, str | None]

FIELDS = (
    "@timestamp", "msecs",
    "log.level", "log.level_number", "log.logger", "log.origin.file.name", "log.origin.file.line", "log.origin.function",
    "message",
    "exc.type", "exc.module", "exc.message", "exc.traceback", "exc.fingerprint", "exc.notes", "exc.chain", "stack",
    "service.name", "service.version", "service.environment", "service.node.name", "host.name",
    "process.pid", "process.name", "process.entity_id", "process.thread.id", "process.thread.name", "process.task.name",
    "trace.id", "span.id", "transaction.id", "labels", "ecs.version", "tags", "extra",
)  # fmt: skip
"""Everything that the formatter writes, in its order."""

NUMBERS = frozenset({"msecs", "log.level_number", "log.origin.file.line", "process.pid", "process.thread.id"})

TOP_LEVEL = tuple(dict.fromkeys(name.partition(".")[0] for name in FIELDS))
OBJECTS = frozenset(
    name[:end] for name in FIELDS for end in range(len(name)) if name[end] == "." and not name.startswith("@")
)
NOT_TEXT = NUMBERS | OBJECTS | {"labels", "extra", "exc.chain"}
"""Fields in whose place the stores take no text."""
RESERVED = frozenset(TOP_LEVEL) | {"sender", "run", "event", "error", "jsonlog", "data_stream", "shipper"}
"""Names at the top level that no field of the user's may take: the record's, the handler's and the shipper's."""

PROFILES: dict[str, Moves] = {
    "jsonlog": {},
    # Names of the Elastic Common Schema alone; what it has no field for stands under `jsonlog`.
    "ecs": {
        "msecs": None,
        "exc.type": "error.type",
        "exc.message": "error.message",
        "exc.traceback": "error.stack_trace",
        "exc.module": "jsonlog.module",
        "exc.fingerprint": "jsonlog.fingerprint",
        "exc.notes": "jsonlog.notes",
        "exc.chain": "jsonlog.chain",
        "stack": "jsonlog.stack",
        "process.task.name": "jsonlog.task",
        "log.level_number": "jsonlog.level_number",
    },
}


def apply_moves(fields: dict[str, Any], moves: Mapping[str, str | None]) -> None:
    """Move and drop fields in place; a field that is not there is passed over."""
    taken = [(target, _take(fields, name.split("."))) for name, target in moves.items()]
    for target, value in taken:
        if target is not None and value is not None:
            _put(fields, target.split("."), value)


def _take(fields: dict[str, Any], path: list[str]) -> Any:
    name, *rest = path
    inner = fields.get(name)
    if not rest:
        return fields.pop(name, None)
    if type(inner) is not dict:
        return None
    value = _take(inner, rest)
    if not inner:
        del fields[name]
    return value


def _put(fields: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        inner = fields.get(name)
        if type(inner) is not dict:
            inner = fields[unused(name, fields)] = {}
        fields = inner
    fields[unused(last, fields)] = value


def place_extra(fields: dict[str, Any], extra_key: str | None, tags: set[str]) -> None:
    """
    Put the `extra` of a finished record under another key, or at the top level.

    At the top level a field of the user's never takes the place of one of the record's: such a one stays in `extra`.
    """
    extra = fields.pop("extra", None)
    if not extra:
        return
    if extra_key is not None:
        fields[unused(extra_key, fields)] = extra
        return
    aside: dict[str, Any] = {}
    for key, value in extra.items():
        first = key.partition(".")[0]
        if first in RESERVED or first in fields:
            aside[key] = value
        else:
            fields[key] = value
    if aside:
        tags.add(TAG_KEY)
        fields["extra"] = aside


def ordered(fields: dict[str, Any], order: Iterable[str]) -> dict[str, Any]:
    """Put the named fields first."""
    first = {name: fields[name] for name in order if name in fields}
    return {**first, **{name: value for name, value in fields.items() if name not in first}}

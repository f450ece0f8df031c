"""The options of `JsonFormatter`, checked once at construction. Every wrong one is a ValueError that names it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import orjson

from jsonlog.record.redact import Redactor, make_redactor
from jsonlog.record.shape import FIELDS, NOT_TEXT, OBJECTS, PROFILES, RESERVED, TOP_LEVEL
from jsonlog.record.text import MARKS, Bounds, clean
from jsonlog.record.values import is_shadowed, repaired_key

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jsonlog.record.shape import Moves

_MAX_NAME = 1024  # the stores index no more of a keyword


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Options:
    """What `JsonFormatter` was told, resolved."""

    service: str | None
    host: str
    facts: dict[str, Any]
    labels: dict[str, str]
    tags: tuple[str, ...]
    static: dict[str, Any]
    decimals: int
    extra_key: str | None
    level_number: bool
    moves: Moves
    order: tuple[str, ...]
    redactor: Redactor | None
    providers: tuple[Callable[[], Mapping[str, Any]], ...]
    trace: bool
    bounds: Bounds
    static_marks: frozenset[str] = frozenset()


def resolve(given: dict[str, Any]) -> Options:
    """
    Check and resolve what the constructor was given.

    Raises:
        ValueError: An option is unknown, of the wrong kind or contradicts another; names it.
    """
    bounds = Bounds(
        text=_size("max_text", given["max_text"], 16),
        items=_size("max_items", given["max_items"], 1),
        depth=_size("max_depth", given["max_depth"], 1, 100),
        line=_size("max_line_bytes", given["max_line_bytes"], 4096),
    )
    service = _text("service", given["service"], "JSONLOG_SERVICE")
    host = _text("host", given["host"]) or clean(_node_name(), set())[:_MAX_NAME]
    node = _text("node", given["node"], "JSONLOG_NODE")
    facts: dict[str, Any] = {
        "service": {
            "name": service,
            "version": _text("version", given["version"], "JSONLOG_VERSION"),
            "environment": _text("environment", given["environment"], "JSONLOG_ENVIRONMENT"),
            "node": {"name": node} if node else None,
        },
        "host": {"name": host},
    }
    facts["service"] = {name: value for name, value in facts["service"].items() if value}
    extra_key = _extra_key(given["extra_key"])
    profile = _one_of("profile", given["profile"], tuple(PROFILES))
    options = Options(
        service=service,
        host=host,
        facts={name: value for name, value in facts.items() if value},
        labels=_labels(given["labels"]),
        tags=_tags(given["tags"]),
        static={**_fields("defaults", given["defaults"]), **_fields("static", given["static"])},
        decimals={"ms": 3, "us": 6}[_one_of("precision", given["precision"], ("ms", "us"))],
        extra_key=extra_key,
        level_number=_flag("level_number", given["level_number"]),
        moves={**PROFILES[profile], **_moves(given["rename"])},
        order=_order(given["order"]),
        redactor=make_redactor(given["redact"], NOT_TEXT),
        providers=_providers(given["context"]),
        trace=_flag("trace", given["trace"]),
        bounds=bounds,
    )
    size = len(orjson.dumps([options.facts, options.labels, options.tags]))
    if size > bounds.line // 8:
        raise ValueError(
            f"JsonFormatter: 'service', 'host', 'labels' and 'tags' take {size} bytes of each line, "
            f"more than an eighth of 'max_line_bytes' ({bounds.line})"
        )
    return options


def refuse_format(fmt: object, datefmt: object, style: object, unknown: Mapping[str, Any], known: list[str]) -> None:
    """
    Refuse what `logging.Formatter` takes and this one has no use for, and options that do not exist.

    Raises:
        ValueError: Not a TypeError: `dictConfig` with `()` swallows one of those and tries again with less.
    """
    fmt = unknown.get("format", fmt) if fmt is None else fmt
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
    for name in unknown:
        raise ValueError(f"JsonFormatter has no option {name!r}{_nearest(name, known)}")


def refuse_paths(redactor: Redactor) -> None:
    """
    Refuse paths of secrets that lead to no field a record has.

    Raises:
        ValueError: One does; names it.
    """
    for path in redactor.paths:
        if path.partition(".")[0].lower() not in (*TOP_LEVEL, "*"):
            raise ValueError(
                f"JsonFormatter: 'redact' has the path {path!r}, which is no field of the record; "
                f"the user's own are those like 'extra.{path}'"
            )


def _nearest(name: str, known: list[str]) -> str:
    import difflib  # noqa: PLC0415 (only needed once something is wrong)

    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"


def _node_name() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename or "unknown"
    return os.environ.get("COMPUTERNAME") or "unknown"  # Windows


def _wrong(name: str, needed: str, value: object) -> ValueError:
    return ValueError(f"JsonFormatter: {name!r} must be {needed}, got {value!r}")


def _text(name: str, value: object, variable: str | None = None) -> str | None:
    if value is None:
        value = os.environ.get(variable, "") if variable else ""
        return clean(value, set())[:_MAX_NAME].strip() or None
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, "a string that is not empty", value)
    return clean(str(value), set())[:_MAX_NAME]


def _size(name: str, value: object, least: int, most: int = 2**31) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(name, f"a whole number of {least} or more (at most {most})", value)
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "True or False", value)
    return value


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise _wrong(name, " or ".join(map(repr, choices)), value)
    return value


def _fields(name: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _wrong(name, "a dict with string keys", value)
    return dict(value)


def _labels(value: object) -> dict[str, str]:
    labels = _fields("labels", value)
    for key, item in labels.items():
        is_good = repaired_key(key) == key and not is_shadowed(key, labels)
        if not is_good or not isinstance(item, str) or len(item) > _MAX_NAME:
            raise _wrong(
                "labels", f"a dict of names and strings of at most {_MAX_NAME} characters, wrong at {key!r}", item
            )
    return {clean(key, set()): clean(str(item), set()) for key, item in labels.items()}


def _listed(name: str, value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise _wrong(name, "a list", value)
    return list(value)


def _tags(value: object) -> tuple[str, ...]:
    tags = _listed("tags", value)
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or tag in MARKS or tag.startswith("jsonlog."):
            raise _wrong("tags", "a list of words, none of which begins with 'jsonlog.'", value)
    return tuple(dict.fromkeys(clean(str(tag), set())[:_MAX_NAME] for tag in tags))


def _extra_key(value: object) -> str | None:
    if value is None or value == "extra":
        return "extra" if value else None
    if not isinstance(value, str) or not value.isidentifier() or value in RESERVED:
        raise _wrong(
            "extra_key", "a name that no field of the record has, or None for the top level of the record", value
        )
    return value


def _moves(value: object) -> dict[str, str | None]:
    moves = _fields("rename", value)
    for name, target in moves.items():
        if name not in FIELDS and name not in OBJECTS:
            near = _nearest(name, [*FIELDS, *OBJECTS])
            raise ValueError(f"JsonFormatter: 'rename' names {name!r}, which is no field of the record{near}")
        if target is None:
            if name == "@timestamp":
                raise ValueError("JsonFormatter: 'rename' drops '@timestamp', which every record needs")
            continue
        if not isinstance(target, str) or repaired_key(target) != target or clean(target, set()) != target:
            raise _wrong("rename", f"a dict of names to names (or None to drop), wrong at {name!r}", target)
        first = target.split(".", 1)[0]
        if first in RESERVED and first not in moves:
            raise ValueError(f"JsonFormatter: 'rename' moves {name!r} to {target!r}, where another field may stand")
    targets = [target for target in moves.values() if target is not None]
    for target in targets:
        if sum(other == target or other.startswith(f"{target}.") for other in targets) > 1:
            raise ValueError(f"JsonFormatter: 'rename' moves more than one field to {target!r}")
    return moves


def _order(value: object) -> tuple[str, ...]:
    order = _listed("order", value)
    for name in order:
        if not isinstance(name, str) or name in ("run", "event"):
            raise _wrong(
                "order", "a list of names at the top level of the record ('run' and 'event' always come last)", value
            )
    if len(set(order)) != len(order):
        raise _wrong("order", "a list in which each name stands once", value)
    return tuple(order)


def _providers(value: object) -> tuple[Callable[[], Mapping[str, Any]], ...]:
    providers = [value] if callable(value) else _listed("context", value)
    if not all(callable(provider) for provider in providers):
        raise _wrong("context", "a callable that returns a mapping, or a list of such", value)
    return tuple(providers)

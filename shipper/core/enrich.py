"""
Fields that are put into every record of a file: those that are configured, those of its stream, and where it came from.

Strategy: a chunk gets them by a few passes over its bytes, without an object per line. Rules:

1. What the record says stays: a field is added only where the record does not have it.
2. A field whose first key stands nowhere in the chunk goes in front of each line's last brace. No newline stands inside of
   JSON, so that `}` and newline together are the end of a line and nothing else.
3. An object that is the same in each line, as `host` is in a file of ours, is replaced by one with the fields added.
4. Else a field is written under its dotted name, which is the same field to a store, where nothing in the chunk can be it.
5. What is left is for the look at each line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shipper.core.routing import Router, Targets

Fields = Mapping[str, Any]
"""Fields as a record has them: objects within objects."""

Top = dict[str, msgspec.Raw]
"""A record whose fields are still JSON."""

# Mapped as one field for any keys, so that `labels.team` beside `labels` is refused by a store.
_WHOLE = frozenset({"labels"})
_top = msgspec.json.Decoder(type=dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rules:
    """
    How lines become records.

    Args:
        wrap: Make a record of a line that is none, in place of refusing it.
        fields: Added to each record.
        stream_fields: Also add `data_stream.*` and `event.dataset`.
        dataset, namespace: Override what the records say about their target.
        index: Makes the names of plain indices, in place of data streams.
        router: Makes names of fields that differ from line to line, in place of the last three; None: there are none.
        targets: Bounds how many names there are; None: nothing does.
    """

    wrap: bool = True
    fields: Fields = field(default_factory=dict)
    stream_fields: bool = False
    dataset: str | None = None
    namespace: str | None = None
    index: str | None = None
    router: Router | None = None
    targets: Targets | None = None


RULES = Rules()
"""Wrap, and add nothing."""


def fields_for(rules: Rules, target: str, path: str) -> dict[str, Any]:
    """
    Collect what is added to the records of a file.

    Args:
        rules: What is configured.
        target: Their data stream.
        path: Where a foreign file is; empty for a file of ours, whose name says less than its records.
    """
    fields: dict[str, Any] = {}
    if path:
        fields = {"log": {"file": {"path": path}}}
    if rules.stream_fields and rules.index is None and target.count("-") >= 2:  # a data stream, no plain index
        kind, dataset, namespace = target.split("-", 2)
        fields["data_stream"] = {"type": kind, "dataset": dataset, "namespace": namespace}
        fields["event"] = {"dataset": dataset}
    return merge(fields, rules.fields)


def merge(first: Fields, second: Fields) -> dict[str, Any]:
    """Put the fields of two records together; where both have one, the first decides."""
    merged = dict(second)
    for key, value in first.items():
        other = merged.get(key)
        merged[key] = merge(value, other) if isinstance(value, dict) and isinstance(other, dict) else value
    return merged


def add_to_chunk(data: bytes, fields: Fields) -> bytes | None:
    """
    Add fields to each line of a chunk.

    Args:
        data: Whole lines, each of them one object that ends in `}` and a newline and is not empty.
        fields: What to add.

    Returns:
        The lines with the fields; None when only a look at each line can tell where they belong.
    """
    suffix = b""
    for key, value in fields.items():
        name = _encode(key)
        if name not in data and name[:-1] + b"." not in data:
            suffix += b"," + name + b":" + _encode(value)
            continue
        merged = _replace_constant(data, key, value)
        if merged is not None:
            data = merged
            continue
        leaves = list(_leaves(key, value))
        if key in _WHOLE or any(_may_stand_in(data, leaf) for leaf, _ in leaves):
            return None
        suffix += b"".join(b"," + _encode(leaf) + b":" + _encode(one) for leaf, one in leaves)
    return data.replace(b"}\n", suffix + b"}\n") if suffix else data


def add_to_line(line: bytes, fields: Fields) -> bytes:
    """Add fields to one record, which is a valid object."""
    if not fields:
        return line
    top = _top.decode(line)
    for key, value in fields.items():
        _add(top, key, value)
    return _encode(top)


def add_to_record(record: dict[str, Any], fields: Fields) -> None:
    """Add fields to a record that is not JSON yet, and whose names are not dotted."""
    for key, value in _missing(fields, record).items():
        old = record.get(key)
        record[key] = merge(old, value) if isinstance(old, dict) else value


def _replace_constant(data: bytes, key: str, value: Any) -> bytes | None:
    """Add to an object that each line has, with the same bytes."""
    if not isinstance(value, Mapping) or _encode(key)[:-1] + b"." in data:
        return None
    try:
        here = _top.decode(data[: data.find(b"\n")]).get(key)
        old = msgspec.json.decode(here) if here is not None else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if here is None or not isinstance(old, dict):
        return None
    token = _encode(key) + b":" + bytes(here)
    if not data.count(token) == data.count(_encode(key)) == data.count(b"\n"):
        return None
    return data.replace(token, _encode(key) + b":" + _encode(merge(old, _missing(value, old))))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the dotted names of what is not an object."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def _missing(fields: Fields, record: Fields, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Leave out of *fields* what a record has, whether it writes its names dotted or as objects within objects."""
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        names = (*before, key)
        if isinstance(value, dict):  # asking for a Mapping takes five times as long
            if inner := _missing(value, record, names):
                kept[key] = inner
        elif not _has(record, names):
            kept[key] = value
    return kept


def _has(record: Fields, names: tuple[str, ...]) -> bool:
    for count in range(1, len(names) + 1):
        name = ".".join(names[:count])
        if name in record:
            inner = record[name]
            if not isinstance(inner, dict) or count == len(names) or _has(inner, names[count:]):
                return True
    return False


def _may_stand_in(data: bytes, leaf: str) -> bool:
    """Tell whether a chunk may hold a field, under its dotted name or as an object within others."""
    parent, _, last = leaf.rpartition(".")
    if f'.{last}"'.encode() in data:
        return True
    over = parent.rpartition(".")[2]
    return f'"{last}"'.encode() in data and (not over or f'{over}"'.encode() in data)


def _add(top: Top, key: str, value: Any) -> None:
    here = {name: msgspec.json.decode(raw) for name, raw in top.items() if name == key or name.startswith(f"{key}.")}
    if not here:
        top[key] = msgspec.Raw(_encode(value))
        return
    kept = _missing({key: value}, here).get(key)
    old = here.get(key, {} if key in _WHOLE else None)
    if isinstance(old, dict) and isinstance(kept, Mapping):
        top[key] = msgspec.Raw(_encode(merge(old, kept)))
    elif kept is not None:
        top.update((leaf, msgspec.Raw(_encode(one))) for leaf, one in _leaves(key, kept))

"""
A record that the mapping refuses, changed so that it is taken.

Strategy: the store names the field that it cannot take. That key alone is moved, as JSON, into the text field
`shipper.rescued.json`; `.field` and `.reason` say which and why. Everything else stays where it was, byte for byte: only the
objects on the way to the key are written anew. Each further conflict of the same record is handled the same way when the
store names it. Where no field is named, where a key was moved in vain, or after `MAX_MOVES`, the second stage keeps a few core
fields and puts the whole line as text into `event.original`. What is refused even so is for the dead letters.

Rules:

1. Elasticsearch and OpenSearch name a field by its dotted path in the mapping. In the record the path may be nested objects,
   keys with dots, or both, and objects may stand in lists.
2. `@timestamp` cannot just go, since a data stream wants one: the time of rescue takes its place.
3. At the limit of fields every key goes that would need a new field; those that are mapped stay.
4. What was moved is known from the record itself, so a rescue needs no memory between attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from shipper.core.faults import Fault, Mapped, find_fault
from shipper.core.repair import as_read

MAX_MOVES = 16
_REASON_LENGTH = 500
_TIMESTAMP = "@timestamp"
_SHIPPER = "shipper"
_KEPT = frozenset({
    _TIMESTAMP, "msecs", "message", "log.level", "log.logger", "service.name", "service.environment", "service.version",
    "host.name", "process.pid", "trace.id", "span.id", "run", "event.sequence", "data_stream.type", "data_stream.dataset",
    "data_stream.namespace", "log.file.path", "log.offset",
})  # fmt: skip

Object = dict[str, msgspec.Raw]
_object = msgspec.json.Decoder(type=dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(type=list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def rescue(line: bytes, reason: str, *, now: str, mapped: Mapped | None = None) -> bytes | None:
    """
    Change a record so that the store may take it.

    Args:
        line: The record as it was refused; it may have been changed by an earlier rescue.
        reason: What the store said.
        now: The time of rescue, for a record without a usable `@timestamp`.
        mapped: The mapping, where it could be asked for; needed only at the limit of fields.

    Returns:
        The record as it should be sent next; None when nothing more can be done.
    """
    try:
        record = _object.decode(line)
        before = _Rescued.of(record)
        own = record.pop(_SHIPPER, None) if not before.reasons else None  # somebody else's `shipper`
        fault = find_fault(reason)
        places = _FAULTS[fault.kind](fault, record, mapped) if fault.kind in _FAULTS else []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    short = _shorten(reason)
    if before.whole:
        return _less(record, places, before, short)
    if (places or own) and len(before.reasons) < MAX_MOVES and not before.has_moved(places):
        _move(record, places, before, now)
        if own is not None:
            before.moved[_SHIPPER] = own
        before.note({place.path for place in places}, short)
        return _write(record, before)
    return _whole(line, record, before, short, now)


def is_rescued(line: bytes) -> bool:
    """Tell whether a stored record is one that was rescued."""
    try:
        return _Rescued.of(_object.decode(line)).reasons != []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


class _Place(NamedTuple):
    """One key of a record: the objects (as their keys and list positions) on the way to it, and its path in the mapping."""

    steps: tuple[str | int, ...]
    path: str


@dataclass(slots=True)
class _Rescued:
    """What stands in `shipper` of a record."""

    moved: Object = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    whole: bool = False

    @classmethod
    def of(cls, record: Object) -> _Rescued:
        """Read it; where nothing was rescued, or it is not of our making, without reasons."""
        try:
            shipper = msgspec.json.decode(record[_SHIPPER], type=dict[str, _Found])["rescued"]
            moved = _object.decode(shipper.json) if shipper.json else {}
        except (KeyError, msgspec.MsgspecError):
            return cls()
        return cls(moved, list(shipper.field), list(shipper.reason), not shipper.json)

    def has_moved(self, places: list[_Place]) -> bool:
        """Tell whether one of *places* was moved before, and is refused again."""
        return any(place.path in self.fields for place in places)

    def note(self, paths: set[str], reason: str) -> None:
        self.fields = [*self.fields, *sorted(paths - set(self.fields))]
        if reason not in self.reasons:
            self.reasons = [*self.reasons, reason]

    def encode(self) -> msgspec.Raw:
        text = {"json": _encode(self.moved).decode()} if not self.whole else {}
        return msgspec.Raw(_encode({"rescued": {**text, "field": self.fields, "reason": self.reasons}}))


class _Found(msgspec.Struct):
    json: str = ""
    field: list[str] = []
    reason: list[str] = []


def _shorten(reason: str) -> str:
    """Cut what a store says: it quotes the record."""
    return reason.partition("\n at [Source")[0][:_REASON_LENGTH]


def _members(value: msgspec.Raw) -> Iterator[tuple[tuple[int, ...], Object]]:
    """Go through the objects at a value: itself, or those in a list, however deep; with the positions on the way."""
    first = bytes(value)[:1]
    if first == b"{":
        yield (), _object.decode(value)
    elif first == b"[":
        for index, item in enumerate(_list.decode(value)):
            for steps, member in _members(item):
                yield (index, *steps), member


def _find(record: Object, path: str) -> list[_Place]:
    """Find every key that a dotted path of the mapping may mean."""
    places: list[_Place] = []
    waiting: list[tuple[Object, str, tuple[str | int, ...], str]] = [(record, path, (), "")]
    while waiting:
        members, rest, steps, above = waiting.pop()
        for key, value in members.items():
            here = f"{above}{key}"
            if rest == key or key.startswith(f"{rest}."):
                places.append(_Place((*steps, key), here))
            elif rest.startswith(f"{key}."):
                inside = list(_members(value))
                if not inside:  # a field within a field, as `name.raw` of `name`
                    places.append(_Place((*steps, key), here))
                for way, member in inside:
                    waiting.append((member, rest[len(key) + 1 :], (*steps, key, *way), f"{here}."))
    return places


def _walk(record: Object, wanted: Callable[[str, str], bool]) -> list[_Place]:
    """List the keys that are *wanted*, by path and key."""
    places: list[_Place] = []
    waiting: list[tuple[Object, tuple[str | int, ...], str]] = [(record, (), "")]
    while waiting:
        members, steps, above = waiting.pop()
        for key, value in members.items():
            here = f"{above}{key}"
            if wanted(here, key):
                places.append(_Place((*steps, key), here))
                continue
            waiting += [(member, (*steps, key, *way), f"{here}.") for way, member in _members(value)]
    return places


def _at_limit(_: Fault, record: Object, mapped: Mapped | None) -> list[_Place]:
    """
    Find the keys that would need a new field.

    Where there are none, another request has filled the mapping since: what was an object without a field then stands now where
    a value is mapped, and objects at such places go.
    """
    if mapped is None:
        return []
    objects = _objects_of(mapped)
    places: list[_Place] = []
    misplaced: list[_Place] = []
    waiting: list[tuple[Object, tuple[str | int, ...], str]] = [(record, (), "")]
    while waiting:
        members, steps, above = waiting.pop()
        for key, value in members.items():
            path = f"{above}{key}"
            if path in (_SHIPPER, _TIMESTAMP) or bytes(value) == b"null":
                continue
            inside = list(_members(value))
            if path in mapped.fields:
                misplaced += [_Place((*steps, key), path)] if inside else []
            elif path in objects and inside:
                waiting += [(member, (*steps, key, *way), f"{path}.") for way, member in inside]
            elif mapped.grows_at(path):
                places.append(_Place((*steps, key), path))
    return places or misplaced


def _objects_of(mapped: Mapped) -> set[str]:
    """List the paths that lead to a mapped field, and those with a say of their own."""
    objects = set(mapped.dynamic)
    for path in mapped.fields:
        while "." in path:
            path = path.rpartition(".")[0]  # noqa: PLW2901 (up, step by step)
            if path in objects:
                break
            objects.add(path)
    return objects


def _bad_names(_: Fault, record: Object, __: Mapped | None) -> list[_Place]:
    """Find keys that no mapping allows: with an empty or blank name, or piece of a name."""
    return _walk(record, lambda _, key: not all(map(str.strip, key.split("."))))


def _too_deep(fault: Fault, record: Object, _: Mapped | None) -> list[_Place]:
    return _walk(record, lambda path, _: path.count(".") + 1 >= fault.limit)


def _named(fault: Fault, record: Object, _: Mapped | None) -> list[_Place]:
    if fault.path.split(".", 1)[0] == _SHIPPER:
        return []
    return _find(record, fault.path) or ([_Place((_TIMESTAMP,), _TIMESTAMP)] if fault.path == _TIMESTAMP else [])


_FAULTS: dict[str, Callable[[Fault, Object, Mapped | None], list[_Place]]] = {
    "field": _named,
    "names": _bad_names,
    "depth": _too_deep,
    "limit": _at_limit,
}


def _move(record: Object, places: list[_Place], rescued: _Rescued, now: str) -> None:
    """Move keys out of a record, which is changed."""
    for place in places:
        taken = _take_out(record, place.steps)
        if taken is not None:
            label = _label(place.steps)
            while label in rescued.moved:  # `a.b` and `b` in `a` have the same path
                label += "~"
            rescued.moved[label] = taken
        if place.path == _TIMESTAMP:
            record[_TIMESTAMP] = msgspec.Raw(_encode(now))


def _label(steps: tuple[str | int, ...]) -> str:
    """Name a place so that what was moved can be put back: `exc.chain[0].type`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _take_out(record: Object, steps: tuple[str | int, ...]) -> msgspec.Raw | None:
    """Take the value at the end of *steps* out of a record; only the objects on the way are written anew."""
    first = str(steps[0])
    if len(steps) == 1:
        return record.pop(first, None)
    changed, taken = _take_out_of(record[first], steps[1:])
    record[first] = changed
    return taken


def _take_out_of(value: msgspec.Raw, steps: tuple[str | int, ...]) -> tuple[msgspec.Raw, msgspec.Raw | None]:
    step = steps[0]
    if isinstance(step, int):
        items = _list.decode(value)
        items[step], taken = _take_out_of(items[step], steps[1:])
        return msgspec.Raw(_encode(items)), taken
    members = _object.decode(value)
    taken = _take_out(members, steps)
    return msgspec.Raw(_encode(members)), taken


def _whole(line: bytes, record: Object, before: _Rescued, reason: str, now: str) -> bytes:
    """Keep a few core fields that are plain values, and the whole line as text."""
    kept: dict[str, Any] = {}
    for path in sorted(_KEPT - set(before.fields)):
        value = _plain(record, path.split("."))
        if value is not None:
            _put(kept, path.split("."), value)
    kept.setdefault(_TIMESTAMP, now)
    _put(kept, ["event", "original"], _original(line, record, before))
    before.whole = True
    before.note(set(), reason)
    return _encode({**kept, _SHIPPER: before.encode()})


def _less(record: Object, places: list[_Place], rescued: _Rescued, reason: str) -> bytes | None:
    """Take away one of the core fields that were kept, too: it stands in `event.original`."""
    paths = {place.path for place in places}
    if not paths or not paths <= _KEPT or rescued.has_moved(places) or _TIMESTAMP in paths:
        return None
    for place in places:
        _take_out(record, place.steps)
    rescued.note(paths, reason)
    return _encode({**record, _SHIPPER: rescued.encode()})


def _original(line: bytes, record: Object, before: _Rescued) -> str:
    """Give the line as it was; where keys were moved before, with them beside it, so that nothing is missing."""
    if not before.fields:
        return line.decode()
    rest = {key: value for key, value in record.items() if key != _SHIPPER}
    return _encode({**rest, _SHIPPER: {"rescued": before.moved}}).decode()


def _plain(record: Object, keys: list[str]) -> Any:
    """Read a string or a whole number at nested keys; None for anything else."""
    value = record.get(keys[0])
    try:
        for key in keys[1:]:
            value = _object.decode(value).get(key) if value is not None else None
        found = msgspec.json.decode(value) if value is not None else None
    except msgspec.MsgspecError:
        return None
    return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None


def _put(target: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        target = target.setdefault(key, {})
    target[keys[-1]] = value


def _write(record: Object, rescued: _Rescued) -> bytes:
    return _encode({**record, _SHIPPER: rescued.encode()})


def is_same(line: bytes, stored: bytes) -> bool:
    """
    Tell whether a stored record is a line: it says the same, or it is what a rescue made of it.

    What depends on when and where the line was read counts for nothing.

    Args:
        line: As it stands in the file.
        stored: As the store gives it back, which may have other blanks.
    """
    try:
        mine, theirs = msgspec.json.decode(line, type=dict[str, Any]), msgspec.json.decode(stored, type=dict[str, Any])
        rescued = _Rescued.of(_object.decode(stored))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return bytes(line) == stored
    mine, theirs = as_read(mine), as_read(theirs)
    if not rescued.reasons:
        return bool(mine == theirs)
    if rescued.whole and not rescued.fields:
        original = theirs.get("event", {}).get("original")
        return original == bytes(line).decode() or is_same(line, str(original).encode())
    touched = {_SHIPPER, *(path.split(".", 1)[0] for path in rescued.fields)}
    kept = theirs.keys() - touched if rescued.whole else mine.keys() - touched
    return all(mine.get(key) == theirs.get(key) for key in kept - {"event"})

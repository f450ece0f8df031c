"""
Any value to plain ones, value by value.

Rules:

1. Whatever a value does when it is read (raises, lies about its class, is circular), it costs that value, never the record.
2. A value is converted by its type, as `type()` knows it. What JSON has no form for stands as its text, and is marked.
3. Depth, items, values and characters are bounded; a cut keeps the head and says how much there was.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import operator
import os
import types
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

from jsonlog.record.redact import REPLACEMENT
from jsonlog.record.text import SCRUB_AHEAD, TAG_CUT, TAG_KEY, TAG_VALUE, bounded, clean, plain_str

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jsonlog.record.text import Bounds

_MAX_KEY = 256
_MAX_NODES = 50_000
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
_MAX_HARMLESS = 10**12  # a larger number may be one that is kept secret, as a card's
_MAX_BITS = 12_000  # Python refuses to print integers of more than 4300 digits
_CONTAINERS = (dict, list, tuple, set, frozenset, Mapping, Sequence, AbstractSet, types.MappingProxyType)
_LISTS = (Sequence, AbstractSet, Collection)


class Careful:
    """Builds plain Python values that orjson cannot refuse. One object for one record."""

    def __init__(self, bounds: Bounds, tags: set[str]) -> None:
        self._bounds = bounds
        self._tags = tags
        self._open: set[int] = set()  # ids of the containers we are inside of
        self._nodes = _MAX_NODES
        self._room = bounds.room
        self._kinds: dict[int, set[type]] = {}  # of what is in the lists that are done, by their ids
        self._note = ""  # of a list that was cut, and can hold no text beside its numbers

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        """Convert a mapping whose values may be anything."""
        items = _snapshot(value, self._bounds.items)
        result: dict[str, Any] = {}
        for key, item in items:
            name, is_hidden = self._key(key, result)
            result[name] = REPLACEMENT if is_hidden else self.value(item, depth + 1)
            if self._note:
                result[unused(f"{name}~cut", result)], self._note = self._note, ""
        size = len(value)
        if size > len(items) >= self._bounds.items:
            self._tags.add(TAG_CUT)
            result[unused("…", result)] = f"[cut: {size} items]"
        if any("." in name and is_shadowed(name, result) for name in result):
            self._tags.add(TAG_KEY)
            shadowed = [name for name in result if "." in name and is_shadowed(name, result)]
            for name in shadowed:
                item = result.pop(name)
                result[unused(name.replace(".", "_"), result)] = REPLACEMENT if self._is_secret(name) else item
        return result

    def value(self, value: Any, depth: int) -> Any:
        """Convert one value; never raises an Exception."""
        self._nodes -= 1
        if self._nodes < 0 or self._room < 0:
            self._tags.add(TAG_CUT)
            return "[cut: the record is too large]"
        try:
            return self._convert(value, depth)
        except Exception as exc:  # noqa: BLE001 (whatever user code in a value raises)
            self._tags.add(TAG_VALUE)
            return f"<{_name(type(value))}: {_name(type(exc))} while it was read>"

    def _convert(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 (one return for each kind)
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value)
        if kind is int or kind is float:
            return self._number(value)
        if issubclass(kind, enum.Enum):
            return self._convert(value.value, depth)
        for parent in type.__getattribute__(kind, "__mro__"):
            convert = _SCALARS.get((parent.__module__, parent.__qualname__))
            if convert is not None:
                return self._scalar(convert(value))
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return self._bytes(value)
        if issubclass(kind, _CONTAINERS) or _is_collection(kind):
            return self._container(value, value, depth)
        fields = _fields(value, kind)
        if fields is not None:
            return self._container(fields, value, depth)
        return self._object(value, kind, depth)

    def _object(self, value: Any, kind: type, depth: int) -> Any:
        if _is_numpy(kind) and getattr(value, "size", 1) <= self._bounds.items:
            plain = value.tolist()
            if type(plain) is not kind:
                return self._convert(plain, depth)
        self._tags.add(TAG_VALUE)
        return self._text(plain_str(str(value)))

    def _scalar(self, value: Any) -> Any:
        kind = type(value)
        if kind is int or kind is float:
            return self._number(value)
        if kind is _Digits:
            self._tags.add(TAG_VALUE)
        return self._text(plain_str(value))

    def _container(self, value: Any, owner: Any, depth: int) -> Any:
        kind = type(owner)
        if id(owner) in self._open:
            self._tags.add(TAG_VALUE)
            return f"<circular {_name(kind)}>"
        if depth > self._bounds.depth:
            self._tags.add(TAG_CUT)
            return f"[cut: {_name(kind)} deeper than {self._bounds.depth} levels]"
        self._open.add(id(owner))
        try:
            if issubclass(type(value), (Mapping, types.MappingProxyType)):
                return self.mapping(value, depth)
            names = getattr(kind, "_fields", None)
            if issubclass(kind, tuple) and isinstance(names, tuple):
                return self.mapping(dict(zip(names, value, strict=False)), depth)
            return self._items(value, depth)
        finally:
            self._open.discard(id(owner))

    def _items(self, value: Any, depth: int) -> list[Any]:
        items = _head(value, self._bounds.items)
        result = [self.value(item, depth + 1) for item in items]
        result = self._of_one_kind(result)
        size = len(value)
        if size > len(items):
            self._tags.add(TAG_CUT)
            if all(type(item) is str for item in result):
                result.append(f"[cut: {size} items]")
            else:
                self._note = f"[cut: {size} items]"
        return result

    def _of_one_kind(self, items: list[Any]) -> list[Any]:
        """Turn a list that mixes text, numbers and truth values into text: OpenSearch refuses a record with such a one."""
        kinds = set(map(type, items))
        if list in kinds:  # to a store those within it are one with it
            kinds.update(*(self._kinds[id(item)] for item in items if type(item) is list))
        if len(kinds & {str, bool}) + bool(kinds & {int, float}) > 1:
            self._tags.add(TAG_VALUE)
            items, kinds = [_as_text(item) for item in items], {str}
        self._kinds[id(items)] = kinds
        return items

    def _is_secret(self, name: str) -> bool:
        return self._bounds.is_secret is not None and self._bounds.is_secret(name)

    def _key(self, key: Any, taken: Mapping[str, Any]) -> tuple[str, bool]:
        """Give a good key, and whether its value is hidden: no rule of a redaction knows a name that was changed."""
        if type(key) is str:
            name = key
        else:
            self._tags.add(TAG_KEY)
            name = _key_text(key)
        fixed = clean(name, self._tags)
        fixed = repaired_key(fixed if self._bounds.scrub is None else self._bounds.scrub(fixed))
        if len(name) > _MAX_KEY:
            self._tags.add(TAG_CUT)
        fixed = unused(fixed, taken)
        if fixed == name:
            return fixed, False
        self._tags.add(TAG_KEY)
        return fixed, self._is_secret(name)

    def _text(self, text: str) -> str:
        text = bounded(text, self._bounds, self._tags)
        self._room -= len(text)
        return text

    def _bytes(self, value: Any) -> str:
        view = memoryview(value).cast("B") if not isinstance(value, (bytes, bytearray)) else value
        limit = self._bounds.text
        if len(view) <= limit:
            return self._text(bytes(view).decode("utf-8", "backslashreplace"))
        text = bytes(view[: limit + SCRUB_AHEAD]).decode("utf-8", "backslashreplace")
        text = bounded(text, self._bounds, self._tags, whole=f"{len(view)} bytes")
        self._room -= len(text)
        return text

    def _number(self, value: float) -> float | str:
        if type(value) is float:
            if value - value == 0.0:
                return self._harmless(value)
            self._tags.add(TAG_VALUE)
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124
        if _LONG_MIN <= value <= _LONG_MAX:
            return self._harmless(value)
        self._tags.add(TAG_VALUE)
        bits = operator.index(value).bit_length()  # type: ignore[arg-type]
        return str(value) if bits < _MAX_BITS else f"<int of {bits} bits>"

    def _harmless(self, value: float) -> float | str:
        """Give a number as it is, or as redacted text if that is what its digits are."""
        if self._bounds.scrub is None or abs(value) <= _MAX_HARMLESS:
            return value
        text = str(value)
        return value if self._bounds.scrub(text) == text else self._text(text)


def repaired_key(key: str) -> str:
    """Give a key that both stores accept: no piece between dots is blank, and its length is bounded."""
    if key.isidentifier() and len(key) <= _MAX_KEY:
        return key
    fixed = ".".join(piece if piece.strip() else "_" for piece in key.split("."))
    if len(fixed) > _MAX_KEY:
        fixed = f"{fixed[:_MAX_KEY]}… [cut: {len(fixed)} characters]"
    return fixed


def is_shadowed(key: str, others: Mapping[str, Any]) -> bool:
    """Tell whether a dotted key leads into another key of the same mapping: to a store `a.b` is `b` within `a`."""
    end = key.find(".")
    while end >= 0:
        if key[:end] in others:
            return True
        end = key.find(".", end + 1)
    return False


def unused(key: str, taken: Mapping[str, Any]) -> str:
    """Give *key*, or the first of `key~2`, `key~3`, … that is not taken."""
    if key not in taken:
        return key
    return next(new for n in range(2, len(taken) + 3) if (new := f"{key}~{n}") not in taken)


def _as_text(item: Any) -> Any:
    kind = type(item)
    if kind is list:
        return [_as_text(inner) for inner in item]
    return str(item).lower() if kind is bool else str(item) if kind is int or kind is float else item


def _name(kind: type) -> str:
    return plain_str(type.__getattribute__(kind, "__name__"))


def _key_text(key: Any) -> str:
    try:
        if issubclass(type(key), (bytes, bytearray)):  # as the headers of ASGI have them
            return bytes(key).decode("utf-8", "backslashreplace")
        return plain_str(str(key.value if issubclass(type(key), enum.Enum) else key))
    except Exception as exc:  # noqa: BLE001 (whatever a key's __str__ raises)
        return f"<{_name(type(key))}: {_name(type(exc))}>"


def _snapshot(value: Any, limit: int) -> list[tuple[Any, Any]]:
    """Copy the first items of a mapping that another thread may be changing."""
    kind = type(value)
    if kind is dict:
        if len(value) <= limit:
            return list(value.copy().items())
        value = value.copy()
    for attempt in range(8):
        try:
            return _head(value.items(), limit)
        except RuntimeError:  # changed size during iteration
            if attempt == 7:
                raise
    return []


def _head(value: Any, limit: int) -> list[Any]:
    """Read the first items; an exact list or tuple at once, anything else by its own iterator."""
    if type(value) in (list, tuple):
        return list(value[:limit])
    result: list[Any] = []
    if limit > 0:
        for item in value:
            result.append(item)
            if len(result) >= limit:
                break
    return result


class _Digits(str):
    """The digits of a number that no double holds."""

    __slots__ = ()


def _decimal(value: Any) -> float | str:
    if not value.is_finite():
        return math.nan if value.is_nan() else math.inf if value > 0 else -math.inf
    number = float(value)
    # Two decimals are equal when their digits are, so this asks whether the shortest text of the double says the same.
    return number if math.isfinite(number) and type(value)(repr(number)) == value else _Digits(value)


def _exception(value: BaseException) -> str:
    return f"{type(value).__qualname__}: {value}"


def _class(value: type) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _isoformat(value: Any) -> str:
    text = value.isoformat()
    return text if isinstance(text, str) else str(value)


# Kinds that have one usual form as text or number, by the names of their classes: importing decimal, ipaddress and uuid for
# the sake of their classes would cost an application 5 ms. A class that lies about its name costs its own value.
_SCALARS: dict[tuple[Any, Any], Callable[[Any], Any]] = {
    ("builtins", "str"): str,
    ("builtins", "int"): int,
    ("builtins", "float"): float,
    ("builtins", "BaseException"): _exception,
    ("builtins", "type"): _class,
    ("builtins", "function"): lambda v: v.__qualname__,
    ("builtins", "builtin_function_or_method"): lambda v: v.__qualname__,
    ("builtins", "method"): lambda v: v.__qualname__,
    ("datetime", "date"): _isoformat,
    ("datetime", "time"): _isoformat,
    ("datetime", "timedelta"): lambda v: v.total_seconds(),
    ("decimal", "Decimal"): _decimal,
    ("uuid", "UUID"): str,
    ("pathlib", "PurePath"): os.fspath,
    ("pathlib._local", "PurePath"): os.fspath,  # Python 3.13
    ("ipaddress", "_IPAddressBase"): str,
}


def _is_collection(kind: type) -> bool:
    """Tell dict views and deques, which can be read again, from iterators and from classes of the application."""
    return kind.__module__ in ("builtins", "collections") and issubclass(kind, Collection)


def _is_numpy(kind: type) -> bool:
    return plain_str(kind.__module__).partition(".")[0] == "numpy" and hasattr(kind, "tolist")


def _fields(value: Any, kind: type) -> dict[str, Any] | None:
    """Read the public fields of dataclasses, attrs classes and pydantic models."""
    if hasattr(kind, "__dataclass_fields__"):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    elif hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_fields"):
        names = list(kind.model_fields)
    else:
        return None
    return {name: getattr(value, name) for name in names if not name.startswith("_")}

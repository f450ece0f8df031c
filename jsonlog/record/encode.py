"""
Any value to JSON that every store accepts.

Strategy: orjson does the common case in one call. What it refuses, and what looks suspicious in its output (it turns NaN
into null, keeps empty keys), is built again by `_Careful`, value by value. Rules:

1. Whatever a value does when it is read (raises, lies about its class, is circular), it costs that value, never the record.
   KeyboardInterrupt and SystemExit pass through; no user code runs inside orjson, which would swallow them.
2. Every change is named by a tag, so that one can search for it.
3. Depth, items and characters are bounded. A cut keeps the head and says how much there was.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import math
import os
import re
import types
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

TAG_ARGS = "jsonlog.args"
TAG_VALUE = "jsonlog.value"
TAG_KEY = "jsonlog.key"
TAG_CUT = "jsonlog.cut"

# orjson would otherwise show the fields of dataclasses, ignore what subclasses override and pass integers that JavaScript rounds.
_STRICT = (
    orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
_FAST_BYTES = 8192
_FAST_BRACKETS = 20
_MAX_KEY = 256
_MAX_NODES = 50_000
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
_MAX_DIGITS = 4000  # Python refuses to print integers of more than 4300 digits
# Empty, blank, dot-edged or escaped: in orjson's compact output only the end of a key is followed by a colon.
_SUSPICIOUS_KEY = re.compile(rb'"":|"[ .\\][^"]*":|[ .]":|\.\.[^"]*":')


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """
    How large a record may become.

    Args:
        text: Characters of the message, the traceback, the stack and of each string in `extra`.
        items: Items of one list or mapping in `extra`.
        depth: Levels of nesting in `extra`.
        line: Bytes of the whole line.
    """

    text: int = 256 * 1024
    items: int = 1000
    depth: int = 16
    line: int = 1_000_000


def encode_extra(extra: dict[str, Any], bounds: Bounds, tags: set[str]) -> bytes:
    """
    Encode the user's fields.

    Args:
        extra: Any keys and values.
        bounds: What is cut.
        tags: Gets a tag for every kind of change that was made.

    Returns:
        One JSON object: valid UTF-8, no duplicate, empty or dot-edged key, no integer beyond 64 bits, no NaN.
    """
    try:
        data = orjson.dumps(extra, None, _STRICT)
    except (TypeError, ValueError, RecursionError):  # what it refuses; user code has not run
        pass
    else:
        if _is_plain(data):
            return data
    return orjson.dumps(_Careful(bounds, tags).mapping(extra, 0))


def encode_text(text: str, bounds: Bounds, tags: set[str]) -> bytes:
    """Encode one string as JSON, cut to *bounds*, a lone surrogate written out with a backslash."""
    if len(text) > bounds.text:
        text = cut(text, bounds.text, tags)
    try:
        return orjson.dumps(text)
    except (TypeError, ValueError):
        return orjson.dumps(clean(text, tags))


def cut(text: str, limit: int, tags: set[str]) -> str:
    """Keep the head of *text* and say how long it was."""
    tags.add(TAG_CUT)
    return f"{text[:limit]}… [cut: {len(text)} characters]"


def clean(text: str, tags: set[str]) -> str:
    """Make a plain `str` that is valid UTF-8 of *text*: a lone surrogate is written out with a backslash."""
    try:
        text.encode()
    except UnicodeEncodeError:
        tags.add(TAG_VALUE)
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def safe_text(value: object, tags: set[str]) -> str:
    """Return `str(value)`, or else what can still be said about it."""
    try:
        text = str(value)
        return text if type(text) is str else "".join(text)
    except Exception as exc:  # noqa: BLE001 (whatever a value's __str__ raises)
        tags.add(TAG_VALUE)
        return f"<{type(value).__name__}: str() raised {type(exc).__name__}>"


def safe_repr(value: object, bounds: Bounds, tags: set[str]) -> str:
    """Return `repr(value)`, bounded, or else what can still be said about it."""
    try:
        text = repr(value)
        text = text if type(text) is str else "".join(text)
    except Exception as exc:  # noqa: BLE001 (whatever a value's __repr__ raises)
        tags.add(TAG_VALUE)
        return f"<{type(value).__name__}: repr() raised {type(exc).__name__}>"
    text = clean(text, tags)
    return cut(text, bounds.text, tags) if len(text) > bounds.text else text


def _is_plain(data: bytes) -> bool:
    return (
        len(data) <= _FAST_BYTES
        and b"null" not in data
        and data.count(b"{") + data.count(b"[") <= _FAST_BRACKETS
        and _SUSPICIOUS_KEY.search(data) is None
    )


class _Careful:
    """Builds plain Python values that orjson cannot refuse. One object for one record."""

    def __init__(self, bounds: Bounds, tags: set[str]) -> None:
        self._bounds = bounds
        self._tags = tags
        self._open: set[int] = set()  # ids of the containers we are inside of
        self._nodes = 0

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        items = _snapshot(value)
        result: dict[str, Any] = {}
        for key, item in items[: self._bounds.items]:
            result[self._key(key, result)] = self.value(item, depth + 1)
        if len(items) > self._bounds.items:
            self._tags.add(TAG_CUT)
            result[self._key("…", result)] = f"[cut: {len(items)} items]"
        return result

    def value(self, value: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            self._tags.add(TAG_CUT)
            return "[cut: too many values in one record]"
        try:
            return self._convert(value, depth)
        except Exception as exc:  # noqa: BLE001 (whatever user code in a value raises)
            self._tags.add(TAG_VALUE)
            return f"<{type(value).__name__}: {type(exc).__name__} while it was read>"

    def _convert(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 (one return per kind)
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value)
        if kind is int:
            return self._integer(value)
        if kind is float:
            return self._number(value)
        if issubclass(kind, enum.Enum):
            return self.value(value.value, depth)
        if issubclass(kind, (dict, list, tuple, set, frozenset, Mapping, Sequence, AbstractSet)) and not issubclass(
            kind, (str, bytes, bytearray)
        ):
            return self._container(value, depth)
        return self._scalar(value, kind, depth)

    def _scalar(self, value: Any, kind: type, depth: int) -> Any:
        for classes, convert in _SCALARS:
            if issubclass(kind, classes):
                return self._plain(convert(value))
        fields = _fields(value, kind)
        if fields is not None:
            return self._container(fields, depth, of=value)
        unwrapped = _unwrapped(value, kind, self._bounds.items)
        if unwrapped is not value:
            return self.value(unwrapped, depth)
        self._tags.add(TAG_VALUE)
        return self._text(str(value))

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is int:
            return self._integer(value)
        if kind is float:
            return self._number(value)
        return self._text(value)

    def _container(self, value: Any, depth: int, of: Any = None) -> Any:
        owner = value if of is None else of
        if id(owner) in self._open:
            self._tags.add(TAG_VALUE)
            return f"<circular {type(owner).__name__}>"
        if depth > self._bounds.depth:
            self._tags.add(TAG_CUT)
            return f"[cut: {type(owner).__name__} deeper than {self._bounds.depth} levels]"
        self._open.add(id(owner))
        try:
            if isinstance(value, Mapping):
                return self.mapping(value, depth)
            names = getattr(type(value), "_fields", None)
            if isinstance(value, tuple) and isinstance(names, tuple):  # a named tuple
                return self.mapping(dict(zip(names, value, strict=False)), depth)
            return self._items(value, depth)
        finally:
            self._open.discard(id(owner))

    def _items(self, value: Any, depth: int) -> list[Any]:
        items = _head(value, self._bounds.items)
        result = [self.value(item, depth + 1) for item in items]
        if len(value) > len(items):
            self._tags.add(TAG_CUT)
            result.append(f"[cut: {len(value)} items]")
        return result

    def _key(self, key: Any, taken: Mapping[str, Any]) -> str:
        if type(key) is str:
            name = key
        else:
            self._tags.add(TAG_KEY)
            name = self._key_text(key)
        fixed = ".".join(piece if piece.strip() else "_" for piece in clean(name, self._tags).split("."))
        if len(fixed) > _MAX_KEY:
            fixed = f"{fixed[:_MAX_KEY]}… [cut: {len(fixed)} characters]"
        if fixed in taken:
            fixed = next(new for n in range(2, len(taken) + 3) if (new := f"{fixed}~{n}") not in taken)
        if fixed != name:
            self._tags.add(TAG_KEY)
        return fixed

    def _key_text(self, key: Any) -> str:
        try:
            text = str(key.value if isinstance(key, enum.Enum) else key)
            return text if type(text) is str else "".join(text)
        except Exception as exc:  # noqa: BLE001 (whatever a key's __str__ raises)
            return f"<{type(key).__name__}: {type(exc).__name__}>"

    def _text(self, text: str) -> str:
        text = clean(text if type(text) is str else "".join(text), self._tags)
        return cut(text, self._bounds.text, self._tags) if len(text) > self._bounds.text else text

    def _integer(self, value: int) -> int | str:
        if _LONG_MIN <= value <= _LONG_MAX:
            return value
        self._tags.add(TAG_VALUE)
        if value.bit_length() < _MAX_DIGITS * 3:
            return str(value)
        return f"<int of {value.bit_length()} bits>"

    def _number(self, value: float) -> float | str:
        if math.isfinite(value):
            return value
        self._tags.add(TAG_VALUE)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _snapshot(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Copy the items of a mapping that another thread may be changing."""
    if type(value) is dict:
        return list(value.copy().items())
    for _ in range(8):
        try:
            return list(value.items())
        except RuntimeError:  # changed size during iteration
            continue
    return list(value.items())


def _head(value: Any, limit: int) -> list[Any]:
    if isinstance(value, (list, tuple)) and type(value).__iter__ in (list.__iter__, tuple.__iter__):
        return (
            list(value[:limit])
            if type(value).__getitem__ in (list.__getitem__, tuple.__getitem__)
            else list(value)[:limit]
        )
    result: list[Any] = []
    for item in value:
        if len(result) >= limit:
            break
        result.append(item)
    return result


def _decimal(value: decimal.Decimal) -> float | str:
    """Return a number where a double holds what is written, else the digits as text."""
    if not value.is_finite():
        return float("nan") if value.is_nan() else math.inf if value > 0 else -math.inf
    number = float(value)
    return number if math.isfinite(number) and decimal.Decimal(repr(number)) == value else str(value)


def _subclass_number(value: Any) -> int | float:
    return int(value) if isinstance(value, int) else float(value)


# Kinds that have one usual form as text or number. Order matters: datetime is a date, and int, float and str come last.
_SCALARS: tuple[tuple[type | tuple[type, ...], Any], ...] = (
    ((dt.datetime, dt.date, dt.time), lambda v: v.isoformat()),
    (dt.timedelta, lambda v: v.total_seconds()),
    (decimal.Decimal, _decimal),
    (uuid.UUID, str),
    (os.PathLike, lambda v: os.fsdecode(os.fspath(v))),
    ((ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network), str),
    ((bytes, bytearray, memoryview), lambda v: bytes(v).decode("utf-8", "backslashreplace")),
    (BaseException, lambda v: f"{type(v).__qualname__}: {v}"),
    (type, lambda v: f"{v.__module__}.{v.__qualname__}"),
    ((types.FunctionType, types.BuiltinFunctionType, types.MethodType), lambda v: v.__qualname__),
    (str, str),
    ((int, float), _subclass_number),
)


def _fields(value: Any, kind: type) -> dict[str, Any] | None:
    """Read the public fields of dataclasses, attrs classes and pydantic models."""
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    elif hasattr(kind, "model_fields") and hasattr(kind, "model_dump"):
        names = list(kind.model_fields)
    else:
        return None
    return {name: getattr(value, name) for name in names if not name.startswith("_")}


def _unwrapped(value: Any, kind: type, limit: int) -> Any:
    """Turn numpy's scalars and small arrays into Python's own values; anything else comes back as it is."""
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(kind, "tolist") and getattr(value, "size", 1) <= limit:
        return value.tolist()
    return value

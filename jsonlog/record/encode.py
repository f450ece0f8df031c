"""
`extra` to JSON: in one call where its values are plain, value by value where they are not.

orjson alone would not do: it turns NaN into null, keeps empty keys, passes a Fragment on unchecked, reads `value` of an
Enum itself (and ends the process when that raises), swallows KeyboardInterrupt in `default=`. So it only ever gets exact
`str`, `int`, `float`, `bool`, None and exact lists, tuples and dicts of these; everything else goes through `Careful`.
"""

from __future__ import annotations

import orjson

from jsonlog.record.build import STANDARD_ATTRIBUTES
from jsonlog.record.values import Careful, is_shadowed, repaired_key

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jsonlog.record.text import Bounds

_LEAVES = frozenset({str, int, float, bool, type(None)})
_APART, _NUMBERS = frozenset({str, bool}), frozenset({int, float})
_CONTAINERS = frozenset({dict, list, tuple})
# Anything that the direct way must not take is refused by orjson with these: integers that JavaScript rounds (beyond
# 53 bits, which may be beyond 64 too), lone surrogates.
_STRICT = orjson.OPT_STRICT_INTEGER
_FAST_BYTES = 8192
_FAST_DEPTH = 4
_MAX_KEYS = 4096


class Encoder:
    """
    Encodes the user's fields. One object for one formatter, used by all its threads.

    Args:
        bounds: What is cut when a line is not too long altogether.
        is_secret: Tells whether values under this key may have to be redacted, so that they take the careful way.
        suspects: Tells whether finished JSON may hold a secret text. None: nothing is looked for.
    """

    def __init__(
        self, bounds: Bounds, is_secret: Callable[[str], bool], suspects: Callable[[bytes], bool] | None
    ) -> None:
        self._is_secret = is_secret
        self._suspects = suspects
        self._items = bounds.items
        self._depth = min(_FAST_DEPTH, bounds.depth)
        self._limit = min(_FAST_BYTES, bounds.text)
        # Keys that need no repair. A set that only grows is safe to share: a lost update costs one more look.
        self._good: set[str] = set()
        self._dotted: set[str] = set()

    def known(self, fields: dict[str, Any]) -> bytes | None:
        """
        Encode fields without nesting whose keys have been seen before.

        Returns:
            One JSON object, or None: then `direct` may be able to.

        Raises:
            Exception: Anything; then `careful` has to do it.
        """
        if (
            self._good.issuperset(fields)
            and _LEAVES.issuperset(map(type, fields.values()))
            and 0 < len(fields) <= self._items
        ):
            data = orjson.dumps(fields, None, _STRICT)
            if (
                len(data) <= self._limit
                and (b"null" not in data or _finite(fields))
                and (self._suspects is None or not self._suspects(data))
            ):
                return data
        return None

    def direct(self, fields: dict[str, Any]) -> bytes | None:
        """
        Encode plain fields in one call.

        Returns:
            One JSON object, or None: then `careful` has to do it.
        """
        try:
            if not self._plain(fields, self._depth):
                return None
            data = orjson.dumps(fields, None, _STRICT)
        except Exception:  # noqa: BLE001 (a key whose hash raises, a dict that changes, what orjson refuses)
            return None
        if len(data) > self._limit or (b"null" in data and not _finite(fields)):
            return None
        if self._suspects is not None and self._suspects(data):
            return None
        return data

    def careful(self, fields: Any, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
        """Turn any mapping into plain values that `orjson.dumps` takes, with a tag for every kind of change."""
        return Careful(bounds, tags).mapping(fields, 0)

    def _plain(self, value: Any, depth: int) -> bool:
        if type(value) is dict:
            if not self._good.issuperset(value) and not self._learn(value):
                return False
            values, kinds = value.values(), set(map(type, value.values()))
        else:
            values, kinds = value, set(map(type, value))
            if len(kinds & _APART) + (not kinds.isdisjoint(_NUMBERS)) > 1:
                return False  # a list of mixed kinds
        if len(value) > self._items or (depth == 0 and not _LEAVES.issuperset(kinds)):
            return False
        return all(
            type(item) in _LEAVES or (type(item) in _CONTAINERS and self._plain(item, depth - 1)) for item in values
        )

    def _learn(self, value: dict[Any, Any]) -> bool:
        """Remember the keys of *value* as good ones, if they all are. Of a dotted one that depends on the others each time."""
        for key in value:
            if type(key) is not str or (
                key not in self._dotted
                and (repaired_key(key) != key or key in STANDARD_ATTRIBUTES or self._is_secret(key))
            ):
                return False
            if "." in key and is_shadowed(key, value):
                return False
        if len(self._good) + len(self._dotted) < _MAX_KEYS:
            for key in value:
                (self._dotted if "." in key else self._good).add(key)
        return True


def _finite(value: Any) -> bool:
    """Tell whether no number in plain values is NaN or infinite: orjson writes both as null."""
    for item in value.values() if type(value) is dict else value:
        if type(item) is float:
            if item - item != 0.0:
                return False
        elif type(item) in _CONTAINERS and not _finite(item):
            return False
    return True

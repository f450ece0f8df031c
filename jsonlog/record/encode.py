"""
`extra` to JSON: in one call where its values are plain, value by value where they are not.

orjson alone would not do: it turns NaN into null, keeps empty keys, passes a Fragment on unchecked, reads `value` of an
Enum itself (and ends the process when that raises), swallows KeyboardInterrupt in `default=`. So it only ever gets exact
`str`, `int`, `float`, `bool`, None and exact lists, tuples and dicts of these; everything else goes through `Careful`.
"""

from __future__ import annotations

import orjson

from jsonlog.record.values import Careful, is_shadowed, repaired_key

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jsonlog.record.context import Fields
    from jsonlog.record.text import Bounds

LEAVES = frozenset({str, int, float, bool, type(None)})
_APART, _NUMBERS = frozenset({str, bool}), frozenset({int, float})
_LISTS = frozenset({list, tuple})
_CONTAINERS = _LISTS | {dict}
# Anything that the direct way must not take is refused by orjson with these: integers that JavaScript rounds (beyond
# 53 bits, which may be beyond 64 too), lone surrogates.
STRICT = orjson.OPT_STRICT_INTEGER
_FAST_BYTES = 8192
_FAST_DEPTH = 4
_MAX_KEYS = 4096


class Encoder:
    """
    Encodes the user's fields. One object for one formatter, used by all its threads.

    Args:
        bounds: What is cut when a line is not too long altogether.
        suspects: Tells whether finished JSON may hold a secret text. None: nothing is looked for.
    """

    def __init__(self, bounds: Bounds, suspects: Callable[[bytes], bool] | None) -> None:
        self._is_secret = bounds.is_secret or (lambda _: False)
        self.suspects = suspects
        self._items = bounds.items
        self._depth = min(_FAST_DEPTH, bounds.depth)
        self.most = min(_FAST_BYTES, bounds.text)
        # Keys that need no repair. A set that only grows is safe to share: a lost update costs one more look.
        self._good: set[str] = set()
        self._dotted: set[str] = set()

    def leaves(self, fields: dict[str, Any]) -> bytes:
        """
        Encode fields whose keys are known and whose values are of the types in `LEAVES`, at most `max_items` of them.

        Raises:
            Exception: Anything; then `careful` has to do it.
        """
        data = orjson.dumps(fields, None, STRICT)
        if (
            len(data) > self.most
            or (data.find(b"null") >= 0 and not _finite(fields))
            or (self.suspects is not None and self.suspects(data))
        ):
            raise ValueError
        return data

    def direct(self, fields: dict[str, Any]) -> bytes:
        """
        Encode plain fields in one call.

        Raises:
            Exception: Anything; then `careful` has to do it.
        """
        if not self._plain(fields, self._depth):
            raise ValueError
        return self.leaves(fields)

    def with_bound(self, here: Fields, fields: dict[str, Any]) -> bytes:
        """
        Encode bound fields, which stay the same for many records, and those of one record.

        Raises:
            Exception: Anything; then `careful` has to do it.
        """
        if here.encoded is None or here.encoded[0] is not self:
            plain = dict(here)
            here.encoded = (self, self.direct(plain) if self._plain(plain, 0) and self.is_flat(plain) else b"")
        data = here.encoded[1]
        if data and not fields:
            return data
        if (
            data
            and self._good.issuperset(fields)
            and LEAVES.issuperset(map(type, fields.values()))
            and here.keys().isdisjoint(fields)
            and len(here) + len(fields) <= self._items
        ):
            return b"%b,%b" % (data[:-1], self.leaves(fields)[1:])
        return self.direct({**here, **fields})

    def is_flat(self, fields: dict[str, Any]) -> bool:
        """Tell whether these fields are few enough, have no values within values and keys that are good beside any others."""
        return (
            len(fields) <= self._items
            and self._good.issuperset(fields)
            and LEAVES.issuperset(map(type, fields.values()))
        )

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
            if len(kinds & _APART) + (not kinds.isdisjoint(_NUMBERS)) > 1 or not kinds.isdisjoint(_LISTS):
                return False  # a list of mixed kinds, or perhaps one: of lists within it
        if len(value) > self._items or (depth == 0 and not LEAVES.issuperset(kinds)):
            return False
        return all(
            type(item) in LEAVES or (type(item) in _CONTAINERS and self._plain(item, depth - 1)) for item in values
        )

    def _learn(self, value: dict[Any, Any]) -> bool:
        """Remember the keys of *value* as good ones, if they all are. Of a dotted one that depends on the others each time."""
        for key in value:
            if type(key) is not str or (key not in self._dotted and (repaired_key(key) != key or self._is_secret(key))):
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

"""JSON Schema 2020-12 of one line of our files, made from the rows of a profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.fields import FIELDS, KEY, MARKS, VERSION, Field, ecs_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.stores import Json

LINE_FIELDS = tuple(row for row in FIELDS if row.writer != "shipper")
"""The fields that stand in the lines of our own files."""


def record_schema() -> Json:
    """Describe one line of our own files; `$defs/record` is what `format()` alone gives, not yet numbered."""
    return _Schema(LINE_FIELDS).whole("record", "A record of jsonlog: one line of its files")


def ecs_schema() -> Json:
    """Describe one line in profile `ecs`."""
    rows = tuple(row for row in ecs_rows() if row.writer != "shipper")
    return _Schema(rows).whole("record-ecs", "A record of jsonlog in profile ecs: one line of its files")


def top(row: Field) -> str:
    """Name the field of the record that *row* stands in."""
    return row.name.partition(".")[0]


def tops(rows: Iterable[Field], prefix: str = "") -> tuple[str, ...]:
    """Name what stands directly below *prefix*, in the order of the table."""
    names = (row.name.removeprefix(prefix) for row in rows if row.name.startswith(prefix))
    return tuple(dict.fromkeys(name.partition(".")[0] for name in names))


@dataclass(frozen=True, slots=True)
class _Schema:
    """The schema of records that have these rows."""

    rows: tuple[Field, ...]

    def whole(self, name: str, title: str) -> Json:
        numbers = tuple(dict.fromkeys(top(row) for row in self.rows if row.writer == "handler"))
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:jsonlog-shipper:{name}:{VERSION}",
            "title": title,
            "$comment": "Made by `python -m schemas.build` from schemas/fields.py.",
            "$ref": "#/$defs/record",
            "required": list(numbers),
            "$defs": {
                "record": {
                    "title": "A record as the formatter gives it: the handler has not numbered it yet",
                    **self._object("", tops(self.rows)),
                    # Half a number is none.
                    "dependentRequired": {one: [other for other in numbers if other != one] for one in numbers},
                },
                "value": {
                    "title": "Any value, so long as the stores take the keys in it",
                    "propertyNames": {"pattern": KEY},
                    "additionalProperties": {"$ref": "#/$defs/value"},
                    "items": {"$ref": "#/$defs/value"},
                },
            },
        }

    def _object(self, prefix: str, names: Iterable[str]) -> Json:
        required = [name for name in names if self._is_required(prefix + name)]
        return {
            "type": "object",
            "properties": {name: self._value(prefix + name) for name in names},
            **({"required": required} if required else {}),
            "additionalProperties": False,
            **({} if required else {"minProperties": 1}),
        }

    def _value(self, name: str) -> Json:
        row = self._row(name)
        members = tops(self.rows, name + ".")
        if row is None:
            return self._object(name + ".", members)
        about: Json = {"description": row.about, "examples": [row.example]}
        if row.json == "object[]":
            return {**about, "type": "array", "minItems": 1, "items": self._object(name + ".", members)}
        if row.json == "string[]":
            items: Json = {"type": "string"}
            if name == "tags":  # other words are the user's; in our own namespace only those that are documented
                items = {**items, "anyOf": [{"enum": list(MARKS)}, {"not": {"pattern": "^jsonlog\\."}}]}
            return {**about, "type": "array", "minItems": 1, **row.form, "items": items}
        if row.index == "free":
            return {**about, "type": "object", "minProperties": 1, "$ref": "#/$defs/value"}
        if row.json == "object":
            return {**about, "type": "object", "minProperties": 1, **row.form}
        return {**about, "type": row.json, **row.form}

    def _is_required(self, name: str) -> bool:
        within = [row for row in self.rows if row.name == name or row.name.startswith(name + ".")]
        itself = self._row(name)
        return any(row.presence == "always" for row in within) or (
            itself is not None and itself.presence == "with its object"
        )

    def _row(self, name: str) -> Field | None:
        return next((row for row in self.rows if row.name == name), None)

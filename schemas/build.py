"""Make what follows from the table of fields: `python -m schemas.build` writes it, `--check` compares.

The results are committed, so that a change of the contract is seen in review, and travel in the wheel.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas import dashboards, kibana
from schemas.fields import FIELDS, KEY, MARKS, OWN, SAME, VERSION, Field, Writer, aliases
from schemas.stores import (
    BESIDE_MAPPINGS,
    DATA_STREAM,
    INDEXED,
    PATTERN,
    PRIORITY,
    SETTINGS,
    Json,
    Store,
    dynamic_templates,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- made by `python -m schemas.build` from schemas/fields.py -->"
END = "<!-- end -->"

LINE_FIELDS = tuple(row for row in FIELDS if row.writer != "shipper")
"""The fields that stand in the lines of our own files."""


# --- the JSON Schema -------------------------------------------------------------------------------------------------


def record_schema() -> Json:
    """Describe one line of our own files; `$defs/record` is what `format()` alone gives, not yet numbered."""
    numbers = tuple(dict.fromkeys(top(row) for row in LINE_FIELDS if row.writer == "handler"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:jsonlog-shipper:record:{VERSION}",
        "title": "A record of jsonlog: one line of its files",
        "$comment": "Made by `python -m schemas.build` from schemas/fields.py.",
        "$ref": "#/$defs/record",
        "required": list(numbers),
        "$defs": {
            "record": {
                "title": "A record as the formatter gives it: the handler has not numbered it yet",
                **_object_schema("", tops(LINE_FIELDS)),
                # Half a number is none.
                "dependentRequired": {name: [other for other in numbers if other != name] for name in numbers},
            },
            "value": {
                "title": "Any value, so long as the stores take the keys in it",
                "propertyNames": {"pattern": KEY},
                "additionalProperties": {"$ref": "#/$defs/value"},
                "items": {"$ref": "#/$defs/value"},
            },
        },
    }


def _object_schema(prefix: str, names: Iterable[str]) -> Json:
    required = [name for name in names if _is_required(prefix + name)]
    return {
        "type": "object",
        "properties": {name: _schema(prefix + name) for name in names},
        **({"required": required} if required else {}),
        "additionalProperties": False,
        **({} if required else {"minProperties": 1}),
    }


def _schema(name: str) -> Json:
    row = BY_NAME.get(name)
    members = tops(LINE_FIELDS, name + ".")
    if row is None:
        return _object_schema(name + ".", members)
    about: Json = {"description": row.about, "examples": [row.example]}
    if row.json == "object[]":
        return {**about, "type": "array", "minItems": 1, "items": _object_schema(name + ".", members)}
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


def _is_required(name: str) -> bool:
    within = [row for row in LINE_FIELDS if row.name == name or row.name.startswith(name + ".")]
    itself = BY_NAME.get(name)
    return any(row.presence == "always" for row in within) or (
        itself is not None and itself.presence == "with its object"
    )


# --- the index templates ---------------------------------------------------------------------------------------------


def index_template(store: Store) -> Json:
    """Give the body of `PUT _index_template/jsonlog`."""
    return {
        "index_patterns": [PATTERN],
        "priority": PRIORITY,
        "data_stream": DATA_STREAM[store],
        "version": VERSION,
        "_meta": {"managed_by": "jsonlog-shipper", "schema": str(VERSION)},
        "template": {
            "settings": {"index": SETTINGS[store]},
            "mappings": {
                "_meta": {"managed_by": "jsonlog-shipper", "schema": str(VERSION)},
                "dynamic": False,
                "date_detection": True,
                "dynamic_date_formats": ["strict_date_time||strict_date_time_no_millis"],
                "numeric_detection": False,
                "dynamic_templates": dynamic_templates(store),
                "properties": properties(store),
            },
            **BESIDE_MAPPINGS[store],
        },
    }


def properties(store: Store) -> Json:
    """Give the mapping of every field in the table, and of the names that ECS has for some of them."""
    leaves: dict[str, Json] = {row.name: INDEXED[row.index][store] for row in FIELDS if row.index != "parts"}
    leaves |= {name: {"type": "alias", "path": path} for name, path in aliases().items()}
    tree: Json = {}
    for name, mapping in leaves.items():
        *parents, last = name.split(".")
        here = tree
        for parent in parents:
            here = _properties_of(here, parent)
        here[last] = mapping
    return tree


def _properties_of(tree: Json, name: str) -> Json:
    node = tree.setdefault(name, {"properties": {}})
    if not isinstance(node, dict) or "properties" not in node:
        message = f"{name} is a value and an object at once"
        raise TypeError(message)
    inner: Json = node["properties"]
    return inner


# --- the tables for people -------------------------------------------------------------------------------------------

INDEXED_IN_WORDS = {
    "date": "date",
    "integer": "integer",
    "keyword": "keyword",
    "labels": "one keyword per pair",
    "level": "keyword, any case",
    "long": "long",
    "milliseconds": "short, from doc values",
    "parts": "its members, flat",
    "text": "text",
    "free": "as it comes",
}
WRITERS = {
    "formatter": "What the formatter writes",
    "handler": "What the handler adds under the lock that writes",
    "shipper": "What the shipper adds",
}


def example(*writers: Writer) -> Json:
    """Give a record that has every field which *writers* put there, each with the example from its row."""
    record: Json = {}
    for row in FIELDS:
        *parents, last = row.name.split(".")
        if row.writer in writers and "[]" not in {BY_NAME[name].json[-2:] for name in _above(row.name)}:
            here: Any = record
            for parent in parents:
                here = here.setdefault(parent, {})
            here[last] = copy.deepcopy(row.example)
    return record


def _above(name: str) -> list[str]:
    """Name the rows that *name* stands in."""
    return [name[:i] for i, letter in enumerate(name) if letter == "." and name[:i] in BY_NAME]


def fields_table() -> str:
    """Write the whole table, for docs/fields.md, with one record as it stands in a file (there on one line)."""
    parts = [f"```json\n{_pretty(example('formatter', 'handler'))}```"]
    for writer, title in WRITERS.items():
        rows = [row for row in FIELDS if row.writer == writer]
        parts.append(
            f"### {title}\n\n| field | JSON | unit or format | ECS | indexed | example | meaning |\n|---|---|---|---|---|---|---|"
        )
        parts[-1] += "".join("\n" + _table_row(row) for row in rows)
    return "\n\n".join(parts)


def _table_row(row: Field) -> str:
    name = f"`{row.name}`" + ("" if row.presence != "always" else " **always**")
    ecs = {SAME: "yes", OWN: "own"}.get(row.ecs, f"`{row.ecs}`")
    example = json.dumps(row.example, ensure_ascii=False).replace("|", "\\|")
    indexed = INDEXED_IN_WORDS[row.index]
    return f"| {name} | {row.json} | {row.unit} | {ecs} | {indexed} | `{example}` | {row.about} |"


def glance() -> str:
    """Write the names alone, one line per object, for the README of this folder."""
    lines = []
    for name in tops(FIELDS):
        members = [row.name.removeprefix(name + ".") for row in FIELDS if row.name.startswith(name + ".")]
        lines.append(f"* `{name}`" + (": " + ", ".join(f"`{member}`" for member in members) if members else ""))
    return "\n".join(lines)


# --- names -----------------------------------------------------------------------------------------------------------

BY_NAME = {row.name: row for row in FIELDS}


def top(row: Field) -> str:
    """Name the field of the record that *row* stands in."""
    return row.name.partition(".")[0]


def tops(rows: Iterable[Field], prefix: str = "") -> tuple[str, ...]:
    """Name what stands directly below *prefix*, in the order of the table."""
    names = (row.name.removeprefix(prefix) for row in rows if row.name.startswith(prefix))
    return tuple(dict.fromkeys(name.partition(".")[0] for name in names))


# --- files -----------------------------------------------------------------------------------------------------------


def _pretty(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _lines(values: Iterable[Json]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _between_marks(path: str, made: str) -> str:
    """Put *made* where the marks stand in the page that is there; the rest of the page is written by hand."""
    text = (ROOT / path).read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        message = f"{path}: the lines {BEGIN} and {END} are missing"
        raise SystemExit(message)
    return f"{head}{BEGIN}\n\n{made}\n\n{END}{tail}"


FILES: dict[str, Callable[[], str]] = {
    "schemas/record.schema.json": lambda: _pretty(record_schema()),
    "schemas/elasticsearch.json": lambda: _pretty(index_template("elasticsearch")),
    "schemas/opensearch.json": lambda: _pretty(index_template("opensearch")),
    "schemas/kibana.ndjson": lambda: _lines(kibana.objects()),
    "schemas/opensearch-dashboards.ndjson": lambda: _lines(dashboards.objects()),
    "schemas/README.md": lambda: _between_marks("schemas/README.md", glance()),
    "docs/fields.md": lambda: _between_marks("docs/fields.md", fields_table()),
}
"""Everything that is made: the path from the root of the repository, and who makes its text."""


def differences() -> Iterator[str]:
    """Give one unified diff for each file that is not what the table says."""
    for path, make in FILES.items():
        there = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else ""
        lines = difflib.unified_diff(
            there.splitlines(keepends=True), make().splitlines(keepends=True), f"{path} (committed)", f"{path} (made)"
        )
        if diff := "".join(lines):
            yield diff


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` say which of them are not what the table says."""
    parser = argparse.ArgumentParser(prog="python -m schemas.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    if parser.parse_args(arguments).check:
        found = list(differences())
        sys.stdout.writelines(found)
        if found:
            sys.stdout.write("Not what schemas/fields.py says. Run `python -m schemas.build` and commit the result.\n")
        return 1 if found else 0
    for path, make in FILES.items():
        (ROOT / path).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make what follows from the table of fields: `python -m schemas.build` writes it, `--check` compares.

The results are committed, so that a change of the contract is seen in review, and travel in the wheel.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas import dashboards, kibana
from schemas.compatibility import contract
from schemas.fields import FIELDS, MARKS, OWN, PROFILES, SAME, SHIPPER_MARKS, Field, Writer
from schemas.record import LINE_FIELDS, ecs_schema, record_schema, tops
from schemas.stores import STORES, Json
from schemas.templates import bundle, properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from schemas.fields import Profile
    from schemas.stores import Store

ROOT = Path(__file__).resolve().parent.parent
RELEASED = "schemas/released.json"
BEGIN = "<!-- made by `python -m schemas.build` from schemas/fields.py -->"
END = "<!-- end -->"

BY_NAME = {row.name: row for row in FIELDS}

__all__ = ["BY_NAME", "FILES", "LINE_FIELDS", "RELEASED", "ROOT", "bundle", "example", "main", "properties"]


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
    "relay": "What a queue or a socket adds on the way to the handler that writes",
    "handler": "What the handler adds under the lock that writes",
    "shipper": "What the shipper and the store add where it applies",
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
    parts = [f"```json\n{_pretty(example('formatter', 'relay', 'handler'))}```"]
    for writer, title in WRITERS.items():
        rows = [row for row in FIELDS if row.writer == writer]
        parts.append(
            f"### {title}\n\n| field | JSON | unit or format | ECS | indexed | example | meaning |\n|---|---|---|---|---|---|---|"
        )
        parts[-1] += "".join("\n" + _table_row(row) for row in rows)
    parts.append("### Marks: what `tags` says\n\n| tag | what happened |\n|---|---|")
    parts[-1] += "".join(f"\n| `{tag}` | {what} |" for tag, what in (MARKS | SHIPPER_MARKS).items())
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


def _template(store: Store, profile: Profile) -> str:
    return _pretty(bundle(store, profile))


FILES: dict[str, Callable[[], str]] = {
    "schemas/record.schema.json": lambda: _pretty(record_schema()),
    "schemas/record-ecs.schema.json": lambda: _pretty(ecs_schema()),
    **{
        f"schemas/{store}{'' if profile == 'jsonlog' else '-' + profile}.json": partial(_template, store, profile)
        for store in STORES
        for profile in PROFILES
    },
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
    parser.add_argument("--release", action="store_true", help="also write what later changes are compared with")
    options = parser.parse_args(arguments)
    if options.release:
        (ROOT / RELEASED).write_text(_pretty(contract()), encoding="utf-8")
    if options.check:
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

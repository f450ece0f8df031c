"""The index templates: one for each profile and store, all named and versioned, none touching another team's streams.

* **`jsonlog`**: our record. ECS names that differ from ours are aliases (`error.type` is `exc.type`).
* **`ecs`**: our record in names of ECS alone. The same aliases the other way round, so that a question is asked in one way.
* **`foreign`**: what other programs write, and our record with its extras at the top level. Any field becomes searchable when
  it is first seen. Both names are fields of their own, since an alias cannot be written to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.fields import FIELDS, VERSION, aliases, ecs_rows, moves
from schemas.stores import (
    BESIDE_MAPPINGS,
    DATA_STREAM,
    INDEXED,
    SETTINGS,
    dynamic_templates,
    foreign_templates,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.fields import Field, Profile
    from schemas.stores import Json, Store


@dataclass(frozen=True, slots=True)
class Place:
    """Where a profile's records go: the streams' pattern, and a priority of its own, as equal ones must not overlap."""

    pattern: str
    priority: int


PLACES: Final[dict[Profile, Place]] = {
    # Above the built-in `logs-*-*` (100) and what integrations install (200, 250).
    "jsonlog": Place("logs-*.jsonlog-*", 251),
    "ecs": Place("logs-*.jsonlog_ecs-*", 252),
    "foreign": Place("logs-*.jsonlog_foreign-*", 253),
}


def index_template(store: Store, profile: Profile = "jsonlog") -> Json:
    """Give the body of `PUT _index_template/jsonlog` (or `jsonlog-ecs`, `jsonlog-foreign`)."""
    place = PLACES[profile]
    meta: Json = {"managed_by": "jsonlog-shipper", "schema": str(VERSION)}
    return {
        "index_patterns": [place.pattern],
        "priority": place.priority,
        "data_stream": DATA_STREAM[store],
        "version": VERSION,
        "_meta": meta,
        "template": {
            "settings": {"index": SETTINGS[store]},
            "mappings": {
                "_meta": meta,
                "date_detection": True,
                "dynamic_date_formats": ["strict_date_time||strict_date_time_no_millis"],
                "numeric_detection": False,
                **(_foreign(store) if profile == "foreign" else _ours(store, profile)),
            },
            **BESIDE_MAPPINGS[store],
        },
    }


def _ours(store: Store, profile: Profile) -> Json:
    return {
        "dynamic": False,
        "dynamic_templates": dynamic_templates(store),
        "properties": properties(store, profile),
    }


def _foreign(store: Store) -> Json:
    """Take any field; on Elasticsearch flat, so that `error` as a text and `error.type` live side by side."""
    fields = leaves(FIELDS, store) | {ecs: INDEXED[_row(ours).index][store] for ecs, ours in aliases().items()}
    del fields["extra"]
    flat = store == "elasticsearch"
    return {
        "dynamic": True,
        **({"subobjects": False} if flat else {}),
        "dynamic_templates": foreign_templates(store),
        "properties": fields if flat else tree(fields),
    }


def properties(store: Store, profile: Profile = "jsonlog") -> Json:
    """Give the mapping of every field of a profile, and of the other names that lead to some of them."""
    if profile == "jsonlog":
        return tree(leaves(FIELDS, store) | _aliases(aliases()))
    indexed = {row.name for row in FIELDS if row.index != "parts"}
    chain = {
        row.name: f"{target}{row.name.removeprefix(name)}"
        for name, target in moves().items()
        if target is not None
        for row in FIELDS
        if row.name in indexed and (row.name == name or row.name.startswith(name + "."))
    }
    return tree(leaves(ecs_rows(), store) | _aliases(chain))


def leaves(rows: Iterable[Field], store: Store) -> Json:
    """Give the mapping of every row under its dotted name."""
    return {row.name: INDEXED[row.index][store] for row in rows if row.index != "parts"}


def tree(fields: Json) -> Json:
    """Turn dotted names into objects within objects."""
    whole: Json = {}
    for name, mapping in fields.items():
        *parents, last = name.split(".")
        here = whole
        for parent in parents:
            here = _properties_of(here, parent)
        here[last] = mapping
    return whole


def _aliases(pairs: dict[str, str]) -> Json:
    return {name: {"type": "alias", "path": path} for name, path in pairs.items()}


def _row(name: str) -> Field:
    return next(row for row in FIELDS if row.name == name)


def _properties_of(fields: Json, name: str) -> Json:
    node = fields.setdefault(name, {"properties": {}})
    if not isinstance(node, dict) or "properties" not in node:
        message = f"{name} is a value and an object at once"
        raise TypeError(message)
    inner: Json = node["properties"]
    return inner

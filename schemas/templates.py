"""The templates: what is sent to a store before the first record, one bundle for each profile and store.

A bundle names every request in order: component templates (`jsonlog@settings`, `jsonlog@mappings`, on Elasticsearch
`jsonlog@lifecycle`), then the index template that is composed of them. All are named and versioned, and no pattern touches
another team's streams. What an operator may choose stands in components of its own, shared by the profiles.

* **`jsonlog`**: our record. ECS names that differ from ours are aliases (`error.type` is `exc.type`).
* **`ecs`**: our record in names of ECS alone. The same aliases the other way round, so that a question is asked in one way.
* **`foreign`**: what other programs write. Any field becomes searchable when it is first seen. Both names are fields of their
  own, since an alias cannot be written to.
* **`flat`**: our record with its extras at the top level, or under another key than `extra`. It takes over the streams of
  `jsonlog`, and is installed only where it is asked for.

`ecs@mappings` is composed nowhere: its rules for `*.ip` and `*.location` would capture what stands in `extra`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.fields import FIELDS, VERSION, aliases, ecs_rows, moves
from schemas.stores import (
    DATA_STREAM,
    INDEXED,
    LIFECYCLE,
    OPTIONS,
    SETTINGS,
    dynamic_templates,
    foreign_templates,
    top_level_templates,
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
    "flat": Place("logs-*.jsonlog-*", 254),
}
_META: Final[Json] = {"managed_by": "jsonlog-shipper", "schema": str(VERSION)}


def bundle(store: Store, profile: Profile = "jsonlog") -> Json:
    """Give the bodies to PUT, in order, each under its path."""
    name = "jsonlog" if profile == "jsonlog" else f"jsonlog-{profile}"
    parts: Json = {
        "jsonlog@settings": {"settings": {"index": SETTINGS[store]}},
        f"{name}@mappings": {"mappings": _mappings(store, profile)},
        **({"jsonlog@lifecycle": {"lifecycle": LIFECYCLE[store]}} if store in LIFECYCLE else {}),
    }
    components: Json = {
        f"/_component_template/{part}": {"version": VERSION, "_meta": _META, "template": body}
        for part, body in parts.items()
    }
    place = PLACES[profile]
    index: Json = {
        "index_patterns": [place.pattern],
        "priority": place.priority,
        "data_stream": DATA_STREAM[store],
        "composed_of": list(parts),
        "version": VERSION,
        "_meta": _META,
        **({"template": OPTIONS[store]} if store in OPTIONS else {}),
    }
    return {**components, f"/_index_template/{name}": index}


def _mappings(store: Store, profile: Profile) -> Json:
    return {
        "_meta": _META,
        "date_detection": True,
        "dynamic_date_formats": ["strict_date_time||strict_date_time_no_millis"],
        "numeric_detection": False,
        **_OWN.get(profile, _ours)(store, profile),
    }


def _ours(store: Store, profile: Profile) -> Json:
    return {
        "dynamic": False,
        "dynamic_templates": dynamic_templates(store),
        "properties": properties(store, profile),
    }


def _foreign(store: Store, _: Profile) -> Json:
    """Take any field; on Elasticsearch flat, so that `error` as a text and `error.type` live side by side."""
    fields = leaves(FIELDS, store) | {ecs: INDEXED[_row(ours).index][store] for ecs, ours in aliases().items()}
    del fields["extra"]
    return _open(store, fields, foreign_templates(store))


def _flat(store: Store, _: Profile) -> Json:
    """Take any field beside those of our record; on Elasticsearch flat, as `extra` is elsewhere."""
    fields = leaves(FIELDS, store) | _aliases(aliases())
    if store == "elasticsearch":
        del fields[
            "extra"
        ]  # an object cannot be mapped where there are no objects; what stands in it is taken key by key
    return _open(store, fields, top_level_templates(store))


def _open(store: Store, fields: Json, rules: list[Json]) -> Json:
    is_flat = store == "elasticsearch"
    return {
        "dynamic": True,
        **({"subobjects": False} if is_flat else {}),
        "dynamic_templates": rules,
        "properties": fields if is_flat else tree(fields),
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


_OWN: Final = {"foreign": _foreign, "flat": _flat}


def _row(name: str) -> Field:
    return next(row for row in FIELDS if row.name == name)


def _properties_of(fields: Json, name: str) -> Json:
    node = fields.setdefault(name, {"properties": {}})
    if not isinstance(node, dict) or "properties" not in node:
        message = f"{name} is a value and an object at once"
        raise TypeError(message)
    inner: Json = node["properties"]
    return inner

"""What may change within a major version, and what breaks the records and queries that people have.

`released.json` is the contract of the last release; `python -m schemas.build --release` writes it, when a release is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from schemas import dashboards, kibana
from schemas.fields import FIELDS, VERSION, aliases, moves
from schemas.templates import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator

Contract = dict[str, Any]

# A bound may move in one direction only: -1 down, 1 up.
_LOOSER: Final = {"minimum": -1, "minLength": -1, "maximum": 1, "maxLength": 1}


def contract() -> Contract:
    """Give what others rely on: the fields, their other names, where records go, and the ids of saved objects."""
    return {
        "version": VERSION,
        "fields": {
            row.name: {"json": row.json, "index": row.index, "presence": row.presence, "form": _plain(row.form)}
            for row in FIELDS
        },
        "aliases": aliases(),
        "in ecs": moves(),
        "patterns": {profile: place.pattern for profile, place in PLACES.items()},
        "saved objects": sorted({f"{it['type']} {it['id']}" for make in (kibana, dashboards) for it in make.objects()}),
    }


def breaking_changes(old: Contract, new: Contract) -> Iterator[str]:
    """Name what somebody's stored records, written files, queries or bookmarks would no longer work with."""
    for name, was in old["fields"].items():
        if name not in new["fields"]:
            yield f"{name} is gone"
        else:
            yield from (f"{name}: {what}" for what in _field_changes(was, new["fields"][name]))
    for name in new["fields"].keys() - old["fields"].keys():
        if new["fields"][name]["presence"] != "when it applies":
            yield f"{name} is new and not optional"
    for kind in ("aliases", "in ecs", "patterns"):
        for name, target in old[kind].items():
            if name not in new[kind] or new[kind][name] != target:
                yield f"{kind}: {name} was {target}"
    yield from (f"{it} is gone" for it in old["saved objects"] if it not in new["saved objects"])
    if {**old, "version": 0} != {**new, "version": 0} and new["version"] <= old["version"]:
        yield f"the contract has changed, and VERSION is still {new['version']}"


def _field_changes(was: Contract, now: Contract) -> Iterator[str]:
    for kind in ("json", "index"):
        if was[kind] != now[kind]:
            yield f"{kind} was {was[kind]}"
    if was["presence"] != now["presence"] and "when it applies" in (was["presence"], now["presence"]):
        # Who reads may rely on what was always there; who wrote may have left out what was not.
        yield f"was there {was['presence']}"
    for rule, value in now["form"].items():
        if rule not in was["form"]:
            yield f"{rule} is new"
        elif value != was["form"][rule] and not _is_looser(rule, was["form"][rule], value):
            yield f"{rule} is stricter or other than {was['form'][rule]}"


def _is_looser(rule: str, was: Any, now: Any) -> bool:
    if rule == "enum":
        return set(was) <= set(now)
    return rule in _LOOSER and (now - was) * _LOOSER[rule] > 0


def _plain(form: Any) -> Any:
    """Turn tuples into lists, as they come back from a file."""
    if isinstance(form, dict):
        return {key: _plain(value) for key, value in form.items()}
    return [_plain(value) for value in form] if isinstance(form, tuple | list) else form

"""
What a store cannot take of a record: its words to a fault, and the mapping that it is about.

The sentences are those of Elasticsearch 7 to 9 and OpenSearch 2 and 3; real ones stand in tests/core/test_rescue.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """
    What a store cannot take of a record.

    Args:
        kind: `field`, `names` (keys that no mapping allows), `depth`, `limit` (of fields), or `whole`: it does not say.
        path: The field, for `field`.
        limit: The number, for `depth`.
    """

    kind: str
    path: str = ""
    limit: int = 0


# In the order in which they are tried on "reason: caused_by.reason". Real sentences: tests/core/test_rescue.py.
_FIELD = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"timestamp field '?\[?(@timestamp)\b",  # missing, or more than one
        r"object mapping for \[(?P<path>[^\]]+)\] tried to parse field \[[^\]]*\] as object",
        r"failed to parse field \[(?P<path>.+?)\] of type \[",
        r"Cannot write to a field alias \[(?P<path>[^\]]+)\]",
        r"dynamic introduction of \[(?P<path>.+?)\] within \[(?P<parent>.+?)\] is not allowed",
        r"immense term in field=\"(?P<path>.+?)\" ",
        r"can't merge a non[- ]object mapping \[(?P<path>.+?)\] with an",
        r"mapper \[(?P<path>.+?)\] (?:cannot be changed|of different type|has different)",
        r"[Ee]xisting mapping for \[(?P<path>.+?)\] must be of type object",
        r"[Ll]imit of mapping depth \[\d+\](?: in index \[[^\]]*\])? has been exceeded due to object field \[(?P<path>.+?)\]",
        r"Field \[(?P<path>_\w+)\] is a metadata field",
    )
)
_DEPTH = re.compile(r"depth of the field has exceeded the allowed limit of \[(\d+)\]")
_LIMIT = re.compile(r"Limit of total fields \[\d+\]")
_NAMES = re.compile(
    r"(?i)field name cannot|(?:object field|field name|name) cannot (?:contain only|be an empty)|object field starting or ending"
    r"|name cannot be empty"
)
RESCUABLE = frozenset({
    "document_parsing_exception", "mapper_parsing_exception", "illegal_argument_exception", "strict_dynamic_mapping_exception",
    "mapper_exception", "illegal_state_exception", "parse_exception", "parsing_exception", "x_content_parse_exception",
    "max_bytes_length_exceeded_exception", "dynamic_mapping_limit_exceeded_exception",
})  # fmt: skip
"""Types of error that are about what a record holds."""


def find_fault(reason: str) -> Fault:
    """
    Read out of a store's words which part of a record it cannot take.

    Args:
        reason: What it said: the reason, and that of its cause.
    """
    if _LIMIT.search(reason):
        return Fault("limit")
    for pattern in _FIELD:
        if match := pattern.search(reason):
            path = match.group(1)
            parent = match.groupdict().get("parent")
            return Fault("field", f"{parent}.{path}" if parent and parent != "_doc" else path)
    if match := _DEPTH.search(reason):
        return Fault("depth", limit=int(match.group(1)))
    return Fault("names") if _NAMES.search(reason) else Fault("whole")


@dataclass(frozen=True, slots=True)
class Mapped:
    """
    What a mapping holds.

    Args:
        fields: Dotted paths of everything that has a type of its own: whatever stands there needs no new field.
        dynamic: Dotted paths of objects (empty: the record itself) that say what becomes of unknown keys, with `true`,
            `false`, `runtime` or `strict`; those below follow the nearest one above.
    """

    fields: frozenset[str] = frozenset()
    dynamic: Mapping[str, str] = field(default_factory=dict)

    def grows_at(self, path: str) -> bool:
        """Tell whether an unknown key at *path* would become a new field."""
        while path:
            path = path.rpartition(".")[0]
            if path in self.dynamic:
                return self.dynamic[path] != "false"
        return True


def read_mapping(mapping: Mapping[str, Any]) -> Mapped:
    """Read the mapping of an index, as `GET <index>/_mapping` gives it below `mappings`."""
    fields: set[str] = set()
    dynamic: dict[str, str] = {}
    waiting: list[tuple[str, Mapping[str, Any]]] = [("", mapping)]
    while waiting:
        path, node = waiting.pop()
        if "dynamic" in node:
            dynamic[path] = str(node["dynamic"]).lower()
        for name, child in (node.get("properties") or {}).items():
            below = f"{path}.{name}" if path else name
            if "properties" in child or child.get("type") in (None, "object", "nested"):
                waiting.append((below, child))
            else:
                fields.add(below)
    return Mapped(frozenset(fields), dynamic)

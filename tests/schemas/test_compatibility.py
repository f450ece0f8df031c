"""Within a major version nothing is changed that somebody's records, files, queries or bookmarks rely on."""

import copy
import json

import pytest

from schemas.build import RELEASED, ROOT
from schemas.compatibility import breaking_changes, contract
from tests.schemas.records import GONE

NOW = contract()


def test_nothing_is_broken_since_the_last_release():
    """The table, the templates' patterns and the saved objects keep every promise of `released.json`."""
    assert list(breaking_changes(json.loads((ROOT / RELEASED).read_text()), NOW)) == []


def changed(*path_and_value):
    """The contract of a next version with one thing changed."""
    new = copy.deepcopy(NOW)
    new["version"] += 1
    *path, last, value = path_and_value
    here = new
    for name in path:
        here = here[name]
    if value is GONE:
        del here[last]
    else:
        here[last] = value
    return new


ROW = {"json": "string", "index": "keyword", "form": {}}
BREAKING = {
    "a field is gone": (("fields", "trace.id", GONE), "trace.id is gone"),
    "a JSON type": (("fields", "msecs", "json", "string"), "msecs: json was integer"),
    "an index type": (("fields", "run", "index", "text"), "run: index was keyword"),
    "optional to required": (("fields", "stack", "presence", "always"), "stack: was there when it applies"),
    "required to optional": (("fields", "message", "presence", "when it applies"), "message: was there always"),
    "a new field that is required": (("fields", "new", {**ROW, "presence": "always"}), "new is new and not optional"),
    "a new demand": (("fields", "message", "form", {"maxLength": 9}), "message: maxLength is new"),
    "a stricter bound": (("fields", "msecs", "form", "maximum", 998), "msecs: maximum is stricter or other than 999"),
    "another pattern": (("fields", "run", "form", "pattern", "x"), "run: pattern is stricter or other than"),
    "fewer values": (
        ("fields", "exc.chain.relation", "form", "enum", ["cause"]),
        "exc.chain.relation: enum is stricter",
    ),
    "an alias": (("aliases", "error.type", GONE), "aliases: error.type was exc.type"),
    "a name in profile ecs": (("in ecs", "stack", "stack"), "in ecs: stack was jsonlog.stack"),
    "a pattern of streams": (("patterns", "jsonlog", "logs-*"), "patterns: jsonlog was logs-*.jsonlog-*"),
    "an id": (("saved objects", []), "dashboard jsonlog-dashboard is gone"),
}


@pytest.mark.parametrize(("change", "complaint"), BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_named(change, complaint):
    """Each kind of change that would break somebody is found and named."""
    found = list(breaking_changes(NOW, changed(*change)))
    assert any(said.startswith(complaint) for said in found), found


def test_a_change_needs_a_new_version():
    """Even a harmless change is told by its version, since `shipper setup` must know which template is the newer."""
    new = changed("fields", "new", {**ROW, "presence": "when it applies"})
    assert list(breaking_changes(NOW, new)) == []
    new["version"] = NOW["version"]
    assert list(breaking_changes(NOW, new)) == [f"the contract has changed, and VERSION is still {NOW['version']}"]


HARMLESS = {
    "a new field": ("fields", "new", {**ROW, "presence": "when it applies"}),
    "a looser bound": ("fields", "msecs", "form", "maximum", 1000),
    "one demand less": ("fields", "run", "form", {}),
    "more values": ("fields", "exc.chain.relation", "form", "enum", ["cause", "context", "member", "note"]),
    "a new alias": ("aliases", "error.id", "exc.fingerprint"),
    "a new saved search": ("saved objects", [*NOW["saved objects"], "search x"]),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_change_is_let_through(change):
    """What may change within a major version is not complained about."""
    assert list(breaking_changes(NOW, changed(*change))) == []

import json

import pytest

from schemas import build
from schemas.fields import FIELDS, OWN, PROFILES, SAME, SHIPPER_MARKS, VERSION, aliases
from schemas.stores import INDEXED, STORES
from shipper.core import repair


def names_in(properties, prefix=""):
    """The dotted name of every field in a mapping, with the mapping."""
    for name, mapping in properties.items():
        if "properties" in mapping:
            yield from names_in(mapping["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, mapping


def names_in_schema(schema, prefix=""):
    """The dotted name of every field in the JSON Schema of an object."""
    for name, part in schema["properties"].items():
        for inner in (part, part.get("items", {})):
            if "properties" in inner:
                yield from names_in_schema(inner, f"{prefix}{name}.")
        if "description" in part:
            yield prefix + name


def committed(path):
    return json.loads((build.ROOT / path).read_text())


def mappings(store, name="jsonlog"):
    suffix = name.removeprefix("jsonlog")
    body = committed(f"schemas/{store}{suffix}.json")[f"/_component_template/{name}@mappings"]
    return body["template"]["mappings"]


def test_committed_files_are_what_the_table_says():
    """Whoever changes the table and forgets to run the build is told so, with the difference."""
    assert "\n".join(build.differences()) == ""


def test_check_names_the_file_that_differs_and_fails(tmp_path, monkeypatch, capsys):
    """`--check` exits 1 and shows which line of which file is not what the table says."""
    for path in build.FILES:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text((build.ROOT / path).read_text())
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.main(["--check"]) == 0
    changed = tmp_path / "schemas/opensearch.json"
    changed.write_text(changed.read_text().replace('"priority": 251', '"priority": 7'))
    assert build.main(["--check"]) == 1
    out = capsys.readouterr().out
    assert "--- schemas/opensearch.json (committed)" in out
    assert '-    "priority": 7' in out
    assert '+    "priority": 251' in out
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0


def test_a_page_without_its_marks_is_not_overwritten(tmp_path, monkeypatch):
    """A page that has lost the marks is left alone, and the message says which it is."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/fields.md").write_text("# By hand\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"docs/fields\.md"):
        build.FILES["docs/fields.md"]()


def test_the_marks_are_those_of_the_shipper():
    """Every mark that the shipper leaves on a line is told in the table of marks, and no other."""
    assert set(SHIPPER_MARKS) == {getattr(repair, name) for name in ("WRAPPED", "CUT", "UTF8", "TIMESTAMP", "KEYS")}


def test_every_name_stands_once_in_the_table():
    """No two rows have one name, and no name is a value in one row and an object in another."""
    names = [row.name for row in FIELDS]
    assert len(names) == len(set(names))
    containers = {row.name for row in FIELDS if row.json in ("object", "object[]")}
    for name in names:
        parents = {name[:i] for i, letter in enumerate(name) if letter == "."}
        assert not parents & (set(names) - containers)


@pytest.mark.parametrize("row", FIELDS, ids=lambda row: row.name)
def test_every_row_is_whole(row):
    """Each row says in one sentence what the field means, and how the stores index it."""
    assert row.about.endswith(".")
    assert "\n" not in row.about
    assert row.index in INDEXED
    assert row.ecs in (SAME, OWN) or row.ecs.startswith("error.")


@pytest.mark.parametrize("store", STORES)
def test_the_template_maps_the_fields_of_the_table_and_no_others(store):
    """Every field in the table is mapped in the committed template, and every mapped field is in the table."""
    mapped = dict(names_in(mappings(store)["properties"]))
    assert set(mapped) == {row.name for row in FIELDS if row.index != "parts"} | set(aliases())
    assert {name for name, mapping in mapped.items() if mapping["type"] == "alias"} == {
        "error.type",
        "error.message",
        "error.stack_trace",
    }


@pytest.mark.parametrize("store", STORES)
def test_the_template_can_take_over_no_other_stream(store):
    """The template matches our own streams alone, ranks above the built-in one, and leaves unknown fields unmapped."""
    template = committed(f"schemas/{store}.json")["/_index_template/jsonlog"]
    assert template["index_patterns"] == ["logs-*.jsonlog-*"]
    assert template["priority"] == 251
    assert mappings(store)["dynamic"] is False


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_bundle_is_whole_and_in_order(store, profile):
    """A template is composed of the components before it and of no others, and each of them says its version."""
    parts = committed(f"schemas/{store}{'' if profile == 'jsonlog' else '-' + profile}.json")
    *components, index = parts
    assert index.startswith("/_index_template/jsonlog")
    assert [f"/_component_template/{name}" for name in parts[index]["composed_of"]] == components
    assert {body["version"] for body in parts.values()} == {VERSION}
    assert "pipeline" not in json.dumps(parts)  # and so no `logs@default-pipeline`


SHIPPED = [row.name for row in FIELDS if row.writer == "shipper"]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_shipper_adds_is_mapped_in_every_profile(store, profile):
    """What was rescued, wrapped or marked is searchable wherever the record goes, as text or keyword, never as an object."""
    name = "jsonlog" if profile == "jsonlog" else f"jsonlog-{profile}"
    mapped = dict(names_in(mappings(store, name)["properties"]))
    assert set(SHIPPED) <= set(mapped)
    text = INDEXED["text"][store]["type"]
    kinds = {field: mapped[field]["type"] for field in SHIPPED if field.startswith(("shipper.", "event.", "log."))}
    assert kinds == {
        "event.kind": "keyword",
        "event.ingested": "date",
        "event.original": text,
        "log.file.path": "keyword",
        "log.offset": "long",
        "shipper.rescued.json": text,
        "shipper.rescued.field": "keyword",
        "shipper.rescued.reason": text,
    }


def test_the_schema_has_the_fields_of_the_lines_and_no_others():
    """The JSON Schema describes every field that stands in our files, and none that only the shipper adds."""
    record = committed("schemas/record.schema.json")["$defs"]["record"]
    assert set(names_in_schema(record)) == {row.name for row in FIELDS if row.writer != "shipper"}


def test_no_type_is_used_that_some_distribution_lacks():
    """The templates use no type beyond those that were tried on every build that is supported."""
    common = {"alias", "date", "integer", "keyword", "long", "object", "short"}
    types = {store: {mapping["type"] for _, mapping in names_in(build.properties(store))} for store in STORES}
    assert types == {
        "elasticsearch": common | {"match_only_text", "flattened"},
        "opensearch": common | {"text", "flat_object"},
    }

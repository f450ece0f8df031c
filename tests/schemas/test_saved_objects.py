"""What Kibana and OpenSearch Dashboards import: whole in itself, of the shape that they know, and asking what it should.

Neither product runs here. So the shapes are compared with what their own exports look like, and every query that a saved search
or a panel sends is run on the real stores.
"""

import json
from itertools import product

import pytest

from schemas import views
from schemas.build import BY_NAME
from schemas.fields import aliases
from schemas.stores import STORES
from tests.schemas import golden, saved
from tests.schemas.kql import to_query
from tests.schemas.records import GONE, MINIMAL, changed
from tests.schemas.streams import Stream

STAMPED = {
    "elasticsearch": {"coreMigrationVersion", "typeMigrationVersion", "managed"},
    "opensearch": {"migrationVersion"},
}

products = pytest.mark.parametrize("store_name", STORES)


def unpacked(value):
    """The attributes with what stands in them as JSON in a string."""
    if isinstance(value, dict):
        return {key: unpacked(one) for key, one in value.items()}
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


@products
def test_objects_have_the_shape_of_the_product(store_name):
    """Each object has the keys, and kinds of values, that the products' own sample data and integrations have, and no others."""
    for it in saved.load(store_name):
        assert set(it) == {"type", "id", "attributes", "references"} | STAMPED[store_name]
        assert golden.differences(it["references"], golden.REFERENCES) == []
        attributes = unpacked(it["attributes"])
        is_lens = it["type"] == "lens"
        shape = golden.lens(attributes["visualizationType"]) if is_lens else golden.ATTRIBUTES[store_name][it["type"]]
        assert golden.differences(attributes, shape, it["id"]) == []


def test_a_shape_that_is_wrong_is_found():
    """The comparison sees a key that is missing, one too many, one of another kind, and a column of another operation."""
    it = next(it for it in saved.load("elasticsearch") if it["type"] == "lens")
    columns = it["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]["records"]["columns"]
    columns["by-0"]["operationType"] = "terms"
    columns["metric-0"]["label"] = 7
    columns["metric-0"]["mine"] = 1
    del it["attributes"]["title"]
    found = golden.differences(it["attributes"], golden.lens("lnsXY"))
    assert any("by-0(terms).params.size: is missing" in one for one in found)
    assert any("label: int, not str" in one for one in found)
    assert any("mine: is not known" in one for one in found)
    assert ".title: is missing" in found


def test_lens_panels_draw_their_columns():
    """The pictures name only columns that there are, and all of them."""
    for it in saved.of_type(saved.load("elasticsearch"), "lens"):
        state = it["attributes"]["state"]
        ((name, layer),) = state["datasourceStates"]["formBased"]["layers"].items()
        assert list(layer["columns"]) == layer["columnOrder"]
        assert saved.reference(it, f"indexpattern-datasource-layer-{name}")["id"] == views.DATA_VIEW
        picture = state["visualization"]
        (drawn,) = picture.get("layers", [picture])
        shown = [column["columnId"] for column in picture.get("columns", ())]
        shown += [drawn[key] for key in ("xAccessor", "splitAccessor") if key in drawn] + drawn.get("accessors", [])
        assert drawn["layerId"] == name
        assert sorted(shown) == sorted(layer["columns"])


def test_visualizations_draw_their_aggregations():
    """The aggregations of a legacy visualization are numbered and have their parts in the picture."""
    for it in saved.of_type(saved.load("opensearch"), "visualization"):
        state = json.loads(it["attributes"]["visState"])
        assert [agg["id"] for agg in state["aggs"]] == [str(n) for n in range(1, len(state["aggs"]) + 1)]
        parts = {agg["schema"] for agg in state["aggs"]}
        assert parts <= ({"metric", "bucket"} if state["type"] == "table" else {"metric", "segment", "group"})
        if state["type"] != "table":
            assert {series["data"]["id"] for series in state["params"]["seriesParams"]} == {"1"}
            assert {series["valueAxis"] for series in state["params"]["seriesParams"]} == {"ValueAxis-1"}


def test_the_stamps_are_known_to_the_oldest_kibana():
    """No object is stamped with a version after 8.19, and none before Lens had its data sources named as here (8.6)."""
    for it in saved.load("elasticsearch"):
        stamps = [tuple(map(int, it[key].split("."))) for key in ("coreMigrationVersion", "typeMigrationVersion")]
        assert max(stamps) <= (8, 19, 0)
        assert it["type"] != "lens" or stamps[1] >= (8, 6, 0)


@products
def test_every_reference_leads_to_an_object_before_it(store_name):
    """An import in the order of the file finds whatever an object refers to, and nothing is referred to beside `references`."""
    seen = set()
    for it in saved.load(store_name):
        assert all((one["type"], one["id"]) in seen for one in it["references"])
        for place in ("indexRefName", "index"):
            if "kibanaSavedObjectMeta" in it["attributes"] and place in saved.source(it):
                assert saved.reference(it, saved.source(it)[place])["type"] == "index-pattern"
        seen.add((it["type"], it["id"]))


@products
def test_the_dashboard_shows_every_panel_and_the_records(store_name):
    """Each panel of the dashboard finds its object, none overlaps another or leaves the grid, and the records stand below."""
    objects = saved.load(store_name)
    (board,) = saved.of_type(objects, "dashboard")
    taken = set()
    shown = []
    for panel in json.loads(board["attributes"]["panelsJSON"]):
        name = panel["panelRefName"]
        shown.append(saved.reference(board, f"{panel['panelIndex']}:{name}" if store_name == STORES[0] else name)["id"])
        x, y, w, h = (panel["gridData"][key] for key in "xywh")
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert not cells & taken
        assert all(column < 48 for column, _ in cells)
        taken |= cells
    assert shown == [panel.id for panel in views.PANELS] + [views.RECORDS.id]


def test_ids_stay_as_they_are():
    """Somebody's bookmarks and drill-downs hang on these ids: an import of a later version replaces these very objects."""
    names = {(it["type"] in ("lens", "visualization"), it["id"]) for kind in STORES for it in saved.load(kind)}
    assert {id_ for is_panel, id_ in names if not is_panel} == {
        "jsonlog",
        "jsonlog-dashboard",
        "jsonlog-search-records",
        "jsonlog-search-errors",
        "jsonlog-search-request",
        "jsonlog-search-run",
        "jsonlog-search-marks",
    }
    assert {id_ for is_panel, id_ in names if is_panel} == {
        "jsonlog-panel-levels",
        "jsonlog-panel-error-rate",
        "jsonlog-panel-exceptions",
        "jsonlog-panel-loggers",
        "jsonlog-panel-services",
        "jsonlog-panel-lag",
        "jsonlog-panel-marks",
    }


def test_only_fields_of_the_table_are_used():
    """No search or panel names a field that no record has."""
    fields = {bucket.field for panel in views.PANELS for bucket in panel.by}
    fields |= {metric.field for panel in views.PANELS for metric in panel.metrics}
    fields |= {name for search in views.SEARCHES for name in (*search.columns, *dict(search.sort))}
    assert fields - {""} <= {*BY_NAME, *aliases()}


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", {"match_all": {}}),
        ("a: b", {"match": {"a": "b"}}),
        ("a: b c", {"match": {"a": "b c"}}),
        ('a: "b c"', {"match_phrase": {"a": "b c"}}),
        ("a: *", {"exists": {"field": "a"}}),
        ("a: b.*", {"query_string": {"query": "b\\.*", "fields": ["a"]}}),
        ("a: b-c*", {"query_string": {"query": "b\\-c*", "fields": ["a"]}}),
        ("a >= 3", {"range": {"a": {"gte": "3"}}}),
        ("not a: b", {"bool": {"must_not": {"match": {"a": "b"}}}}),
        ("a: (b or c)", to_query("a: b or a: c")),
        ("a: b and (c: d or e: f)", to_query("(e: f or c: d)")["bool"] and to_query("a: b and (c: d or e: f)")),
        ("b", {"multi_match": {"type": "best_fields", "query": "b", "lenient": True}}),
    ],
)
def test_kql_is_read_as_the_products_read_it(text, query):
    """The test's own reader of KQL gives what `@kbn/es-query` gives."""
    assert to_query(text) == query


def test_kql_of_a_keyword_is_read_as_a_newer_kibana_reads_it():
    """A field that is a keyword everywhere is asked for by `term` and `wildcard`, and others as before."""
    assert to_query('a: b and c: "d e"', {"a", "c"}) == {
        "bool": {"filter": [{"term": {"a": {"value": "b"}}}, {"term": {"c": {"value": "d e"}}}]},
    }
    assert to_query("a: b-1*", {"a"}) == {"wildcard": {"a": {"value": "b\\-\\1*"}}}
    assert to_query("a: b", {"c"}) == {"match": {"a": "b"}}


def test_kql_of_numbers_is_read_as_dashboards_reads_it():
    """Numbers without quotes are numbers to OpenSearch Dashboards, however large; what begins with a zero is none."""
    for text, value in (
        ("a: 17", 17),
        ("a: 9007199254741201", 9007199254741201),
        ("a: 0012", "0012"),
        ('a: "17"', "17"),
    ):
        (asked,) = to_query(text, store="opensearch").values()
        assert asked == {"a": value}
    assert to_query("a > 1.5", store="opensearch") == {"range": {"a": {"gt": 1.5}}}
    assert to_query("a > 1.5 and b: true") == {
        "bool": {"filter": [{"range": {"a": {"gt": "1.5"}}}, {"match": {"b": True}}]}
    }


# --- on the real stores ----------------------------------------------------------------------------------------------


def record(minute, level, service, host, *changes):
    return changed(
        MINIMAL,
        ("@timestamp", f"2026-11-22T05:{minute:02}:00.220Z"),
        ("log.level", level),
        ("log.logger", f"{service}.main"),
        ("service.name", service),
        ("host.name", host),
        ("run", f"{service}{host}".ljust(16, "0")),
        *changes,
    )


def failure(type_, fingerprint):
    return ("exc", {"type": type_, "traceback": "Traceback", **({"fingerprint": fingerprint} if fingerprint else {})})


TRACE = ("trace.id", "4bf92f3577b34da6a3ce929d0e0e4736")
RECORDS = {
    "1": record(1, "INFO", "shop", "h1", ("event.sequence", 0)),
    "2": record(1, "INFO", "shop", "h1", ("event.sequence", 1), TRACE),
    "3": record(1, "ERROR", "shop", "h1", ("event.sequence", 2), TRACE, failure("CardError", "1:aa")),
    "4": record(2, "CRITICAL", "shop", "h2", failure("CardError", "1:aa")),
    "5": record(2, "error", "bank", "h2", failure("KeyError", None), ("tags", ["jsonlog.cut"])),
    "6": record(3, "INFO", "bank", "h2", ("event.sequence", 1), ("msecs", 70_000)),
    "7": record(3, "WARNING", "bank", "h2", ("event.sequence", 2), ("shipper.rescued.field", "extra.a")),
    "8": record(
        0, "INFO", "shop", "h1", ("run", GONE), ("event", {"kind": "pipeline_error"}), ("tags", ["shipper.wrapped"])
    ),
}
FOUND = {
    "jsonlog-search-records": {*"12345678"},
    "jsonlog-search-errors": {*"345"},
    "jsonlog-search-request": ["2", "3"],
    "jsonlog-search-run": ["1", "2", "3", "5", "4", "6", "7"],
    "jsonlog-search-marks": {*"5678"},
}


def at(minute):
    return f"2026-11-22T05:{minute:02}:00.{{}}Z"


ZERO, ONE, TWO, THREE = (at(minute).format("000") for minute in range(4))
LAST = {minute: at(minute).format("220") for minute in (1, 2, 3)}
SHOWN = {
    "jsonlog-panel-levels": {
        (ZERO, "info", 1),
        (ONE, "info", 2),
        (ONE, "error", 1),
        (TWO, "critical", 1),
        (TWO, "error", 1),
        (THREE, "info", 1),
        (THREE, "warning", 1),
    },
    "jsonlog-panel-error-rate": {
        (ZERO, "others", 1),
        (ONE, "errors", 1),
        (ONE, "others", 2),
        (TWO, "errors", 2),
        (THREE, "others", 2),
    },
    "jsonlog-panel-exceptions": {
        ("1:aa", "CardError", "shop", 2, LAST[2]),
        (saved.MISSING, "KeyError", "bank", 1, LAST[2]),
    },
    "jsonlog-panel-loggers": {("shop.main", 5), ("bank.main", 3)},
    "jsonlog-panel-services": {("shop", "h1", 4, 1), ("shop", "h2", 1, 1), ("bank", "h2", 3, 1)},
    # the oldest first
    "jsonlog-panel-lag": [("h1", "shop", 4, LAST[1]), ("h2", "shop", 1, LAST[2]), ("h2", "bank", 3, LAST[3])],
    "jsonlog-panel-marks": {("by the formatter", 1), ("by the shipper", 2), ("not wholly searchable", 1)},
}


@pytest.fixture
def stream(store, unique_service):
    with Stream(store, unique_service) as it:
        assert {status for status, _ in it.create(RECORDS).values()} == {201}
        yield it


@pytest.mark.server
def test_every_saved_search_finds_its_records(store, stream):
    """Each saved search, sent as Discover sends it, finds exactly the records that it is about, in its order."""
    searches = saved.of_type(saved.load(store.kind), "search")
    assert {it["id"] for it in searches} == set(FOUND)
    for it, keywords in product(searches, saved.keyword_sets(store.kind)):
        found = [hit["_id"] for hit in stream.search(saved.search_body(it, store.kind, keywords))["hits"]["hits"]]
        wanted = FOUND[it["id"]]
        assert (found if isinstance(wanted, list) else set(found)) == wanted, it["id"]


@pytest.mark.server
def test_every_panel_counts_rightly(store, stream):
    """Each panel, with the aggregations that it sends, shows the counts that the known records have."""
    panels = saved.of_type(saved.load(store.kind), "lens", "visualization")
    assert {it["id"] for it in panels} == set(SHOWN)
    for it, keywords in product(panels, saved.keyword_sets(store.kind)):
        shown = saved.rows(stream.search(saved.panel_body(it, "1m", keywords)))
        wanted = SHOWN[it["id"]]
        assert (shown if isinstance(wanted, list) else set(shown)) == wanted, it["id"]

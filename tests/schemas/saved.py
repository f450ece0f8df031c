"""Reads saved objects as the products do, and gives the searches that their panels and saved searches send."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from schemas.build import ROOT
from schemas.fields import FIELDS, aliases
from tests.schemas.kql import to_query

Body = dict[str, Any]
Ask = Callable[[str], Body]
FILES = {"elasticsearch": "schemas/kibana.ndjson", "opensearch": "schemas/opensearch-dashboards.ndjson"}
INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
MISSING = "__missing__"


def load(store: str) -> list[Body]:
    """The objects that go with a store's product."""
    return [json.loads(line) for line in (ROOT / FILES[store]).read_text().splitlines()]


def of_type(objects: list[Body], *types: str) -> list[Body]:
    return [it for it in objects if it["type"] in types]


def reference(it: Body, name: str) -> Body:
    """What an object refers to under a name."""
    (found,) = [one for one in it["references"] if one["name"] == name]
    return found


def source(it: Body) -> Body:
    """The search source that stands as text in an object."""
    return json.loads(it["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])


def discover(query: Body, sort: list[list[str]], *, store: str, size: int = 500) -> Body:
    """What Discover sends: Kibana asks for every field by `fields`, Dashboards for the source and the dates in it."""
    unmapped = {"@timestamp": "date"}
    body = {
        "track_total_hits": True,
        "size": size,
        "version": True,
        "query": {"bool": {"must": [], "filter": [query], "should": [], "must_not": []}},
        "sort": [{field: {"order": order, "unmapped_type": unmapped.get(field, "boolean")}} for field, order in sort],
        "highlight": {
            "pre_tags": ["@kibana-highlighted-field@"],
            "post_tags": ["@/kibana-highlighted-field@"],
            "fields": {"*": {}},
            "fragment_size": 2147483647,
        },
    }
    if store == "elasticsearch":
        return {
            **body,
            "fields": [{"field": "*", "include_unmapped": True}],
            "stored_fields": ["*"],
            "runtime_mappings": {},
            "_source": False,
        }
    dates = [{"field": "@timestamp", "format": "date_time"}]
    return {**body, "stored_fields": ["*"], "docvalue_fields": dates, "_source": {"excludes": []}}


def keyword_sets(store: str) -> list[set[str]]:
    """The fields that a product asks for as keywords: none in any but the newer Kibanas, there those that are."""
    rows = {row.name for row in FIELDS if row.index in ("keyword", "level")}
    return [set(), rows | {ecs for ecs, ours in aliases().items() if ours in rows}][
        : 2 if store == "elasticsearch" else 1
    ]


def search_body(it: Body, store: str, keywords: set[str]) -> Body:
    """What Discover sends for a saved search."""
    query = to_query(source(it)["query"]["query"], keywords, store=store)
    return discover(query, it["attributes"]["sort"], store=store)


def panel_body(it: Body, interval: str, keywords: set[str]) -> Body:
    """What a panel sends; *interval* is what `auto` comes to for the time that is looked at."""
    ask = partial(to_query, keywords=keywords, store="elasticsearch" if it["type"] == "lens" else "opensearch")
    query, buckets, metrics = (_lens if it["type"] == "lens" else _visualization)(it, ask)
    counted = {name: agg for name, agg in metrics.items() if agg is not None}
    aggs = counted
    for name, agg in reversed(buckets):
        timed = json.loads(json.dumps(agg).replace('"auto"', json.dumps(interval)))
        aggs = counted | {name: {**timed, **({"aggs": aggs} if aggs else {})}}  # the order of any level may need them
    return {"size": 0, "track_total_hits": True, "query": ask(query), "aggs": aggs}


def _lens(it: Body, ask: Ask) -> tuple[str, list[tuple[str, Body]], Body]:
    state = it["attributes"]["state"]
    (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
    buckets, metrics = [], {}
    for name in layer["columnOrder"]:
        column = layer["columns"][name]
        operation, params, field = column["operationType"], column["params"], column.get("sourceField")
        if operation == "count":
            metrics[name] = None
        elif operation == "unique_count":
            metrics[name] = {"cardinality": {"field": field}}
        elif operation == "max":
            metrics[name] = {"max": {"field": field}}
        elif operation == "date_histogram":
            buckets.append((name, {"date_histogram": {"field": field, "fixed_interval": params["interval"]}}))
        elif operation == "filters":
            queries = {one["label"]: ask(one["input"]["query"]) for one in params["filters"]}
            buckets.append((name, {"filters": {"filters": queries}}))
        else:
            assert (operation, params["orderBy"]) == ("terms", {"type": "column", "columnId": "metric-0"})
            by = "_count" if layer["columns"]["metric-0"]["operationType"] == "count" else "metric-0"
            terms = _terms(field, params["size"], params["missingBucket"])
            buckets.append((name, {"terms": {**terms, "order": {by: params["orderDirection"]}}}))
    return state["query"]["query"], buckets, metrics


def _visualization(it: Body, ask: Ask) -> tuple[str, list[tuple[str, Body]], Body]:
    buckets, metrics = [], {}
    aggs = json.loads(it["attributes"]["visState"])["aggs"]
    for agg in aggs:
        name, kind, params = agg["id"], agg["type"], agg["params"]
        field = params.get("field")
        if kind == "count":
            metrics[name] = None
        elif agg["schema"] == "metric":
            metrics[name] = {kind: {"field": field}}
        elif kind == "date_histogram":
            buckets.append((name, {kind: {"field": field, "fixed_interval": params["interval"]}}))
        elif kind == "filters":
            queries = {one["label"]: ask(one["input"]["query"]) for one in params["filters"]}
            buckets.append((name, {kind: {"filters": queries}}))
        else:
            assert (kind, params["orderBy"]) == ("terms", "1")
            by = "_count" if aggs[0]["type"] == "count" else "1"
            terms = _terms(field, params["size"], params["missingBucket"])
            buckets.append((name, {"terms": {**terms, "order": {by: params["order"]}}}))
    return source(it)["query"]["query"], buckets, metrics


def _terms(field: str, size: int, missing: bool) -> Body:
    return {"field": field, "size": size, **({"missing": MISSING} if missing else {})}


def rows(answer: Body) -> list[tuple[Any, ...]]:
    """The rows that a panel shows: the key of each bucket, then the count and the other metrics."""
    return list(_rows(answer["aggregations"]))


def _rows(aggs: Body) -> Any:
    ((_, agg),) = [(name, agg) for name, agg in aggs.items() if isinstance(agg, dict) and "buckets" in agg]
    buckets = agg["buckets"]
    pairs = buckets.items() if isinstance(buckets, dict) else [(b.get("key_as_string", b["key"]), b) for b in buckets]
    for key, bucket in pairs:
        inner = {name: value for name, value in bucket.items() if isinstance(value, dict)}
        if any("buckets" in value for value in inner.values()):
            yield from ((key, *rest) for rest in _rows(inner))
        else:
            values = [value.get("value_as_string", value.get("value")) for _, value in sorted(inner.items())]
            if bucket["doc_count"]:
                yield (key, bucket["doc_count"], *values)

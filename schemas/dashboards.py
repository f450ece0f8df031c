"""What OpenSearch Dashboards imports: an index pattern, saved searches, visualizations and a dashboard, as NDJSON.

OpenSearch Dashboards left Kibana at 7.10 and has no Lens: a panel is a `visualization` whose whole state is JSON in a string.
The shapes are those of what OpenSearch's own integrations were exported with.
The stamps are the last ones of that version, which every release since knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas import views
from schemas.kibana import INDEX, compact, grid, kql, of_dashboard, of_search, reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.stores import Json
    from schemas.views import Bucket, Metric, Panel, Search

STAMPS: Final = {"index-pattern": "7.6.0", "search": "7.9.3", "visualization": "7.10.0", "dashboard": "7.9.3"}
PANEL_VERSION: Final = "7.10.2"
CHARTS: Final = {"bars": "histogram", "shares": "histogram", "ranks": "horizontal_bar", "table": "table"}
METRICS: Final = {"count": "count", "unique": "cardinality", "newest": "max"}
FIRST_METRIC: Final = "1"


def objects() -> Iterator[Json]:
    """Give every object; one that is referred to comes before the one that refers to it."""
    yield _index_pattern()
    yield from map(_search, views.SEARCHES)
    yield from map(_visualization, views.PANELS)
    yield _dashboard()


def _object(type_: str, id_: str, attributes: Json, references: list[Json]) -> Json:
    return {
        "type": type_,
        "id": id_,
        "attributes": attributes,
        "references": references,
        "migrationVersion": {type_: STAMPS[type_]},
    }


def _source(text: str, **more: object) -> Json:
    return {"searchSourceJSON": compact({"query": kql(text), "filter": [], "indexRefName": INDEX, **more})}


def _index_pattern() -> Json:
    # Without a list of fields, Dashboards asks the store for them when the pattern is first used.
    attributes: Json = {"title": views.DATA_VIEW_TITLE, "timeFieldName": views.TIME_FIELD, "fields": "[]"}
    return _object("index-pattern", views.DATA_VIEW, attributes, [])


def _search(search: Search) -> Json:
    attributes: Json = {
        **of_search(search),
        "hits": 0,
        "version": 1,
        "kibanaSavedObjectMeta": _source(search.kql, highlightAll=True, version=True),
    }
    return _object("search", search.id, attributes, [reference("index-pattern", views.DATA_VIEW, INDEX)])


# --- visualizations --------------------------------------------------------------------------------------------------


def _visualization(panel: Panel) -> Json:
    metrics = [_metric(str(number), metric) for number, metric in enumerate(panel.metrics, int(FIRST_METRIC))]
    first = len(metrics) + 1
    schemas = _schemas(panel)
    buckets = [
        _bucket(str(first + number), schema, bucket)
        for number, (schema, bucket) in enumerate(zip(schemas, panel.by, strict=True))
    ]
    state: Json = {
        "title": panel.title,
        "type": CHARTS[panel.chart],
        "params": _table() if panel.chart == "table" else _chart(panel),
        "aggs": [*metrics, *buckets],
    }
    attributes: Json = {
        "title": panel.title,
        "description": panel.about,
        "visState": compact(state),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": _source(panel.kql),
    }
    return _object("visualization", panel.id, attributes, [reference("index-pattern", views.DATA_VIEW, INDEX)])


def _schemas(panel: Panel) -> list[str]:
    """Say what each bucket is in the picture: a row of the table, the axis, or the colours on it."""
    if panel.chart == "table":
        return ["bucket"] * len(panel.by)
    return ["segment", *["group"] * (len(panel.by) - 1)]


def _metric(id_: str, metric: Metric) -> Json:
    params: Json = {**({"field": metric.field} if metric.field else {}), "customLabel": metric.label}
    return {"id": id_, "enabled": True, "type": METRICS[metric.kind], "schema": "metric", "params": params}


def _bucket(id_: str, schema: str, bucket: Bucket) -> Json:
    if bucket.kind == "time":
        type_: str = "date_histogram"
        params: Json = {
            "field": bucket.field,
            "interval": "auto",
            "min_doc_count": 1,
            "drop_partials": False,
            "useNormalizedEsInterval": True,
            "extended_bounds": {},
            "customLabel": bucket.label,
        }
    elif bucket.kind == "queries":
        type_ = "filters"
        params = {"filters": [{"input": kql(text), "label": label} for label, text in bucket.queries]}
    else:
        type_ = "terms"
        params = {
            "field": bucket.field,
            "size": bucket.size,
            "order": bucket.order,
            "orderBy": FIRST_METRIC,
            "otherBucket": False,
            "otherBucketLabel": "Other",
            "missingBucket": bucket.missing,
            "missingBucketLabel": "(none)",
            "customLabel": bucket.label,
        }
    return {"id": id_, "enabled": True, "type": type_, "schema": schema, "params": params}


def _table() -> Json:
    return {
        "perPage": 10,
        "percentageCol": "",
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "sort": {"columnIndex": None, "direction": None},
    }


def _chart(panel: Panel) -> Json:
    is_lying = panel.chart == "ranks"
    across, up = ("left", "bottom") if is_lying else ("bottom", "left")
    turned: Json = {"rotate": 0} if is_lying else {}
    label = panel.metrics[0].label
    return {
        "type": CHARTS[panel.chart],
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": across,
                "show": True,
                "style": {},
                "scale": {"type": "linear"},
                "labels": {"show": True, "filter": True, "truncate": 100, **turned},
                "title": {},
            },
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": f"{up.capitalize()}Axis-1",
                "type": "value",
                "position": up,
                "show": True,
                "style": {},
                "scale": {"type": "linear", "mode": "percentage" if panel.chart == "shares" else "normal"},
                "labels": {"show": True, "rotate": 0, "filter": False, "truncate": 100},
                "title": {"text": label},
            },
        ],
        "seriesParams": [
            {
                "show": True,
                "type": "histogram",
                "mode": "stacked",
                "data": {"label": label, "id": FIRST_METRIC},
                "valueAxis": "ValueAxis-1",
                "drawLinesBetweenPoints": True,
                "lineWidth": 2,
                "showCircles": True,
            },
        ],
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    }


# --- the dashboard ---------------------------------------------------------------------------------------------------


def _dashboard() -> Json:
    placed = [("visualization", panel.id, panel.place) for panel in views.PANELS]
    placed.append(("search", views.RECORDS.id, views.RECORDS_PLACE))
    panels: list[Json] = [
        {
            "version": PANEL_VERSION,
            "panelIndex": id_,
            "gridData": grid(id_, place),
            "embeddableConfig": {},
            "panelRefName": f"panel_{number}",
        }
        for number, (_, id_, place) in enumerate(placed)
    ]
    attributes = {**of_dashboard(panels, {"useMargins": True, "hidePanelTitles": False}), "hits": 0}
    references = [reference(type_, id_, f"panel_{number}") for number, (type_, id_, _) in enumerate(placed)]
    return _object("dashboard", views.DASHBOARD, attributes, references)

"""What Kibana imports: a data view, saved searches, Lens panels and a dashboard, as NDJSON.

The shapes are those that Kibana's own sample data and Elastic's integrations have. The stamps say which version an object
was written for; Kibana brings older ones up to date when it imports them and refuses newer ones, so they are the lowest
that know Lens as it is written here (its data sources were renamed in 8.6). Objects refer to each other by `references` alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from schemas import views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.stores import Json
    from schemas.views import Bucket, Metric, Panel, Search

CORE: Final = "8.8.0"
STAMPS: Final = {"index-pattern": "8.0.0", "search": "8.0.0", "lens": "8.9.0", "dashboard": "8.9.0"}
LAYER: Final = "records"
INDEX: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"
CHARTS: Final = {"bars": "bar_stacked", "shares": "bar_percentage_stacked", "ranks": "bar_horizontal"}
METRICS: Final = {"count": ("count", "number"), "unique": ("unique_count", "number"), "newest": ("max", "date")}
BUCKETS: Final = {
    "time": ("date_histogram", "date", "interval"),
    "values": ("terms", "string", "ordinal"),
    "queries": ("filters", "string", "ordinal"),
}


def objects() -> Iterator[Json]:
    """Give every object; one that is referred to comes before the one that refers to it."""
    yield _data_view()
    yield from map(_search, views.SEARCHES)
    yield from map(_lens, views.PANELS)
    yield _dashboard()


def compact(value: object) -> str:
    """Write JSON that stands as text inside of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reference(type_: str, id_: str, name: str) -> Json:
    """Point at another object."""
    return {"type": type_, "id": id_, "name": name}


def kql(text: str) -> Json:
    """Give a query as both products keep it."""
    return {"query": text, "language": "kuery"}


def of_search(search: Search) -> Json:
    """Give what both products keep of a saved search."""
    return {
        "title": search.title,
        "description": search.about,
        "columns": list(search.columns),
        "sort": [list(pair) for pair in search.sort],
    }


def of_dashboard(panels: list[Json], options: Json) -> Json:
    """Give what both products keep of the dashboard."""
    return {
        "title": views.DASHBOARD_TITLE,
        "description": views.DASHBOARD_ABOUT,
        "panelsJSON": compact(panels),
        "optionsJSON": compact(options),
        "timeRestore": True,
        "timeFrom": views.TIME_FROM,
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60_000},
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": compact({"query": kql(""), "filter": []})},
    }


def _object(type_: str, id_: str, attributes: Json, references: list[Json]) -> Json:
    return {
        "type": type_,
        "id": id_,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": CORE,
        "typeMigrationVersion": STAMPS[type_],
        "managed": False,
    }


def _data_view() -> Json:
    attributes: Json = {
        "title": views.DATA_VIEW_TITLE,
        "name": "jsonlog",
        "timeFieldName": views.TIME_FIELD,
        "fields": "[]",
        "fieldFormatMap": "{}",
        "fieldAttrs": "{}",
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
        "typeMeta": "{}",
    }
    return _object("index-pattern", views.DATA_VIEW, attributes, [])


def _search(search: Search) -> Json:
    attributes: Json = {
        **of_search(search),
        "grid": {},
        "hideChart": False,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": compact({"query": kql(search.kql), "filter": [], "indexRefName": INDEX})
        },
    }
    return _object("search", search.id, attributes, [reference("index-pattern", views.DATA_VIEW, INDEX)])


# --- Lens ------------------------------------------------------------------------------------------------------------


def _lens(panel: Panel) -> Json:
    buckets = {f"by-{number}": _bucket(bucket) for number, bucket in enumerate(panel.by)}
    metrics = {f"metric-{number}": _metric(metric) for number, metric in enumerate(panel.metrics)}
    layer: Json = {
        "columnOrder": [*buckets, *metrics],
        "columns": {**buckets, **metrics},
        "ignoreGlobalFilters": False,
        "incompleteColumns": {},
        "sampling": 1,
    }
    is_table = panel.chart == "table"
    attributes: Json = {
        "title": panel.title,
        "description": panel.about,
        "visualizationType": "lnsDatatable" if is_table else "lnsXY",
        "state": {
            "datasourceStates": {
                "formBased": {"layers": {LAYER: layer}},
                "indexpattern": {"layers": {}},
                "textBased": {"layers": {}},
            },
            "visualization": _table([*buckets], [*metrics]) if is_table else _chart(panel, [*buckets], [*metrics]),
            "query": kql(panel.kql),
            "filters": [],
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }
    data_view = reference("index-pattern", views.DATA_VIEW, f"indexpattern-datasource-layer-{LAYER}")
    return _object("lens", panel.id, attributes, [data_view])


def _bucket(bucket: Bucket) -> Json:
    operation, type_, scale = BUCKETS[bucket.kind]
    return {
        "label": bucket.label,
        "customLabel": True,
        "dataType": type_,
        "isBucketed": True,
        "operationType": operation,
        "scale": scale,
        **({"sourceField": bucket.field} if bucket.field else {}),
        "params": _bucket_params(bucket),
    }


def _bucket_params(bucket: Bucket) -> Json:
    if bucket.kind == "time":
        return {"interval": "auto", "includeEmptyRows": True, "dropPartials": False}
    if bucket.kind == "queries":
        return {"filters": [{"label": label, "input": kql(text)} for label, text in bucket.queries]}
    return {
        "size": bucket.size,
        "orderBy": {"type": "column", "columnId": "metric-0"},
        "orderDirection": bucket.order,
        "otherBucket": False,
        "missingBucket": bucket.missing,
        "parentFormat": {"id": "terms"},
        "include": [],
        "exclude": [],
        "includeIsRegex": False,
        "excludeIsRegex": False,
    }


def _metric(metric: Metric) -> Json:
    operation, type_ = METRICS[metric.kind]
    return {
        "label": metric.label,
        "customLabel": True,
        "dataType": type_,
        "isBucketed": False,
        "operationType": operation,
        "scale": "ratio",
        "sourceField": metric.field or "___records___",
        "params": {"emptyAsNull": True},
    }


def _table(buckets: list[str], metrics: list[str]) -> Json:
    columns = [{"columnId": name} for name in buckets] + [{"columnId": name, "isMetric": True} for name in metrics]
    return {"layerId": LAYER, "layerType": "data", "columns": columns, "paging": {"enabled": True, "size": 10}}


def _chart(panel: Panel, buckets: list[str], metrics: list[str]) -> Json:
    series = CHARTS[panel.chart]
    layer: Json = {
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": series,
        "xAccessor": buckets[0],
        "accessors": metrics,
        **({"splitAccessor": buckets[1]} if len(buckets) > 1 else {}),
    }
    return {
        "preferredSeriesType": series,
        "layers": [layer],
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "fittingFunction": "None",
    }


# --- the dashboard ---------------------------------------------------------------------------------------------------


def _dashboard() -> Json:
    placed = [("lens", panel.id, panel.place) for panel in views.PANELS]
    placed.append(("search", views.RECORDS.id, views.RECORDS_PLACE))
    panels: list[Json] = [
        {
            "type": type_,
            "panelIndex": id_,
            "gridData": grid(id_, place),
            "embeddableConfig": {"enhancements": {}},
            "panelRefName": f"panel_{id_}",
        }
        for type_, id_, place in placed
    ]
    options: Json = {"useMargins": True, "syncColors": True, "syncCursor": True, "hidePanelTitles": False}
    # Kibana 8 looks for a panel's reference under the panel's own name and a colon.
    references = [reference(type_, id_, f"{id_}:panel_{id_}") for type_, id_, _ in placed]
    return _object("dashboard", views.DASHBOARD, of_dashboard(panels, options), references)


def grid(id_: str, place: tuple[int, int, int, int]) -> Json:
    """Place a panel on the grid of a dashboard."""
    return {**dict(zip("xywh", place, strict=True)), "i": id_}

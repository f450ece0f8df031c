"""The shapes that the products themselves give their saved objects: which keys stand where, and of what kind, without their texts.

Typed by hand from Elastic's integrations (`system`: dashboards with Lens panels; `nginx_otel`: Lens objects; `nginx`: searches), from
the sample data of Kibana (9; for the Lens table 7.14, and an export of 8.1) and from those of OpenSearch Dashboards 3. Ours for
Dashboards were also compared, path by path, with what the integrations in its observability plugin hold (67 searches, 61 tables, 19
charts, 40 dashboards, 65 index patterns): what all of these have, ours have; and whatever ours have is in one of these, but for the
metric `max` (there `avg`, `sum` and others), `filters` in a table (there in charts), and a label on some counts. `isMetric` and
`paging` of a Lens table were seen in other people's dashboards alone. A string is the kind of a value; a
list holds the shape of each of its members; `*` stands for keys that are names; `?` after a key says that it may be missing.
"""

from collections.abc import Iterator
from typing import Any

KUERY = {"query": "str", "language": "str"}
META = {
    "searchSourceJSON": {
        "query": KUERY,
        "filter": [],
        "indexRefName?": "str",
        "highlightAll?": "bool",
        "version?": "bool",
    },
}
GRID = {"x": "int", "y": "int", "w": "int", "h": "int", "i": "str"}
REFRESH = {"pause": "bool", "value": "int"}
REFERENCES = [{"type": "str", "id": "str", "name": "str"}]

COLUMN = {
    "label": "str",
    "customLabel?": "bool",
    "dataType": "str",
    "isBucketed": "bool",
    "operationType": "str",
    "scale": "str",
    "sourceField?": "str",
}
COLUMNS = {
    "date_histogram": {**COLUMN, "params": {"interval": "str", "includeEmptyRows": "bool", "dropPartials": "bool"}},
    "filters": {**COLUMN, "params": {"filters": [{"label": "str", "input": KUERY}]}},
    "terms": {
        **COLUMN,
        "params": {
            "size": "int",
            "orderBy": {"type": "str", "columnId": "str"},
            "orderDirection": "str",
            "otherBucket": "bool",
            "missingBucket": "bool",
            "parentFormat": {"id": "str"},
            "include": [],
            "exclude": [],
            "includeIsRegex": "bool",
            "excludeIsRegex": "bool",
        },
    },
    **{key: {**COLUMN, "params": {"emptyAsNull": "bool"}} for key in ("count", "unique_count", "max")},
}
LAYER = {
    "columnOrder": ["str"],
    "columns": {"*": COLUMNS},
    "ignoreGlobalFilters": "bool",
    "incompleteColumns": {},
    "sampling?": "int",
}
PICTURES = {
    "lnsXY": {
        "legend": {"isVisible": "bool", "position": "str"},
        "valueLabels": "str",
        "fittingFunction": "str",
        "preferredSeriesType": "str",
        "layers": [
            {
                "layerId": "str",
                "layerType": "str",
                "seriesType": "str",
                "accessors": ["str"],
                "xAccessor": "str",
                "splitAccessor?": "str",
            },
        ],
    },
    "lnsDatatable": {
        "layerId": "str",
        "layerType": "str",
        "columns": [{"columnId": "str", "isMetric?": "bool"}],
        "paging?": {"enabled": "bool", "size": "int"},
    },
}


def lens(picture: str) -> Any:
    """A Lens object whose visualization is *picture*."""
    return {
        "title": "str",
        "description": "str",
        "visualizationType": "str",
        "state": {
            "datasourceStates": {
                "formBased": {"layers": {"*": LAYER}},
                "indexpattern": {"layers": {}},
                "textBased": {"layers": {}},
            },
            "visualization": PICTURES[picture],
            "query": KUERY,
            "filters": [],
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }


_AXIS = {
    "id": "str",
    "type": "str",
    "position": "str",
    "show": "bool",
    "style": {},
    "scale": {"type": "str", "mode?": "str"},
    "labels": {"show": "bool", "rotate?": "int", "filter?": "bool", "truncate": "int"},
}
VIS_PARAMS = {
    "xy": {
        "type": "str",
        "grid": {"categoryLines": "bool"},
        "categoryAxes": [{**_AXIS, "title": {}}],
        "valueAxes": [{**_AXIS, "name": "str", "title": {"text": "str"}}],
        "seriesParams": [
            {
                "show": "bool",
                "type": "str",
                "mode": "str",
                "data": {"label": "str", "id": "str"},
                "valueAxis": "str",
                "drawLinesBetweenPoints": "bool",
                "lineWidth": "int",
                "showCircles": "bool",
            },
        ],
        "addTooltip": "bool",
        "addLegend": "bool",
        "legendPosition": "str",
        "times": [],
        "addTimeMarker": "bool",
        "labels": {"show": "bool"},
        "thresholdLine": {"show": "bool", "value": "int", "width": "int", "style": "str", "color": "str"},
    },
    "table": {
        "perPage": "int",
        "percentageCol": "str",
        "showPartialRows": "bool",
        "showMetricsAtAllLevels": "bool",
        "showTotal": "bool",
        "totalFunc": "str",
        "sort": {"columnIndex": "null", "direction": "null"},
    },
}
_AGG = {"id": "str", "enabled": "bool", "type": "str", "schema": "str"}
VIS_AGGS = {
    "count": {**_AGG, "params": {"customLabel?": "str"}},
    **{key: {**_AGG, "params": {"field": "str", "customLabel?": "str"}} for key in ("max", "cardinality")},
    "terms": {
        **_AGG,
        "params": {
            "field": "str",
            "size": "int",
            "order": "str",
            "orderBy": "str",
            "otherBucket": "bool",
            "otherBucketLabel": "str",
            "missingBucket": "bool",
            "missingBucketLabel": "str",
            "customLabel?": "str",
        },
    },
    "date_histogram": {
        **_AGG,
        "params": {
            "field": "str",
            "interval": "str",
            "min_doc_count": "int",
            "extended_bounds": {},
            "drop_partials?": "bool",
            "useNormalizedEsInterval?": "bool",
            "customLabel?": "str",
        },
    },
    "filters": {**_AGG, "params": {"filters": [{"input": KUERY, "label": "str"}]}},
}

SEARCH = {"title": "str", "description": "str", "columns": ["str"], "sort": [["str"]], "kibanaSavedObjectMeta": META}
DASHBOARD = {
    "title": "str",
    "description": "str",
    "timeRestore": "bool",
    "timeFrom": "str",
    "timeTo": "str",
    "refreshInterval": REFRESH,
    "version": "int",
    "kibanaSavedObjectMeta": META,
}
ATTRIBUTES = {
    "elasticsearch": {
        "index-pattern": {
            "title": "str",
            "name": "str",
            "timeFieldName": "str",
            **{key: {} for key in ("fieldFormatMap", "fieldAttrs", "runtimeFieldMap", "typeMeta")},
            **{key: [] for key in ("fields", "sourceFilters")},
        },
        "search": {**SEARCH, "grid": {}, "hideChart": "bool", "isTextBasedQuery": "bool", "timeRestore": "bool"},
        "dashboard": {
            **DASHBOARD,
            "panelsJSON": [
                {
                    "type": "str",
                    "panelIndex": "str",
                    "gridData": GRID,
                    "embeddableConfig": {"enhancements": {}},
                    "panelRefName": "str",
                },
            ],
            "optionsJSON": {
                **dict.fromkeys(("useMargins", "syncColors", "syncCursor", "hidePanelTitles"), "bool"),
                "syncTooltips?": "bool",
            },
        },
    },
    "opensearch": {
        "index-pattern": {"title": "str", "timeFieldName": "str", "fields": [], "fieldFormatMap?": {}},
        "search": {**SEARCH, "hits": "int", "version": "int"},
        "visualization": {
            "title": "str",
            "description": "str",
            "visState": {"title": "str", "type": "str", "params": VIS_PARAMS, "aggs": [VIS_AGGS]},
            "uiStateJSON": {},
            "version": "int",
            "kibanaSavedObjectMeta": META,
        },
        "dashboard": {
            **DASHBOARD,
            "hits": "int",
            "panelsJSON": [
                {
                    "version": "str",
                    "panelIndex": "str",
                    "gridData": GRID,
                    "embeddableConfig": {},
                    "panelRefName": "str",
                },
            ],
            "optionsJSON": {"useMargins": "bool", "hidePanelTitles": "bool"},
        },
    },
}


def differences(value: Any, shape: Any, at: str = "") -> list[str]:
    """Where a value has not its shape, each place with what is wrong there."""
    if isinstance(shape, dict) and isinstance(value, dict):
        return list(_within(value, shape, at))
    if isinstance(shape, list) and isinstance(value, list):
        if not shape:
            return [f"{at}: not empty"] if value else []
        return [found for number, one in enumerate(value) for found in differences(one, shape[0], f"{at}[{number}]")]
    kind = {"NoneType": "null"}.get(type(value).__name__, type(value).__name__)
    wanted = shape if isinstance(shape, str) else type(shape).__name__
    return [] if kind == wanted else [f"{at}: {kind}, not {wanted}"]


def _within(value: dict[str, Any], shape: dict[str, Any], at: str) -> Iterator[str]:
    # Which shape it is stands in the value itself.
    if shape is COLUMNS or shape is VIS_AGGS:
        kind = value.get("operationType" if shape is COLUMNS else "type")
        shape, at = shape.get(kind, {}), f"{at}({kind})"
    if shape is VIS_PARAMS:
        shape = VIS_PARAMS["table" if "perPage" in value else "xy"]
    known = {key.removesuffix("?"): one for key, one in shape.items()}
    yield from (f"{at}.{key}: is missing" for key in shape if key != "*" and key[-1] != "?" and key not in value)
    for key, one in value.items():
        if key in known or "*" in known:
            yield from differences(one, known.get(key, known.get("*")), f"{at}.{key}")
        else:
            yield f"{at}.{key}: is not known there"

"""What people open in Kibana and in OpenSearch Dashboards: the one table of saved searches and panels.

`schemas/kibana.py` and `schemas/dashboards.py` turn it into what each product imports. The ids never change, so that a second
import replaces and does not add. Queries are in KQL, which both products read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

DATA_VIEW = "jsonlog"
DATA_VIEW_TITLE = "logs-*.jsonlog*-*"
DASHBOARD = "jsonlog-dashboard"
TIME_FIELD = "@timestamp"
TIME_FROM = "now-24h"

ERRORS = "log.level: (error or critical or fatal)"
BY_THE_SHIPPER = "tags: shipper.* or shipper.rescued.field: * or event.kind: pipeline_error"
MARKS = f"tags: jsonlog.* or {BY_THE_SHIPPER} or _ignored: *"

Order = tuple[tuple[str, Literal["asc", "desc"]], ...]
NEWEST_FIRST: Order = ((TIME_FIELD, "desc"),)
AS_WRITTEN: Order = ((TIME_FIELD, "asc"), ("run", "asc"), ("event.sequence", "asc"))


@dataclass(frozen=True, slots=True)
class Search:
    """A saved search.

    Args:
        id: Stable for ever.
        title: What it is called in the lists.
        about: One sentence.
        kql: Which records.
        columns: The fields that are shown.
        sort: In which order.
    """

    id: str
    title: str
    about: str
    kql: str
    columns: tuple[str, ...]
    sort: Order = NEWEST_FIRST


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a panel counts by: time, the values of a field, or queries with a name each.

    Args:
        kind: Which of the three.
        label: What stands over it.
        field: The field; none for queries.
        size: How many values.
        order: Whether the values with most of the first metric come first (`desc`), or those with least.
        missing: Whether records without the field are a value of their own.
        queries: Name and KQL.
    """

    kind: Literal["time", "values", "queries"]
    label: str
    field: str = ""
    size: int = 10
    order: Literal["asc", "desc"] = "desc"
    missing: bool = False
    queries: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """What a panel shows for each bucket: how many records, how many values of a field, or the newest time."""

    kind: Literal["count", "unique", "newest"]
    label: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel of the dashboard.

    Args:
        id: Stable for ever.
        title: What stands above it.
        about: One sentence.
        chart: `bars` over time, `shares` of the whole over time, `ranks` as horizontal bars, or a `table`.
        by: What is counted by; the first is the time axis, or the rows of a table.
        metrics: What is shown; the first decides which values come first.
        place: Left, top, width and height on a grid that is 48 wide.
        kql: Which records; all of them where it is empty.
    """

    id: str
    title: str
    about: str
    chart: Literal["bars", "shares", "ranks", "table"]
    by: tuple[Bucket, ...]
    metrics: tuple[Metric, ...]
    place: tuple[int, int, int, int]
    kql: str = ""


RECORDS = Search(
    "jsonlog-search-records",
    "jsonlog: records",
    "All records, newest first.",
    "",
    ("log.level", "service.name", "log.logger", "message", "exc.type"),
)
"""It stands at the foot of the dashboard, too, where what is clicked above filters it."""

SEARCHES: tuple[Search, ...] = (
    RECORDS,
    Search(
        "jsonlog-search-errors",
        "jsonlog: errors",
        "Records of level ERROR and above, newest first.",
        ERRORS,
        ("log.level", "service.name", "log.logger", "message", "exc.type", "exc.message"),
    ),
    Search(
        "jsonlog-search-request",
        "jsonlog: one request",
        "Every record that belongs to a request, in order; click a trace.id and choose to filter for it.",
        "trace.id: *",
        ("trace.id", "log.level", "service.name", "message", "exc.type"),
        AS_WRITTEN,
    ),
    Search(
        "jsonlog-search-run",
        "jsonlog: one run in order",
        "What one process wrote, in the order in which it wrote it; click a run and choose to filter for it.",
        "run: *",
        ("run", "event.sequence", "log.level", "message"),
        AS_WRITTEN,
    ),
    Search(
        "jsonlog-search-marks",
        "jsonlog: records that were changed",
        "Cut or renamed by the formatter, put aside by the shipper, or not wholly searchable.",
        MARKS,
        ("tags", "shipper.rescued.field", "shipper.rescued.reason", "service.name", "message"),
    ),
)

_COUNT = Metric("count", "Records")
_TIME = Bucket("time", "Time", TIME_FIELD)
_SERVICE = Bucket("values", "Service", "service.name", size=20)
_HOST = Bucket("values", "Host", "host.name", size=20)

PANELS: tuple[Panel, ...] = (
    Panel(
        "jsonlog-panel-levels",
        "Records by level",
        "How many records there are over time, by level.",
        "bars",
        (_TIME, Bucket("values", "Level", "log.level")),
        (_COUNT,),
        (0, 0, 32, 12),
    ),
    Panel(
        "jsonlog-panel-error-rate",
        "Error rate",
        "Which part of all records is an error, over time.",
        "shares",
        (_TIME, Bucket("queries", "Level", queries=(("errors", ERRORS), ("others", f"not {ERRORS}")))),
        (_COUNT,),
        (32, 0, 16, 12),
    ),
    Panel(
        "jsonlog-panel-exceptions",
        "Top exceptions",
        "Exceptions by the place in the code that they come from.",
        "table",
        (
            Bucket("values", "Fingerprint", "exc.fingerprint", size=20, missing=True),
            Bucket("values", "Exception", "exc.type", size=5),
            Bucket("values", "Service", "service.name", size=5, missing=True),
        ),
        (_COUNT, Metric("newest", "Last seen", TIME_FIELD)),
        (0, 12, 32, 14),
        "exc.type: *",
    ),
    Panel(
        "jsonlog-panel-loggers",
        "Noisiest loggers",
        "Which loggers write the most.",
        "ranks",
        (Bucket("values", "Logger", "log.logger", size=15),),
        (_COUNT,),
        (32, 12, 16, 14),
    ),
    Panel(
        "jsonlog-panel-services",
        "Services and hosts",
        "Who writes, how much, and from how many processes.",
        "table",
        (_SERVICE, _HOST),
        (_COUNT, Metric("unique", "Writers", "run")),
        (0, 26, 20, 12),
    ),
    Panel(
        "jsonlog-panel-lag",
        "The shipper's lag",
        "The newest record that has arrived from each host and service, the oldest first: what is far behind the clock waits "
        "in a file there, or had nothing to say.",
        "table",
        (replace(_HOST, order="asc"), replace(_SERVICE, order="asc")),
        (Metric("newest", "Newest record", TIME_FIELD),),
        (20, 26, 16, 12),
    ),
    Panel(
        "jsonlog-panel-marks",
        "Records that were changed",
        "What the formatter and the shipper had to change, by mark.",
        "table",
        (
            Bucket(
                "queries",
                "Mark",
                queries=(
                    ("by the formatter", "tags: jsonlog.*"),
                    ("by the shipper", BY_THE_SHIPPER),
                    ("not wholly searchable", "_ignored: *"),
                ),
            ),
        ),
        (_COUNT,),
        (36, 26, 12, 12),
    ),
)

DASHBOARD_TITLE = "jsonlog"
DASHBOARD_ABOUT = "Records by level, errors, exceptions, loggers, services and hosts, lag, marks. A click on any value filters the records below."
RECORDS_PLACE = (0, 38, 48, 20)

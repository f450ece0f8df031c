"""The questions that people ask, against records of real processes on the real stores; each answer is known from the files.

QUESTIONS_RECORDS sets how many records there are: 100,000 without it.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.e2e.corpus import PROCESSES
from tests.e2e.questions import DSL, KQL, LUCENE
from tests.schemas.kql import to_query
from tests.schemas.saved import discover

pytestmark = [pytest.mark.server, pytest.mark.timeout(1200)]

IN_ORDER = [{"@timestamp": "asc"}, {"run": "asc"}, {"event.sequence": "asc"}]
PER_RUN = {"runs": {"terms": {"field": "run", "size": 100}, "aggs": {"numbers": {"sum": {"field": "event.sequence"}}}}}


def found(answer):
    """Per writer, how many records a store found and the sum of their numbers."""
    return {b["key"]: (b["doc_count"], b["numbers"]["value"]) for b in answer["aggregations"]["runs"]["buckets"]}


def keys(answer):
    return [(hit["_source"]["run"], hit["_source"]["event"]["sequence"]) for hit in answer["hits"]["hits"]]


# --- who is found ----------------------------------------------------------------------------------------------------


def test_every_record_is_there_once(answers, corpus):
    """All records of all processes are in the store, none twice."""
    assert found(answers.search({"size": 0, "aggs": PER_RUN})) == corpus.summary(KQL[""])


def keyword_fields(answers):
    """The fields that are keywords wherever they are: for these a newer Kibana sends other queries."""
    caps = answers.ask("GET", f"{answers.path}/_field_caps?fields=*")["fields"]
    keywords = {name for name, types in caps.items() if set(types) == {"keyword"}}
    assert {"log.level", "log.logger", "exc.type", "error.type", "tags", "extra.user.id", "extra.order_id"} <= keywords
    return keywords


def test_kql(answers, corpus):
    """Each question in KQL, with the body that Discover sends in any version, finds exactly the records that the files say."""
    wrong = {}
    for keywords in ((), keyword_fields(answers))[: 2 if answers.kind == "elasticsearch" else 1]:
        for text, predicate in KQL.items():
            query = to_query(text, keywords, store=answers.kind)
            answer = answers.search(
                {**discover(query, [["@timestamp", "desc"]], store=answers.kind, size=20), "aggs": PER_RUN}
            )
            wanted = corpus.summary(predicate)
            if found(answer) != wanted or answer["hits"]["total"]["value"] != sum(n for n, _ in wanted.values()):
                wrong[text, bool(keywords)] = (found(answer), wanted)
    assert wrong == {}


def test_the_questions_ask_for_something(corpus):
    """Nearly every question has an answer, and none but the empty one finds all."""
    sizes = {
        text: sum(count for count, _ in corpus.summary(predicate).values())
        for text, predicate in (KQL | LUCENE).items()
    }
    nothing = {text for text, size in sizes.items() if not size}
    assert nothing - {"process.task.name: *"} == {
        "service.name:SHOP",
        "tags: shipper.* or event.kind: pipeline_error",
        "shipper.rescued.field: *",
    }
    assert [text for text, size in sizes.items() if size == len(corpus.records)] == [""]


def test_query_strings(answers, corpus):
    """Each question in Lucene's language finds exactly the records that the files say."""
    for text, predicate in LUCENE.items():
        query = {"query_string": {"query": text, "analyze_wildcard": True}}
        assert found(answers.search({"size": 0, "query": query, "aggs": PER_RUN})) == corpus.summary(predicate), text


def test_queries(answers, corpus):
    """Each question in the stores' own language finds exactly the records that the files say."""
    for name, (query, predicate) in DSL.items():
        assert found(answers.search({"size": 0, "query": query, "aggs": PER_RUN})) == corpus.summary(predicate), name


# --- how they are shown ----------------------------------------------------------------------------------------------


def test_words_are_marked(answers):
    """Discover's marks stand in the message that was searched, and nowhere else."""
    body = discover(to_query("message: broken"), [["@timestamp", "desc"]], store=answers.kind, size=5)
    for hit in answers.search(body)["hits"]["hits"]:
        assert hit["highlight"] == {"message": ["cache is @kibana-highlighted-field@broken@/kibana-highlighted-field@"]}


def test_all_fields_are_given_by_name(answers, corpus):
    """`fields: *` gives each field of a record under its own name, extras, aliases and flat lists too."""
    query = {"bool": {"filter": [{"term": {"exc.type": "CardError"}}, {"term": {"service.name": "shop"}}]}}
    answer = answers.search({"query": query, "fields": ["*"], "size": 1, "sort": IN_ORDER})
    (hit,) = answer["hits"]["hits"]
    fields = hit["fields"]
    source = hit["_source"]
    assert fields["error.type"] == fields["exc.type"] == ["CardError"]
    assert fields["error.stack_trace"] == [source["exc"]["traceback"]]
    assert fields["exc.chain.message"] == [source["exc"]["chain"][0]["message"]]
    assert fields["extra.order"] == [source["extra"]["order"]]
    assert fields["@timestamp"] == [source["@timestamp"]]


def test_field_caps(answers):
    """What a data view is made from: each field has one type over all streams and profiles, and aliases are fields."""
    caps = answers.ask("GET", f"{answers.path}/_field_caps?fields=*")["fields"]
    types = {name: set(kinds) - {"object"} for name, kinds in caps.items() if not name.startswith("_")}
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}
    for name, kind in {
        "@timestamp": "date",
        "extra.ms": "double",
        "extra.order_id": "keyword",
        "extra.sent": "date",
        "extra.user.id": "keyword",
        "error.type": "keyword",
        "exc.type": "keyword",
        "exc.fingerprint": "keyword",
        "message": "text",
    }.items():
        assert types[name] == {kind}, name
    assert types["extra.paid"] == ({"boolean"} if answers.kind == "elasticsearch" else {"keyword"})
    assert caps["extra.ms"]["double"]["aggregatable"]


def test_pages_are_in_exact_order(answers, corpus):
    """By time, run and number, page by page through a point in time, every record comes once and in order, four to an instant."""
    limits = {"gte": "2026-10-25T03:00:00Z", "lt": "2026-10-25T04:00:00Z"}
    wanted = sorted(
        (record["@timestamp"], *record.key)
        for record in corpus.records
        if limits["gte"] <= record["@timestamp"] < limits["lt"]
    )
    assert len(wanted) > len({time for time, _, _ in wanted}) > 1
    if answers.kind == "elasticsearch":
        pit = {"id": answers.ask("POST", f"{answers.path}/_pit?keep_alive=1m")["id"]}
    else:
        pit = {"id": answers.ask("POST", f"{answers.path}/_search/point_in_time?keep_alive=1m")["pit_id"]}
    seen, after = [], {}
    while True:
        body = {"pit": pit, "size": 97, "sort": IN_ORDER, "query": {"range": {"@timestamp": limits}}, **after}
        page = answers.ask("POST", "/_search", body)
        if not page["hits"]["hits"]:
            break
        seen += keys(page)
        after = {"search_after": page["hits"]["hits"][-1]["sort"]}
    assert seen == [(run, number) for _, run, number in wanted]


# --- what is counted -------------------------------------------------------------------------------------------------


def buckets(agg):
    return {b.get("key_as_string", b["key"]): b["doc_count"] for b in agg["buckets"] if b["doc_count"]}


def test_counts_by_value(answers, corpus):
    """Levels, loggers, hosts and exceptions are counted as the files say, by our names and by those of ECS."""
    names = ["log.logger", "host.name", "exc.type", "exc.chain.type", "exc.fingerprint", "extra.customer", "extra.tags"]
    aggs = {name: {"terms": {"field": name, "size": 100}} for name in [*names, "log.level", "error.type"]}
    got = {name: buckets(agg) for name, agg in answers.aggregate(aggs).items()}
    for name in names:
        wanted = Counter()
        for record in corpus.records:
            value = chain_or_value(record, name)
            wanted.update(set(value) if isinstance(value, list) else [value] if value is not None else [])
        assert got[name] == wanted, name
    assert got["error.type"] == got["exc.type"]
    assert got["log.level"] == Counter(record.level for record in corpus.records)


def chain_or_value(record, name):
    if name.startswith("exc.chain."):
        return [one[name.rpartition(".")[2]] for one in record["exc.chain"] or ()]
    return record[name]


@pytest.mark.parametrize(
    ("interval", "zone", "form"),
    [
        ({"fixed_interval": "1h"}, "UTC", "%Y-%m-%dT%H:00:00.000Z"),
        ({"fixed_interval": "30m"}, "UTC", None),
        ({"calendar_interval": "day"}, "UTC", "%Y-%m-%dT00:00:00.000Z"),
        ({"calendar_interval": "day"}, "Europe/Berlin", "%Y-%m-%d"),
        ({"calendar_interval": "hour"}, "Asia/Kolkata", "%Y-%m-%dT%H"),
        ({"calendar_interval": "month"}, "America/New_York", "%Y-%m"),
    ],
    ids=str,
)
def test_counts_over_time(answers, corpus, interval, zone, form):
    """A histogram has each record in its hour, day or month, by UTC and by local time over a change of the clocks."""
    shape = {"format": {"%Y-%m-%d": "yyyy-MM-dd", "%Y-%m-%dT%H": "yyyy-MM-dd'T'HH", "%Y-%m": "yyyy-MM"}.get(form)}
    histogram = {"field": "@timestamp", **interval, "time_zone": zone, **({} if shape["format"] is None else shape)}
    got = buckets(answers.aggregate({"h": {"date_histogram": histogram}})["h"])
    zoneinfo = ZoneInfo(zone)

    def bucket(record):
        time = datetime.fromisoformat(record["@timestamp"]).astimezone(zoneinfo)
        if form is None:
            return time.strftime("%Y-%m-%dT%H:") + f"{time.minute // 30 * 30:02}:00.000Z"
        return time.strftime(form)

    assert got == Counter(map(bucket, corpus.records))


def test_counts_over_time_by_level_and_rate_of_errors(answers, corpus):
    """What the dashboard's first two panels ask: levels per hour, and errors against the rest."""
    errors = to_query("log.level: (error or critical)")
    aggs = {
        "hours": {
            "date_histogram": {"field": "@timestamp", "fixed_interval": "1h"},
            "aggs": {
                "levels": {"terms": {"field": "log.level"}},
                "rate": {"filters": {"filters": {"errors": errors, "others": {"bool": {"must_not": errors}}}}},
            },
        },
    }
    hours = defaultdict(Counter)
    for record in corpus.records:
        hours[record["@timestamp"][:13]][record.level] += 1
    for hour in answers.aggregate(aggs)["hours"]["buckets"]:
        wanted = hours[hour["key_as_string"][:13]]
        assert buckets(hour["levels"]) == wanted
        bad = wanted["error"] + wanted["critical"]
        assert hour["rate"]["buckets"]["errors"]["doc_count"] == bad
        assert hour["rate"]["buckets"]["others"]["doc_count"] == wanted.total() - bad


def test_calculates_over_a_numeric_extra(answers, corpus):
    """Sum, mean, extremes and count of a numeric extra are exact, and percentiles are off by at most one percent of the records."""
    values = sorted(record["extra.ms"] for record in corpus.records if record["extra.ms"] is not None)
    aggs = {
        "stats": {"extended_stats": {"field": "extra.ms"}},
        "percentiles": {"percentiles": {"field": "extra.ms", "percents": [50, 95, 99], "keyed": True}},
        "hundreds": {"histogram": {"field": "extra.ms", "interval": 100, "min_doc_count": 1}},
        "slow": {"range": {"field": "extra.ms", "ranges": [{"to": 500}, {"from": 500, "to": 1000}, {"from": 1000}]}},
    }
    got = answers.aggregate(aggs)
    stats = got["stats"]
    assert (stats["count"], stats["min"], stats["max"]) == (len(values), values[0], values[-1])
    assert stats["sum"] == pytest.approx(sum(values), rel=1e-12)
    for percent, value in got["percentiles"]["values"].items():
        low, high = bisect_left(values, value) / len(values), bisect_right(values, value) / len(values)
        assert low - 0.01 <= float(percent) / 100 <= high + 0.01
    assert {b["key"]: b["doc_count"] for b in got["hundreds"]["buckets"]} == Counter(v // 100 * 100 for v in values)
    counts = [sum(low <= v < high for v in values) for low, high in ((0, 500), (500, 1000), (1000, 10**9))]
    assert [b["doc_count"] for b in got["slow"]["buckets"]] == counts


def test_distinct_values_and_times(answers, corpus):
    """How many writers, users and traces there are, when the first and the last record were, and how many have no exception."""
    aggs = {
        "runs": {"cardinality": {"field": "run"}},
        "users": {"cardinality": {"field": "extra.user.id"}},
        "first": {"min": {"field": "@timestamp"}},
        "last": {"max": {"field": "@timestamp"}},
        "no exception": {"missing": {"field": "error.type"}},
        "dates": {"value_count": {"field": "extra.sent"}},
    }
    got = answers.aggregate(aggs)
    assert got["runs"]["value"] == len(PROCESSES)
    assert got["users"]["value"] == 97
    times = [record["@timestamp"] for record in corpus.records]
    assert (got["first"]["value_as_string"], got["last"]["value_as_string"]) == (min(times), max(times))
    assert got["no exception"]["doc_count"] == len(corpus.where(lambda r: r["exc.type"] is None))
    assert got["dates"]["value"] == len(corpus.where(lambda r: r["extra.sent"] is not None))


def test_top_exceptions(answers, corpus):
    """Exceptions by fingerprint, each with its class, services and newest record, as the dashboard's table shows them."""
    aggs = {
        "places": {
            "terms": {"field": "exc.fingerprint", "size": 20},
            "aggs": {
                "class": {"terms": {"field": "exc.type"}},
                "services": {"terms": {"field": "service.name"}},
                "last": {"max": {"field": "@timestamp"}},
            },
        },
    }
    got = {
        b["key"]: (b["doc_count"], buckets(b["class"]), buckets(b["services"]), b["last"]["value_as_string"])
        for b in answers.aggregate(aggs)["places"]["buckets"]
    }
    wanted = {}
    for key in {record["exc.fingerprint"] for record in corpus.records} - {None}:
        same = corpus.where(lambda r, key=key: r["exc.fingerprint"] == key)
        classes, services = (Counter(r[name] for r in same) for name in ("exc.type", "service.name"))
        wanted[key] = (len(same), classes, services, max(r["@timestamp"] for r in same))
    assert got == wanted
    assert len(got) >= 2


def test_composite_pages(answers, corpus):
    """A count by service, host and level, a few rows at a time, gives every row once."""
    names = ["service.name", "host.name", "log.level"]
    sources = [{name: {"terms": {"field": name}}} for name in names]
    seen, after = {}, {}
    while True:
        agg = answers.aggregate({"c": {"composite": {"size": 3, "sources": sources, **after}}})["c"]
        if not agg["buckets"]:
            break
        assert not seen.keys() & {tuple(b["key"].values()) for b in agg["buckets"]}
        seen |= {tuple(b["key"].values()): b["doc_count"] for b in agg["buckets"]}
        after = {"after": agg["after_key"]}
    assert seen == Counter((r["service.name"], r["host.name"], r.level) for r in corpus.records)


def test_newest_record_of_each_service(answers, corpus):
    """Which record was the last of each service, and how many places in the code raise: by top hits, and by collapsing."""
    hits = {"top_hits": {"size": 1, "sort": [{"@timestamp": "desc"}, {"event.sequence": "desc"}, {"run": "desc"}]}}
    got = answers.aggregate({"s": {"terms": {"field": "service.name"}, "aggs": {"last": hits}}})["s"]["buckets"]
    for bucket in got:
        same = [r for r in corpus.records if r["service.name"] == bucket["key"]]
        last = max(same, key=lambda r: (r["@timestamp"], r.key[1], r.key[0]))
        assert keys(bucket["last"]) == [last.key]
    body = {"query": {"exists": {"field": "exc.fingerprint"}}, "collapse": {"field": "exc.fingerprint"}, "size": 50}
    places = [hit["fields"]["exc.fingerprint"][0] for hit in answers.search(body)["hits"]["hits"]]
    assert sorted(places) == sorted({record["exc.fingerprint"] for record in corpus.records} - {None})

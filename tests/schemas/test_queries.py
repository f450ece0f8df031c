"""The questions that people ask get right answers on the real servers."""

import json
import secrets

import pytest

from schemas.build import example
from tests.schemas.records import MINIMAL, changed
from tests.schemas.streams import Stream

pytestmark = pytest.mark.server

RUN_A, RUN_B = "aaaaaaaaaaaaaaa1", "bbbbbbbbbbbbbbb2"
TIMEOUT = {"relation": "cause", "type": "TimeoutError", "module": "builtins", "message": "no answer from bank-2"}
TRACEBACK = 'Traceback (most recent call last):\n  File "pay.py", line 12, in charge\nshop.errors.CardError: declined'


def line(run, sequence, second, level, message, *changes):
    """A record of the known corpus."""
    return changed(
        MINIMAL,
        ("@timestamp", f"2026-11-22T05:{second // 60:02}:{second % 60:02}.220Z"),
        ("log.level", level),
        ("log.logger", "shop.pay" if sequence % 2 else "shop.web"),
        ("message", message),
        ("run", run),
        ("event.sequence", sequence),
        *changes,
    )


RECORDS = {
    "a0": line(RUN_A, 0, 10, "INFO", "shop started"),
    "a1": line(RUN_A, 1, 10, "INFO", "order 17 charged", ("extra", {"ms": 3, "order_id": 2**53 + 1, "paid": True})),
    "a2": line(RUN_A, 2, 10, "WARNING", "order 18 charged slowly", ("extra", {"ms": 3.5, "customer": "Ana"})),
    "a3": line(
        RUN_A,
        3,
        70,
        "ERROR",
        "order 19 failed: the card was declined",
        ("exc", {"type": "CardError", "module": "shop.errors", "message": "declined", "traceback": TRACEBACK}),
        ("exc.chain", [TIMEOUT, {"relation": "context", "type": "KeyError", "module": "builtins", "message": "'eur'"}]),
        ("trace", {"id": "4bf92f3577b34da6a3ce929d0e0e4736"}),
        ("tags", ["jsonlog.cut"]),
    ),
    "b0": line(RUN_B, 0, 10, "info", "shop started", ("service", {"name": "shop"}), ("labels", {"team": "payments"})),
    "b1": line(RUN_B, 1, 70, "error", "declined once more", ("exc", {"type": "CardError", "traceback": TRACEBACK})),
    "b2": line(
        RUN_B,
        2,
        130,
        "CRITICAL",
        "the bank is gone",
        ("exc", {"type": "BankError", "message": "gone", "traceback": "BankError: gone"}),
        ("extra", {"ms": 250, "sent": "2026-11-22T05:00:00.000Z"}),
        ("process.task", {"name": "Task-7"}),
    ),
}
ERRORS = {"a3", "b1"}

# What is asked, and whom it finds.
QUESTIONS = {
    "level as written": ({"term": {"log.level": "ERROR"}}, ERRORS),
    "level in small letters": ({"term": {"log.level": "error"}}, ERRORS),
    "level in any letters, in the search box": ({"query_string": {"query": "log.level:Error"}}, ERRORS),
    "level by its beginning": ({"query_string": {"query": "log.level:Err*"}}, ERRORS),
    "levels": ({"terms": {"log.level": ["ERROR", "CRITICAL"]}}, {*ERRORS, "b2"}),
    "phrase in the message": ({"match_phrase": {"message": "charged slowly"}}, {"a2"}),
    "phrase in the wrong order": ({"match_phrase": {"message": "slowly charged"}}, set()),
    "word in the message, in the search box": ({"query_string": {"query": "message:declined"}}, ERRORS),
    "words anywhere, in the search box": (
        {"query_string": {"query": '"shop started"', "fields": ["message"]}},
        {"a0", "b0"},
    ),
    "beginning of a word": ({"query_string": {"query": "message:charg*"}}, {"a1", "a2"}),
    "class of the exception": ({"term": {"exc.type": "CardError"}}, ERRORS),
    "module of the exception": ({"term": {"exc.module": "shop.errors"}}, {"a3"}),
    "phrase in the traceback": ({"match_phrase": {"exc.traceback": "line 12, in charge"}}, ERRORS),
    "cause of the exception": ({"term": {"exc.chain.type": "TimeoutError"}}, {"a3"}),
    "cause, in the search box": ({"query_string": {"query": "exc.chain.type: TimeoutError"}}, {"a3"}),
    "second in the chain": ({"term": {"exc.chain.type": "KeyError"}}, {"a3"}),
    "message of the cause": ({"match_phrase": {"exc.chain.message": "no answer"}}, {"a3"}),
    # The list is flat: which type stood with which relation is not kept in the index.
    "what stood apart in the chain": (
        {"bool": {"filter": [{"term": {"exc.chain.type": "KeyError"}}, {"term": {"exc.chain.relation": "cause"}}]}},
        {"a3"},
    ),
    "class, by its ECS name": ({"term": {"error.type": "CardError"}}, ERRORS),
    "message of the exception, by its ECS name": ({"match": {"error.message": "gone"}}, {"b2"}),
    "traceback, by its ECS name": ({"match_phrase": {"error.stack_trace": "line 12"}}, ERRORS),
    "records with an exception, by the ECS name": ({"exists": {"field": "error.type"}}, {*ERRORS, "b2"}),
    "loggers below one": ({"prefix": {"log.logger": "shop.p"}}, {"a1", "a3", "b1"}),
    "trace": ({"term": {"trace.id": "4bf92f3577b34da6a3ce929d0e0e4736"}}, {"a3"}),
    "service": ({"term": {"service.name": "shop"}}, {"b0"}),
    "label": ({"term": {"labels.team": "payments"}}, {"b0"}),
    "asyncio task": ({"term": {"process.task.name": "Task-7"}}, {"b2"}),
    "marks": ({"prefix": {"tags": "jsonlog."}}, {"a3"}),
    "one run": ({"term": {"run": RUN_B}}, {"b0", "b1", "b2"}),
    "number of a record": ({"bool": {"filter": [{"term": {"run": RUN_A}}, {"term": {"event.sequence": 2}}]}}, {"a2"}),
    "time": ({"range": {"@timestamp": {"gte": "2026-11-22T05:01:00Z", "lt": "2026-11-22T05:02:00Z"}}}, ERRORS),
    "extra above a bound": ({"range": {"extra.ms": {"gte": 100}}}, {"b2"}),
    "fraction, though a whole number came first": ({"range": {"extra.ms": {"gt": 3, "lt": 4}}}, {"a2"}),
    "id beyond 2**53, exactly": ({"term": {"extra.order_id": str(2**53 + 1)}}, {"a1"}),
    "id beyond 2**53, its neighbour": ({"term": {"extra.order_id": str(2**53)}}, set()),
    "true": ({"term": {"extra.paid": True}}, {"a1"}),
    "text in extra": ({"term": {"extra.customer": "Ana"}}, {"a2"}),
    "date in extra": ({"range": {"extra.sent": {"lt": "2026-11-22T06:00:00Z"}}}, {"b2"}),
    "milliseconds, from doc values": ({"range": {"msecs": {"gte": 220, "lt": 221}}}, set(RECORDS)),
    "no such milliseconds": ({"term": {"msecs": 221}}, set()),
}


@pytest.fixture(scope="module")
def corpora():
    """The known records, stored once on each server that a test here uses."""
    streams = {}
    yield streams
    for stream in streams.values():
        stream.__exit__()


@pytest.fixture
def stream(store, corpora):
    if store.kind not in corpora:
        corpora[store.kind] = Stream(store, f"t{secrets.token_hex(6)}")
        assert {status for status, _ in corpora[store.kind].create(RECORDS).values()} == {201}
    return corpora[store.kind]


@pytest.mark.parametrize(("query", "found"), QUESTIONS.values(), ids=QUESTIONS)
def test_finds(stream, query, found):
    """The question finds exactly the records that it is about."""
    assert stream.ids(query) == found


def test_counts_exceptions_by_class(stream):
    """The top exceptions are counted by our name and by the ECS name alike."""
    names = ("exc.type", "error.type")
    answer = stream.search({"size": 0, "aggs": {name: {"terms": {"field": name}} for name in names}})
    for name in names:
        assert [(b["key"], b["doc_count"]) for b in answer["aggregations"][name]["buckets"]] == [
            ("CardError", 2),
            ("BankError", 1),
        ]


def test_counts_levels_whatever_their_letters(stream):
    """`ERROR` and `error` are one level in a count."""
    answer = stream.search({"size": 0, "aggs": {"levels": {"terms": {"field": "log.level"}}}})
    counts = {b["key"]: b["doc_count"] for b in answer["aggregations"]["levels"]["buckets"]}
    assert counts == {"info": 3, "error": 2, "warning": 1, "critical": 1}


def test_counts_over_time(stream):
    """A histogram by the minute has each record in its minute."""
    histogram = {"date_histogram": {"field": "@timestamp", "fixed_interval": "1m"}}
    answer = stream.search({"size": 0, "aggs": {"minutes": histogram}})
    assert [(b["key_as_string"], b["doc_count"]) for b in answer["aggregations"]["minutes"]["buckets"]] == [
        ("2026-11-22T05:00:00.000Z", 4),
        ("2026-11-22T05:01:00.000Z", 2),
        ("2026-11-22T05:02:00.000Z", 1),
    ]


def test_calculates_over_a_number_in_extra(stream):
    """A number in extra is a number: it has a sum and a maximum, fractions included."""
    answer = stream.search({"size": 0, "aggs": {"ms": {"stats": {"field": "extra.ms"}}}})
    assert (answer["aggregations"]["ms"]["sum"], answer["aggregations"]["ms"]["max"]) == (256.5, 250)


def test_puts_records_of_one_instant_in_order(stream):
    """By time, run and number the records come in exact order, page by page, though four have the same time."""
    order = [{"@timestamp": "asc"}, {"run": "asc"}, {"event.sequence": "asc"}]
    seen, after = [], {}
    while page := stream.search({"size": 3, "sort": order, **after})["hits"]["hits"]:
        seen += [hit["_id"] for hit in page]
        after = {"search_after": page[-1]["sort"]}
    assert seen == ["a0", "a1", "a2", "b0", "a3", "b1", "b2"]


def test_marks_what_was_found(stream):
    """A search that asks for marks in every field gets them, a field of a million characters in the page or not."""
    body = {"query": {"query_string": {"query": "message:declined"}}, "highlight": {"fields": {"*": {}}}}
    hits = {hit["_id"]: hit.get("highlight", {}) for hit in stream.search(body)["hits"]["hits"]}
    assert hits["b1"]["message"] == ["<em>declined</em> once more"]


def test_a_message_of_two_million_characters_breaks_no_page(store, unique_service):
    """One huge record beside others leaves the page that shows it whole, marks included."""
    with Stream(store, unique_service) as stream:
        stream.create({"small": MINIMAL, "huge": changed(MINIMAL, ("message", "charge " * 300_000))})
        body = {"query": {"match": {"message": "charge"}}, "highlight": {"fields": {"*": {}}}, "_source": False}
        assert {hit["_id"] for hit in stream.search(body)["hits"]["hits"]} == {"small", "huge"}


def test_the_rescued_and_the_wrapped_are_found(store, unique_service):
    """What the shipper had to put aside is text, and is found by the words in it."""
    with Stream(store, unique_service) as stream:
        stream.create({"1": example("formatter", "relay", "handler", "shipper"), "2": MINIMAL})
        for question in (
            'shipper.rescued.json:"extra.user"',
            "event.original:order",
            "shipper.rescued.field:extra.user",
        ):
            assert stream.ids({"query_string": {"query": question}}) == {"1"}, json.dumps(question)

"""What the two stores make of records that are awkward: no surprise here is left to a user to find."""

import pytest

from schemas.stores import STORES
from tests.schemas.records import GONE, MINIMAL, changed
from tests.schemas.streams import Stream

FOUND = "found"  # stored, and the field can be searched
MARKED = "marked"  # stored, the value cannot be searched, and `_ignored` says so
KEPT = "kept"  # stored, the value cannot be searched, and nothing says so
REFUSED = "refused"  # 400: for the shipper to rescue, else a dead letter


def deep(levels, value=1):
    for _ in range(levels):
        value = {"k": value}
    return value


MIB = 1024 * 1024
# Per case: what is given as extra, one record after the other; what Elasticsearch and OpenSearch make of each.
EXTRAS = {
    "number, then text": ([{"n1": 1}, {"n1": "one"}], "found marked", "found marked"),
    "number, then number in text": ([{"n2": 1}, {"n2": "2"}], "found found", "found found"),
    "number, then object": ([{"n3": 1}, {"n3": {"a": 1}}], "found found", "found kept"),
    "number, then true": ([{"n4": 1}, {"n4": True}], "found marked", "found marked"),
    "number, then fraction": ([{"n5": 1}, {"n5": 3.7}], "found found", "found found"),
    "text, then number": ([{"t1": "one"}, {"t1": 1}], "found found", "found found"),
    "text, then object": ([{"t2": "one"}, {"t2": {"a": 1}}], "found found", "found kept"),
    "text, then true": ([{"t3": "one"}, {"t3": True}], "found found", "found found"),
    "object, then text": ([{"o1": {"a": 1}}, {"o1": "one"}], "found found", "found refused"),
    "object, then list of texts": ([{"o2": {"a": 1}}, {"o2": ["one"]}], "found found", "found refused"),
    "true, then number": ([{"b1": True}, {"b1": 1}], "found marked", "found found"),
    "true, then text": ([{"b2": True}, {"b2": "yes"}], "found marked", "found found"),
    "true, then object": ([{"b3": True}, {"b3": {"a": 1}}], "found found", "found kept"),
    "date, then text": ([{"d1": "2026-11-22T05:02:17.220Z"}, {"d1": "soon"}], "found marked", "found marked"),
    "date, then number": ([{"d2": "2026-11-22T05:02:17.220Z"}, {"d2": 17}], "found found", "found found"),
    "text, then date": ([{"d3": "soon"}, {"d3": "2026-11-22T05:02:17.220Z"}], "found found", "found found"),
    "dates that are none": (
        [{"d4": "2026-13-45T99:99:99.000Z"}, {"d5": "2026-11-22"}, {"d6": "22.11.2026"}],
        "found found found",
        "found found found",
    ),
    "list of several types": (
        [{"l1": [1, "a", True, None]}, {"l2": ["a", {"b": 1}]}, {"l3": [1, {"b": 1}]}],
        "marked found found",
        "refused refused refused",
    ),
    "list of objects": ([{"l4": [{"a": 1}, {"a": "x", "b": [2]}]}], "marked", "refused"),
    "list in list": ([{"l5": [[1, 2], [[3]]]}], "found", "found"),
    "key with a dot, then object": ([{"k1.a": 1}, {"k1": {"a": 2}}], "found found", "found found"),
    "key with a dot beside the same object": ([{"k2": {"a": 1}, "k2.a": 2}], "found", "found"),
    "key with a dot beside a value": ([{"k3": 1, "k3.a": 2}], "found", "refused"),
    "keys of dots": (
        [{".": 1}, {"..": 1}, {".k4": 1}, {"k5.": 1}, {"k6..a": 1}, {"k7. .a": 1}],
        "found found found found found found",
        "refused refused refused kept refused refused",
    ),
    "blank keys": (
        [{"": 1}, {" ": 1}, {"k8": {"": 1}}, {"k8": {"\t": 1}}],
        "refused refused found found",
        "refused refused refused refused",
    ),
    "odd keys": (
        [{"*": 1}, {"_id": 1}, {"ключ 😀": 1}, {"\x00": 1}, {"k" * 40_000: 1}],
        "found found found found found",
        "found found found found found",
    ),
    "null, empty": (
        [{"e1": None}, {"e2": {}}, {"e3": []}, {"e4": ""}, {"e5": [None]}, {}],
        "kept kept kept found kept kept",
        "kept kept kept found kept kept",
    ),
    "number beyond long": (
        [{"i1": 2**63}, {"i2": 2**64}, {"i3": -(2**70)}, {"i4": 10**30}],
        "found found found found",
        "found found found found",
    ),
    "number beyond double": (
        [{"i5": 10**400}, {"i6": 1}, {"i6": 10**400}],
        "marked found marked",
        "marked found marked",
    ),
    "id beyond double": (
        [{"order_id": 2**53 + 1}, {"order_id": "A-17"}, {"user": {"id": 2**64}}],
        "found found found",
        "found found found",
    ),
    "40,000 bytes of text": ([{"s1": "x" * 40_000}, {"s2": "ü" * 20_000}], "marked marked", "kept kept"),
    "1 MB of text": ([{"s3": "word " * (MIB // 5)}], "marked", "kept"),
    "nested 16 deep": ([{"deep": deep(16)}], "found", "found"),
    "nested 25 deep": ([{"deeper": deep(25)}], "found", "refused"),
    "odd characters": ([{"c1": "\x00\x1b[31m\u2028\ufffe😀"}], "found", "found"),
}
# What Elasticsearch 8 does otherwise: a list in which one value does not fit is refused with all of the record.
BEFORE_9 = {"list of several types 1": REFUSED, "list of objects 1": REFUSED}
# Per case: the field that is changed, its value; what Elasticsearch and OpenSearch make of the record.
WHOLE = {
    "message of 1 MB": ("message", "word " * (MIB // 5), FOUND, FOUND),
    "message of 1 MB in one word": ("message", "x" * MIB, FOUND, FOUND),
    "traceback of 1 MB": ("exc", {"traceback": "line\n" * (MIB // 5)}, FOUND, FOUND),
    "no extra": ("message", "no extra", FOUND, FOUND),
    "extra that is no object": ("extra", "text", REFUSED, REFUSED),
    "extra as null": ("extra", None, KEPT, KEPT),
    "extra as a list": ("extra", [{"a": 1}, {"b": 2}], FOUND, FOUND),
    "no time": ("@timestamp", GONE, REFUSED, REFUSED),
    "time that is none": ("@timestamp", "yesterday", REFUSED, REFUSED),
    "time as a number": ("@timestamp", 1795323737220, FOUND, FOUND),
    "time with six decimals": ("@timestamp", "2026-11-22T05:02:17.220001Z", FOUND, FOUND),
    "time in the year 9999": ("@timestamp", "9999-12-31T23:59:59.999Z", FOUND, FOUND),
    "time in the year 1": ("@timestamp", "0001-01-01T00:00:00.000Z", FOUND, FOUND),
    "two times": ("@timestamp", ["2026-11-22T05:02:17.220Z", "2026-11-22T05:02:17.221Z"], REFUSED, REFUSED),
    "milliseconds as text": ("msecs", "many", MARKED, MARKED),
    "milliseconds beyond short": ("msecs", 40_000, MARKED, MARKED),
    "message as object": ("message", {"a": 1}, REFUSED, KEPT),
    "message as number": ("message", 5, FOUND, FOUND),
    "message as null": ("message", None, KEPT, KEPT),
    "level as number": ("log.level", 40, FOUND, FOUND),
    "pid as text": ("process.pid", "seven", MARKED, MARKED),
    "number beyond long": ("event.sequence", 2**63, MARKED, MARKED),
    "service as text": ("service", "shop", REFUSED, REFUSED),
    "unknown field": ("levelname", {"": 1}, KEPT, KEPT),
    "alias written to": ("error", {"type": "E"}, REFUSED, REFUSED),
    "chain as object": ("exc", {"traceback": "", "chain": {"type": "E"}}, FOUND, FOUND),
    "chain as text": ("exc", {"traceback": "", "chain": "E"}, REFUSED, REFUSED),
    "label beyond a term": ("labels", {"a": "x" * 40_000}, KEPT, REFUSED),
    "label as object": ("labels", {"a": {"b": 1}, "c": None}, FOUND, FOUND),
    "labels as text": ("labels", "a", REFUSED, KEPT),
}


def records():
    """Every record under an id that says which case it is, with the field that the case is about."""
    for name, (extras, *_) in EXTRAS.items():
        for number, extra in enumerate(extras, 1):
            field = "extra." + next(iter(extra), "")
            yield f"{name} {number}", field, changed(MINIMAL, ("extra", extra))
    for name, (path, value, *_) in WHOLE.items():
        yield f"record: {name}", path, changed(MINIMAL, (path, value))


def outcome(stream, id_, field, status):
    """What became of a record: one of the four words at the top."""
    if status == 400:
        return REFUSED
    assert status == 201
    if stream.ignored(id_):
        return MARKED
    below = [{"exists": {"field": name}} for name in (field, field + ".*")]
    query = {"bool": {"filter": {"ids": {"values": [id_]}}, "should": below, "minimum_should_match": 1}}
    return FOUND if stream.ids(query) else KEPT


def outcomes(store, service):
    """Send all cases, in their order, and say what became of each record."""
    with Stream(store, service) as stream:
        fields = {id_: (field, record) for id_, field, record in records()}
        answers = stream.create({id_: record for id_, (_, record) in fields.items()})
        return {id_: outcome(stream, id_, fields[id_][0], status) for id_, (status, _) in answers.items()}


def expected(kind):
    """What the tables say for one of the two stores."""
    column = STORES.index(kind)
    result = {f"record: {name}": row[2 + column] for name, row in WHOLE.items()}
    for name, (extras, *words) in EXTRAS.items():
        assert len(words[column].split()) == len(extras)
        result |= {f"{name} {number}": word for number, word in enumerate(words[column].split(), 1)}
    return result


@pytest.mark.server
def test_what_becomes_of_awkward_records(store, unique_service):
    """Each store does with awkward records what the tables here say, so that a change of a store or a template is seen."""
    seen = outcomes(store, unique_service)
    wanted = expected(store.kind)
    if store.kind == "elasticsearch" and store.call("GET", "/")[1]["version"]["number"].startswith("8."):
        wanted |= BEFORE_9
    assert {id_: seen.get(id_) for id_, word in wanted.items() if seen.get(id_) != word} == {}
    assert set(seen) == set(wanted)

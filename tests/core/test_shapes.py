"""Shapes: what a receiver reads by its own documentation is what was in the files, each line once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shipper.core.endpoint import IDEMPOTENCY_HEADER, Endpoint, decode, encode, fits
from shipper.core.model import Advice, Fate, Piece, Response, count_lines
from shipper.core.ndjson import split
from shipper.core.shapes import SHAPES, any_value, nanoseconds
from tests.core.support import piece, pieces

RECORD = {
    "@timestamp": "2026-11-22T05:02:17.220Z", "msecs": 220, "log": {"level": "ERROR", "logger": "shop.pay"}, "message": "charge failed",
    "service": {"name": "shop", "version": "1.4", "environment": "prod"}, "host": {"name": "web-1"},
    "trace": {"id": "0af7651916cd43dd8448eb211c80319c"}, "span": {"id": "b7ad6b7169203331"}, "extra": {"n": 1, "big": 2**70, "list": [1, "a"]},
}  # fmt: skip
NS = 1795323737220000000


def read_loki(body: bytes) -> list[bytes]:
    """Streams with labels of strings; entries of a time in nanoseconds, as a string, and a line."""
    lines = []
    for stream in json.loads(body)["streams"]:
        assert stream["stream"]
        assert all(isinstance(v, str) and k.replace("_", "").isalpha() for k, v in stream["stream"].items())
        for time, line in stream["values"]:
            assert time.isdecimal()
            lines.append(line.encode())
    return lines


def read_splunk(body: bytes) -> list[bytes]:
    """JSON objects one after the other."""
    decoder, text, events = json.JSONDecoder(), body.decode(), []
    while text := text.lstrip():
        event, end = decoder.raw_decode(text)
        events.append(event)
        text = text[end:]
    assert all(set(event) <= {"time", "host", "source", "sourcetype", "index", "event", "fields"} for event in events)
    return [json.dumps(event["event"]).encode() for event in events]


def read_datadog(body: bytes) -> list[bytes]:
    """An array of at most 1,000 entries with reserved attributes that are strings."""
    entries = json.loads(body)
    assert len(entries) <= 1000
    assert all(isinstance(value, str) for entry in entries for value in entry.values())
    return [entry["message"].encode() for entry in entries]


READERS: dict[str, Callable[[bytes], list[bytes]]] = {
    "http": lambda body: body.splitlines(), "victorialogs": lambda body: body.splitlines(),
    "json_array": lambda body: [json.dumps(record).encode() for record in json.loads(body)], "json_each": lambda body: [body],
    "loki": read_loki, "splunk": read_splunk, "datadog": read_datadog,
}  # fmt: skip


def chunks(endpoint: Endpoint, given_pieces: tuple[Piece, ...]) -> list[tuple[Piece, ...]]:
    """Halve until each request fits, as the delivery does."""
    if fits(endpoint, given_pieces):
        return [given_pieces]
    return [part for half in split(given_pieces) for part in chunks(endpoint, half)]


@pytest.mark.parametrize("name", list(READERS))
@given(given_pieces=pieces())
def test_every_line_is_read_once(name: str, given_pieces: tuple[Piece, ...]) -> None:
    """Whatever the lines are, the receiver reads each of them, and in the order of the files unless it sorts by itself."""
    endpoint = Endpoint(SHAPES[name])
    read = [
        json.loads(line)
        for part in chunks(endpoint, given_pieces)
        for line in READERS[name](b"".join(encode(endpoint, part).parts))
    ]
    assert read == [json.loads(line) for p in given_pieces for line in p.lines]


def body(name: str, *records: Any) -> Any:
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    return json.loads(b"".join(encode(Endpoint(SHAPES[name]), [piece(*lines)]).parts))


def test_loki_has_few_labels() -> None:
    """Labels are what has few values; the time is that of the record, to the digit."""
    other = {**RECORD, "service": {"name": "mail"}, "@timestamp": "2026-11-22T05:02:17.123456789+01:00"}
    first, second = body("loki", RECORD, other, RECORD)["streams"]
    assert first["stream"] == {"service_name": "shop", "environment": "prod", "host": "web-1", "level": "ERROR"}
    assert [time for time, _ in first["values"]] == [str(NS)] * 2
    assert second["values"][0][0] == str(NS - 3600 * 10**9 - 220000000 + 123456789)


def test_splunk_has_time_host_and_source() -> None:
    """What Splunk keeps beside the event is taken from the record and its file."""
    event = body("splunk", RECORD)
    assert (event["time"], event["host"], event["source"], event["event"]) == (NS / 1e9, "web-1", "/f", RECORD)


def test_datadog_has_its_reserved_attributes() -> None:
    """Service, host, status and tags stand where Datadog looks for them."""
    (entry,) = body("datadog", RECORD)
    assert (entry["service"], entry["hostname"], entry["status"]) == ("shop", "web-1", "ERROR")
    assert entry["ddtags"] == "env:prod,version:1.4"


def test_otlp_has_everything_of_a_record() -> None:
    """Resource, severity, ids of trace and span, the message as body, all other fields as attributes."""
    (resource,) = body("otlp", RECORD, RECORD)["resourceLogs"]
    attributes = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
    assert attributes == {
        "service.name": "shop",
        "service.version": "1.4",
        "deployment.environment.name": "prod",
        "host.name": "web-1",
    }
    first, _ = resource["scopeLogs"][0]["logRecords"]
    assert (first["timeUnixNano"], first["severityNumber"], first["severityText"]) == (str(NS), 17, "ERROR")
    assert (first["traceId"], first["spanId"]) == (RECORD["trace"]["id"], RECORD["span"]["id"])
    assert first["body"] == {"stringValue": "charge failed"}
    fields = {a["key"]: a["value"] for a in first["attributes"]}
    assert fields["extra.n"] == {"intValue": "1"}
    assert fields["extra.big"] == {"stringValue": str(2**70)}
    assert fields["extra.list"] == {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}


def test_a_number_that_no_float_can_hold() -> None:
    """Such a record is sent as text in the one shape that has to take it apart, and as it is in the others."""
    line = b'{"message":"m","n":1e999}'
    (resource,) = body("otlp", line)["resourceLogs"]
    assert resource["scopeLogs"][0]["logRecords"][0]["body"] == {"stringValue": line.decode()}
    assert b"1e999" in b"".join(encode(Endpoint(SHAPES["splunk"]), [piece(line)]).parts)


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["@timestamp", "message", "service", "host", "log", "trace", "x"]), values))
def test_any_record_has_every_shape(record: dict[str, Any]) -> None:
    """A record with other kinds of values than ours has is still sent whole."""
    line = json.dumps(record).encode()
    for name, reader in READERS.items():
        (read,) = reader(b"".join(encode(Endpoint(SHAPES[name]), [piece(line)]).parts))
        assert json.loads(read) == record
    assert len(body("otlp", line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) == 1
    assert any_value(record)


@pytest.mark.parametrize(
    "text", ["", "never", "2026-13-01T00:00:00Z", "2026-01-01", None, 5, [], "2026-01-01T00:00:00", "1e9"]
)
def test_what_is_no_time_is_none(text: Any) -> None:
    """A time that cannot be read, or has no zone, is left to the receiver."""
    assert nanoseconds(text) == 0


def test_the_key_of_a_request_is_that_of_its_lines() -> None:
    """The same lines have the same key whenever they are sent; each half has its own."""
    endpoint = Endpoint()
    given_pieces = (piece(b"{}", b"{}", first=5), piece(b"{}", key="q"))
    key = dict(encode(endpoint, given_pieces).headers)[IDEMPOTENCY_HEADER]
    again = tuple(replace(p, since="") for p in given_pieces)
    assert dict(encode(endpoint, again).headers)[IDEMPOTENCY_HEADER] == key
    halves = [dict(encode(endpoint, half).headers)[IDEMPOTENCY_HEADER] for half in split(given_pieces)]
    assert len({key, *halves}) == 3


def test_expected_statuses() -> None:
    """With statuses of its own any other one is none, also a 2xx."""
    endpoint, given_pieces = Endpoint(expected=frozenset({202})), (piece(b"{}"),)
    assert decode(endpoint, given_pieces, Response(202, b"", {})).ended[0].fate is Fate.DELIVERED
    other = decode(endpoint, given_pieces, Response(200, b"", {}))
    assert (other.doubtful, other.advice) == (given_pieces, Advice.RETRY)


def test_datadogs_limits() -> None:
    """At most 1,000 entries and 5 MB; a line that is larger goes alone."""
    endpoint = Endpoint(SHAPES["datadog"])
    assert fits(endpoint, [piece(*[b"{}"] * 1000)])
    assert not fits(endpoint, [piece(*[b"{}"] * 1001)])
    large = b'{"a":"' + b"x" * 4_500_000 + b'"}'
    assert fits(endpoint, [piece(large)])
    assert not fits(endpoint, [piece(large, b"{}")])


def test_a_success_in_part() -> None:
    """OTLP may refuse some records of a request and not say which: all are put aside with its words, none is sent again."""
    endpoint, given_pieces = Endpoint(SHAPES["otlp"]), (piece(b"{}", b"{}"),)
    said = {"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "too old"}}
    outcome = decode(endpoint, given_pieces, Response(200, json.dumps(said).encode(), {}))
    assert (count_lines(outcome.again), len(outcome.refused)) == (0, 2)
    assert "1 of 2 records: too old" in outcome.refused[0].reason
    for fine in (b"", b"{}", b'{"partialSuccess":{}}', b'{"partialSuccess":{"errorMessage":"a hint"}}', b"<html>"):
        assert decode(endpoint, given_pieces, Response(200, fine, {})).ended

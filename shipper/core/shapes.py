"""
Bodies that receivers of logs over HTTP know: lines to a body, and an answer to an outcome.

A shape is a row of a table: where to, what kind of body, how much of it, and which function makes it. Those that pass lines on as they
stand cost next to nothing; where a receiver wants an envelope, each line is read by a small typed decoder, and stands in it as it
is. Sources: the HTTP APIs of Grafana Loki (`POST /loki/api/v1/push`), Splunk (HTTP Event Collector), Datadog (logs v2), VictoriaLogs
(`/insert/jsonline`) and the OpenTelemetry protocol (OTLP/HTTP, JSON encoding), as documented in 2026.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from shipper.core.bulk import in_parts
from shipper.core.model import Piece

Encode = Callable[[Sequence[Piece]], tuple[bytes, ...]]
_encode = msgspec.json.Encoder().encode
_NDJSON = "application/x-ndjson"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Shape:
    """
    How a receiver wants its records.

    Args:
        name: As in the settings.
        encode: Makes the body.
        content_type: Of the body.
        path: Where to, for a URL without a path.
        max_lines: In one request; 0: any number.
        max_bytes: Of one request, before compression; 0: any number.
        scheme: What stands in `Authorization` before a token.
        key_header: Takes the API key in place of `Authorization`.
    """

    name: str
    encode: Encode
    content_type: str = _JSON
    path: str = ""
    max_lines: int = 0
    max_bytes: int = 0
    scheme: str = "Bearer"
    key_header: str = ""


class _Named(msgspec.Struct):
    name: Any = None
    environment: Any = None
    version: Any = None
    level: Any = None
    logger: Any = None
    id: Any = None
    pid: Any = None


class _Record(msgspec.Struct):
    """What receivers want to know of a record beside the record itself."""

    timestamp: Any = msgspec.field(name="@timestamp", default=None)
    message: Any = None
    service: _Named = msgspec.field(default_factory=_Named)
    host: _Named = msgspec.field(default_factory=_Named)
    log: _Named = msgspec.field(default_factory=_Named)
    trace: _Named = msgspec.field(default_factory=_Named)
    span: _Named = msgspec.field(default_factory=_Named)


_decoder = msgspec.json.Decoder(type=_Record)
_only_time = msgspec.json.Decoder(type=dict[str, Any])


def read_facts(line: bytes) -> _Record:
    """Read the facts of a record; of one with other kinds of values, those that are as expected."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        fields = _only_time.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Record()
    return _Record(timestamp=fields.get("@timestamp"), message=fields.get("message"))


_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))")


def nanoseconds(timestamp: Any) -> int:
    """Turn an RFC 3339 time into nanoseconds since 1970; 0 where it is none."""
    found = _TIME.fullmatch(timestamp) if isinstance(timestamp, str) else None
    if found is None:
        return 0
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61 and year >= 1):
        return 0
    fraction, sign, hours, minutes = found.groups()[6:]
    offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    seconds = timegm((year, month, day, hour, minute, second, 0, 0, 0)) - offset
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0") or 0)


def _lines(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, bytes, _Record]]:
    for piece in pieces:
        for line in piece.lines:
            yield piece, line[:-1], read_facts(line)


def as_they_are(pieces: Sequence[Piece]) -> tuple[bytes, ...]:
    """Lines, each with its newline."""
    return in_parts(pieces, lambda piece: [piece.data])


def as_array(pieces: Sequence[Piece]) -> tuple[bytes, ...]:
    """One JSON array."""
    parts = in_parts(pieces, lambda piece: [b",", b",".join(piece.lines)])
    return (b"[" + parts[0][1:], *parts[1:], b"]")


def as_one(pieces: Sequence[Piece]) -> tuple[bytes, ...]:
    """A single record."""
    return (pieces[0].record(0),)


def as_loki(pieces: Sequence[Piece]) -> tuple[bytes, ...]:
    """Streams of Loki, by few labels; what has many values stands in the line, which is the whole record."""
    streams: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
    for _, line, facts in _lines(pieces):
        named = {
            "service_name": facts.service.name, "environment": facts.service.environment, "host": facts.host.name,
            "level": facts.log.level,
        }  # fmt: skip
        labels = {key: str(value) for key, value in named.items() if isinstance(value, str) and value}
        stream = tuple((labels or {"job": "jsonlog"}).items())
        streams.setdefault(stream, []).append([str(nanoseconds(facts.timestamp)), line.decode()])
    return (_encode({"streams": [{"stream": dict(stream), "values": values} for stream, values in streams.items()]}),)


def as_splunk(pieces: Sequence[Piece]) -> tuple[bytes, ...]:
    """Events of the HTTP Event Collector, one object after the other."""
    parts = []
    for piece, line, facts in _lines(pieces):
        event: dict[str, Any] = {"source": piece.source.path, "sourcetype": "_json", "event": msgspec.Raw(line)}
        if time := nanoseconds(facts.timestamp):
            event["time"] = time / 1e9
        if isinstance(facts.host.name, str):
            event["host"] = facts.host.name
        parts.append(_encode(event))
    return (b"\n".join(parts),)


def as_datadog(pieces: Sequence[Piece]) -> tuple[bytes, ...]:
    """Entries of Datadog's intake; the message is the record, which it takes apart again."""
    entries = []
    for _, line, facts in _lines(pieces):
        tags = {"env": facts.service.environment, "version": facts.service.version}
        entry: dict[str, Any] = {"ddsource": "jsonlog", "message": line.decode()}
        entry["ddtags"] = ",".join(f"{key}:{value}" for key, value in tags.items() if isinstance(value, str))
        reserved = {"service": facts.service.name, "hostname": facts.host.name, "status": facts.log.level}
        entries.append(entry | {key: value for key, value in reserved.items() if isinstance(value, str)})
    return (_encode(entries),)


# Names of levels, and where they stand in the data model of OpenTelemetry.
_SEVERITY = {
    "NOTSET": 0, "TRACE": 1, "DEBUG": 5, "INFO": 9, "NOTICE": 10, "WARNING": 13, "WARN": 13, "ERROR": 17, "CRITICAL": 21,
    "FATAL": 21,
}  # fmt: skip


def as_otlp(pieces: Sequence[Piece]) -> tuple[bytes, ...]:
    """An export request of OTLP: one resource per service and host, everything of the record among its attributes."""
    resources: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    for _, line, facts in _lines(pieces):
        named = {
            "service.name": facts.service.name, "service.version": facts.service.version,
            "deployment.environment.name": facts.service.environment, "host.name": facts.host.name,
        }  # fmt: skip
        resource = tuple((key, value) for key, value in named.items() if isinstance(value, str))
        resources.setdefault(resource, []).append(_log_record(line, facts))
    groups = [
        {
            "resource": {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in resource]},
            "scopeLogs": [{"scope": {"name": "jsonlog"}, "logRecords": records}],
        }
        for resource, records in resources.items()
    ]
    return (_encode({"resourceLogs": groups}),)


def _log_record(line: bytes, facts: _Record) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError):  # a number that no float can hold
        return {"timeUnixNano": str(nanoseconds(facts.timestamp)), "body": {"stringValue": line.decode()}}
    for key in ("@timestamp", "message"):
        fields.pop(key, None)
    record: dict[str, Any] = {
        "timeUnixNano": str(nanoseconds(facts.timestamp)),
        "body": any_value(facts.message if facts.message is not None else line.decode()),
        "attributes": [{"key": key, "value": any_value(value)} for key, value in _flat(fields)],
    }
    if isinstance(facts.log.level, str):
        record["severityText"] = facts.log.level
        record["severityNumber"] = _SEVERITY.get(facts.log.level.upper(), 0)
    ids = {"traceId": (facts.trace.id, 32), "spanId": (facts.span.id, 16)}
    return record | {key: value for key, (value, length) in ids.items() if _is_hex(value, length)}


def _is_hex(value: Any, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and not value.strip("0123456789abcdefABCDEF")


def _flat(fields: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give objects within objects dotted names, as OpenTelemetry's attributes have them."""
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", value


def any_value(value: Any) -> dict[str, Any]:
    """Turn a value into an `AnyValue` of OTLP in its JSON encoding, in which integers are strings."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": any_value(item)} for key, item in value.items()]}}
    return {"stringValue": "" if value is None else str(value)}


_VICTORIA = "/insert/jsonline?_stream_fields=service.name,service.environment,host.name&_msg_field=message&_time_field=@timestamp"
SHAPES = {
    shape.name: shape
    for shape in (
        Shape("http", as_they_are, _NDJSON),
        Shape("json_array", as_array),
        Shape("json_each", as_one, max_lines=1),
        Shape("loki", as_loki, path="/loki/api/v1/push"),
        Shape("splunk", as_splunk, path="/services/collector/event", scheme="Splunk"),
        Shape("datadog", as_datadog, path="/api/v2/logs", max_lines=1000, max_bytes=4_000_000, key_header="DD-API-KEY"),
        Shape("otlp", as_otlp, path="/v1/logs"),
        Shape("victorialogs", as_they_are, "application/stream+json", path=_VICTORIA),
    )
}
"""All shapes, by name."""

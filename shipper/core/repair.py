"""
Lines that anybody may have written, to records that a store takes.

Each change leaves a mark in `tags`, one word per kind:

| tag | what happened |
|---|---|
| `shipper.wrapped` | the line is no JSON object; it is the record's `message` |
| `shipper.cut` | the line is longer than the bound; `message` is its head and says how long it was |
| `shipper.utf8` | bytes that are no UTF-8 were replaced by U+FFFD |
| `shipper.timestamp` | there was no usable `@timestamp`; it is the time at which the line was read |
| `shipper.keys` | a key stood twice in one object; its last value was kept |

The line as it was stands in `event.original` where a change has taken something away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from shipper.core.enrich import Fields, Top, add_to_line, add_to_record

WRAPPED, CUT, UTF8, TIMESTAMP, KEYS = (f"shipper.{word}" for word in ("wrapped", "cut", "utf8", "timestamp", "keys"))
_DAY = (
    r"(?!(?:\d{4})-(?:0[469]|11)-31|(?:\d{4})-02-3)"  # no such days
    r"(?!\d\d(?!00|0[48]|[2468][048]|[13579][26])\d\d-02-29|(?![02468][048]|[13579][26])\d\d00-02-29)"
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:%s\d{1,9})?)?"
_ZONE = r"[+-](?:0\d|1[0-8])(?::?[0-5]\d)?"
TIMESTAMP_PATTERN = rf"\A{_DAY}(?:T{_TIME % '[.]'}(?:Z|{_ZONE})?)?\Z"
"""What both stores read as `strict_date_optional_time`: from the day to the nanosecond."""
_usable = re.compile(TIMESTAMP_PATTERN)
_nearly = re.compile(rf"\A({_DAY})[Tt ]({_TIME % '[.,]'}) ?([Zz]|{_ZONE}|)\Z")
_FIRST_TIMESTAMP = re.compile(rb'\A\s*\{\s*"@timestamp"\s*:\s*"([0-9T:.Z+-]{10,35})"')
_EPOCH_MS = (100_000_000_000, 253_402_300_800_000)  # 1973 to 9999: fewer are seconds, which a store would take for 1970

_top = msgspec.json.Decoder(type=dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def as_read(record: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a record what would be another one if its line were read again: the time of reading, the path of its file."""
    kept = {key: value for key, value in record.items() if key != "log.file.path"}
    log, tags = kept.get("log"), kept.get("tags")
    if isinstance(log, dict) and "file" in log:
        kept["log"] = {key: value for key, value in log.items() if key != "file"}
        if not kept["log"]:
            del kept["log"]
    if isinstance(tags, list) and not {TIMESTAMP, WRAPPED, CUT}.isdisjoint(map(str, tags)):
        kept.pop("@timestamp", None)
    return kept


def has_keys_twice(values: bytes) -> bool:
    """
    Tell whether an object anywhere in *values* has a key twice, which parsers pass over and stores refuse.

    Writing down what a parser made of them takes fewer quotes then. In doubt it is said that one has.

    Args:
        values: Valid JSON values with commas between them.
    """
    if b"\\u0022" in values:  # a quote that is written as more than one byte
        return True
    try:
        again = orjson.dumps(orjson.loads(b"[" + values + b"]"))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return True
    return again.count(b'"') != values.count(b'"')


def repair(line: bytes, *, at: str, fields: Fields) -> bytes | None:
    """
    Make a record of a foreign line.

    Args:
        line: Without blanks around it.
        at: When it was read, as `@timestamp`.
        fields: What is added to it.

    Returns:
        None when the line is no JSON object.
    """
    marks: list[str] = []
    text, original = line, ""
    try:
        line.decode()
    except UnicodeDecodeError:
        text = line.decode(errors="replace").encode()
        marks.append(UTF8)
    try:
        top: Top = _top.decode(text)
        if has_keys_twice(text) and (once := _written_once(text)) is not None:
            top, original = once, text.decode()
            marks.append(KEYS)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not _has_time(top):
        if "@timestamp" in top and bytes(top["@timestamp"]) != b"null":
            original = original or text.decode()
        top["@timestamp"] = msgspec.Raw(_encode(at))
        marks.append(TIMESTAMP)
    if original and "event.original" not in top:
        top["event.original"] = msgspec.Raw(_encode(original))
    _mark(top, marks)
    return add_to_line(_encode(top), fields)


def wrap(line: bytes, *, at: str, place: Mapping[str, Any], fields: Fields) -> bytes:
    """
    Make a record whose message is a line that is no record.

    Args:
        line: Any bytes.
        at: When it was read.
        place: `path` of its file and its `offset` there.
        fields: What is added to it.
    """
    text = line.decode(errors="replace")
    marks = [WRAPPED] if text.encode() == line else [UTF8, WRAPPED]
    return _made(text, at=at, place=place, marks=marks, fields=fields)


def cut(head: bytes, size: int, *, at: str, place: Mapping[str, Any], fields: Fields) -> bytes:
    """Make a record of the head of a line that is *size* bytes long; see `wrap`."""
    found = _FIRST_TIMESTAMP.match(head)
    if found is not None and _usable.match(found[1].decode()):
        at = found[1].decode()
    text = f"{head.decode(errors='replace')}… [cut: {size} bytes]"
    return _made(text, at=at, place=place, marks=[CUT], fields=fields)


def _made(text: str, *, at: str, place: Mapping[str, Any], marks: list[str], fields: Fields) -> bytes:
    record: dict[str, Any] = {
        "@timestamp": at,
        "message": text,
        "event": {"kind": "pipeline_error"},
        "log": {"file": {"path": place["path"]}, "offset": place["offset"]},
        "tags": marks,
    }
    add_to_record(record, fields)
    return _encode(record)


def _written_once(text: bytes) -> Top | None:
    """Write a line anew with each key once; None when it was so already."""
    again = _encode(_any.decode(text))
    if b"\\u0022" not in text.lower() and again.count(b'"') == text.count(b'"'):
        return None
    return _top.decode(again)


def _has_time(top: Top) -> bool:
    """Tell whether a store can read the timestamp; one that differs in its separators alone is put right."""
    if "@timestamp" not in top:
        return False
    value = msgspec.json.decode(top["@timestamp"])
    if type(value) is int:
        return _EPOCH_MS[0] <= value < _EPOCH_MS[1]
    if not isinstance(value, str):
        return False
    if _usable.match(value):
        return True
    near = _nearly.match(value)
    if near is None:
        return False
    top["@timestamp"] = msgspec.Raw(_encode(f"{near[1]}T{near[2].replace(',', '.')}{near[3].upper()}"))
    return True


def _mark(top: Top, marks: list[str]) -> None:
    if not marks:
        return
    old = msgspec.json.decode(top["tags"]) if "tags" in top else []
    kept = old if isinstance(old, list) else [] if old is None else [old]
    top["tags"] = msgspec.Raw(_encode([*kept, *marks]))

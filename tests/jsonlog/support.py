"""What the tests of `jsonlog` share: making records, and one strict check that every formatted line has to pass."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from jsonlog import JsonFormatter

ROOT = Path(__file__).parents[2]
_SCHEMA = json.loads((ROOT / "schemas/record.schema.json").read_text())
LINE = Draft202012Validator(_SCHEMA)
RECORD = Draft202012Validator({"$ref": "#/$defs/record", "$defs": _SCHEMA["$defs"]})
CREATED = 1_795_323_737.22  # 2026-11-22T05:02:17.220Z
NOW_FIELDS = {"@timestamp": "2026-11-22T05:02:17.220Z", "msecs": 220}


def make(msg: Any = "hello", *args: Any, extra: dict[Any, Any] | None = None, **attributes: Any) -> logging.LogRecord:
    """A record as `Logger.info(msg, *args, extra=extra)` makes it, at a fixed time and place; *attributes* are set last."""
    record = logging.LogRecord("shop.pay", logging.INFO, "/app/shop/pay.py", 12, msg, args, None, "charge")
    record.created, record.msecs, record.process = CREATED, 220.0, 7
    record.__dict__.update(extra or {})
    record.__dict__.update(attributes)
    return record


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    assert len(result) == len(pairs), f"duplicate key among {[key for key, _ in pairs]}"
    return result


def _no_constant(text: str) -> None:
    raise AssertionError(f"{text} is not JSON")


def parse(data: bytes) -> dict[str, Any]:
    """Read one line strictly: valid UTF-8, one JSON object, no NaN, no duplicate key, no raw newline."""
    assert b"\n" not in data
    assert b"\r" not in data
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 5000))
    try:
        value = json.loads(data.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    finally:
        sys.setrecursionlimit(limit)
    assert isinstance(value, dict)
    return value


def check(formatter: JsonFormatter, record: logging.LogRecord) -> dict[str, Any]:
    """
    Format *record* both ways and demand what holds for any record.

    One strict JSON object, valid by the schema, within the line's bound; text and bytes alike; the record untouched.
    """
    before = dict(record.__dict__)
    data = formatter.format_bytes(record)
    after = record.__dict__
    assert list(map(id, after)) == list(map(id, before)), "the record's attributes changed"
    assert all(after[key] is value for key, value in before.items()), "a value on the record changed"
    assert type(data) is bytes
    assert data.endswith(b"}")
    value = parse(data)
    errors = [f"{error.json_path}: {error.message[:200]}" for error in RECORD.iter_errors(value)]
    assert not errors, errors
    return value


def is_direct(formatter: JsonFormatter, record: logging.LogRecord) -> bool:
    """Tell whether *record*, seen once already, is joined from encoded pieces."""
    careful: list[logging.LogRecord] = []
    write = formatter._direct.writer(lambda record: careful.append(record) or b"")
    write(record)
    return not careful


def fields(msg: Any = "hello", *args: Any, options: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    """Format a record of `make` and return the checked result."""
    return check(JsonFormatter(**options or {}), make(msg, *args, **attributes))


def one(value: Any, **options: Any) -> tuple[Any, list[str]]:
    """What becomes of one value in `extra`, and the marks."""
    result = fields(extra={"x": value}, options=options)
    return result["extra"]["x"], result.get("tags", [])

"""Renders records as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from jsonlog.view.fields import adapt, is_ours
from jsonlog.view.query import look_up

COLUMNS = (
    "@timestamp", "log.level", "log.logger", "service.name", "host.name", "process.pid", "message", "exc.type",
    "exc.message", "exc.traceback", "stack", "trace.id", "extra", "run", "event.sequence",
)  # fmt: skip
_APART = frozenset({"@timestamp", "log", "message", "exc"})


class Table:
    r"""Turns records into rows of CSV (RFC 4180, with `\n` at the end of a row)."""

    def __init__(self) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator="\n")

    def header(self) -> str:
        """Give the first row: the names of the fields."""
        return self._row(COLUMNS)

    def render(self, line: bytes, record: dict[str, Any] | None) -> str:
        """Give one row; a line that is no JSON object stands in `message`, all else empty."""
        if record is None:
            text = line.removesuffix(b"\r").decode(errors="backslashreplace")
            return self._row([text if name == "message" else "" for name in COLUMNS])
        if not is_ours(record):
            record = adapt(record)
            record["extra"] = {name: value for name, value in record.items() if name not in _APART} or None
        return self._row([_cell(look_up(record, name)) for name in COLUMNS])

    def _row(self, cells: Any) -> str:
        self._writer.writerow(cells)
        row = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return row


def _cell(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None or type(value) is object:  # not in the record
        return ""
    return orjson.dumps(value).decode()

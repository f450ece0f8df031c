"""Run one SELECT of a user's and print its answer: the inside of the fence. A script of its own process, see ``sql``.

Standard input: ``{"view": SQL, "query": SQL, "max_rows": n, "max_bytes": n, "memory_mb": n, "cpu_s": n}``.
Standard output: ``{"columns": […], "rows": [[…]], "truncated": …}`` or ``{"error": "…"}``.

The fence, from the outside in: no environment; limits of the kernel on memory, processor time, and on the size of any file
(none can be written); DuckDB without files, network, extensions, spilling and settings, but for the Parquet files of the
view; one statement, which must be a SELECT, in a transaction that can only read.
"""

import json
import math
import re
import resource
import sys
from decimal import Decimal
from typing import Any

import duckdb

_PLAIN = {"BOOLEAN", "FLOAT", "DOUBLE", "VARCHAR", "JSON"} | {
    prefix + size for prefix in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
}
_ISO = "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')"


def main() -> None:
    """Read the request from standard input, limit this process, answer on standard output."""
    request = json.load(sys.stdin)
    _limit(request["memory_mb"], request["cpu_s"])
    try:
        answer = _answer(request)
    except duckdb.Error as exc:
        answer = {"error": _readable(exc, request["memory_mb"])}
    except (MemoryError, RecursionError, OverflowError, ValueError) as exc:
        answer = {"error": f"the answer cannot be shown: {exc or type(exc).__name__}"}
    sys.stdout.write(json.dumps(answer, allow_nan=False))


def _limit(memory_mb: int, cpu_s: int) -> None:
    # Address space is reserved generously by DuckDB's allocator; its own limit below is the one that is usually met.
    for kind, value in (
        (resource.RLIMIT_AS, (memory_mb * 2 + 2_048) * 2**20),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    connection = _confined(request["view"], request["memory_mb"])
    statements = connection.extract_statements(request["query"])
    if len(statements) != 1:
        return {"error": f"one statement is run at a time, this is {len(statements)}"}
    if (kind := statements[0].type.name) != "SELECT":
        return {"error": f"only SELECT can be run here, this is {kind}"}
    if statements[0].named_parameters:
        return {"error": "parameters cannot be given here: write the values into the query"}
    connection.execute("BEGIN TRANSACTION READ ONLY")
    relation = connection.sql(_without_end(request["query"]))
    columns, types = list(relation.columns), [str(type_) for type_ in relation.types]
    shown = relation.project(", ".join(f"{_shown(f'#{i}', type_)} AS c{i}" for i, type_ in enumerate(types, 1)))
    nested = [type_ == "JSON" or _is_nested(type_) for type_ in types]
    rows: list[list[Any]] = []
    size = 0
    for values in shown.limit(request["max_rows"] + 1).fetchall():
        row = [_value(value, is_json) for value, is_json in zip(values, nested, strict=True)]
        size += len(json.dumps(row, allow_nan=False))
        if len(rows) == request["max_rows"] or size > request["max_bytes"]:
            return {"columns": columns, "rows": rows, "truncated": True}
        rows.append(row)
    return {"columns": columns, "rows": rows, "truncated": False}


def _without_end(query: str) -> str:
    """A single statement without its semicolon and what follows, since it is going to be put in parentheses."""
    text = query.lstrip("; \t\r\n").encode()
    ends = [at for at, _ in duckdb.tokenize(text.decode()) if text[at : at + 1] == b";"]
    return text[: ends[0]].decode() if ends else text.decode()


def _confined(view: str, memory_mb: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": 2,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET temp_directory = ''")
    connection.execute(f"CREATE VIEW records AS {view}")
    files = ", ".join(re.findall(r"'[^']*(?:''[^']*)*\.parquet'", view))
    connection.execute(f"SET allowed_paths = [{files}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _shown(column: str, type_: str) -> str:
    """SQL for a column in a type that Python and JSON both have."""
    if _is_nested(type_):
        return f"to_json({column})"
    if type_ in _PLAIN or type_.startswith("DECIMAL"):
        return column
    if type_ == "TIMESTAMP":
        return _ISO.format(column)
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return _ISO.format(f"({column} AT TIME ZONE 'UTC')")
    return f"CAST({column} AS VARCHAR)"


def _is_nested(type_: str) -> bool:
    return type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION"))


def _value(value: Any, is_json: bool) -> Any:  # noqa: FBT001  (a column of flags beside a column of values)
    if is_json and isinstance(value, str):
        try:
            return json.loads(value, parse_float=_float, parse_constant=str)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Decimal):
        number = float(value)
        return number if math.isfinite(number) and Decimal(repr(number)) == value else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _readable(exc: duckdb.Error, memory_mb: int) -> str:
    if isinstance(exc, duckdb.OutOfMemoryException):
        return f"the query needs more memory than the {memory_mb} MB it may use"
    return " ".join(str(exc).split("\n\n")[0].split())[:500]


if __name__ == "__main__":
    main()

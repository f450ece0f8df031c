import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from shipper.collector.sql import SqlError, SqlLimits, run_sql
from shipper.collector.store import Store
from tests.collector.conftest import Client, ndjson, record

QUICK = SqlLimits(timeout_s=5, memory_mb=128)


def answer(store: Store, query: str, limits: SqlLimits = QUICK) -> dict[str, object]:
    return orjson.loads(run_sql(store, query, limits))


@pytest.fixture
def filled(store: Store) -> Store:
    exc = {"type": "CardError", "message": "declined", "traceback": "Traceback"}
    store.add(
        ndjson(
            record(0, exc=exc, log={"level": "ERROR"}),
            *(record(n, extra={"duration_ms": n * 1.5}) for n in range(1, 5)),
        )
    )
    return store


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT level, count(*) FROM records GROUP BY level ORDER BY 2", [["ERROR", 1], ["INFO", 4]]),
        ("SELECT exc_type, count(*) FROM records WHERE exc_type IS NOT NULL GROUP BY ALL", [["CardError", 1]]),
        ("SELECT message, record->>'$.extra.duration_ms' FROM records ORDER BY (record->>'$.extra.duration_ms')::DOUBLE DESC NULLS LAST LIMIT 1", [["charge 4", "6.0"]]),
        ("SELECT id, time, service, environment, host, pid, run, sequence FROM records WHERE sequence = 2", [["k3v9:2", "2026-11-22T05:00:02.220000Z", "shop", "prod", "web-1", 7, "k3v9", 2]]),
        ("SELECT record->'$.extra' FROM records WHERE sequence = 2;  -- a comment", [[{"duration_ms": 3.0}]]),
        ("WITH x AS (SELECT 1 AS a) FROM x", [[1]]), ("; SELECT 'é;' -- ;", [["é;"]]),
        ("SELECT 1.5, 'nan'::DOUBLE, 'infinity'::DOUBLE, NULL, [1, 2], {'a': 'b'}, INTERVAL 3 DAY, DATE '2026-01-02', 18446744073709551616", [[1.5, "nan", "inf", None, [1, 2], {"a": "b"}, "3 days", "2026-01-02", 18446744073709551616]]),
    ],
)  # fmt: skip
def test_answers(filled: Store, query: str, rows: list[list[object]]) -> None:
    """The queries that the documentation shows work, and values arrive as JSON has them."""
    assert answer(filled, query)["rows"] == rows


def test_every_type(store: Store) -> None:
    """Every type that DuckDB has can be shown."""
    assert len(answer(store, "FROM test_all_types()")["rows"]) == 3
    assert answer(store, "SELECT now(), current_date")["truncated"] is False


def test_sealed_and_recent(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query sees the records in Parquet and the recent ones together."""
    monkeypatch.setattr("shipper.collector.store.SEAL_ROWS", 1)
    filled.add(ndjson(record(10)))
    monkeypatch.undo()
    filled.add(ndjson(record(11)))
    assert answer(filled, "SELECT count(*) FROM records")["rows"] == [[7]]
    assert not list((filled.data / "tmp").iterdir())


HOSTILE = [
    "SELECT * FROM read_csv('{0}')", "SELECT * FROM read_text('{0}')", "SELECT * FROM read_blob('{0}')", "SELECT * FROM glob('{1}/*')", "FROM '{0}'", "FROM read_text('/proc/self/environ')",
    "FROM read_json('{0}')", "FROM read_parquet('{1}/other.parquet')", "FROM sniff_csv('{0}')", "FROM parquet_metadata('{0}')", "FROM parquet_schema('{1}/other.parquet')",
    "COPY (SELECT 1) TO '{1}/out'", "COPY records TO '{1}/out'", "EXPORT DATABASE '{1}/out'", "IMPORT DATABASE '{1}'", "ATTACH '{1}/out'", "ATTACH '{1}/collector.duckdb'", "USE memory",
    "INSTALL httpfs", "LOAD httpfs", "LOAD '{0}'", "FROM 'https://example.com/x.parquet'", "FROM read_csv('http://127.0.0.1:1/x')", "FORCE INSTALL icu",
    "SET enable_external_access = true", "SET memory_limit = '9GB'", "RESET ALL", "PRAGMA enable_profiling", "PRAGMA database_list", "CALL enable_logging(storage = 'file')",
    "FROM enable_logging(storage = 'file', storage_path = '{1}/out')", "CREATE TABLE x(a INT)", "CREATE SECRET s (TYPE s3)", "CREATE MACRO m() AS 1", "DROP VIEW records",
    "INSERT INTO records VALUES (1)", "DELETE FROM records", "UPDATE records SET level = 'x'", "TRUNCATE records", "WITH x AS (DELETE FROM records RETURNING *) FROM x",
    "WITH x AS (INSERT INTO records VALUES (1) RETURNING *) FROM x", "SELECT 1; DROP VIEW records", "SELECT 1; SELECT 2", "EXPLAIN ANALYZE DELETE FROM records", "EXPLAIN SELECT 1",
    "PREPARE p AS SELECT 1", "EXECUTE p", "BEGIN", "COMMIT", "CHECKPOINT", "VACUUM", "SELECT nextval('s')", "SELECT getenv('PATH')", "FROM query('COPY (SELECT 1) TO ''{1}/out''')",
    "FROM query('FROM read_text(''{0}'')')", "FROM query_table('{0}')", "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{0}'')'))", "FROM read_duckdb('{1}/collector.duckdb')",
    "SELECT $1", "SELECT ?", "", ";", "SELEC 1", "SELECT nope FROM records", "SELECT * FROM nowhere", "SELECT " + "(" * 3000 + "1" + ")" * 3000, "SELECT '\0", "SELECT length(repeat('x', 10000000000))",
]  # fmt: skip


def test_hostile_queries(filled: Store, tmp_path: Path) -> None:
    """Nothing but one SELECT on the records runs: no file is read or written, nothing is fetched, nothing set or changed."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,hunter2\n")
    subprocess.run(["cp", secret, filled.data / "other.parquet"], check=True)
    before = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}

    def attempt(query: str) -> str:
        try:
            return run_sql(filled, query.replace("{0}", str(secret)).replace("{1}", str(filled.data)), QUICK).decode()
        except SqlError as exc:
            return f"refused: {exc}"

    with ThreadPoolExecutor(2) as pool:
        got = dict(zip(HOSTILE, pool.map(attempt, HOSTILE), strict=True))
    assert {query: reply for query, reply in got.items() if not reply.startswith("refused: ")} == {}
    assert not any("\n" in reply or "hunter2" in reply for reply in got.values())
    assert {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()} == before
    assert answer(filled, "SELECT count(*) FROM records")["rows"] == [[5]]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM range(100000000000)",
        "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b",
        "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM x) SELECT count(*) FROM x WHERE a < 0",
    ],
)
def test_endless_queries(filled: Store, query: str) -> None:
    """A query that does not end is ended, and the store takes records meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        running = pool.submit(run_sql, filled, query, SqlLimits(timeout_s=2))
        assert filled.add(ndjson(record(99))).stored == 1
        with pytest.raises(SqlError, match=r"2 s and was stopped|memory"):
            running.result()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "query",
    ["SELECT string_agg(repeat('x', 1000), '') FROM range(100000000)", "SELECT list(range) FROM range(1000000000)", "SELECT repeat('x', 100000000) FROM range(100)", "SELECT length(repeat('x', 4000000000))", "SELECT count(*) FROM (SELECT DISTINCT range::VARCHAR FROM range(100000000))"],
)  # fmt: skip
def test_memory_hogs(filled: Store, query: str) -> None:
    """A query that wants too much memory fails with a readable word, and nothing else does."""
    with pytest.raises(SqlError, match=r"memory|took longer"):
        run_sql(filled, query, QUICK)
    assert filled.add(ndjson(record(99))).stored == 1


def test_long_answers(store: Store) -> None:
    """Rows and bytes are bounded, and the answer says that it was cut."""
    cut = answer(store, "SELECT range FROM range(20000)")
    assert (len(cut["rows"]), cut["truncated"], cut["rows"][-1]) == (10_000, True, [9999])
    assert answer(store, "SELECT range FROM range(10000)")["truncated"] is False
    short = answer(store, "SELECT repeat('x', 1000) FROM range(100)", SqlLimits(max_bytes=5_000))
    assert (len(short["rows"]), short["truncated"]) == (4, True)


def test_over_http(client: Client) -> None:
    """The endpoint answers in the promised form, and errors in one line."""
    client.send(ndjson(record(1)))
    assert client.sql("SELECT level FROM records").json() == {
        "columns": ["level"],
        "rows": [["INFO"]],
        "truncated": False,
    }
    for query in ("", "DROP TABLE records", "SELECT '" + "x" * 20_000 + "'"):
        refused = client.sql(query)
        assert (refused.status_code, list(refused.json())) == (400, ["error"])

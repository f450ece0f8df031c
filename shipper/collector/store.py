"""Where the records stay: a DuckDB file that takes them in, and Parquet files for those that have settled.

Strategy. A body is one transaction on ``collector.duckdb``; its commit is an fsync of DuckDB's write-ahead log, so an answer
means the records are on disk, and a process that is killed loses nothing it answered for. When the table of recent records
has grown, it is written to ``records-<n>.parquet``; the next transaction enters the file's name in ``segments`` and empties
the table, so a record is always in exactly one of the two. A Parquet file that no segment names is the rest of a crash and
is removed at the start. Parquet because it is small (a tenth of the text), never changes, and can be read by the process
that runs a user's SQL, which the database file could not be.

Identity. What was stored is known as ranges of numbers for each source (see ``records``), in memory and in the table
``spans``: an index on the ids would hold every one of them in memory. Ids that come in order cost nothing, however many.

The view ``records`` that searches and ``/api/sql`` see, one row for each record:

====================================  ==========================================================================
id VARCHAR                            what the record is known by; never twice
time TIMESTAMP                        ``@timestamp``, UTC; the time of arrival where it is missing or absurd
level, logger, message VARCHAR        ``log.level`` in capitals, ``log.logger``, ``message``
service, environment, host VARCHAR    ``service.name``, ``service.environment``, ``host.name``
pid BIGINT                            ``process.pid``
exc_type, exc_message VARCHAR         ``exc.type``, ``exc.message``
traceback VARCHAR                     ``exc.traceback``
run VARCHAR, sequence BIGINT          the writer and its number, ``run`` and ``event.sequence``
trace_id VARCHAR                      ``trace.id``
record JSON                           the whole record: ``record->>'$.extra.user'``
received TIMESTAMP, bytes BIGINT      when it arrived, UTC, and how long its line was
original VARCHAR                      the line as it came, where ``record`` could not hold it (lone surrogates)
source VARCHAR, number BIGINT         the two parts of the id
====================================  ==========================================================================
"""

import contextlib
import fcntl
import itertools
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from shipper.collector.records import Arrival, Row, Run, Spans, read_rows

SEAL_ROWS = 100_000
SEAL_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)

_SLICE_ROWS = 5_000
_TEXT_COLUMNS = 11
_TYPES = (
    "VARCHAR",
    "BIGINT",
    "BIGINT",
    "BIGINT",
    *["VARCHAR"] * _TEXT_COLUMNS,
    "BIGINT",
    "BIGINT",
    "BIGINT",
    "VARCHAR",
    "VARCHAR",
)
_TABLE_TYPES = {"received": "TIMESTAMP", "time": "TIMESTAMP", "record": "JSON"}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS recent ({", ".join(f"{n} {_TABLE_TYPES.get(n, t)}" for n, t in zip(Row._fields, _TYPES, strict=True))});
CREATE TABLE IF NOT EXISTS segments (number BIGINT);
CREATE TABLE IF NOT EXISTS spans (source VARCHAR, first BIGINT, last BIGINT);
"""
# Only names of columns and types are put into the text.
_INSERT = f"""
INSERT INTO recent
SELECT source, number, make_timestamp(received), make_timestamp(time),
       * EXCLUDE (source, number, received, time, record, original),
       TRY_CAST(record AS JSON), CASE WHEN TRY_CAST(record AS JSON) IS NULL THEN coalesce(original, record) ELSE original END
FROM (SELECT {", ".join(f"unnest(CAST(${i} AS {t}[])) AS {n}" for i, (n, t) in enumerate(zip(Row._fields, _TYPES, strict=True), 1))})
"""  # noqa: S608
# The columns of the view in the order in which `SELECT *` shows them.
_VIEW = """
SELECT source || CASE WHEN ends_with(source, ':') THEN CAST(number AS VARCHAR) ELSE lower(to_hex(number)) END AS id,
       time, level, logger, message, service, environment, host, pid, exc_type, exc_message, traceback,
       run, sequence, trace_id, record, received, bytes, original, source, number
FROM ({0})
"""


class CollectorError(Exception):
    """The collector cannot start; the message names the thing and says what to do. The operator's to mend."""


class StoreUnavailable(Exception):
    """The records could not be written, for want of disk space for example. The sender should try again later."""


class QueryTimeout(Exception):
    """A search took longer than it may."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a body: how many records are new, how many were there before."""

    stored: int
    duplicates: int


def view_over(recent: str, segments: Sequence[Path]) -> str:
    """The SELECT that makes the view ``records`` out of the recent records and the Parquet files."""
    files = ", ".join(_quoted(path) for path in segments)
    both = f"FROM {recent} UNION ALL BY NAME FROM read_parquet([{files}])" if files else f"FROM {recent}"
    return _VIEW.format(both)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


class Store:
    """The records of one data directory. Every method may be called from any thread; one body is written at a time."""

    def __init__(self, data: Path, *, timeout_s: float = 10) -> None:
        """Open a data directory, or make one, and bring it in order after a crash.

        Args:
            data: The directory; nothing else should live in it.
            timeout_s: How long a search may take.

        Raises:
            CollectorError: It cannot be used, or another collector uses it.
        """
        self.data = data.absolute()
        self._timeout_s = timeout_s
        self._writing = threading.Lock()
        self._connecting = threading.Lock()
        self._lock = _lock(self.data)
        try:
            self._open()
        except (duckdb.Error, OSError) as exc:
            os.close(self._lock)
            raise CollectorError(
                f"cannot open the data in {self.data}: {_one_line(exc)}; move the directory away to start with an empty one"
            ) from exc

    def _open(self) -> None:
        config: dict[str, Any] = {
            "memory_limit": "1GB",
            "temp_directory": str(self.data / "tmp"),
            "checkpoint_threshold": "1TB",  # it is done when a segment is written, when there is least to write
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        shutil.rmtree(self.data / "tmp", ignore_errors=True)
        (self.data / "tmp").mkdir()
        self._database = duckdb.connect(str(self.data / "collector.duckdb"), config=config)
        self._database.execute("SET parquet_metadata_cache = true")
        self._database.execute(_SCHEMA)
        named = {self._segment(number).name for (number,) in self._rows("SELECT number FROM segments")}
        for path in self.data.glob("records-*.parquet*"):
            if path.name not in named:
                path.unlink()
        self._spans = Spans()
        for source, first, last in self._rows("SELECT source, first, last FROM spans"):
            self._spans.add(source, first, last)
        ((self._recent_rows, self._recent_bytes),) = self._rows("SELECT count(*), coalesce(sum(bytes), 0) FROM recent")

    def close(self) -> None:
        """Let go of the directory; the store cannot be used afterwards."""
        with self._writing:
            self._database.close()
            os.close(self._lock)

    def add(self, body: bytes, runs: tuple[Run, ...] | None = None) -> Stored:
        """Store what is new in a body; when this returns it is on disk.

        Args:
            body: NDJSON.
            runs: The ids of its lines, as ``Shipper-Lines`` gave them, or None.

        Returns:
            How many records were stored and how many were there before.

        Raises:
            BodyError: The body is not what it has to be; nothing of it is stored.
            StoreUnavailable: It could not be written; nothing of it is stored.
        """
        arrival = Arrival(time.time_ns() // 1_000, f"anonymous-{secrets.token_hex(8)}-")
        with self._writing:
            try:
                return self._add(read_rows(body, runs, arrival))
            except (duckdb.Error, OSError, MemoryError) as exc:
                self._reopen_if_broken(exc)
                raise StoreUnavailable(f"the records could not be written: {_one_line(exc)}") from exc

    def _add(self, rows: Iterator[Row]) -> Stored:
        new = Spans()
        stored = seen = size = 0
        with self._transaction() as cursor:
            while piece := list(itertools.islice(rows, _SLICE_ROWS)):
                seen += len(piece)
                fresh = []
                for row in piece:
                    identity = row[:2]
                    if identity not in self._spans and identity not in new:
                        fresh.append(row)
                        new.add(*identity, row.number)
                if fresh:
                    cursor.execute(_INSERT, [list(column) for column in zip(*fresh, strict=True)])
                stored += len(fresh)
                size += sum(row.bytes for row in fresh)
            _insert_spans(cursor, new)
        for span in new:
            self._spans.add(*span)
        self._recent_rows += stored
        self._recent_bytes += size
        if self._recent_rows >= SEAL_ROWS or self._recent_bytes >= SEAL_BYTES:
            self._seal()
        return Stored(stored, seen - stored)

    def _seal(self) -> None:
        """Move the recent records into a Parquet file of their own. A failure leaves everything as it was."""
        try:
            with self._transaction() as cursor:
                ((number,),) = cursor.execute("SELECT coalesce(max(number), 0) + 1 FROM segments").fetchall()
                self._copy(cursor, "recent ORDER BY time", self._segment(number))
                cursor.execute("INSERT INTO segments VALUES (?)", [number])
                cursor.execute("DELETE FROM recent")
                cursor.execute("DELETE FROM spans")
                _insert_spans(cursor, self._spans)
            self._recent_rows = self._recent_bytes = 0
            with self._cursor() as cursor:
                cursor.execute("CHECKPOINT")
        except (duckdb.Error, OSError) as exc:
            _log.warning("the recent records stay where they are: %s", _one_line(exc))
            self._reopen_if_broken(exc)

    def _copy(self, cursor: duckdb.DuckDBPyConnection, source: str, path: Path) -> None:
        partial = path.with_name(path.name + ".partial")
        cursor.execute(
            f"COPY (FROM {source}) TO {_quoted(partial)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)"
        )
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)

    def export(self, folder: Path) -> str:
        """Give another process what it needs to read all records: the SELECT of the view over Parquet files only.

        Args:
            folder: An empty folder for a copy of the recent records; the caller removes it.
        """
        path = folder / "recent.parquet"
        with self._snapshot() as (cursor, segments):
            self._copy(cursor, "recent", path)
        return view_over(f"read_parquet([{_quoted(path)}])", segments)

    @contextlib.contextmanager
    def reading(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """One state of the store for a search.

        Yields:
            A cursor, and the SELECT that is the view ``records`` on it.

        Raises:
            QueryTimeout: What was done with the cursor took too long.
        """
        with self._snapshot() as (cursor, segments):
            timer = threading.Timer(self._timeout_s, cursor.interrupt)
            timer.daemon = True
            timer.start()
            try:
                yield cursor, view_over("recent", segments)
            except duckdb.InterruptException as exc:
                raise QueryTimeout(f"took longer than {self._timeout_s:g} s: ask for a shorter time range") from exc
            finally:
                timer.cancel()

    def _segment(self, number: int) -> Path:
        return self.data / f"records-{number:08d}.parquet"

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            return cursor.execute(sql).fetchall()

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._connecting:
            cursor = self._database.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[Path]]]:
        """One state of the store: what is read through the cursor, and the segments that belong to it."""
        with self._transaction() as cursor:
            numbers = cursor.execute("SELECT number FROM segments ORDER BY number").fetchall()
            yield cursor, [self._segment(number) for (number,) in numbers]

    def _reopen_if_broken(self, exc: BaseException) -> None:
        """After a failed write DuckDB may refuse everything until its file is opened again."""
        if isinstance(exc, duckdb.FatalException):
            with contextlib.suppress(duckdb.Error, OSError):
                self._database.close()
                self._open()


def _lock(data: Path) -> int:
    try:
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise CollectorError(
            f"cannot write to the data directory {data}: {exc.strerror}; give one that you may write to with --data"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise CollectorError(
            f"the data directory {data} is in use by another collector; stop that one or give another --data"
        ) from exc
    return descriptor


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _insert_spans(cursor: duckdb.DuckDBPyConnection, spans: Spans) -> None:
    if columns := [list(column) for column in zip(*spans, strict=True)]:
        cursor.execute(
            "INSERT INTO spans SELECT unnest($1::VARCHAR[]), unnest($2::BIGINT[]), unnest($3::BIGINT[])", columns
        )


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split()) or type(exc).__name__

"""
What survives a restart: for each file, how far it is delivered and how to recognise it.

SQLite in WAL mode with `synchronous=FULL`: a commit that returned is on disk. One shipper per folder, held by a file lock
that the kernel lets go of when the shipper dies.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from shipper.core.accounting import Imbalance, Tally
from shipper.core.acks import Commit
from shipper.core.doubt import Reservation
from shipper.core.manifest import Manifest
from shipper.core.model import ORIGIN, Fate, Position
from shipper.errors import ConfigError, StoreError, StoreFull
from shipper.formats import VERSIONS
from shipper.holding import hold
from shipper.manifests import DISCARD, HALVE, NONE, RECORD, read_manifests, rows_of, settling
from shipper.spare import Spare

CHECKPOINT = "checkpoint.sqlite"
_PASSING = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_IOERR")
_NOT_ALLOWED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_INSERT = (
    "INSERT INTO files (key, path, foreign_, device, inode, head, offset, line, tail, updated, counted_from) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?8) ON CONFLICT (key) DO UPDATE SET path = excluded.path, device = excluded.device, "
    "inode = excluded.inode, head = excluded.head, updated = excluded.updated"
)
_ADD = "ON CONFLICT (key, fate) DO UPDATE SET lines = lines + excluded.lines"
# The key '' stands for all files that are known no longer. One of them may still have had lines on their way.
_FORGET = (
    f"INSERT INTO counts SELECT '', fate, sum(lines) FROM counts WHERE key = ?1 GROUP BY fate {_ADD}",  # noqa: S608
    f"INSERT INTO counts SELECT '', 'read', line - counted_from FROM files WHERE key = ?1 {_ADD}",  # noqa: S608
    "DELETE FROM counts WHERE key = ?",
    "DELETE FROM reservations WHERE key = ?",
    "DELETE FROM manifests WHERE key = ?",
    "DELETE FROM files WHERE key = ?",
)
_BY_KEY = ("files", "counts", "reservations", "manifests")
_MOVE = "UPDATE files SET offset = ?, line = ?, tail = ?, updated = ? WHERE key = ?"
_COUNT = f"INSERT INTO counts VALUES (coalesce((SELECT key FROM files WHERE key = ?), ''), ?, ?) {_ADD}"  # noqa: S608
_COUNT_GONE = f"INSERT INTO counts SELECT '', 'read', ?2 WHERE NOT EXISTS (SELECT 1 FROM files WHERE key = ?1) {_ADD}"  # noqa: S608
_RESERVE = "INSERT OR REPLACE INTO reservations SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM files WHERE key = ?1)"
_PASSED = "DELETE FROM reservations WHERE key = ? AND until <= (SELECT offset FROM files WHERE key = reservations.key)"


class FileState(Struct, frozen=True):
    """A file as the checkpoint knows it."""

    key: str
    path: str
    foreign: bool
    device: int
    inode: int
    head: bytes = b""
    position: Position = ORIGIN
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class Account:
    """
    A file as the checkpoint knows it, with the account of its lines.

    Args:
        state: The file; the one without a key stands for all files that are known no longer.
        updated: When it was last written, in seconds since 1970.
        lines: How many lines have been counted, by their newlines.
        tally: How these have ended.
    """

    state: FileState
    updated: float
    lines: int
    tally: Tally

    @property
    def imbalance(self) -> Imbalance | None:
        """What does not close; None when it does."""
        ended = self.tally.total()
        return None if ended == self.lines else Imbalance(self.state.path, self.lines, ended)


class Checkpoint:
    """
    The checkpoint in a folder of its own.

    Args:
        folder: Created if it is missing, with permissions for its owner alone.

    Raises:
        ConfigError: The folder cannot be written, or another shipper holds it.
        StoreError: What stands in it is damaged, or was written by a later version.
    """

    is_new: bool
    """It was made just now: either nothing was ever shipped, or nobody knows what was."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CHECKPOINT
        self._spare = Spare(folder / "spare")
        self._has_manifests = False
        # Commits happen in worker threads, one at a time.
        self._writing = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = hold(folder)
        except OSError as exc:
            raise ConfigError(
                f"cannot use {folder} for the state: {exc.strerror or exc}; give another folder with --state"
            ) from exc
        try:
            self._db = self._open()
        except StoreError:
            os.close(self._lock)
            raise

    def load(self) -> dict[str, FileState]:
        """Read all files, by key."""
        return {account.state.key: account.state for account in self.accounts() if account.state.key}

    def accounts(self) -> list[Account]:
        """Read all files, and the sum of those that are known no longer."""
        try:
            with self._writing:  # one connection, and with it one transaction at a time
                return _accounts(self._db)
        except sqlite3.Error as exc:
            raise self._error(exc) from exc

    def reservations(self) -> list[Reservation]:
        """Read how far lines may have been sent."""
        return [Reservation(*row) for row in self._select("SELECT key, target, until, since FROM reservations")]

    def reserve(self, reservations: Iterable[Reservation]) -> None:
        """Write how far lines may be sent from now on; on return it is on disk. What is delivered altogether goes."""
        reservations = list(reservations)
        self._write((_PASSED, [(one.key,) for one in reservations]), (_RESERVE, _rows(reservations)))

    def adopt(
        self, states: Iterable[FileState], *, forget: Iterable[str] = (), reservations: Iterable[Reservation] = ()
    ) -> None:
        """Write files that are new or have moved, and remove *forget*, by key; on return it is on disk."""
        now = time.time()
        rows = [
            (s.key, s.path, int(s.foreign), s.device, s.inode, s.head, s.position.offset, s.position.line, s.tail, now)
            for s in states
        ]
        self._write(*_forgetting(forget), (_INSERT, rows), (_RESERVE, _rows(reservations)))

    def commit(
        self,
        commits: Iterable[Commit],
        *,
        settled: Mapping[int, Mapping[str, Tally]] = NONE,
        forget: Iterable[str] = (),
    ) -> None:
        """
        Write in one transaction the committed places of files and how their lines have ended; on return they are on disk.

        Args:
            commits: At most one for each file.
            settled: How the lines of batches have ended, by number and file.
            forget: Keys of files that are known no longer; what *commits* say of them counts for their sum.
        """
        now = time.time()
        commits = list(commits)
        rows = [(c.position.offset, c.position.line, c.tail, now, c.key) for c in commits]
        counts = [(c.key, fate.value, lines) for c in commits for fate, lines in c.tally.items()]
        moves = ((_MOVE, rows), (_COUNT, counts), (_COUNT_GONE, [(c.key, c.lines) for c in commits]))
        kept = settling(settled, [c.key for c in commits]) if self._has_manifests else ()
        self._write(*moves, *kept, *_forgetting(forget))

    def targets(self) -> list[str]:
        """Read which names fields of records have chosen."""
        return [name for (name,) in self._select("SELECT name FROM targets")]

    def use_targets(self, new: Iterable[str], gone: Iterable[str]) -> None:
        """Write that names are used from now on, and others no longer."""
        both = (("DELETE FROM targets WHERE name = ?", gone), ("INSERT OR IGNORE INTO targets VALUES (?)", new))
        self._write(*((statement, [(name,) for name in names]) for statement, names in both))

    def manifests(self) -> list[Manifest]:
        """Read what batches were made of that may not be delivered altogether, in their order."""
        try:
            with self._writing:
                found = read_manifests(self._db)
        except sqlite3.Error as exc:
            raise self._error(exc) from exc
        self._has_manifests = bool(found)
        return found

    def record(self, manifests: Iterable[Manifest]) -> None:
        """Write what batches are made of; on return it is on disk."""
        self._has_manifests = True
        self._write((RECORD, [row for one in manifests for row in rows_of(one)]))

    def halve(self, batch: int, request: str) -> None:
        """Write that a request of a batch was refused, and that its halves are sent in its place."""
        self._write((HALVE, [(batch, request)]))

    def discard(self, batch: int) -> None:
        """Forget a batch that cannot be made again."""
        self._write(*((statement, [(batch,)]) for statement in DISCARD))

    def hand_over(self, keys: Sequence[str], to: Checkpoint) -> None:
        """Move all that is known of some files to another checkpoint; a crash in between leaves it in both."""
        copies = []
        for table in _BY_KEY:
            rows = [row for key in keys for row in self._db.execute(f"SELECT * FROM {table} WHERE key = ?", (key,))]  # noqa: S608
            if rows:
                copies.append((f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows))  # noqa: S608
        to._write(*copies)
        self._write(*((f"DELETE FROM {table} WHERE key = ?", [(key,) for key in keys]) for table in _BY_KEY))  # noqa: S608

    def close(self) -> None:
        """Let go of the folder, after a commit that may still be under way."""
        with self._writing:
            with suppress(sqlite3.Error):
                self._db.close()
            os.close(self._lock)

    def _select(self, query: str) -> list[Any]:
        try:
            return self._db.execute(query).fetchall()
        except sqlite3.Error as exc:
            raise self._error(exc) from exc

    def _write(self, *statements: tuple[str, Sequence[tuple[object, ...]]]) -> None:
        with self._writing:
            self._stay_in_place()
            try:
                self._execute(statements)
            except StoreFull:
                if not self._spare.give_up():
                    raise
                self._execute(statements)
            else:
                self._spare.keep()

    def _execute(self, statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, rows in statements:
                self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise self._error(exc) from exc

    def _stay_in_place(self) -> None:
        """Begin anew with what is known when somebody has removed the folder, as with `rm -r logs`."""
        if self.path.exists():
            return
        folder = self.path.parent
        try:
            folder.mkdir(exist_ok=True, mode=0o750)  # not its parents, whose owner is not this program
            lock = hold(folder)
        except OSError as exc:
            raise StoreFull(f"the folder of the state {folder} is gone: {exc.strerror or exc}") from exc
        try:
            new = self._open()
            self._db.backup(new)  # the removed file can still be read
        except sqlite3.Error as exc:
            os.close(lock)
            raise self._error(exc) from exc
        except StoreError:
            os.close(lock)
            raise
        self._db.close()
        os.close(self._lock)
        self._db, self._lock = new, lock

    def _open(self) -> sqlite3.Connection:
        db = None
        try:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
            self._prepare(db)
        except (sqlite3.Error, StoreError) as exc:
            if db is not None:
                db.close()
            raise (self._error(exc) if isinstance(exc, sqlite3.Error) else exc) from exc
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        db.execute("PRAGMA synchronous=FULL")
        if version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{self.path} is a database of something else; give another folder with --state")
        if version > len(VERSIONS):
            raise StoreError(
                f"{self.path} was written by a later version of the shipper (format {version}, known is {len(VERSIONS)}); "
                "use that version, or give another folder with --state"
            )
        db.execute("PRAGMA journal_mode=WAL")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        self.is_new = version == 0
        if version < len(VERSIONS):
            db.execute("BEGIN IMMEDIATE")
            for statement in chain.from_iterable(VERSIONS[version:]):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={len(VERSIONS)}")
            db.execute("COMMIT")

    def _error(self, exc: sqlite3.Error) -> StoreError:
        name = getattr(exc, "sqlite_errorname", "") or ""
        text = " ".join(str(exc).split())
        if name.startswith(_PASSING):
            return StoreFull(f"the checkpoint {self.path} cannot be written for now: {text}")
        if name.startswith(_NOT_ALLOWED):
            return StoreError(
                f"the checkpoint {self.path} cannot be written: {text}; give the shipper write permission"
            )
        return StoreError(
            f"the checkpoint {self.path} cannot be used: {text}. If it is damaged, move it away: files of jsonlog are then sent "
            "again under the same ids and stored once; lines of other files may be stored twice"
        )


def peek(folder: Path) -> list[Account]:
    """
    Read a checkpoint without holding it, also one that a shipper is writing to.

    Raises:
        ConfigError: There is none.
        StoreError: It cannot be read.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        raise ConfigError(
            f"there is no checkpoint in {folder}: no shipper has shipped from there yet; see --state, --path"
        )
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10, isolation_level=None)
        ) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != len(VERSIONS):
                raise StoreError(
                    f"{path} was written by another version of the shipper; run that one's status, or this one's run"
                )
            return _accounts(db)
    except sqlite3.Error as exc:
        raise StoreError(f"the checkpoint {path} cannot be read: {exc}") from exc


def _forgetting(keys: Iterable[str]) -> list[tuple[str, Sequence[tuple[object, ...]]]]:
    gone = [(key,) for key in keys]
    return [(statement, gone) for statement in _FORGET]


def _rows(reservations: Iterable[Reservation]) -> list[tuple[object, ...]]:
    return [(one.key, one.target, one.until, one.since) for one in reservations]


def _accounts(db: sqlite3.Connection) -> list[Account]:
    tallies: dict[str, Tally] = {}
    read = 0
    db.execute("BEGIN")  # both tables as they were at one moment
    try:
        for key, fate, lines in db.execute("SELECT key, fate, lines FROM counts"):
            if fate == "read":
                read = lines
            else:
                tallies.setdefault(key, Counter())[Fate(fate)] = lines
        rows = db.execute(
            "SELECT key, path, foreign_, device, inode, head, offset, line, tail, updated, line - counted_from FROM files"
        ).fetchall()
    finally:
        db.execute("ROLLBACK")
    accounts = [
        Account(
            FileState(key, path, bool(foreign), device, inode, head, Position(offset, line), tail),
            updated,
            lines,
            tallies.get(key, Counter()),
        )
        for key, path, foreign, device, inode, head, offset, line, tail, updated, lines in rows
    ]
    return [
        *accounts,
        Account(FileState("", "files that are gone", False, 0, 0), 0.0, read, tallies.get("", Counter())),
    ]

"""The checkpoint: what a commit returned from is there after a crash, and nothing unreadable is guessed at."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from shipper.checkpoint import CHECKPOINT, Checkpoint, FileState
from shipper.core.accounting import Imbalance
from shipper.core.acks import Commit
from shipper.core.model import ORIGIN, Fate, Position
from shipper.errors import ConfigError, StoreError, StoreFull
from shipper.formats import VERSIONS
from tests.fakes import clean_environment, wait_for
from tests.shipper.test_files import unprivileged

STATE = FileState("k", "/logs/ä", True, 2**40, 2**50, b'{"\xff', Position(5, 1), b"tail\0")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Adopted files, their committed places and what is forgotten are the same after opening again."""
    first = Checkpoint(tmp_path / "a" / "b")
    first.adopt([STATE, FileState("x", "/x", False, 1, 2)])
    first.commit([Commit("k", Position(77, 7), b"new"), Commit("nobody", Position(1, 1), b"")])
    first.adopt([FileState("y", "/y", False, 1, 3)], forget=["x"])
    first.close()
    second = Checkpoint(tmp_path / "a" / "b")
    expected = FileState("k", "/logs/ä", True, 2**40, 2**50, b'{"\xff', Position(77, 7), b"new")
    assert second.load() == {"k": expected, "y": FileState("y", "/y", False, 1, 3)}
    second.close()


def test_counts_and_places_are_one(tmp_path: Path) -> None:
    """How lines have ended is written with the place; files that are forgotten leave their sums, late commits too."""
    checkpoint = Checkpoint(tmp_path)
    checkpoint.adopt([STATE, FileState("x", "/x", False, 1, 2)])  # of the first one 1 line was counted by nobody
    checkpoint.commit([_commit("k", 4, delivered=2, empty=1), _commit("x", 5, delivered=4, dead_lettered=1)])
    checkpoint.commit([_commit("k", 6, lines=2, delivered=1, duplicate=1)])
    checkpoint.adopt([replace(STATE, path="/moved", position=ORIGIN)])  # a file that has moved keeps place and counts
    accounts = {a.state.key: a for a in checkpoint.accounts()}
    assert (accounts["k"].state.path, accounts["k"].state.position) == ("/moved", Position(6, 6))
    assert accounts["k"].tally == {Fate.DELIVERED: 3, Fate.EMPTY: 1, Fate.DUPLICATE: 1}
    checkpoint.adopt([], forget=["x"])
    checkpoint.commit([_commit("x", 7, lines=2, delivered=2)])  # it was on its way
    checkpoint.close()
    checkpoint = Checkpoint(tmp_path)
    accounts = {a.state.key: a for a in checkpoint.accounts()}
    assert sorted(accounts) == ["", "k"]
    assert (accounts[""].lines, accounts["k"].lines) == (7, 5)
    assert accounts[""].tally == {Fate.DELIVERED: 6, Fate.DEAD_LETTERED: 1}
    assert [a.imbalance for a in accounts.values()] == [None, None]
    checkpoint.commit([_commit("k", 8, lines=2, delivered=1)])
    (off,) = [a.imbalance for a in checkpoint.accounts() if a.imbalance]
    assert off == Imbalance("/moved", 7, 6)
    checkpoint.close()


def _commit(key: str, line: int, *, lines: int | None = None, **tally: int) -> Commit:
    counted = Counter({Fate(fate): number for fate, number in tally.items()})
    return Commit(key, Position(line, line), b"", counted.total() if lines is None else lines, counted)


def test_a_checkpoint_of_the_first_format_is_brought_up_to_date(tmp_path: Path) -> None:
    """What an older version has written is read as it was; what was not counted then is not held against the sums."""
    db = sqlite3.connect(tmp_path / CHECKPOINT)
    for statement in VERSIONS[0]:
        db.execute(statement)
    db.execute("PRAGMA user_version=1")
    db.execute("INSERT INTO files VALUES ('k', '/k', 1, 2, 3, x'7b', 70, 7, x'0a', 1.0)")
    db.commit()
    db.close()
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load() == {"k": FileState("k", "/k", True, 2, 3, b"{", Position(70, 7), b"\n")}
    checkpoint.commit([_commit("k", 9, lines=2, delivered=2)])
    assert [(a.lines, a.imbalance) for a in checkpoint.accounts()] == [(2, None), (0, None)]
    checkpoint.close()


def test_a_second_shipper_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    """A folder that is in use is refused with the process that uses it, and is free after its end."""
    first = Checkpoint(tmp_path)
    with pytest.raises(ConfigError, match=rf"another shipper uses .*pid {os.getpid()}.*--state"):
        Checkpoint(tmp_path)
    first.close()
    Checkpoint(tmp_path).close()


def test_a_kill_in_the_middle_of_commits(tmp_path: Path) -> None:
    """After SIGKILL at any moment the checkpoint holds at least the last commit that returned, and both rows of one commit agree."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom shipper.checkpoint import *\nfrom shipper.core.acks import Commit\n"
        "c = Checkpoint(Path(sys.argv[1]))\n"
        "c.adopt([FileState('a', '', False, 0, 0), FileState('b', '', False, 0, 0)])\nstart = c.load()['a'].position.line\n"
        "n = 0\nwhile True:\n  n += 1\n  c.commit([Commit('a', Position(n, n), b''), Commit('b', Position(n, n), b'')])\n"
        "  print(n, flush=True)"
    )
    for turn in range(6):
        out = tmp_path / f"out{turn}"
        with out.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path / "s")], stdout=file, env=clean_environment({})
            )
        wait_for(lambda out=out, turn=turn: out.read_text().count("\n") > 3 + 17 * turn, "some commits")
        process.send_signal(signal.SIGKILL)
        process.wait()
        said = int(out.read_text().splitlines()[-1])
        checkpoint = Checkpoint(tmp_path / "s")
        states = checkpoint.load()
        checkpoint.close()
        assert states["a"].position == states["b"].position
        assert said <= states["a"].position.offset <= said + 1


def test_a_removed_folder_is_made_anew(tmp_path: Path) -> None:
    """When somebody removes the folder, the next write makes it again with all that was known, and holds its lock."""
    folder = tmp_path / "logs" / ".shipper"
    checkpoint = Checkpoint(folder)
    checkpoint.adopt([STATE])
    shutil.rmtree(tmp_path / "logs")
    with pytest.raises(StoreFull, match="is gone"):
        checkpoint.commit([Commit("k", Position(9, 9), b"")])
    (tmp_path / "logs").mkdir()
    checkpoint.commit([Commit("k", Position(9, 9), b"")])
    with pytest.raises(ConfigError, match="another shipper"):
        Checkpoint(folder)
    checkpoint.close()
    again = Checkpoint(folder)
    assert again.load()["k"].position == Position(9, 9)
    again.close()


def damage_header(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 1000)


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 3] = os.urandom(4096 * 2)
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, 5000)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE songs (name)")
    db.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()


def no_table(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE files")
    db.close()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_header, "cannot be used.*move it away"),
        (damage_middle, "cannot be used.*move it away"),
        (cut, "cannot be used.*move it away"),
        (no_table, "cannot be used.*move it away"),
        (foreign, "database of something else.*--state"),
        (newer, "later version of the shipper .format 99"),
    ],
)
def test_what_cannot_be_read_is_a_clear_stop(tmp_path: Path, harm: object, message: str) -> None:
    """A checkpoint that is damaged, cut, foreign or newer ends the start with a sentence on what to do, and stays as it is."""
    checkpoint = Checkpoint(tmp_path)
    checkpoint.adopt([FileState(f"key{n}", "/x" * 50, True, 1, n, b"h" * 500) for n in range(200)])
    checkpoint.close()
    harm(checkpoint.path)  # type: ignore[operator]
    before = checkpoint.path.read_bytes()
    # Damage is noticed before anything is read; a missing table by who reads it.
    read = (lambda: Checkpoint(tmp_path).load()) if harm is no_table else (lambda: Checkpoint(tmp_path))
    with pytest.raises(StoreError, match=message):
        read()
    assert checkpoint.path.read_bytes() == before


def test_what_may_not_be_written_is_said() -> None:
    """A folder, or a checkpoint in it, without write permission is named with what to do."""
    folder = Path(tempfile.mkdtemp(prefix="shipper-test-"))
    try:
        with unprivileged(folder):
            Checkpoint(folder / "state").close()
            (folder / "state" / "checkpoint.sqlite").chmod(0o400)
            with pytest.raises(StoreError, match="give the shipper write permission"):
                Checkpoint(folder / "state").adopt([STATE])
            folder.chmod(0o500)
            with pytest.raises(ConfigError, match=r"cannot use .*Permission denied.*--state"):
                Checkpoint(folder / "other")
            folder.chmod(0o700)
    finally:
        shutil.rmtree(folder)


def test_a_full_disk_passes(tmp_path: Path) -> None:
    """No room is an error that passes, and what was committed before is still there."""
    checkpoint = Checkpoint(tmp_path)
    checkpoint.adopt([STATE])
    (pages,) = checkpoint._db.execute("PRAGMA page_count").fetchone()
    checkpoint._db.execute(f"PRAGMA max_page_count={pages}")
    many = [FileState(f"key{n}", "/x" * 50, True, 1, n, b"h" * 1000) for n in range(200)]
    with pytest.raises(StoreFull, match="cannot be written for now"):
        checkpoint.adopt(many)
    checkpoint._db.execute("PRAGMA max_page_count=100000")
    assert set(checkpoint.load()) == {"k"}
    checkpoint.adopt(many)
    assert len(checkpoint.load()) == 201
    checkpoint.close()

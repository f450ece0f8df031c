"""Names and locks of the parts."""

import fcntl
import os
import re
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jsonlog.files import protocol
from jsonlog.files.protocol import PartName, create_part, encode_piece, new_run, parse_name, writer_alive
from tests.jsonlog.support import ROOT

ANY = st.text(st.characters(codec=None, categories=None), max_size=300)


def name(**change):
    facts = {"service": "shop-web", "host": "web-1", "pid": 7, "run": "k3v9q7m2c4x8w5tz", "part": 0, "locked": True}
    return PartName(**{**facts, **change})


@given(ANY, ANY, st.integers(0, 2**32 - 1), st.integers(0, 10**9), st.booleans())
def test_any_facts_make_a_name_that_can_be_read_back(service, host, pid, part, locked):
    """A name is at most 200 bytes, safe in any file system, and says the facts again unless they were too long."""
    given_name = PartName(service, host, pid, new_run(), part, locked)
    text = str(given_name)
    assert len(text.encode()) <= 200
    assert re.fullmatch(r"[A-Za-z0-9_%][A-Za-z0-9_.%-]*", text)
    found = parse_name(text)
    assert found is not None
    assert str(found) == text
    assert (found.pid, found.run, found.part, found.locked) == (pid, given_name.run, part, locked)
    if 0 < len(service) <= 6 and 0 < len(host) <= 5:
        assert (found.service, found.host) == (service, host)


def test_the_exact_name():
    """A hyphen within a piece is encoded, so that the hyphens between pieces are found again."""
    assert str(name()) == "shop%2Dweb-web%2D1-7-k3v9q7m2c4x8w5tz.0.jsonl"
    assert str(name(locked=False)) == "shop%2Dweb-web%2D1-7-k3v9q7m2c4x8w5tz.0.nolock.jsonl"
    assert name(part=12).stem == "shop%2Dweb-web%2D1-7-k3v9q7m2c4x8w5tz.12"


FOREIGN = [
    "", "app.jsonl", "shop-web-7-k3v9q7m2c4x8w5tz.0.jsonl.gz", "shop-web-7-k3v9q7m2c4x8w5tz.0.json",
    "shop-web-7-K3V9Q7M2C4X8W5TZ.0.jsonl", "shop-web-7-k3v9q7m2c4x8w5t.0.jsonl", "shop-web-x-k3v9q7m2c4x8w5tz.0.jsonl",
    "shop-web-07-k3v9q7m2c4x8w5tz.0.jsonl", "shop-web-7-k3v9q7m2c4x8w5tz.00.jsonl", "a/shop-web-7-k3v9q7m2c4x8w5tz.0.jsonl",
    ".shop-web-7-k3v9q7m2c4x8w5tz.0.jsonl.tmp", "sh%op-web-7-k3v9q7m2c4x8w5tz.0.jsonl", "sh%2-web-7-k3v9q7m2c4x8w5tz.0.jsonl",
    "sh%6Fp-web-7-k3v9q7m2c4x8w5tz.0.jsonl", "sh%zzp-web-7-k3v9q7m2c4x8w5tz.0.jsonl", "sh%FFp-web-7-k3v9q7m2c4x8w5tz.0.jsonl",
    "sh% 6p-web-7-k3v9q7m2c4x8w5tz.0.jsonl", "shop-web-7-k3v9q7m2c4x8w5tz.0.jsonl\n",
]  # fmt: skip


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_names(text):
    """A name that we would not have written is not ours, however near it comes."""
    assert parse_name(text) is None


@given(ANY, st.integers(3, 80))
def test_pieces_are_bounded_and_cut_between_characters(text, limit):
    """A piece never ends within an encoded character and never begins with a dot."""
    piece = encode_piece(text, limit)
    assert 0 < len(piece) <= limit
    assert re.fullmatch(r"(?:[A-Za-z0-9_]|%[0-9A-F]{2})(?:[A-Za-z0-9_.]|%[0-9A-F]{2})*", piece)


def test_runs_are_random():
    """Each run is 16 characters of an alphabet without letters that look like digits."""
    runs = {new_run() for _ in range(1000)}
    assert len(runs) == 1000
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{16}", run) for run in runs)


def test_a_part_is_created_locked_and_with_its_mode(tmp_path):
    """The descriptor appends, is closed on exec and holds the lock; the mode does not depend on the umask."""
    before = os.umask(0o077)
    try:
        fd, path = create_part(str(tmp_path), name(), 0o640)
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == [str(name())]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
    probe = os.open(path, os.O_RDONLY)
    assert writer_alive(probe)
    os.close(fd)
    assert not writer_alive(probe)
    os.close(probe)


def test_nothing_is_left_when_a_part_cannot_be_created(tmp_path):
    """A name that is taken in between is an error, and no temporary file stays."""
    os.mkdir(tmp_path / str(name()))
    with pytest.raises(OSError):
        create_part(str(tmp_path), name(), 0o640)
    assert os.listdir(tmp_path) == [str(name())]


def test_a_leftover_temporary_file_is_not_taken_over(tmp_path):
    """A hidden file or link with our temporary name is not written through."""
    os.symlink("/etc/passwd", tmp_path / f".{name()}.tmp")
    with pytest.raises(FileExistsError):
        create_part(str(tmp_path), name(), 0o640)


@pytest.mark.parametrize("code", sorted(protocol._NO_FLOCK))
def test_without_flock_the_name_says_so(tmp_path, monkeypatch, code):
    """Where the file system has no locks, the part is named `.nolock`, and no reader takes it for finished."""

    def no_locks(fd, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(protocol, "_flock", no_locks)
    fd, path = create_part(str(tmp_path), name(), 0o640)
    os.close(fd)
    assert os.listdir(tmp_path) == [str(name(locked=False))]
    assert parse_name(os.path.basename(path)) == name(locked=False)


WRITER = """
import os, sys
from jsonlog.files.protocol import PartName, create_part, new_run
for part in range(400):
    fd, path = create_part(sys.argv[1], PartName("s", "h", os.getpid(), new_run(), part, True), 0o640)
    sys.stdout.write(path + "\\n")
    sys.stdout.flush()
    sys.stdin.readline()   # the part lives until the watcher has looked at all that is visible
    os.unlink(path)
    os.close(fd)
"""


def test_visible_means_locked(tmp_path):
    """Whoever sees a part under its name finds it locked, at every moment of its making."""
    spawn = [sys.executable, "-c", WRITER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(spawn, cwd=ROOT, **pipes) as one, subprocess.Popen(spawn, cwd=ROOT, **pipes) as two:
        seen = 0
        for turn in range(400):
            for writer in (one, two):
                for entry in os.listdir(tmp_path):  # while the other one is creating its next part
                    if parse_name(entry):
                        try:
                            probe = os.open(tmp_path / entry, os.O_RDONLY)
                        except FileNotFoundError:
                            continue
                        alive = writer_alive(probe)
                        linked = os.fstat(probe).st_nlink
                        os.close(probe)
                        assert alive or not linked, (turn, entry)
                        seen += 1
                writer.stdout.readline()
                writer.stdin.write("\n")
                writer.stdin.flush()
    assert one.returncode == two.returncode == 0
    assert seen > 100


def test_a_child_that_closes_keeps_the_parents_lock(tmp_path):
    """Nobody unlocks: a forked child that closes its copy, or ends, leaves the part locked."""
    fd, path = create_part(str(tmp_path), name(), 0o640)
    code = "import os, sys; os.close(int(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(fd)], pass_fds=[fd], check=True)
    probe = os.open(path, os.O_RDONLY)
    assert writer_alive(probe)
    os.close(probe)
    os.close(fd)

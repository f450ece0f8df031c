"""`fsync`: what is on the disk itself when a call returns, or some time later; seen by the calls that ask the disk for it."""

import errno
import os
import stat
import time

import pytest

from jsonlog import ProcessFileHandler
from tests.jsonlog.support import make
from tests.jsonlog_files.reading import check_gap_free, messages, read_runs


@pytest.fixture
def synced(monkeypatch):
    """What was synced: `directory` or the number of records in the file at that moment; the calls are the real ones."""
    seen = []

    def spy(name):
        real = getattr(os, name)

        def sync(fd):
            is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            with open(f"/proc/self/fd/{fd}", "rb") if not is_directory else open(os.devnull, "rb") as file:
                seen.append("directory" if is_directory else file.read().count(b"\n"))
            real(fd)

        monkeypatch.setattr(os, name, sync)

    spy("fsync")
    spy("fdatasync")
    return seen


def log(handler, count):
    for number in range(count):
        handler.handle(make(str(number)))


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_never_is_the_default(tmp_path, synced):
    """Nothing is asked of the disk."""
    handler = ProcessFileHandler(tmp_path, max_bytes=2000)
    log(handler, 20)
    handler.close()
    assert synced == []


def test_each_record(tmp_path, synced):
    """The name of the part first, then each record before its call returns; a part that is left has nothing open."""
    handler = ProcessFileHandler(tmp_path, fsync="record", max_bytes=1000)
    sizes = []
    for number in range(6):
        handler.handle(make(str(number)))
        sizes.append(len(synced))
    handler.close()
    assert synced[:3] == ["directory", 1, 2]
    assert synced.count("directory") == len(list(tmp_path.iterdir())) > 1
    assert sizes == sorted(set(sizes))
    assert len([one for one in synced if one != "directory"]) == 6


def test_an_interval(tmp_path, synced):
    """Some time after the last record all is on the disk, also if nothing more is logged; then the disk is left alone."""
    handler = ProcessFileHandler(tmp_path, fsync=0.2)
    log(handler, 50)
    assert 50 not in synced
    until(lambda: synced[-1] == 50)
    until(lambda: not handler._writer._run._is_ticking)
    count = len(synced)
    time.sleep(0.5)
    assert len(synced) == count
    log(handler, 1)
    until(lambda: synced[-1] == 51)
    handler.close()


def test_close_and_rotation_sync(tmp_path, synced):
    """A part is not left with records that are not on the disk."""
    handler = ProcessFileHandler(tmp_path, fsync=60, max_bytes=2000)
    log(handler, 20)
    handler.close()
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    parts = len(list(tmp_path.iterdir()))
    assert sum(one for one in synced if one != "directory") == 20
    assert len([one for one in synced if one != "directory"]) == parts > 1


def test_an_interval_and_a_buffer(tmp_path, synced):
    """Both in their own time."""
    handler = ProcessFileHandler(tmp_path, fsync=0.3, buffer_bytes=1_000_000, flush_interval_s=0.05)
    log(handler, 5)
    until(lambda: synced and synced[-1] == 5)
    handler.close()


@pytest.mark.parametrize("where", ["file", "directory"])
def test_a_disk_that_does_not_sync(tmp_path, monkeypatch, capsys, where):
    """The record is written all the same, the failure is said once, and again after it was well in between."""

    def fail(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    name = "fdatasync" if where == "file" else "fsync"
    real = getattr(os, name)
    monkeypatch.setattr(os, name, fail)
    handler = ProcessFileHandler(tmp_path, fsync="record", max_bytes=2000)
    log(handler, 20)
    err = capsys.readouterr().err
    assert err.count(f"cannot sync the {where}") == err.count("\n") == 1
    assert '"message"' not in err
    monkeypatch.setattr(os, name, real)
    log(handler, 1)
    monkeypatch.setattr(os, name, fail)
    if where == "file":
        log(handler, 1)
        assert "cannot sync" in capsys.readouterr().err
    handler.close()
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert len(messages(runs)) >= 21


def test_a_disk_that_does_not_sync_is_raised_if_asked(tmp_path, monkeypatch):
    """With `raise_errors` the call whose record may not be on the disk raises; the record is in the file."""

    def fail(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    handler = ProcessFileHandler(tmp_path, fsync="record", raise_errors=True)
    with pytest.raises(OSError, match="Input/output error"):
        log(handler, 1)
    assert messages(read_runs(tmp_path)) == ["0"]
    monkeypatch.undo()
    handler.close()

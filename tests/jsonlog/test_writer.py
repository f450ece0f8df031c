"""The writer: numbers without gaps, whole lines, one part after the other."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from jsonlog.files.folder import Folder
from jsonlog.files.policy import Policy
from jsonlog.files.protocol import parse_name
from jsonlog.files.writer import PartWriter
from tests.jsonlog.support import ROOT

LINE = b'{"message":"m"}'


def writer_in(directory, **options):
    folder = Folder(str(directory), mode=0o640, group=None, directory_mode=0o750)
    folder.service, folder.host = "s", "h"
    return PartWriter(folder, Policy(**options))


def look(writer):
    """Let the look that is due once a second be due now."""
    writer._run.parts.look_at = 0.0


def parts(directory):
    """The parts of a directory in order, with the records in each."""
    names = sorted((parse_name(entry) for entry in os.listdir(directory)), key=lambda name: (name.run, name.part))
    result = []
    for name in names:
        data = (directory / str(name)).read_bytes()
        assert data == b"" or data.endswith(b"\n")
        result.append([json.loads(line) for line in data.split(b"\n")[:-1]])
    return result


def numbers(directory):
    return [record["event"]["sequence"] for part in parts(directory) for record in part]


def test_exact_bytes(tmp_path):
    """Run and number are the last two fields of the line, and the line ends in a newline."""
    writer = writer_in(tmp_path)
    writer.write(LINE)
    writer.write(LINE)
    with open(writer.path, "rb") as file:
        data = file.read()
    run = writer.run.encode()
    assert data == b"".join(b'{"message":"m","run":"%b","event":{"sequence":%d}}\n' % (run, n) for n in (0, 1))
    writer.close()


def test_no_file_before_the_first_line(tmp_path):
    """A process that logs nothing leaves no file and no directory."""
    writer = writer_in(tmp_path / "logs")
    assert writer.path is None
    writer.close()
    assert not (tmp_path / "logs").exists()


def test_rotation_by_size(tmp_path):
    """A part is left once it has its size; the numbers go on in the next, and no line is split."""
    writer = writer_in(tmp_path, max_bytes=200)
    for _ in range(20):
        writer.write(LINE)
    writer.close()
    assert numbers(tmp_path) == list(range(20))
    assert [len(part) for part in parts(tmp_path)] == [4, 4, 4, 4, 4]


def test_writing_after_close(tmp_path):
    """A line that comes late opens a new part of the same run."""
    writer = writer_in(tmp_path)
    writer.write(LINE)
    writer.close()
    assert writer.path is None
    writer.write(LINE)
    writer.close()
    assert [len(part) for part in parts(tmp_path)] == [1, 1]
    assert numbers(tmp_path) == [0, 1]
    writer.close()


def test_a_deleted_part_is_noticed(tmp_path, capsys):
    """When somebody deletes the file, the next look opens a new part and says so."""
    writer = writer_in(tmp_path)
    writer.write(LINE)
    os.unlink(writer.path)
    look(writer)
    writer.write(LINE)
    assert numbers(tmp_path) == [1]
    assert "was deleted while it was written" in capsys.readouterr().err
    writer.close()


def test_a_deleted_directory_is_made_again(tmp_path):
    """The directory, too, may be deleted under a writer."""
    writer = writer_in(tmp_path / "logs")
    writer.write(LINE)
    shutil.rmtree(tmp_path / "logs")
    look(writer)
    writer.write(LINE)
    writer.close()
    assert numbers(tmp_path / "logs") == [1]


def test_a_descriptor_that_other_code_closed(tmp_path, capsys):
    """A number that now belongs to somebody else's file is left alone."""
    writer = writer_in(tmp_path / "logs")
    writer.write(LINE)
    number = writer._run.parts.current.fd
    os.close(number)
    low = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    other = os.dup2(low, number)
    os.close(low)
    look(writer)
    writer.write(LINE)
    writer.close()
    assert os.read(other, 10) == b""
    os.close(other)
    assert numbers(tmp_path / "logs") == [0, 1]
    assert "was closed by other code" in capsys.readouterr().err


def test_a_closed_descriptor_costs_no_record(tmp_path, capsys):
    """A write to a descriptor that is gone is made to a new part at once, under the same number, and it is said."""
    writer = writer_in(tmp_path)
    writer.write(LINE)
    os.close(writer._run.parts.current.fd)
    writer.write(b'{"message":"not lost"}')
    writer.close()
    err = capsys.readouterr().err
    assert "was closed by other code" in err
    assert "not lost" not in err
    assert numbers(tmp_path) == [0, 1]


def test_a_directory_that_cannot_be_made(tmp_path, capsys):
    """Without a place to write, the records go to stderr, and the reason once."""
    (tmp_path / "file").write_text("")
    writer = writer_in(tmp_path / "file" / "logs")
    for _ in range(3):
        writer.write(LINE)
    err = capsys.readouterr().err
    assert err.count("cannot write to") == 1
    assert err.count('{"message":"m"') == 3


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    absent = pytest.fail if os.environ.get("SHIPPER_REQUIRE_PARTS") == "1" else pytest.skip
    if os.geteuid() != 0:
        absent("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        absent("this machine does not let root mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk, capsys):
    """On a full disk no half line is left, the records go to stderr, and writing goes on when there is room again."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    writer = writer_in(small_disk / "logs")
    big = b'{"message":"' + b"m" * 5000 + b'"}'
    for _ in range(10):
        writer.write(big)
    err = capsys.readouterr().err
    assert os.strerror(errno.ENOSPC) in err
    kept = numbers(small_disk / "logs")
    lost = err.count('{"message":"mmmm')
    assert len(kept) + lost == 10
    assert kept == list(range(len(kept)))
    assert lost > 0
    ballast.unlink()
    writer.write(LINE)
    writer.close()
    assert numbers(small_disk / "logs") == [*kept, 10]
    assert f"can write again; {lost} records" in capsys.readouterr().err


def test_a_short_write_is_completed(tmp_path, monkeypatch):
    """What the system did not take at once is written before anything else."""
    writer = writer_in(tmp_path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    writer.write(LINE)
    writer.write(LINE)
    monkeypatch.undo()
    writer.close()
    assert numbers(tmp_path) == [0, 1]


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest would take for itself."""


@pytest.mark.parametrize("written", [0, 7, 10_000])
def test_an_exception_in_the_middle_of_a_write(tmp_path, monkeypatch, written):
    """The next write finds out how much of the line is there and adds the rest: nothing doubled, lost or torn."""
    writer = writer_in(tmp_path)
    writer.write(LINE)
    real = os.write

    def interrupted(fd, data):
        if written:
            real(fd, bytes(data)[:written])
        raise Stop

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(Stop):
        writer.write(LINE)
    monkeypatch.undo()
    writer.write(LINE)
    writer.close()
    assert numbers(tmp_path) == [0, 1, 2]


def test_a_signal_handler_that_logs(tmp_path):
    """A record from a signal handler in the middle of a write waits for that write; both are whole and in order."""
    writer = writer_in(tmp_path)
    real = os.write
    once = [1]

    def signalled(fd, data):
        if once:
            once.clear()
            signal.raise_signal(signal.SIGUSR1)
        return real(fd, data)

    before = signal.signal(signal.SIGUSR1, lambda *_: writer.write(b'{"message":"signal"}'))
    try:
        os.write = signalled
        writer.write(b'{"message":"outer"}')
    finally:
        os.write = real
        signal.signal(signal.SIGUSR1, before)
    writer.close()
    (part,) = parts(tmp_path)
    assert [(record["message"], record["event"]["sequence"]) for record in part] == [("outer", 0), ("signal", 1)]


def test_many_threads(tmp_path):
    """Numbers follow each other in the file, whatever the threads do, also over many rotations."""
    writer = writer_in(tmp_path, max_bytes=2000)
    threads = [threading.Thread(target=lambda: [writer.write(LINE) for _ in range(300)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert numbers(tmp_path) == list(range(2400))


def test_a_child_is_a_new_writer(tmp_path):
    """A forked child has a run of its own from 0 and leaves the parent's part and lock alone."""
    code = """
import os, sys
from tests.jsonlog.test_writer import writer_in
writer = writer_in(sys.argv[1])
writer.write(b'{"who":"parent"}')
if os.fork() == 0:
    writer.write(b'{"who":"child"}')
    writer.write(b'{"who":"child"}')
    os._exit(0)
os.wait()
writer.write(b'{"who":"parent"}')
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=ROOT)
    found = sorted([[record["who"], record["event"]["sequence"]] for record in part] for part in parts(tmp_path))
    assert found == [[["child", 0], ["child", 1]], [["parent", 0], ["parent", 1]]]
    assert len({record["run"] for part in parts(tmp_path) for record in part}) == 2


def test_a_fork_that_runs_no_hook(tmp_path):
    """A child that C code forked is a new writer too: the pid is looked at before each write."""
    code = """
import ctypes, os, sys
from tests.jsonlog.test_writer import writer_in
writer = writer_in(sys.argv[1])
writer.write(b'{"who":"parent"}')
if ctypes.PyDLL(None).fork() == 0:
    writer.write(b'{"who":"child"}')
    os._exit(0)
os.wait()
writer.write(b'{"who":"parent"}')
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=ROOT)
    found = sorted([[record["who"], record["event"]["sequence"]] for record in part] for part in parts(tmp_path))
    assert found == [[["child", 0]], [["parent", 0], ["parent", 1]]]


def test_stderr_that_is_gone(tmp_path, monkeypatch):
    """Where there is no stderr, what would be said there is not said, and nothing is raised."""
    writer = writer_in(tmp_path / "x" / "y")
    (tmp_path / "x").write_text("")
    monkeypatch.setattr(sys, "stderr", None)
    writer.write(LINE)


def test_the_names_of_the_parts(tmp_path):
    """Each part is named after service, host, pid and run, and numbered."""
    writer = writer_in(tmp_path, max_bytes=1)
    writer.write(LINE)
    writer.write(LINE)
    assert re.fullmatch(rf"s-h-{os.getpid()}-{writer.run}\.1\.jsonl", os.path.basename(writer.path))
    writer.close()

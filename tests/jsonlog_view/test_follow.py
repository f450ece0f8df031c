import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from jsonlog.view.paths import Search
from tests.jsonlog_view.support import COMMAND, environment, line, part_name, until

WRITER = """
import logging, sys
from jsonlog import JsonFormatter, ProcessFileHandler
handler = ProcessFileHandler(directory=sys.argv[1], max_bytes=3000)
handler.setFormatter(JsonFormatter(service="shop"))
logging.getLogger().addHandler(handler)
for number in range(int(sys.argv[2])):
    logging.warning("number %d", number)
"""


class Follower:
    """A running `jsonlog view -f -o json`; `lines` is what it printed so far."""

    def __init__(self, *arguments):
        command = [*COMMAND, "-f", "-o", "json", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        os.set_blocking(self.process.stdout.fileno(), False)
        self._data = b""

    @property
    def lines(self) -> list[bytes]:
        self._data += self.process.stdout.read() or b""
        return self._data.split(b"\n")[:-1]

    def has(self, count: int) -> list[bytes]:
        """Wait until so many lines are there, and no more."""
        until(lambda: len(self.lines) >= count or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.stderr.read()
        assert len(self.lines) == count
        return self.lines


@pytest.fixture
def follow():
    running = []

    def start(*arguments):
        running.append(Follower(*arguments))
        return running[-1]

    yield start
    for follower in running:
        follower.process.send_signal(signal.SIGINT)
        follower.process.wait(timeout=20)
        follower.process.stdout.close()
        follower.process.stderr.close()


def write(path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_processes_come_and_go_and_rotate(tmp_path, follow):
    """Every record of processes that start, rotate every ten records and end is printed once, in order."""
    follower = follow(tmp_path)
    for wave in (1, 2):
        writers = [
            subprocess.Popen([sys.executable, "-P", "-c", WRITER, str(tmp_path), "60"], env=environment())
            for _ in range(2)
        ]
        assert [one.wait(timeout=30) for one in writers] == [0, 0]
        records = [json.loads(one) for one in follower.has(120 * wave)]
    keys = [(one["run"], one["event"]["sequence"]) for one in records]
    assert len(set(keys)) == 240
    for run in {run for run, _ in keys}:
        assert [number for one, number in keys if one == run] == list(range(60))
    assert len(list(tmp_path.iterdir())) > 8


def test_what_comes_late_from_another_file_still_comes_before(tmp_path, follow):
    """Lines that arrive at the same moment in different files are put in order."""
    paths = [tmp_path / part_name(i) for i in range(3)]
    for i, path in enumerate(paths):
        write(path, line(0, "2026-11-22T05:02:17.100Z", run=str(i)))
    follower = follow(tmp_path)
    follower.has(3)
    for i, path in enumerate(reversed(paths)):
        write(path, b"".join(line(n, f"2026-11-22T05:02:18.{n}0{i}Z") for n in range(1, 4)))
    stamps = [json.loads(one)["@timestamp"] for one in follower.has(12)]
    assert stamps == sorted(stamps)


def test_a_foreign_file_is_rotated_by_rename_and_by_truncation(tmp_path, follow):
    """After logrotate's `create` and after its `copytruncate` the new content is read from its beginning."""
    path = tmp_path / "app.log"
    write(path, b"one\n")
    follower = follow(path)
    follower.has(1)
    path.rename(tmp_path / "app.log.1")
    write(tmp_path / "app.log.1", b"two\n")
    write(path, b"three\n")
    assert follower.has(3) == [b"one", b"two", b"three"]
    path.write_bytes(b"4\n")
    follower.has(4)
    path.unlink()
    until(lambda: not path.exists())
    write(path, b"five, in a new file\n")
    assert follower.has(5)[4] == b"five, in a new file"


def test_half_a_line_waits_for_its_end(tmp_path, follow):
    """A line is printed when its newline is there."""
    path = tmp_path / "a.jsonl"
    write(path, line(0) + line(1)[:30])
    follower = follow(tmp_path)
    follower.has(1)
    write(path, line(1)[30:])
    assert follower.has(2)[1] + b"\n" == line(1)


def test_last_and_filters_hold_while_following(tmp_path, follow):
    """`-n` cuts what was there, not what comes; the filters apply to both; what does not exist yet is waited for."""
    path = tmp_path / "a.jsonl"
    write(path, b"".join(line(i, level="ERROR") for i in range(9)))
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(line(9, "2026-11-22T05:02:18.000Z", level="ERROR")))
    follower = follow("-n", 2, "--level", "error", tmp_path, tmp_path / "later.jsonl")
    assert [json.loads(one)["event"]["sequence"] for one in follower.has(2)] == [8, 9]
    write(tmp_path / "later.jsonl", line(10) + line(11, level="ERROR"))
    write(path, line(12))
    assert json.loads(follower.has(3)[2])["event"]["sequence"] == 11


def test_thousands_of_files_are_followed_with_256_descriptors(tmp_path, follow):
    """Among 4,000 files of dead processes a new one is seen, and what is appended to it."""
    for number in range(4000):
        (tmp_path / part_name(number)).write_bytes(line(0, f"2026-11-22T05:{number % 60:02d}:00.000Z"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        out = follow("-n", "2", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    out.has(2)
    write(tmp_path / part_name(4001), line(0, message="new"))
    assert b'"new"' in out.has(3)[2]
    write(tmp_path / part_name(4001), line(1, message="more"))
    assert b'"more"' in out.has(4)[3]


def test_a_folder_is_listed_when_it_has_changed(tmp_path):
    """A settled folder is not listed again until something in it was made or removed; what cannot be told is listed."""

    def settle():
        os.utime(tmp_path, (1, 1))
        assert search.may_find_more()

    search = Search([str(tmp_path)], waiting=True)
    assert search.may_find_more()
    assert search.may_find_more(), "it changed a moment ago, and may have changed once more since"
    settle()
    assert not search.may_find_more()
    write(tmp_path / "a.jsonl", b"")
    assert search.may_find_more()
    for argument in (str(tmp_path / "a.jsonl"), str(tmp_path / "*.jsonl"), str(tmp_path / "nothing")):
        other = Search([argument], waiting=True)
        assert [other.may_find_more(), other.may_find_more()] == [True, True]


def test_a_name_that_comes_back_is_followed_again(tmp_path, follow):
    """A foreign file that is removed and made anew under its name is read from its beginning, however long that takes."""
    path = tmp_path / "app.jsonl"
    write(path, line(0, message="first"))
    out = follow(tmp_path)
    out.has(1)
    for number in range(2, 5):
        path.unlink()
        time.sleep(0.3 * number - 0.5)
        write(path, line(0, message=f"again {number}"))
        assert f"again {number}".encode() in out.has(number)[-1]

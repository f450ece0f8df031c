"""Bounds on a directory: without a shipper, and for the case that the shipper is gone."""

import json
import os
import subprocess
import sys
import time

from jsonlog import JsonFormatter, ProcessFileHandler
from jsonlog.files import keeper
from jsonlog.files.protocol import PartName, create_part, new_run
from tests.jsonlog.support import ROOT, make
from tests.jsonlog_files.reading import command, messages, read_runs


def log(handler, count, pad=300):
    for number in range(count):
        handler.handle(make(str(number), extra={"pad": "x" * pad}))


def total(directory):
    return sum(path.stat().st_size for path in directory.iterdir())


def finished(directory, *, age_s=0.0, size=10_000, service="app", locked=True):
    """A part of another process that has ended."""
    path = directory / str(PartName(service, "h", 7, new_run(), 0, locked=locked))
    path.write_bytes(b"x" * (size - 1) + b"\n")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_nothing_is_deleted_by_default(tmp_path):
    """However much there is: the handler cannot know what was delivered."""
    old = finished(tmp_path, age_s=1e8, size=10_000_000)
    handler = ProcessFileHandler(tmp_path, max_bytes=5000)
    log(handler, 100)
    handler.close()
    assert old.exists()
    assert len(messages(read_runs_but(tmp_path, old))) == 100


def read_runs_but(directory, *others):
    for path in others:
        path.unlink(missing_ok=True)
    return read_runs(directory)


def test_without_a_shipper_the_oldest_parts_go(tmp_path):
    """All parts together stay within the bound, give or take the one that is written; the newest records are there."""
    handler = ProcessFileHandler(tmp_path, without_shipper=True, max_total_bytes=80_000)
    log(handler, 1000)
    assert total(tmp_path) <= 80_000
    assert total(tmp_path) > 40_000
    handler.close()
    found = messages(read_runs(tmp_path))
    assert found == [str(number) for number in range(1000 - len(found), 1000)]
    assert handler.dropped_files == 0


def test_eight_processes_without_a_shipper(tmp_path):
    """They share a bound, delete each other's finished parts and never a living one."""
    body = 'for number in range(2000): log.info("n %d", number, extra={"pad": "x" * 200})\nassert os.fstat(handler._writer._run.parts.current.fd).st_nlink'
    options = {"without_shipper": True, "max_total_bytes": 400_000, "max_bytes": 20_000}
    runs = [subprocess.Popen(command(tmp_path, body, **options), stderr=subprocess.PIPE) for _ in range(8)]
    for run in runs:
        assert run.communicate(timeout=100)[1] == b""
        assert run.returncode == 0
    assert 200_000 < total(tmp_path) <= 400_000 + 8 * 20_000
    for records in read_runs(tmp_path).values():
        numbers = [record["event"]["sequence"] for record in records]
        assert numbers == list(range(numbers[0], 2000))


def test_age_without_a_shipper(tmp_path, monkeypatch):
    """What was last written too long ago goes: at once, and later at a record, once a minute."""
    old, young = finished(tmp_path, age_s=1000), finished(tmp_path, age_s=10)
    nolock = finished(tmp_path, age_s=1000, locked=False)
    handler = ProcessFileHandler(tmp_path, without_shipper=True, max_total_age_s=500)
    log(handler, 1)
    assert not old.exists()
    assert not nolock.exists()
    assert young.exists()
    os.utime(young, (0, 0))
    log(handler, 1)
    assert young.exists()
    handler._keeper._look_at = 0.0
    log(handler, 1)
    assert not young.exists()
    handler.close()


def test_other_services_are_left_alone(tmp_path):
    """A bound counts and deletes the parts of the handler's own service."""
    other = finished(tmp_path, service="other", size=1_000_000)
    mine = finished(tmp_path, service="mi-ne", size=50_000)
    handler = ProcessFileHandler(tmp_path, service="mi-ne", without_shipper=True, max_total_bytes=40_000)
    log(handler, 1)
    assert other.exists()
    assert not mine.exists()
    handler.close()


def test_a_living_part_is_never_dropped(tmp_path, capsys):
    """Not even when it is the oldest and the directory is over its hard bound."""
    fd, path = create_part(str(tmp_path), PartName("app", "h", 7, new_run(), 0, locked=True), 0o640)
    os.write(fd, b"x" * 50_000 + b"\n")
    os.utime(path, (0, 0))
    dead = finished(tmp_path)
    handler = ProcessFileHandler(tmp_path, hard_max_bytes=20_000)
    log(handler, 1)
    assert os.path.exists(path)
    assert not dead.exists()
    assert "dropped 1 finished files with 10000 bytes" in capsys.readouterr().err
    os.close(fd)
    handler.close()


def test_what_the_hard_bound_drops_is_counted_and_told(tmp_path, capsys):
    """On stderr, by the handler, and in a record that is shipped when somebody ships again."""
    dead = [finished(tmp_path, age_s=100 - number) for number in range(5)]
    handler = ProcessFileHandler(tmp_path, hard_max_bytes=35_000)
    handler.setFormatter(JsonFormatter())
    log(handler, 1)
    assert [path.exists() for path in dead] == [False, False, True, True, True]
    assert handler.dropped_files == 2
    assert capsys.readouterr().err.count("dropped") == 1
    with open(handler.path, "rb") as file:
        records = [json.loads(line) for line in file]
    assert records[1]["log"] | {"origin": None} == {"level": "WARNING", "logger": "jsonlog", "origin": None}
    assert records[1]["message"].startswith("dropped 2 finished files with 20000 bytes that may not have been shipped")
    assert records[1]["extra"] == {
        "dropped_files": 2,
        "dropped_bytes": 20_000,
        "dropped_names": [path.name for path in dead[:2]],
    }
    assert [record["event"]["sequence"] for record in records] == [0, 1]
    handler.close()


def test_short_lived_processes_keep_to_the_bound(tmp_path):
    """Each of many processes that log one record looks after the directory."""
    body = 'log.info("x", extra={"pad": "y" * 2000})'
    for _ in range(7):
        subprocess.run(command(tmp_path, body, without_shipper=True, max_total_bytes=10_000), check=True, timeout=60)
    assert len(list(tmp_path.iterdir())) <= 4


def test_a_directory_that_cannot_be_looked_after(tmp_path, monkeypatch, capsys):
    """It is said once, and the records are written."""

    def fail(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(keeper, "prune", fail)
    handler = ProcessFileHandler(tmp_path, hard_max_bytes=10_000)
    log(handler, 50)
    handler.close()
    assert capsys.readouterr().err.count("cannot keep") == 1
    assert len(messages(read_runs(tmp_path))) == 50


def test_ten_thousand_files_with_256_descriptors(tmp_path):
    """What thousands of short-lived processes leave is merged with few descriptors, and pruned."""
    for number in range(10_000):
        path = tmp_path / str(PartName("app", "h", number, new_run(), 0, locked=True))
        path.write_bytes(
            b'{"@timestamp":"2026-11-22T05:%02d:%02d.220Z","message":"%d"}\n' % (number // 60 % 60, number % 60, number)
        )
    shell = 'ulimit -n 256; exec "$@"'
    view = ["sh", "-c", shell, "sh", sys.executable, "-P", "-m", "jsonlog", "view", "-o", "json", str(tmp_path)]
    done = subprocess.run(
        view, capture_output=True, check=True, timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    times = [json.loads(line)["@timestamp"] for line in done.stdout.splitlines()]
    assert len(times) == 10_000
    assert times == sorted(times)
    prune = [*view[:-4], "prune", "--max-bytes", "1K", str(tmp_path)]
    subprocess.run(prune, capture_output=True, check=True, timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert total(tmp_path) <= 1024

"""`jsonlog prune`: what is over the bounds goes, the oldest first, and never a part whose writer lives."""

import os
import subprocess
import sys
import time

import pytest

from jsonlog.errors import CommandError
from jsonlog.files.protocol import PartName, create_part, new_run
from jsonlog.files.prune import Bounds, prune
from jsonlog.files.prune_command import parse_age, parse_size
from tests.jsonlog.support import ROOT

NOW = 1_800_000_000.0
DAY = 86400.0


def part(directory, *, age=0.0, size=100, locked=True, service="s"):
    """A finished part, last written *age* seconds before NOW; its file name."""
    name = str(PartName(service, "h", 7, new_run(), 0, locked=locked))
    (directory / name).write_bytes(b"x" * size)
    os.utime(directory / name, (NOW - age, NOW - age))
    return name


def left(directory):
    return set(os.listdir(directory))


def test_the_oldest_go_until_the_rest_is_within_the_bytes(tmp_path):
    """Oldest first by the last write, and not one more than it takes."""
    names = [part(tmp_path, age=age) for age in (50, 40, 30, 20, 10)]
    done = prune(str(tmp_path), Bounds(max_bytes=250), NOW)
    assert left(tmp_path) == set(names[3:])
    assert [os.path.basename(found.path) for found in done.deleted] == names[:3]
    assert done.left_bytes == 200


def test_age(tmp_path):
    """What was last written longer ago goes, whatever its size."""
    part(tmp_path, age=DAY + 1)
    young = part(tmp_path, age=DAY - 1)
    future = part(tmp_path, age=-DAY)
    prune(str(tmp_path), Bounds(max_age_s=DAY), NOW)
    assert left(tmp_path) == {young, future}


def test_a_part_whose_writer_lives_stays(tmp_path):
    """The lock decides, not the age; what is being written counts, and more of the others goes for it."""
    alive = PartName("s", "h", 7, new_run(), 0, locked=True)
    fd, path = create_part(str(tmp_path), alive, 0o640)
    os.write(fd, b"x" * 300)
    os.utime(path, (0, 0))
    part(tmp_path, age=10)
    done = prune(str(tmp_path), Bounds(max_bytes=200, max_age_s=DAY), NOW)
    assert left(tmp_path) == {str(alive)}
    assert [found.path for found in done.alive] == [path]
    assert done.left_bytes == 300
    os.close(fd)
    prune(str(tmp_path), Bounds(max_age_s=DAY), NOW)
    assert left(tmp_path) == set()


def test_parts_without_a_lock_go_by_age_and_by_choice(tmp_path):
    """Nothing tells whether the writer of a `.nolock` part lives, so it never goes for its size."""
    old, young = (part(tmp_path, age=age, locked=False) for age in (2 * DAY, 10))
    prune(str(tmp_path), Bounds(max_bytes=0, max_age_s=DAY), NOW)
    assert left(tmp_path) == {old, young}
    prune(str(tmp_path), Bounds(max_bytes=0, max_age_s=DAY, nolock=True), NOW)
    assert left(tmp_path) == {young}


def test_nothing_that_is_not_a_part_goes(tmp_path):
    """Foreign files, folders, links and fresh files under construction stay; what a dead creation left goes after an hour."""
    outside = tmp_path / "outside.jsonl"
    outside.write_text("keep")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.jsonl").write_text("x")
    (logs / "dead-letters.jsonl").write_text("x")
    (logs / str(PartName("s", "h", 7, new_run(), 0, locked=True))).mkdir()
    (logs / str(PartName("s", "h", 8, new_run(), 0, locked=True))).symlink_to(outside)
    leftovers = [logs / f".{PartName('s', 'h', 7, new_run(), 0, locked=True)}.tmp" for _ in range(2)]
    for path, age in zip(leftovers, (3700, 3500), strict=True):
        path.write_text("")
        os.utime(path, (NOW - age, NOW - age))
    before = left(logs)
    prune(str(logs), Bounds(max_bytes=0, max_age_s=0), NOW)
    assert before - left(logs) == {leftovers[0].name}
    assert outside.read_text() == "keep"


def test_only_one_service(tmp_path):
    """Where several share a directory, the others neither count nor go."""
    other = part(tmp_path, age=100, service="other")
    mine = [part(tmp_path, age=age) for age in (50, 40)]
    prune(str(tmp_path), Bounds(max_bytes=100, service="s"), NOW)
    assert left(tmp_path) == {other, mine[1]}


def test_a_dry_run_deletes_nothing_and_says_the_same(tmp_path):
    """What a dry run names is what goes afterwards."""
    for age in (50, 40, 30):
        part(tmp_path, age=age)
    bounds = Bounds(max_bytes=100)
    told = prune(str(tmp_path), bounds, NOW, dry_run=True)
    assert len(left(tmp_path)) == 3
    assert prune(str(tmp_path), bounds, NOW) == told


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "jsonlog", "prune", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_command(tmp_path):
    """It says what it deleted, what is left and what stays because it is being written; `--dry-run` only says it."""
    alive = PartName("s", "h", 7, new_run(), 0, locked=True)
    fd, path = create_part(str(tmp_path), alive, 0o640)
    os.utime(path, (0, 0))
    old = part(tmp_path, size=2048, age=NOW - time.time() + 8 * DAY)
    young = part(tmp_path, age=NOW - time.time() + 6 * DAY)
    done = run("--max-age", "7d", "--dry-run", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"would delete {tmp_path / old} (2.0 KiB, last written " in done.stdout
    assert left(tmp_path) == {old, young, str(alive)}
    done = run("--max-age", "7d", tmp_path)
    assert done.returncode == 0
    assert "deleted 1 files with 2.0 KiB; 100 bytes are left" in done.stdout
    assert "1 files over the bounds are being written and stay" in done.stdout
    assert left(tmp_path) == {young, str(alive)}
    os.close(fd)
    assert run("--max-bytes", "0", tmp_path).returncode == 0
    assert left(tmp_path) == set()


WRONG = {
    "no bound": (["."], "--max-bytes SIZE, --max-age AGE, or both"),
    "size": (["--max-bytes", "many", "."], "--max-bytes many: not a size"),
    "age": (["--max-age", "7", "."], "--max-age 7: not an age"),
    "nolock": (["--nolock", "--max-bytes", "1", "."], "--nolock needs --max-age"),
    "directory": (["--max-age", "7d", "/no/such"], "/no/such: No such file"),
}


@pytest.mark.parametrize(("arguments", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(arguments, text):
    """Each is one line on stderr that names it, and exit code 2."""
    done = run(*arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_sizes_and_ages():
    """As people write them; units of size are powers of 1024."""
    sizes = {"0": 0, "1024": 1024, "10K": 10240, "1.5m": 1572864, "2GB": 2 << 30, "1 TiB": 1 << 40}
    assert {text: parse_size(text) for text in sizes} == sizes
    ages = {"90s": 90, "1d12h": 129600, "2w": 1209600}
    assert {text: parse_age(text) for text in ages} == ages
    for text in ("", "-1", "1X", "K"):
        with pytest.raises(CommandError):
            parse_size(text)


def test_a_directory_that_is_pruned_by_many_at_once_loses_no_more_than_it_must(tmp_path):
    """Eight at once over 200 parts: together they delete what one alone would have."""
    names = [part(tmp_path, age=300 - number) for number in range(200)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "jsonlog", "prune", "--max-bytes", "5000", tmp_path],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(8)
    ]
    assert [run.wait(60) for run in runs] == [0] * 8
    assert left(tmp_path) == set(names[-50:])

import gzip
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from jsonlog.view import merge, source
from tests.jsonlog_view.support import line, part_name, seen

SECOND = datetime(2026, 11, 22, 5, 2, 17, tzinfo=UTC)


def stamp(ms: int) -> str:
    return (SECOND + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] + "Z"


def key(data: bytes) -> tuple[str, str, int]:
    value = json.loads(data)
    return value["@timestamp"], value["run"], value["event"]["sequence"]


def write_runs(folder, runs: list[list[int]], parts: int = 1) -> list[bytes]:
    """One writer per list of times, each in one or more parts; gives all lines."""
    lines = []
    for number, times in enumerate(runs):
        name = part_name(number)
        own = [
            line(i, stamp(ms), run=name.split("-")[-1].split(".")[0], message="m" * (ms % 90))
            for i, ms in enumerate(times)
        ]
        step = max(1, -(-len(own) // parts))
        for part in range(parts):
            (folder / part_name(number, part)).write_bytes(b"".join(own[part * step : (part + 1) * step]))
        lines += own
    return lines


@contextmanager
def pace(block: int) -> Iterator[None]:
    """Read blocks of this size and open one file at a time, so that few lines make many rounds."""
    before = merge._LEAST_BLOCK, merge._MOST_BLOCK, merge._LEAST_ADMITTED
    merge._LEAST_BLOCK, merge._MOST_BLOCK, merge._LEAST_ADMITTED = block, block, 1
    try:
        yield
    finally:
        merge._LEAST_BLOCK, merge._MOST_BLOCK, merge._LEAST_ADMITTED = before


@settings(max_examples=80, deadline=None)
@given(
    runs=st.lists(
        st.lists(st.one_of(st.integers(0, 3), st.integers(0, 60)), max_size=30).map(sorted), min_size=1, max_size=6
    ),
    parts=st.integers(1, 3),
    block=st.sampled_from([64, 700, 4096]),
)
def test_sorted_files_merge_into_the_sorted_whole(tmp_path_factory, runs, parts, block):
    """Any files in order, with any equal times, in any parts and any blocks, come out by time, run and number."""
    folder = tmp_path_factory.mktemp("merge")
    lines = write_runs(folder, runs, parts)
    with pace(block):
        assert [one + b"\n" for one in seen(folder)] == sorted(lines, key=key)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 32), writers=st.integers(1, 4))
def test_disorder_within_the_window_is_put_right(tmp_path_factory, seed, writers):
    """Lines a few places later in their file than their times say come out in the order of time, equal ones as they stood."""
    rng = random.Random(seed)
    disordered = []
    for _ in range(writers):
        times = sorted(rng.choices(range(3000), k=300))
        late = sorted(range(300), key=lambda i: (i + rng.choice((0, 0, 0, 1, 3)), i))
        disordered.append([times[i] for i in late])
    folder = tmp_path_factory.mktemp("disorder")
    lines = write_runs(folder, disordered)
    with pace(8192):  # the window is a quarter of it: five lines or more
        assert [one + b"\n" for one in seen(folder)] == sorted(lines, key=key)


def test_a_line_behind_the_window_is_printed_all_the_same(tmp_path):
    """A clock that steps back an hour loses no line."""
    lines = write_runs(tmp_path, [[*range(3_600_000, 3_600_100), *range(100)], list(range(0, 7_200_000, 60_000))])
    with pace(1024):
        assert sorted(one + b"\n" for one in seen(tmp_path)) == sorted(lines)


def test_times_of_other_shapes_are_compared_as_moments(tmp_path):
    """Zones, blanks, microseconds and epochs stand in the order of the moments they mean."""
    texts = [
        '{"time":1795323737000,"n":0}',
        '{"@timestamp": "2026-11-22T06:02:17.100+01:00", "n":1}',
        '{"@timestamp":"2026-11-22T05:02:17.100250Z","n":2}',
        '{"timestamp":"2026-11-22 05:02:17,200","n":3}',
        '{"ts":1795323737.3,"n":4}',
    ]
    for i, text in enumerate(reversed(texts)):
        (tmp_path / f"{i}.jsonl").write_text(text + "\n")
    assert [json.loads(one)["n"] for one in seen(tmp_path)] == [0, 1, 2, 3, 4]


def test_foreign_lines_stay_behind_the_line_before_them(tmp_path):
    """Lines without a time keep their place in their file, byte for byte, whatever the neighbours write."""
    foreign = [b"  a traceback's line \xff\r", b"", b"{not json", b"[1, 2]"]
    (tmp_path / "a.jsonl").write_bytes(line(0, stamp(1)) + b"\n".join(foreign) + b"\n" + line(1, stamp(9)))
    (tmp_path / "b.jsonl").write_bytes(b"".join(line(i, stamp(i)) for i in range(2, 9)))
    result = seen(tmp_path)
    assert result[1:5] == foreign
    assert len(result) == 4 + 9


def test_packed_files_read_like_plain_ones(tmp_path):
    """Gzip files, also of several members, are merged like others; a packed copy beside its original counts once."""
    lines = write_runs(tmp_path, [[1, 5, 9], [2, 5, 8]])
    first = tmp_path / part_name(0)
    half = first.read_bytes().split(b"\n", 1)
    first.with_name(first.name + ".gz").write_bytes(gzip.compress(half[0] + b"\n") + gzip.compress(half[1]))
    assert [one + b"\n" for one in seen(tmp_path)] == sorted(lines, key=key)
    first.unlink()
    assert [one + b"\n" for one in seen(tmp_path)] == sorted(lines, key=key)


def test_the_last_records_are_found_from_the_end(tmp_path, monkeypatch):
    """`--last` gives the same as cutting the whole, across parts and writers, for any number."""
    lines = sorted(write_runs(tmp_path, [list(range(0, 300, 3)), list(range(1, 200)), [7, 8]], parts=3), key=key)
    monkeypatch.setattr("jsonlog.view.tail._STEP", 300)
    monkeypatch.setattr("jsonlog.view.tail._WINDOW", 1)
    assert seen(tmp_path / part_name(0, 2), "-n", 1)[0] + b"\n" == lines[-1]
    for count in (0, 1, 2, 50, 150, 1000):
        assert [one + b"\n" for one in seen(tmp_path, "--last", count)] == lines[max(0, len(lines) - count) :]
    some = [one for one in lines if json.loads(one)["event"]["sequence"] == 1]
    assert [one + b"\n" for one in seen(tmp_path, "-n", 2, "--field", "event.sequence=1")] == some[-2:]


def test_a_line_without_end_is_cut(tmp_path, monkeypatch):
    """A file of one endless line is given in pieces instead of filling the memory."""
    monkeypatch.setattr(source, "MAX_LINE_BYTES", 10_000)
    (tmp_path / "a.jsonl").write_bytes(b"x" * 35_000)
    with pace(1000):
        result = seen(tmp_path)
    assert b"".join(result) == b"x" * 35_000
    assert max(map(len, result)) <= 12_000

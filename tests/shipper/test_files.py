"""Following files: whatever is done to them, each readable line arrives once."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.checkpoint import Checkpoint
from shipper.events_of_files import FileUnreadable
from shipper.limits import Limits
from shipper.look import absolute_patterns, fixed_folder, look
from shipper.tailer import DEAD_WRITER
from tests.fakes import Part, World, append, line, lines, until


@pytest.fixture(params=["poll", "inotify"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path / "logs", patterns=("*.log*", "*.jsonl"), watch=request.param)


def ship(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def test_a_file_by_many_names_is_one_file(world: World, tmp_path: Path) -> None:
    """Overlapping globs, hard links and symlinks do not repeat a line."""
    world.patterns = ("*.log", "a*", "**/*.log", str(tmp_path / "link" / "*.log"))
    log = world.folder / "a.log"
    append(log, lines(range(5)))
    os.link(log, world.folder / "b.log")
    (world.folder / "c.log").symlink_to(log)
    (tmp_path / "link").symlink_to(world.folder)
    world.once()
    assert set(world.store.sent.values()) == {1}
    assert world.store.numbers == list(range(5))


def test_a_hard_link_does_not_change_what_a_part_is(world: World) -> None:
    """A file of ours keeps its ids when a link that sorts before it appears in the same folder."""
    part = Part(world.folder, lines(range(3)))
    world.once()
    os.link(part.path, world.folder / "a.jsonl")
    part.write(lines(range(3, 6)))
    world.once()
    assert world.store.numbers == list(range(6))
    assert set(world.store.records) == {f"{part.key}-{n:x}" for n in range(6)}


def test_equal_heads(world: World) -> None:
    """Files that begin with the same lines, or consist of one short line, are told apart, also after a restart."""
    for number in range(5):
        append(world.folder / f"{number}.log", line(0, banner="x" * 2000) + line(number))
        append(world.folder / f"{number}.log.tiny", b"{}\n")
    world.store.refuse = lambda data: False
    world.once()
    assert len(world.store.records) == 15
    for number in range(5):
        append(world.folder / f"{number}.log", line(number + 5))
    world.once()
    assert len(world.store.records) == 20
    assert set(world.store.sent.values()) == {1}


@pytest.mark.parametrize("limit", [1024, 300_000])
def test_over_long_lines(world: World, limit: int) -> None:
    """A line over the bound goes to the dead letters with its head; one of exactly the bound and all neighbours arrive."""
    world.max_line_bytes = limit
    exact = line(3, pad="x" * (limit - len(line(3, pad=""))) + "x")
    assert len(exact) == limit + 1
    data = line(1) + line(2, pad="y" * limit) + exact + line(4, pad="z" * 600_000) + line(5)
    append(world.folder / "a.log", data)
    world.once()
    assert world.store.numbers == [1, 3, 5]
    first, second = world.dead
    assert (first["line"], second["line"]) == (2, 4)
    assert "more than max_line_bytes" in first["reason"]
    assert line(2, pad="y" * limit).startswith(first["data"].encode())
    assert first["offset"] == len(line(1))


def test_a_line_in_many_pieces(world: World) -> None:
    """A line that is written byte by byte over many looks is one record, and never sent before it is whole."""

    async def program() -> None:
        log = world.folder / "a.log"
        data = line(1, text="äöü\u2028")
        async with world.running() as pipeline:
            for position in range(len(data)):
                assert not world.store.records
                append(log, data[position : position + 1])
                await until(
                    lambda size=position + 1: any(t.size >= size for t in pipeline.files.tailers.values()), "a look"
                )
            await world.shipped([1])
        assert next(iter(world.store.records.values())).startswith(data[:-2])

    ship(program())


def test_the_stream_is_chosen_from_a_whole_line(world: World) -> None:
    """A file found with half a first line goes to the stream that its whole first line names."""

    async def program() -> None:
        log = world.folder / "a.log"
        data = line(1, service={"name": "shop", "environment": "prod"})
        async with world.running() as pipeline:
            append(log, data[:-6])
            await until(lambda: pipeline.files.tailers, "the file to be found")
            append(log, data[-6:])
            await world.shipped([1])

    ship(program())
    assert list(world.store.streams) == ["logs-shop.jsonlog_foreign-prod"]


def test_a_last_line_without_newline(world: World) -> None:
    """With once, a good last line of a foreign file is shipped without its newline, a half one is left; no line is repeated."""
    append(world.folder / "a.log", line(1) + line(2)[:-1])
    append(world.folder / "b.log", line(3) + line(4)[:-3])
    assert world.once() == len(line(4)) - 3
    assert world.store.numbers == [1, 2, 3]
    append(world.folder / "a.log", b"\n" + line(5))
    append(world.folder / "b.log", line(4)[-3:])
    assert world.once() == 0
    assert world.store.numbers == [1, 2, 3, 4, 5]
    assert set(world.store.sent.values()) == {1}


def test_the_half_line_of_a_dead_writer(world: World) -> None:
    """It waits while the writer lives, and goes to the dead letters once when the writer has died."""
    half = b'{"n": 3, "half'
    part = Part(world.folder, lines(range(3)) + half)

    async def program() -> None:
        async with world.running() as pipeline:
            await world.shipped(range(3))
            await until(lambda: any(t.partial for t in pipeline.files.tailers.values()), "the half line to be seen")
            assert not world.dead
            part.end()
            await until(lambda: world.dead, "the dead letter")

    ship(program())
    world.once()
    (entry,) = world.dead
    assert (entry["data"].encode(), entry["reason"], entry["line"]) == (half, DEAD_WRITER, 4)


def test_an_endless_last_line_of_a_dead_writer(world: World) -> None:
    """An over-long line that was never completed does not keep its file unfinished for ever."""
    world.max_line_bytes = 1024
    world.finished = {"fate": "delete"}
    part = Part(world.folder, line(1) + b'{"x": "' + b"y" * 700_000).end()
    assert world.once() == 0
    assert world.dead[0]["reason"].startswith(DEAD_WRITER)
    assert not part.path.exists()


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Be somebody whom permissions bind, for the length of a block."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_permission_taken_and_given_back() -> None:
    """A file without permission is said once and named, the others go on, and it arrives when it may be read."""
    folder = Path(tempfile.mkdtemp(prefix="shipper-test-"))
    try:
        with unprivileged(folder):
            world = World(folder, patterns=("*.log",))
            log = world.folder / "a.log"

            async def program() -> None:
                append(log, lines(range(3)))
                log.chmod(0)
                append(world.folder / "b.log", lines(range(3, 6)))
                async with world.running() as pipeline:
                    await world.shipped(range(3, 6))
                    await until(lambda: pipeline.files.unreadable, "the message")
                    log.chmod(stat.S_IRUSR | stat.S_IWUSR)
                    await world.shipped(range(6))
                    assert not pipeline.files.unreadable

            asyncio.run(program())
            (said,) = world.seen(FileUnreadable)
            assert str(log) in str(said)
            assert "needs read permission" in str(said)
    finally:
        shutil.rmtree(folder)


def test_more_files_than_descriptors(world: World) -> None:
    """2,000 files with 256 descriptors: every line once."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(2000):
        append(world.folder / f"{number}.log", lines([number, number + 10_000]))
    world.max_open = 256 - 48 - 4

    async def program() -> None:
        async with world.running():
            await world.shipped([*range(2000), *range(10_000, 12_000)])
            for number in range(0, 2000, 7):
                append(world.folder / f"{number}.log", line(number + 20_000))
            await world.shipped([*range(2000), *range(10_000, 12_000), *range(20_000, 22_000, 7)])

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        ship(program())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert set(world.store.sent.values()) == {1}
    assert not world.seen(FileUnreadable)


def test_own_state_is_never_input(world: World, tmp_path: Path) -> None:
    """Checkpoint and dead letters are not shipped, by whatever name a pattern reaches them."""
    world.state = world.folder / "state"
    world.patterns = ("**/*", "*")
    append(world.folder / "a.log", line(1) + b"bad\n")
    world.once()
    os.link(world.state / "dead-letters.jsonl", world.folder / "hard.jsonl")
    (world.folder / "soft.jsonl").symlink_to(world.state / "dead-letters.jsonl")
    (tmp_path / "folder").symlink_to(world.state)
    world.patterns = ("**/*", "*", str(tmp_path / "folder" / "*"))
    world.once()
    assert world.store.numbers == [1]
    assert len(world.dead) == 1


def test_a_copy_of_a_part_is_not_shipped(world: World) -> None:
    """A second file with the name of a part that is followed is said, and not sent under the same ids."""
    world.patterns = ("**/*.jsonl",)
    part = Part(world.folder, lines(range(3)))
    (world.folder / "backup").mkdir()
    shutil.copy(part.path, world.folder / "backup")
    world.once()
    assert world.store.numbers == [0, 1, 2]
    assert "a copy" in str(world.seen(FileUnreadable)[0])


def test_a_lost_checkpoint_repeats_no_line_of_ours(world: World) -> None:
    """Without the checkpoint files of ours are sent under the same ids; foreign lines may come twice but none is lost."""
    part = Part(world.folder, lines(range(5)))
    append(world.folder / "a.log", lines(range(5, 8)))
    world.once()
    shutil.rmtree(world.state)
    part.write(lines(range(10, 12)))
    world.once()
    assert world.store.numbers == [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 10, 11]


def test_new_files_are_in_the_checkpoint_before_they_are_sent(world: World) -> None:
    """The epoch of a foreign file is on disk before anything of it is sent."""
    known = []

    def look_into(request: object) -> None:
        known.append(list(Checkpoint.load(pipeline_checkpoint[0])))

    pipeline_checkpoint: list[Checkpoint] = []
    world.store.script.append(look_into)
    append(world.folder / "a.log", line(1))

    async def program() -> None:
        async with world.pipeline() as pipeline:
            pipeline_checkpoint.append(pipeline.checkpoint)
            await pipeline.run(once=True)

    ship(program())
    assert known == [["0000000000000001"]]


def test_files_that_cannot_be_unpacked_are_named_and_left(world: World) -> None:
    """A file that is compressed in a way nobody unpacks here is said, and nothing of it is sent."""
    (world.folder / "a.log.bz2").write_bytes(b"BZh whatever")
    world.once()
    assert "compressed in this way are not read" in str(world.seen(FileUnreadable)[0])
    assert not world.store.requests


def test_patterns(tmp_path: Path) -> None:
    """A folder stands for its `.jsonl` files; the fixed folder of a glob ends before the first wildcard."""
    assert absolute_patterns([str(tmp_path), "a/*.log", "/x/../y"], Path("/b")) == (
        str(tmp_path / "*.jsonl"),
        "/b/a/*.log",
        "/y",
    )
    assert fixed_folder("/var/log/app*/x.log") == Path("/var/log")
    assert fixed_folder("/var/log/x.log") == Path("/var/log")


def test_a_look_survives_what_it_meets(tmp_path: Path) -> None:
    """Folders, pipes, dangling links and link loops are no input and no error that ends the look."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_bytes(b"x")
    view = look([str(tmp_path / "*")], (tmp_path / ".shipper",))
    assert [seen.path for seen in view.files.values()] == [str(tmp_path / "file")]
    assert set(view.unreadable) <= {str(tmp_path / "loop")}


def test_output_of_its_own_is_never_input(world: World) -> None:
    """A file that standard output or error leads to is not read, wherever it lies and by whatever name."""
    append(world.folder / "a.log", line(1))
    own = world.folder / "own.log"
    own.write_bytes(line(2))
    os.link(own, world.folder / "other.log")
    kept = os.dup(2)
    fd = os.open(own, os.O_WRONLY | os.O_APPEND)
    try:
        os.dup2(fd, 2)
        world.once()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(fd)
    assert world.store.numbers == [1]


def test_a_new_device_number_is_no_new_file(world: World) -> None:
    """Device numbers change at a reboot; files are known again all the same, and nothing is sent twice."""
    append(world.folder / "a.log", lines(range(5)))
    part = Part(world.folder, lines(range(5, 8)))
    world.once()
    with sqlite3.connect(world.state / "checkpoint.sqlite") as db:
        db.execute("UPDATE files SET device = device + 1")
    db.close()
    append(world.folder / "a.log", lines(range(10, 12)))
    part.write(lines(range(12, 14)))
    world.once()
    assert world.store.numbers == [*range(8), *range(10, 14)]
    assert set(world.store.sent.values()) == {1}


def test_a_stale_handle_is_opened_again(world: World) -> None:
    """A descriptor that a network file system has made stale is given up, and the file is read on through a new one."""

    async def program() -> None:
        append(world.folder / "a.log", lines(range(3)))
        async with world.running() as pipeline:
            await world.shipped(range(3))
            (tailer,) = pipeline.files.tailers.values()
            stale = tailer.file.fileno()
            nowhere = os.open(world.folder, os.O_RDONLY)  # reading it fails, as reading a stale handle does
            os.dup2(nowhere, stale)
            os.close(nowhere)
            append(world.folder / "a.log", lines(range(3, 6)))
            await world.shipped(range(6))
        assert set(world.store.sent.values()) == {1}

    ship(program())


def test_a_large_backlog_does_not_hold_up_live_files(world: World) -> None:
    """A line of a small file arrives while most of a backlog is still to be read; older files come first."""
    world.limits = Limits(
        poll_interval_s=0.01, linger_s=0, batch_bytes=256 * 1024, in_flight_bytes=1024 * 1024, in_flight=1
    )
    for number in range(2):
        append(world.folder / f"big{number}.log", line(number, pad="x" * 1000) * 20_000)
    order: list[str] = []

    def slow(request: object) -> object:
        response = world.store.take(request)
        order.extend(record["log"]["file"]["path"] for record in map(json.loads, last_of_each(request)))
        return response

    def last_of_each(request: object) -> list[bytes]:
        body = request.content.split(b"\n")  # type: ignore[attr-defined]
        return [body[1], body[-2]]

    world.store.down = slow  # type: ignore[assignment]

    async def program() -> None:
        async with world.running():
            await until(lambda: order, "the first batch")
            append(world.folder / "small.log", line(7))
            await until(lambda: any(path.endswith("small.log") for path in order), "the small file")
            assert len(world.store.records) < 30_000
            await until(lambda: len(world.store.records) == 40_001, "all")

    ship(program())
    assert {Path(path).name for path in order} == {"big0.log", "big1.log", "small.log"}


def test_older_files_come_first(world: World) -> None:
    """Of files that are found together, the one that was written to first is read first, whatever its name."""
    for age, name in enumerate(("c.log", "a.log.10", "b.jsonl", "a.log.2")):
        append(world.folder / name, line(age))
        os.utime(world.folder / name, (1_700_000_000 + age,) * 2)
    world.once()
    assert [json.loads(record)["n"] for record in world.store.records.values()] == [0, 1, 2, 3]

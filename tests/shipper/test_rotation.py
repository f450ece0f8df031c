"""Files that are renamed, truncated, written over or removed: whatever was readable arrives once."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from pathlib import Path

import pytest

from shipper.errors import StoreFull
from shipper.events_of_files import FileGone, FileLost, FileTruncated
from shipper.limits import Limits
from tests.fakes import Part, World, append, line, lines, say, until


@pytest.fixture(params=["poll", "inotify"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path / "logs", patterns=("*.log*", "*.jsonl"), watch=request.param)


def ship(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def open_descriptors() -> int:
    gc.collect()  # what an earlier test has left open would be closed at any moment
    return len(list(Path("/proc/self/fd").iterdir()))


def test_rename_rotation_in_the_pattern(world: World) -> None:
    """Several renames in a row, with late writes to the old files, cost no line and repeat none."""

    async def program() -> None:
        log = world.folder / "a.log"
        async with world.running():
            append(log, lines(range(5)))
            await world.shipped(range(5))
            log.rename(world.folder / "a.log.2")
            append(world.folder / "a.log.2", lines(range(5, 10)))
            append(log, lines(range(10, 15)))
            log.rename(world.folder / "a.log.1")
            append(log, lines(range(15, 20)))
            append(world.folder / "a.log.1", lines(range(20, 25)))
            await world.shipped(range(25))
        assert set(world.store.sent.values()) == {1}

    ship(program())


def test_a_renamed_file_is_found_under_its_new_name(world: World) -> None:
    """A file that was renamed while its descriptor was closed is read on."""
    world.max_open = 1

    async def program() -> None:
        log = world.folder / "a.log"
        async with world.running():
            append(log, lines(range(3)))
            append(world.folder / "b.log", lines(range(3, 6)))
            await world.shipped(range(6))
            log.rename(world.folder / "a.log.1")
            append(world.folder / "a.log.1", lines(range(6, 9)))
            await world.shipped(range(9))

    ship(program())


def test_rename_out_of_the_pattern(world: World) -> None:
    """A file that is renamed to where nobody looks is read on for a while, then let go of."""
    world.patterns = ("a.log",)

    async def program() -> None:
        log, old = world.folder / "a.log", world.folder / "old"
        async with world.running() as pipeline:
            append(log, lines(range(3)))
            await world.shipped(range(3))
            log.rename(old)
            await until(lambda: all(t.gone_at for t in pipeline.files.tailers.values()), "the rename to be noticed")
            append(old, lines(range(3, 6)))
            append(log, lines(range(6, 9)))
            await world.shipped(range(9))
            await until(lambda: len(pipeline.files.tailers) == 1, "the old file to be let go of")

    ship(program())


def test_files_that_rotate_while_the_store_is_down(world: World) -> None:
    """Generations that come and go while nothing can be delivered are opened in time and arrive later."""
    world.patterns = ("a.log",)
    world.keep_gone_s = 60

    async def program() -> None:
        log = world.folder / "a.log"
        world.store.down = say(503)
        async with world.running() as pipeline:
            for generation in range(14):  # more than are on their way at once
                append(log, lines(range(generation * 100, generation * 100 + 100)))
                number = log.stat().st_ino
                await until(
                    lambda number=number: any(n[1] == number for n in pipeline.files.tailers), "the file to be followed"
                )
                log.rename(world.folder / f"old{generation}")
            world.store.down = None
            await world.shipped(range(1400))

    ship(program())


def test_truncation_and_regrowth(world: World) -> None:
    """A file cut to nothing and written anew, with less, as much or more than before, is read from its start."""

    async def program() -> None:
        log = world.folder / "a.log"
        async with world.running():
            append(log, lines(range(10, 20)))
            await world.shipped(range(10, 20))
            log.write_bytes(lines(range(20, 25)))
            await world.shipped(range(10, 25))
            log.write_bytes(lines(range(25, 30)))  # exactly as long as before
            await world.shipped(range(10, 30))
            log.write_bytes(lines(range(30, 60)))  # longer than before
            await world.shipped(range(10, 60))
        assert len(world.seen(FileTruncated)) == 3

    ship(program())


def test_truncation_while_nobody_looks(world: World) -> None:
    """Truncated, or truncated and regrown past the saved place, between two runs: the new content is read from its start."""
    log = world.folder / "a.log"
    append(log, lines(range(10, 20)))
    world.once()
    log.write_bytes(lines(range(20, 25)))
    world.once()
    log.write_bytes(lines(range(30, 90)))
    world.once()
    assert world.store.numbers == [*range(10, 25), *range(30, 90)]


def test_rewritten_before_its_first_line_was_whole(world: World) -> None:
    """A file that held half a line and is written anew is another file, and is known again after a restart."""
    log = world.folder / "a.log"

    async def program() -> None:
        async with world.running() as pipeline:
            append(log, b'{"half": ')
            await until(lambda: any(t.partial for t in pipeline.files.tailers.values()), "the half line to be seen")
            log.write_bytes(lines(range(10)))
            await world.shipped(range(10))

    ship(program())
    append(log, lines(range(10, 12)))
    world.once()
    assert world.store.numbers == list(range(12))


def test_equal_content_after_a_truncation(world: World) -> None:
    """The same lines once more after a truncation are new records, also after a restart."""
    log = world.folder / "a.log"
    same = b'{"n":1}\n' * 10

    async def program() -> None:
        async with world.running():
            append(log, same)
            await until(lambda: len(world.store.records) == 10, "the first ten")
            log.write_bytes(same[:40])
            await until(lambda: len(world.store.records) == 15, "five more")
            assert len(world.seen(FileTruncated)) == 1

    ship(program())
    append(log, same)
    world.once()
    assert len(world.store.records) == 25


def test_delete_and_recreate(world: World) -> None:
    """A deleted file is let go of, and one that is created under its name is another one, whatever its inode."""
    log = world.folder / "a.log"

    async def program() -> None:
        async with world.running():
            for generation in range(5):
                append(log, lines(range(generation * 10, generation * 10 + 10)))
                await world.shipped(range(generation * 10 + 10))
                log.unlink()

    ship(program())
    append(log, lines(range(50, 60)))
    world.once()
    assert world.store.numbers == list(range(60))


def test_descriptors_of_deleted_files_are_closed(world: World) -> None:
    """Nothing of a deleted file is held once it is read."""

    async def program() -> None:
        async with world.running() as pipeline:
            before = open_descriptors()
            for number in range(50):
                append(world.folder / f"{number}.log", line(number))
            await world.shipped(range(50))
            assert open_descriptors() >= before + 50
            for number in range(50):
                (world.folder / f"{number}.log").unlink()
            await until(lambda: not pipeline.files.tailers, "the files to be let go of")
            assert open_descriptors() <= before + 2

    ship(program())


def test_a_symlink_that_is_turned_to_another_file(world: World) -> None:
    """When a link's target rotates, both targets arrive."""
    (world.folder / "data").mkdir()
    link = world.folder / "a.log"

    async def program() -> None:
        async with world.running():
            for generation in range(3):
                target = world.folder / "data" / f"{generation}"
                append(target, lines(range(generation * 5, generation * 5 + 5)))
                link.unlink(missing_ok=True)
                link.symlink_to(target)
                await world.shipped(range(generation * 5 + 5))

    ship(program())


def test_a_part_that_was_written_over_is_a_foreign_file(world: World) -> None:
    """Other bytes under the name of a part are not taken for delivered lines, also after another restart."""
    part = Part(world.folder, lines(range(10))).end()
    world.once()
    part.path.write_bytes(lines(range(20, 25)))
    world.once()
    append(part.path, lines(range(25, 60)))
    world.once()
    assert world.store.numbers == [*range(10), *range(20, 60)]


def test_a_part_that_is_written_over_while_it_is_followed(world: World) -> None:
    """Other bytes in a part of which nothing is committed yet are not sent under the ids of its lines."""

    async def program() -> None:
        def full(*_: object, **__: object) -> None:
            raise StoreFull("no room")

        part = Part(world.folder, lines(range(10)))
        async with world.running() as pipeline:
            commit, pipeline.checkpoint.commit = pipeline.checkpoint.commit, full
            await world.shipped(range(10))
            part.path.write_bytes(lines(range(20, 25)))
            await world.shipped([*range(10), *range(20, 25)])
            pipeline.checkpoint.commit = commit

    ship(program())


def test_the_folder_disappears_and_comes_back(world: World) -> None:
    """With logs and state removed at once, shipping goes on when the folder is back, and nothing is sent again later."""

    async def program() -> None:
        async with world.running():
            append(world.folder / "a.log", lines(range(5)))
            await world.shipped(range(5))
            shutil.rmtree(world.folder)
            world.folder.mkdir()
            append(world.folder / "a.log", lines(range(5, 10)) + b"bad\n")
            await world.shipped(range(10))
            await until(lambda: world.dead, "the dead letter")

    ship(program())
    append(world.folder / "a.log", lines(range(10, 12)))
    world.once()
    assert world.store.numbers == list(range(12))
    assert set(world.store.sent.values()) == {1}


def test_a_writer_that_keeps_its_offset_over_a_truncation(world: World) -> None:
    """It leaves a run of NULs, longer than any line may be, before its next line: that line arrives, and nothing else."""

    async def program() -> None:
        log = world.folder / "a.log"
        with log.open("wb") as writer:
            writer.write(lines(range(2000)))
            writer.flush()
            async with world.running():
                await world.shipped(range(2000))
                for round_ in range(1, 4):
                    os.truncate(log, 0)
                    writer.seek(round_ * 3_000_000_000 if round_ > 1 else 5_000_000)
                    writer.write(lines(range(round_ * 10_000, round_ * 10_000 + 5)))
                    writer.flush()
                    expected = [n for r in range(1, round_ + 1) for n in range(r * 10_000, r * 10_000 + 5)]
                    await world.shipped([*range(2000), *expected])

    ship(program())
    assert not world.dead
    assert set(world.store.sent.values()) == {1}


@pytest.mark.parametrize("bound", ["number", "age", "closed"])
def test_a_deleted_file_is_read_to_its_end_within_bounds(world: World, bound: str) -> None:
    """While the store is down, what was deleted is kept open; beyond the bounds the oldest is let go of, and that is said."""

    async def program() -> None:
        world.limits = Limits(poll_interval_s=0.01, linger_s=0, in_flight_bytes=64 * 1024, batch_bytes=1024)
        world.max_open = 1 if bound == "closed" else 100
        big = [line(number, pad="x" * 1000) * 300 for number in range(4)]
        world.store.down = say(503)
        async with world.running() as pipeline:
            files = pipeline.files
            for number, data in enumerate(big):
                append(world.folder / f"{number}.log", data)
                await until(lambda: len(files.tailers) == number + 1, "the file to be followed")  # noqa: B023
            for number in range(4):
                (world.folder / f"{number}.log").unlink()
            await until(lambda: len(files.gone) + len(world.seen(FileLost)) >= 4, "the removals to be noticed")
            if bound == "number":
                files.gone_max = 1
            elif bound == "age":
                files.gone_max_s = 0.1
            await until(lambda: world.seen(FileLost), "the message")
            world.store.down = None
            pipeline.files.gone_max_s = 3600.0
            await until(lambda: pipeline._acks.idle and not any(t.fresh for t in files.tailers.values()), "the rest")

    ship(program())
    assert all(lost.left > 0 for lost in world.seen(FileLost))
    assert len(world.seen(FileLost)) < 4 or bound == "age"
    arrived = [number for number in range(4) if world.store.numbers.count(number) == 300]
    lost = {Path(lost.path).name for lost in world.seen(FileLost)}
    assert {f"{number}.log" for number in range(4) if number not in arrived} == lost


def test_a_deleted_file_is_read_on_after_the_outage(world: World) -> None:
    """All of it arrives, and it is said that it was deleted with so much unread."""

    async def program() -> None:
        world.limits = Limits(poll_interval_s=0.01, linger_s=0, in_flight_bytes=64 * 1024, batch_bytes=1024)
        world.store.down = say(503)
        async with world.running() as pipeline:
            append(world.folder / "a.log", b"".join(line(number, pad="x" * 1000) for number in range(5000)))
            await until(lambda: world.slept, "an attempt")
            (world.folder / "a.log").unlink()
            await until(lambda: world.seen(FileGone), "the message")
            world.store.down = None
            await world.shipped(range(5000))
            await until(lambda: not pipeline.files.tailers, "the file to be let go of")

    ship(program())
    assert not world.seen(FileLost)

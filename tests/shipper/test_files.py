"""Following files: whatever is done to them, each readable line arrives once."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.checkpoint import Checkpoint
from shipper.errors import StoreFull
from shipper.events import FileTruncated, FileUnreadable
from shipper.look import absolute_patterns, fixed_folder, look
from shipper.tailer import DEAD_WRITER
from tests.fakes import Part, World, append, line, lines, say, until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "logs", patterns=("*.log*", "*.jsonl"))


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def ship(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


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
    assert (first["line"], second["line"]) == (1, 3)
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
        assert next(iter(world.store.records.values())) == data[:-1]

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
    assert list(world.store.streams) == ["logs-shop.jsonlog-prod"]


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
    assert (entry["data"].encode(), entry["reason"], entry["line"]) == (half, DEAD_WRITER, 3)


def test_an_endless_last_line_of_a_dead_writer(world: World) -> None:
    """An over-long line that was never completed does not keep its file unfinished for ever."""
    world.max_line_bytes = 1024
    world.delete_finished = True
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
        def full(_: object) -> None:
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


def test_compressed_files_are_named_and_left(world: World) -> None:
    """A compressed file in the pattern is said, and nothing of it is sent."""
    (world.folder / "a.log.gz").write_bytes(b"\x1f\x8b whatever")
    world.once()
    assert "compressed files are not read" in str(world.seen(FileUnreadable)[0])
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
    view = look([str(tmp_path / "*")], tmp_path / ".shipper")
    assert [seen.path for seen in view.files.values()] == [str(tmp_path / "file")]
    assert set(view.unreadable) <= {str(tmp_path / "loop")}

"""Finished files: they go when told to, and never before everything in them is safe."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from pathlib import Path

import pytest
import zstandard

from shipper.checkpoint import Checkpoint
from shipper.errors import StoreFull
from shipper.events_of_files import ArchiveFailed, FileDeleted
from tests.fakes import Part, World, append, line, lines, say, until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "logs", finished={"fate": "delete"})


def archiving(world: World, compression: str = "gzip") -> Path:
    folder = world.folder / "archive"
    world.patterns = ("*.jsonl", "**/*.jsonl*")
    world.exclude = (folder,)
    world.finished = {"fate": "archive", "archive": folder, "compression": compression}
    return folder


def test_a_part_goes_only_when_it_is_finished(world: World) -> None:
    """Not while its writer lives, not while a byte is unacknowledged; foreign files never."""

    async def program() -> None:
        part = Part(world.folder, lines(range(3)))
        append(world.folder / "foreign.jsonl", lines(range(3, 6)))
        world.store.down = say(429)
        async with world.running() as pipeline:
            await until(lambda: world.slept, "an attempt")
            part.end()
            await pipeline._clean_up(wait=True)
            assert part.path.exists()
            world.store.down = None
            await world.shipped(range(6))
            await until(lambda: not part.path.exists(), "the part to be deleted")
            living = Part(world.folder, lines(range(6, 9)))
            await world.shipped(range(9))
            for _ in range(3):
                await pipeline._clean_up(wait=True)
            assert living.path.exists()
            living.end()

    asyncio.run(program())
    assert (world.folder / "foreign.jsonl").exists()
    assert len(world.seen(FileDeleted)) == 2  # at the latest at the end
    assert [state.path for state in states(world)] == [str(world.folder / "foreign.jsonl")]


def states(world: World) -> list:
    checkpoint = Checkpoint(world.state)
    try:
        return list(checkpoint.load().values())
    finally:
        checkpoint.close()


@pytest.mark.parametrize("change", ["grown", "replaced", "unlinked"])
def test_a_part_that_is_not_what_was_acknowledged_stays(world: World, change: str) -> None:
    """A file with more bytes, or another one under its name, is not deleted."""
    part = Part(world.folder, lines(range(3))).end()

    async def program() -> None:
        async with world.pipeline() as pipeline:
            pipeline.finished.fate = "keep"
            await pipeline.run(once=True)
            if change == "grown":
                append(part.path, line(3))
            else:
                part.path.unlink()
            if change == "replaced":
                part.path.write_bytes(lines(range(3)))
            pipeline.finished.fate = "delete"
            await pipeline._clean_up(wait=True)

    asyncio.run(program())
    assert part.path.exists() == (change != "unlinked")
    assert not world.seen(FileDeleted)


def test_a_full_disk_is_relieved_without_the_checkpoint(world: World) -> None:
    """Where the checkpoint cannot be written, parts whose records are all acknowledged are deleted all the same."""
    parts = [Part(world.folder, lines([number])).end() for number in range(3)]

    def full(*_: object, **__: object) -> None:
        raise StoreFull("no room")

    async def program() -> None:
        world.store.down = say(503)
        async with world.running() as pipeline:
            await until(lambda: len(world.slept) > 3, "some attempts")
            commit, adopt = pipeline.checkpoint.commit, pipeline.checkpoint.adopt
            pipeline.checkpoint.commit = pipeline.checkpoint.adopt = full
            parts.append(Part(world.folder, lines([3])).end())  # cannot be adopted, and must not stand in the way
            await until(lambda: len(pipeline.files.tailers) == 4, "the new part to be found")
            world.store.down = None
            await until(lambda: not any(part.path.exists() for part in parts[:3]), "the parts to be deleted")
            pipeline.checkpoint.commit, pipeline.checkpoint.adopt = commit, adopt

    asyncio.run(program())
    assert world.store.numbers == [0, 1, 2, 3]
    assert not states(world)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_archive(world: World, compression: str) -> None:
    """A finished part is in the archive, whole, and nowhere else; what is in the archive is not input."""
    folder = archiving(world, compression)
    data = lines(range(20_000))
    part = Part(world.folder, data).end()
    world.once()
    (archived,) = folder.iterdir()
    assert not part.path.exists()
    assert archived.name == part.path.name + (".gz" if compression == "gzip" else ".zst")
    raw = archived.read_bytes()
    assert (
        gzip.decompress(raw) if compression == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    ) == data
    world.once()
    assert set(world.store.sent.values()) == {1}


def test_a_crash_while_archiving_repeats_nothing(world: World) -> None:
    """What an earlier attempt left behind, half or whole, is written anew, and the original goes only then."""
    folder = archiving(world)
    part = Part(world.folder, lines(range(10))).end()
    folder.mkdir()
    (folder / f".{part.path.name}.tmp").write_bytes(b"half")
    (folder / f"{part.path.name}.gz").write_bytes(b"whole, but without its end")
    world.once()
    (archived,) = folder.iterdir()
    assert gzip.decompress(archived.read_bytes()) == lines(range(10))
    assert not part.path.exists()


def test_an_archive_that_cannot_be_written(world: World) -> None:
    """The file stays, it is said once, and it is archived when that works again."""
    folder = archiving(world)
    folder.write_bytes(b"a file in place of the folder")
    part = Part(world.folder, lines(range(10))).end()

    async def program() -> None:
        async with world.running():
            await until(lambda: world.seen(ArchiveFailed), "the message")
            assert part.path.exists()
            folder.unlink()
            await until(lambda: not part.path.exists(), "the file to be archived")

    asyncio.run(program())
    assert len(world.seen(ArchiveFailed)) == 1
    assert len(list(folder.iterdir())) == 1


def test_a_part_without_lock_goes_by_its_age_alone(world: World) -> None:
    """Never by default; when asked, once nothing has been written to it for long enough."""
    part = Part(world.folder, lines(range(3))).end()
    path = part.path.rename(part.path.with_name(part.path.name.replace(".jsonl", ".nolock.jsonl")))
    os.utime(path, (time.time() - 7200,) * 2)
    world.once()
    assert path.exists()
    world.finished["nolock_s"] = 10_000.0
    world.once()
    assert path.exists()
    world.finished["nolock_s"] = 3600.0
    world.once()
    assert not path.exists()
    assert world.store.numbers == [0, 1, 2]


def test_the_checkpoint_forgets_files_that_are_gone(world: World) -> None:
    """After the time that was set, and not one that is still there, followed or not."""
    for name in ("a", "b", "c"):
        append(world.folder / f"{name}.jsonl", lines(range(3)))
    world.once()
    (world.folder / "a.jsonl").unlink()
    world.patterns = ("b.jsonl",)
    world.once()
    assert len(states(world)) == 3
    world.limits = type(world.limits)(poll_interval_s=0.01, linger_s=0.0, forget_s=0.0)
    world.once()
    assert {Path(state.path).name for state in states(world)} == {"b.jsonl", "c.jsonl"}

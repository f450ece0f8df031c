"""Compressed files: each line that is in them arrives once, also of a file that was half read before it was compressed."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.events_of_files import FileUnreadable
from shipper.packed import Damaged, Incomplete, Packed, survey, unpack
from tests.fakes import Part, World, append, lines, say, until


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


KINDS = pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstd)])
Pack = Callable[[bytes], bytes]


@pytest.fixture(params=["poll", "inotify"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path / "logs", patterns=("*.log*", "*.jsonl*"), watch=request.param)


def compress(path: Path, ending: str, pack: Pack) -> Path:
    """Do as gzip does: write the compressed file, give it the time of the plain one, remove that."""
    packed = path.with_name(f"{path.name}.{ending}")
    packed.write_bytes(pack(path.read_bytes()))
    info = path.stat()
    os.utime(packed, ns=(info.st_atime_ns, info.st_mtime_ns))
    path.unlink()
    return packed


@KINDS
def test_a_file_that_was_never_seen_is_read_once(world: World, ending: str, pack: Pack) -> None:
    """Whole, several members too, with a last line that has no newline, and not again after a restart or a rename."""
    data = lines(range(1000))
    packed = world.folder / f"a.log.1.{ending}"
    packed.write_bytes(pack(data[:5000]) + pack(data[5000:-1]))
    assert world.once() == 0
    assert world.once() == 0
    packed.rename(world.folder / f"a.log.2.{ending}")
    assert world.once() == 0
    assert world.store.numbers == list(range(1000))
    assert set(world.store.sent.values()) == {1}


@KINDS
def test_a_file_that_was_half_read_goes_on_where_it_stopped(world: World, ending: str, pack: Pack) -> None:
    """It was rotated, written to and compressed while nobody looked."""
    log = world.folder / "a.log"
    append(log, lines(range(100)))
    world.once()
    append(log, lines(range(100, 150)))
    compress(log.rename(world.folder / "a.log.1"), ending, pack)
    append(log, lines(range(200, 210)))
    world.once()
    assert world.store.numbers == [*range(150), *range(200, 210)]
    assert set(world.store.sent.values()) == {1}


@KINDS
def test_a_file_that_is_compressed_while_it_is_followed(world: World, ending: str, pack: Pack) -> None:
    """Also while the store is down: what is not read yet comes from the open file or from the copy, and never from both."""

    async def program() -> None:
        log = world.folder / "a.log"
        async with world.running():
            append(log, lines(range(100)))
            await world.shipped(range(100))
            world.store.down = say(503)
            append(log, lines(range(100, 200)))
            await until(lambda: world.slept, "an attempt")
            for generation in range(1, 3):
                rotated = log.rename(world.folder / f"a.log.{generation}")
                append(log, lines(range(generation * 1000, generation * 1000 + 50)))
                compress(rotated, ending, pack)
            world.store.down = None
            await world.shipped([*range(200), *range(1000, 1050), *range(2000, 2050)])

    asyncio.run(program())
    world.once()
    assert len(world.store.records) == 300
    assert set(world.store.sent.values()) == {1}


def test_a_copy_beside_the_plain_file_waits(world: World) -> None:
    """As long as both are there only the plain one is read; once it is gone, what it lacked comes from the copy."""

    async def program() -> None:
        log = world.folder / "a.log.1"
        append(log, lines(range(100)))
        (world.folder / "a.log.1.gz").write_bytes(gzip.compress(lines(range(100))))
        async with world.running():
            await world.shipped(range(100))
            log.unlink()
            await asyncio.sleep(0.5)  # in which nothing may happen
            await world.shipped(range(100))

    asyncio.run(program())
    world.once()
    assert set(world.store.sent.values()) == {1}


def test_one_that_is_still_being_written_waits(world: World) -> None:
    """Nothing of half a file is read; the whole of it is, once it is whole."""
    data = gzip.compress(lines(range(5000)))

    async def program() -> None:
        packed = world.folder / "a.log.1.gz"
        async with world.running():
            for place in range(0, len(data), len(data) // 3):
                append(packed, data[place : place + len(data) // 3])
                await asyncio.sleep(0.1)  # writing takes its time
            await world.shipped(range(5000))

    asyncio.run(program())
    assert not world.seen(FileUnreadable)


@KINDS
@pytest.mark.parametrize("fault", ["flipped", "cut", "text"])
def test_a_damaged_file_is_said_and_left(world: World, ending: str, pack: Pack, fault: str) -> None:
    """Nothing of it is sent, it is said once, it stays as it is, and the others go on."""
    data = bytearray(pack(os.urandom(20_000) + b"\n" + lines(range(1000))))
    if fault == "flipped":
        data[len(data) // 2] ^= 0xFF
    data = {"flipped": data, "cut": data[:-10], "text": bytearray(b"no such thing")}[fault]
    packed = world.folder / f"a.log.1.{ending}"
    packed.write_bytes(data)
    os.utime(packed, (time.time() - 3600,) * 2)
    append(world.folder / "a.log", lines(range(3)))

    async def program() -> None:
        async with world.running():
            await world.shipped(range(3))
            await until(lambda: world.seen(FileUnreadable), "the message")
            await asyncio.sleep(0.2)  # some more looks

    asyncio.run(program())
    (said,) = world.seen(FileUnreadable)
    assert said.path == str(packed)
    assert ("ends before" if fault == "cut" else "damaged") in said.reason
    assert packed.read_bytes() == data


def test_an_archived_part_keeps_its_ids(world: World) -> None:
    """A part of ours that somebody has compressed is read on under the ids of the part."""
    part = Part(world.folder, lines(range(10))).end()
    world.once()
    append(part.path, lines(range(10, 20)))
    compress(part.path, "gz", gzip.compress)
    world.once()
    assert world.store.numbers == list(range(20))
    assert set(world.store.records) == {f"{part.key}-{n:x}" for n in range(20)}


def test_a_file_with_an_equal_beginning_is_another_one(world: World) -> None:
    """A compressed file that only begins like one that is followed is read whole."""
    append(world.folder / "a.log", lines(range(10)) + lines(range(50, 60)))
    world.once()
    (world.folder / "b.log.gz").write_bytes(gzip.compress(lines(range(10)) + lines(range(70, 80))))
    world.once()
    assert len(world.store.records) == 40


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A file whose content is a thousand times its size is surveyed and read in a few megabytes."""
    for ending, pack in (("gz", gzip.compress), ("zst", zstd)):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(pack((b"\0" * 1_000_000 + b"\n") * 200))
        tracemalloc.start()
        try:
            assert survey(str(path), []).size == 200 * 1_000_001
            file = Packed(str(path))
            for place in range(0, 200 * 1_000_001, 262_144):
                file.read_at(place, 262_144)
            file.close()
            assert tracemalloc.get_traced_memory()[1] < 48 * 2**20
        finally:
            tracemalloc.stop()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 4000)), max_size=6),
    st.sampled_from(["gz", "zst"]),
)
def test_content_is_read_by_its_offsets(members: list[bytes], places: list[tuple[int, int]], ending: str) -> None:
    """Reading at any offset, forwards or backwards, over members, gives the content there."""
    pack = gzip.compress if ending == "gz" else zstd
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{ending}"
        path.write_bytes(b"".join(map(pack, members)))
        file = Packed(str(path))
        for offset, size in places:
            assert file.read_at(offset, size) == b"".join(members)[offset : offset + size]
        file.close()


@given(st.binary(max_size=200), st.sampled_from(["a.gz", "a.zst"]))
def test_any_bytes_are_content_or_a_clear_fault(data: bytes, name: str) -> None:
    """Whatever stands in a file, it is unpacked, incomplete or damaged."""
    raw = io.BytesIO((gzip.compress(b"x") if name == "a.gz" else zstd(b"x")) + data)
    with suppress(Incomplete, Damaged):
        b"".join(unpack(raw, name))  # type: ignore[arg-type]

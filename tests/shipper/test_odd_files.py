"""What seldom happens to files and clocks: beyond 4 GiB, replaced as a whole, cut while nothing can be delivered, a clock that jumps."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import time
from pathlib import Path

import pytest

from shipper.checkpoint import CHECKPOINT
from shipper.events_of_files import FileTruncated
from tests.fakes import Part, World, append, line, lines, say, until

FAR = 5_000_000_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "logs", patterns=("*.log*", "*.jsonl"))


def test_beyond_four_gigabytes(world: World) -> None:
    """A place that does not fit into 32 bits is kept and read on from; a file that shrinks from there is read anew."""
    log = world.folder / "a.log"
    append(log, lines(range(5)))
    world.once()
    os.truncate(log, FAR)  # a hole, which reads as NULs
    append(log, lines(range(5, 10)))
    world.once()
    assert world.store.numbers == list(range(10))
    with sqlite3.connect(world.state / CHECKPOINT) as db:
        assert db.execute("SELECT offset, line FROM files").fetchall() == [(log.stat().st_size, 10)]
    db.close()
    append(log, lines(range(10, 15)))
    world.once()
    os.truncate(log, 0)
    append(log, lines(range(15, 20)))
    world.once()
    assert world.store.numbers == list(range(20))
    assert set(world.store.sent.values()) == {1}


def test_a_name_that_is_no_text(world: World) -> None:
    """A file whose name is not UTF-8 is said to be unreadable, and keeps no other one from being shipped."""
    Path(os.fsdecode(os.fsencode(world.folder) + b"/b\xff.log")).write_bytes(line(7))
    append(world.folder / "a.log", lines(range(5)))
    world.once()
    assert world.store.numbers == list(range(5))
    assert any("UTF-8" in repr(event) for event in world.events)


def test_a_file_that_is_replaced_as_a_whole(world: World) -> None:
    """Written beside and renamed over the old one: other content arrives, and equal content is another file's."""
    log, beside = world.folder / "a.log", world.folder / "beside"

    async def program() -> None:
        async with world.running():
            append(log, lines(range(5)))
            await world.shipped(range(5))
            append(beside, lines(range(5, 15)))
            beside.replace(log)
            await world.shipped(range(15))
            append(beside, lines(range(5, 15)))
            beside.replace(log)
            await world.shipped([*range(15), *range(5, 15)])

    asyncio.run(program())


def test_a_file_that_is_cut_while_nothing_can_be_delivered(world: World) -> None:
    """What was read before the cut arrives once the store takes it, and what was written after it, too."""
    log = world.folder / "a.log"

    async def program() -> None:
        world.store.down = say(503)
        async with world.running() as pipeline:
            append(log, lines(range(10)))
            await until(lambda: pipeline.in_flight == 10, "the lines to be read")
            os.truncate(log, 0)
            await until(lambda: world.seen(FileTruncated), "the cut to be noticed")
            append(log, lines(range(10, 15)))
            await until(lambda: pipeline.in_flight == 15, "the new lines to be read")
            world.store.down = None
            await world.shipped(range(15))

    asyncio.run(program())
    assert set(world.store.sent.values()) == {1}


def test_a_clock_that_jumps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours forwards and years backwards, again and again: everything arrives once, and finished files go as always."""
    true, jumps = time.time, itertools.cycle([7200.0, -1e8, 0.0, 1e8])
    monkeypatch.setattr(time, "time", lambda: true() + next(jumps))
    world.finished = {"fate": "delete"}

    async def program() -> None:
        async with world.running():
            part = Part(world.folder)
            for number in range(50):
                part.write(line(number))
                append(world.folder / "a.log", line(100 + number))
                if number == 20:
                    (world.folder / "a.log").rename(world.folder / "a.log.1")
                await world.shipped([*range(number + 1), *range(100, 101 + number)])
            part.end()
            await until(lambda: not part.path.exists(), "the finished part to go")

    asyncio.run(program())
    world.once()
    assert world.store.numbers == [*range(50), *range(100, 150)]
    assert set(world.store.sent.values()) == {1}

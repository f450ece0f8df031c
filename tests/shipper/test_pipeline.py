"""The pipeline with a scripted store: whatever is answered, everything arrives or is put aside, in bounds."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from shipper.core.accounting import Imbalance
from shipper.core.enrich import Rules
from shipper.core.model import Position
from shipper.core.routing import Targets, router_for
from shipper.errors import StoreError, StoreFull
from shipper.events import BeyondTargets, SinkFailed, SinkRecovered, StateFailed, TooManyTargets
from tests.fakes import (
    Part,
    World,
    append,
    clean_environment,
    line,
    lines,
    refuse_connection,
    say,
    until,
    wait_for,
)


@pytest.fixture(params=["elasticsearch", "http"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path / "logs", sink=request.param)


@pytest.fixture
def bulk(tmp_path: Path) -> World:
    return World(tmp_path / "logs")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes a part of ours without end."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.fakes import Part, line\n"
        "part = Part(Path(sys.argv[1]))\nn = 0\nwhile True:\n  part.write(line(n)); n += 1; time.sleep(0.001)"
    )
    (tmp_path / "logs").mkdir(exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "logs")], env=clean_environment({}))
    wait_for(lambda: any(p.stat().st_size for p in (tmp_path / "logs").glob("*.jsonl")), "the writer")
    yield process
    process.kill()
    process.wait()


def test_an_outage_costs_nothing(world: World) -> None:
    """While the store is down lines wait in their files; then each arrives once. It is said once that it is down, and once that not."""

    async def program() -> None:
        async with world.running():
            append(world.folder / "a.jsonl", lines(range(100)))
            await world.shipped(range(100))
            world.store.down = refuse_connection
            append(world.folder / "a.jsonl", lines(range(100, 200)))
            await until(lambda: len(world.slept) > 20, "twenty attempts")
            append(world.folder / "b.jsonl", lines(range(200, 300)))
            world.store.down = None
            await world.shipped(range(300))
            await until(lambda: world.seen(SinkRecovered), "the good news")

    asyncio.run(program())
    assert len(world.seen(SinkFailed)) == len(world.seen(SinkRecovered)) == 1
    assert set(world.store.sent.values()) == {1}


@pytest.mark.parametrize(
    "answer", [say(503), say(429), say(401), say(403), say(404), say(500, b"<html>"), refuse_connection]
)
def test_nothing_is_dropped_for_what_an_operator_can_mend(world: World, answer: object) -> None:
    """Down, busy, forbidden or missing: the same lines are sent again until they are taken."""
    append(world.folder / "a.jsonl", lines(range(10)))
    world.store.script.extend([answer] * 5)
    world.once()
    assert world.store.numbers == list(range(10))
    assert not world.dead


def test_retry_after_is_obeyed(world: World) -> None:
    """A 429 with Retry-After is waited for as long as it says."""
    append(world.folder / "a.jsonl", lines(range(3)))
    world.store.script.append(say(429, retry_after="7"))
    world.once()
    assert world.slept[0] >= 7


def test_waits_grow(world: World) -> None:
    """Without a hint the waits grow to their cap and stay there."""
    append(world.folder / "a.jsonl", line(1))
    world.store.script.extend([say(503)] * 30)
    world.once()
    assert len(world.slept) == 30
    assert max(world.slept[:3]) <= 1
    assert 3 <= max(world.slept[10:]) <= 30


@pytest.mark.parametrize("limit", [1, 3, 64])
def test_too_large_is_halved(world: World, limit: int) -> None:
    """413 halves a request until it is taken; every line arrives once."""
    append(world.folder / "a.jsonl", lines(range(100)))
    per_record = 2 if world.sink == "elasticsearch" else 1

    def small_only(request: httpx.Request) -> httpx.Response:
        if request.content.count(b"\n") > limit * per_record:
            return httpx.Response(413)
        return world.store.take(request)

    world.store.down = small_only
    world.once()
    assert world.store.numbers == list(range(100))
    assert set(world.store.sent.values()) == {1}
    assert not world.dead


@pytest.mark.parametrize("place", [0, 2500, 4999])
def test_one_bad_record_among_many_that_fails_its_whole_request(world: World, place: int) -> None:
    """A record for which the whole request is refused is found by halving, put aside, and all others arrive; few requests do it."""
    append(world.folder / "a.jsonl", lines(range(5000)))

    def picky(request: httpx.Request) -> httpx.Response:
        if b'{"n": %d,' % place in request.content:
            return httpx.Response(400, content=b"no such thing")
        return world.store.take(request)

    world.store.down = picky
    world.once()
    assert world.store.numbers == [n for n in range(5000) if n != place]
    (entry,) = world.dead
    assert json.loads(entry["data"])["n"] == place
    assert "no such thing" in entry["reason"]
    assert len(world.store.requests) < 60


def test_one_bad_item_among_many(bulk: World) -> None:
    """A record that alone is refused in a `_bulk` answer is put aside with the store's words; nothing is sent twice."""
    append(bulk.folder / "a.jsonl", lines(range(5000)))
    bulk.store.refuse = lambda data: b"4321" in data  # whatever is made of it
    bulk.once()
    assert len(bulk.store.records) == 4999
    (entry,) = bulk.dead
    assert (entry["line"], entry["status"], entry["reason"]) == (4322, 400, "document_parsing_exception: no")
    assert entry["id"].endswith(f"-{4321:x}")
    # What was sent had been added to; what is kept is the line as it stands in the file, and where.
    assert (entry["data"].encode() + b"\n", entry["offset"]) == (line(4321), len(lines(range(4321))))
    assert set(bulk.store.sent.values()) == {1}


def test_a_store_that_comes_to_refuse_everything_is_no_fault_of_the_records(world: World) -> None:
    """After it has taken some, a 400 for each request puts a few lines aside at most; the others wait, and arrive once it is mended."""
    append(world.folder / "a.jsonl", lines(range(20)))

    async def program() -> None:
        async with world.running():
            await until(lambda: len(world.store.numbers) == 20, "the first records")
            world.store.down = say(400, b"The plain HTTP request was sent to HTTPS port")
            append(world.folder / "a.jsonl", lines(range(20, 220)))
            await until(lambda: len(world.slept) > 12, "some attempts")
            assert len(world.dead) <= 3
            world.store.down = None
            await until(lambda: len(world.store.numbers) + len(world.dead) == 220, "the rest")

    asyncio.run(program())
    assert set(world.store.sent.values()) == {1}


def test_bad_records_that_come_alone_hold_nothing_up(world: World) -> None:
    """Ten bad records in a batch with good ones are all put aside, and the run ends."""
    append(world.folder / "a.jsonl", lines(range(60)))

    def picky(request: httpx.Request) -> httpx.Response:
        if any(b'{"n": %d,' % n in request.content for n in range(30, 40)):
            return httpx.Response(400)
        return world.store.take(request)

    world.store.down = picky
    world.once()
    assert len(world.dead) == 10
    assert world.store.numbers == [*range(30), *range(40, 60)]


def test_a_wrong_address_is_no_fault_of_the_records(world: World) -> None:
    """As long as nothing was ever taken, a 400 for each request puts nothing aside, is said, and is not hammered at."""
    append(world.folder / "a.jsonl", lines(range(50)))
    world.store.down = say(400, b"wrong path")

    async def program() -> None:
        async with world.running():
            await until(lambda: len(world.slept) > 12, "some attempts")
            assert not world.dead
            assert len(world.store.requests) < 60
            world.store.down = None
            await world.shipped(range(50))

    asyncio.run(program())
    assert "wrong path" in str(world.seen(SinkFailed)[0])
    assert not world.dead


def test_dead_letters_come_before_the_checkpoint(world: World) -> None:
    """As long as the dead-letter file cannot be written, the checkpoint does not pass the line."""
    append(world.folder / "a.jsonl", line(0) + b"bad\n" + line(1))

    async def program() -> None:
        world.state.mkdir()
        (world.state / "dead-letters.jsonl").mkdir()  # what cannot be opened for writing
        async with world.running() as pipeline:
            await until(lambda: world.seen(StateFailed), "the message")
            await asyncio.sleep(0)
            assert [s.position for s in pipeline.checkpoint.load().values()] == [Position(0, 0)]
            (world.state / "dead-letters.jsonl").rmdir()
            await world.shipped([0, 1])

    asyncio.run(program())
    assert len(world.seen(StateFailed)) == 1
    assert [e["data"] for e in world.dead] == ["bad"]


def test_a_full_disk_under_the_checkpoint(bulk: World) -> None:
    """While commits fail for want of room shipping goes on, it is said once, and the next commit has it all."""
    append(bulk.folder / "a.jsonl", lines(range(10)))

    async def program() -> None:
        async with bulk.running() as pipeline:
            await bulk.shipped(range(10))
            commit, tries = pipeline.checkpoint.commit, []

            def full(commits: object, **_: object) -> None:
                tries.append(commits)
                raise StoreFull("no room")

            pipeline.checkpoint.commit = full
            append(bulk.folder / "a.jsonl", lines(range(10, 20)))
            await bulk.shipped(range(20))
            await until(lambda: len(tries) > 2, "some commits")
            pipeline.checkpoint.commit = commit

    asyncio.run(program())
    assert len(bulk.seen(StateFailed)) == 1
    append(bulk.folder / "a.jsonl", lines(range(20, 30)))
    bulk.once()
    assert set(bulk.store.sent.values()) == {1}


def test_a_broken_checkpoint_ends_the_pipeline(bulk: World) -> None:
    """An error of the checkpoint that will not pass ends the run with that error."""
    append(bulk.folder / "a.jsonl", lines(range(10)))

    async def program() -> None:
        async with bulk.pipeline() as pipeline:

            def broken(commits: object, **_: object) -> None:
                raise StoreError("damaged")

            pipeline.checkpoint.commit = broken
            async with asyncio.timeout(10):
                await pipeline.run()

    with pytest.raises((StoreError, ExceptionGroup)) as caught:
        asyncio.run(program())
    assert "damaged" in str(caught.value) or "damaged" in str(caught.value.exceptions)  # type: ignore[attr-defined]


def test_once_with_a_writer_that_never_stops(bulk: World, writer: subprocess.Popen[bytes]) -> None:
    """Once ships what was there at its start and ends, though the file grows on."""
    (path,) = bulk.folder.glob("*.jsonl")
    before = path.read_bytes().count(b"\n")
    started = time.monotonic()
    bulk.once()
    assert time.monotonic() - started < 10
    assert len(bulk.store.records) >= before
    assert writer.poll() is None


def test_a_stop_without_waiting_ends_though_writers_go_on(bulk: World, writer: subprocess.Popen[bytes]) -> None:
    """After SIGINT what is written later is left for the next start."""

    async def program() -> None:
        async with bulk.running():
            await until(lambda: bulk.store.records, "the first records")

    started = time.monotonic()
    asyncio.run(program())
    assert time.monotonic() - started < 10


def test_a_stop_that_waits_ends_with_the_writers(bulk: World, writer: subprocess.Popen[bytes]) -> None:
    """After SIGTERM everything is shipped that writers still write, also their new parts, until the last one ends."""

    async def program() -> None:
        async with bulk.pipeline() as pipeline:
            task = asyncio.create_task(pipeline.run())
            await until(lambda: bulk.store.records, "the first records")
            pipeline.stop(wait_for_writers=True)
            count = len(bulk.store.records)
            other = Part(bulk.folder)  # a part that is still empty
            await until(lambda: len(bulk.store.records) > count + 50, "what is written after the signal")
            assert not task.done()
            writer.kill()
            writer.wait()
            await until(
                lambda: (
                    len(bulk.store.records) == sum(p.read_bytes().count(b"\n") for p in bulk.folder.glob("*.jsonl"))
                ),
                "all of it",
            )
            assert not task.done(), "a writer of an empty part still lives"
            other.write(line(1))
            other.end()
            await asyncio.wait_for(task, 10)
            assert pipeline.left == 0

    asyncio.run(program())
    assert len(bulk.store.records) == sum(p.read_bytes().count(b"\n") for p in bulk.folder.glob("*.jsonl"))


def test_finished_files_are_deleted_and_no_others(bulk: World) -> None:
    """Deleted is a part whose writer has ended and of which all is acknowledged; nothing else ever is."""
    bulk.finished = {"fate": "delete"}
    alive, ended = Part(bulk.folder, lines(range(3))), Part(bulk.folder, lines(range(3, 6))).end()
    foreign = bulk.folder / "foreign.jsonl"
    append(foreign, lines(range(6, 9)))
    nolock = bulk.folder / str(alive.name).replace(".0.jsonl", ".1.nolock.jsonl")
    append(nolock, lines(range(9, 12)))

    async def program() -> None:
        async with bulk.running() as pipeline:
            await until(lambda: not ended.path.exists(), "the finished part to be deleted")
            await until(lambda: ended.key not in pipeline.checkpoint.load(), "the part to be forgotten")
            assert alive.path.exists()
            bulk.store.down = say(503)
            alive.write(lines(range(12, 15)))
            alive.end()
            await until(lambda: len(bulk.slept) > 5, "some attempts")
            assert alive.path.exists(), "what is not acknowledged was deleted"
            bulk.store.down = None
            await until(lambda: not alive.path.exists(), "the other part to be deleted")

    asyncio.run(program())
    assert bulk.store.numbers == list(range(15))
    assert foreign.exists()
    assert nolock.exists()


def test_finished_files_are_kept_by_default(bulk: World) -> None:
    """Without being told to, nothing is deleted."""
    part = Part(bulk.folder, lines(range(3))).end()
    bulk.once()
    assert part.path.exists()


@dataclass
class Lossy:
    """A sink that forgets the last lines that ended, or tells of them twice, as a mistake in a codec would."""

    sink: Any
    twice: bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sink, name)

    def decode(self, pieces: Any, response: Any) -> Any:
        outcome = self.sink.decode(pieces, response)
        return replace(outcome, ended=outcome.ended * 2 if self.twice else outcome.ended[:-1])


@pytest.mark.parametrize("twice", [False, True])
def test_a_line_that_ends_in_no_class_or_in_two_is_noticed(bulk: World, twice: bool) -> None:
    """A mistake that loses or doubles lines between reading and acknowledgement is said at once, with the file and both figures."""
    append(bulk.folder / "a.jsonl", lines(range(3)))

    async def program() -> None:
        async with bulk.pipeline() as pipeline:
            pipeline.delivery.sink = Lossy(pipeline.delivery.sink, twice)
            await pipeline.run(once=True)

    with pytest.raises(AssertionError):  # every other test is told by this, too
        asyncio.run(program())
    (found,) = bulk.seen(Imbalance)
    assert found == Imbalance(str(bulk.folder / "a.jsonl"), 3, 6 if twice else 0)


def test_a_full_disk_when_a_file_is_forgotten_counts_no_line_twice(bulk: World) -> None:
    """What is delivered and what is forgotten are written together: where there is no room for the one, the other waits, too."""
    parts = [Part(bulk.folder, lines(range(number * 10, number * 10 + 10))).end() for number in range(3)]
    bulk.finished = {"fate": "delete"}
    tries, is_full = [], True

    async def program() -> None:
        nonlocal is_full
        async with bulk.running() as pipeline:
            execute = type(pipeline.checkpoint)._execute

            def no_room(checkpoint: object, statements: list[tuple[str, list[object]]]) -> None:
                if is_full and any(text.startswith("DELETE FROM files") and rows for text, rows in statements):
                    tries.append(statements)
                    raise StoreFull("no room")
                execute(checkpoint, statements)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(pipeline.checkpoint), "_execute", no_room)
                await until(lambda: tries and not any(part.path.exists() for part in parts), "files to be forgotten")
                append(bulk.folder / "b.jsonl", lines(range(30, 40)))
                await bulk.shipped(range(40))
                before = len(tries)
                await until(lambda: len(tries) > before + 2, "some commits of more lines")
                is_full = False
                keys = {"", f"{1:016x}"}
                await until(lambda: {a.state.key for a in pipeline.checkpoint.accounts()} == keys, "room")

    asyncio.run(program())


def test_names_that_records_choose_are_the_same_after_a_restart(bulk: World) -> None:
    """Over all files there are as many indices as allowed; what is beyond goes to the default, and does so after a crash, too."""

    def rules() -> Rules:
        index = "app-{log.level}"
        return Rules(index=index, router=router_for(None, None, index), targets=Targets(most=3))

    def run() -> list[str]:
        async def ship() -> None:
            async with bulk.pipeline() as pipeline:
                bulk.rules.targets.load(pipeline.checkpoint.targets())
                await pipeline.run(once=True)

        bulk.rules = rules()
        asyncio.run(ship())
        return sorted(bulk.store.streams)

    bulk.finished = {"fate": "delete"}
    levels = ["debug", "info", "warn", "error", "fatal"]
    for number, level in enumerate(levels):
        Part(bulk.folder, line(number, log={"level": level}, **{"@timestamp": "2026-01-01T00:00:00Z"})).end()
    first = run()
    assert len(first) == 4
    assert "app-unknown" in first
    assert sum(event.lines for event in bulk.seen(BeyondTargets)) == 2
    assert len(bulk.seen(TooManyTargets)) == 1
    for number, level in enumerate(reversed(levels), len(levels)):
        Part(bulk.folder, line(number, log={"level": level}, **{"@timestamp": "2026-01-01T00:00:00Z"})).end()
    assert run() == first
    assert bulk.store.numbers == list(range(10))
    assert sum(map(len, bulk.store.streams["app-unknown"])) == 4

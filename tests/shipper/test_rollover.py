"""Exactly once, though an id protects a record within one backing index only: unknown outcomes and crashes across a rollover."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from shipper.core.model import Fate
from shipper.events import LookupsForbidden, SameIdTwice, Settled, StoredTwice
from tests.fakes import Part, World, append, lines, say, until

STREAM, FOREIGN = "logs-generic.jsonlog-default", "logs-generic.jsonlog_foreign-default"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "logs")


def take_and(world: World, then: Callable[[], None] = lambda: None) -> Callable[[httpx.Request], httpx.Response]:
    """Store what a request carries; then something happens, and the answer is lost."""

    def answer(request: httpx.Request) -> httpx.Response:
        world.store.take(request)
        then()
        raise httpx.ReadTimeout("nobody hears the answer", request=request)

    return answer


def begin_checkpoint(world: World) -> None:
    """Make a checkpoint that knows of no file, but is not new: what comes now was never sent."""
    World(world.folder, patterns=("nothing",), state=world.state, store=world.store).once()


def fates(world: World) -> dict[Fate, int]:
    total: dict[Fate, int] = {}
    for event in world.seen(Settled):
        for fate, count in event.tally.items():
            total[fate] = total.get(fate, 0) + count
    return total


def searches(world: World) -> int:
    return sum(request.url.path.endswith("/_search") for request in world.store.questions)


def test_an_answer_that_is_lost_and_a_rollover(world: World) -> None:
    """What may have been stored is looked for in all backing indices before it is sent again."""
    append(world.folder / "a.jsonl", lines(range(50)))
    world.store.script.append(take_and(world, world.store.rollover))
    assert world.once() == 0
    assert world.store.numbers == list(range(50))
    assert fates(world) == {Fate.DUPLICATE: 50}


def test_without_a_rollover_nothing_is_searched(world: World) -> None:
    """In the same index the id protects the record: it is sent again, and the conflict is its delivery."""
    append(world.folder / "a.jsonl", lines(range(50)))
    world.store.script.append(take_and(world))
    assert world.once() == 0
    assert world.store.numbers == list(range(50))
    assert (fates(world), searches(world)) == ({Fate.DUPLICATE: 50}, 0)


def test_what_is_missing_is_sent(world: World) -> None:
    """Of a request that was stored in part, before a rollover, the other part is sent."""
    append(world.folder / "a.jsonl", lines(range(50)))

    def half(request: httpx.Request) -> httpx.Response:
        body = request.content.split(b"\n")[:40]
        world.store.take(httpx.Request("POST", request.url, content=b"\n".join([*body, b""])))
        world.store.rollover()
        return httpx.Response(502)

    world.store.script.append(half)
    assert world.once() == 0
    assert world.store.numbers == list(range(50))
    assert fates(world) == {Fate.DUPLICATE: 20, Fate.DELIVERED: 30}


def test_a_crash_between_send_and_commit_and_a_rollover(world: World) -> None:
    """After a kill all that was reserved and not committed is in doubt, since the write index of then."""
    append(world.folder / "a.jsonl", lines(range(50)))

    async def crash() -> None:
        async with world.pipeline() as pipeline:

            def nothing(_: object) -> None:
                raise asyncio.CancelledError

            pipeline.checkpoint.commit = nothing
            task = asyncio.create_task(pipeline.run())
            await until(lambda: len(world.store.records) == 50, "all records")
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(crash())
    world.store.rollover()
    append(world.folder / "a.jsonl", lines(range(50, 60)))
    assert world.once() == 0
    assert world.store.numbers == list(range(60))


def test_a_lost_checkpoint_and_a_rollover(world: World) -> None:
    """Files of ours that are there when a new checkpoint is begun are looked up first; those that come later are not."""
    Part(world.folder, lines(range(50))).end()
    assert world.once() == 0
    world.store.rollover()
    shutil.rmtree(world.state)
    assert world.once() == 0
    assert world.store.numbers == list(range(50))
    before = searches(world)
    Part(world.folder, lines(range(50, 60))).end()
    assert world.once() == 0
    assert world.store.numbers == list(range(60))
    assert searches(world) == before


def test_a_lost_checkpoint_that_is_killed_again(world: World) -> None:
    """The doubt about what was there before the checkpoint outlives the run that had it first."""
    Part(world.folder, lines(range(50))).end()
    assert world.once() == 0
    shutil.rmtree(world.state)

    async def begin_and_die() -> None:
        world.store.down = say(503)
        async with world.pipeline() as pipeline:
            task = asyncio.create_task(pipeline.run())
            await until(pipeline.checkpoint.reservations, "the reservation")
            task.cancel()
            await asyncio.wait({task})
        world.store.down = None

    asyncio.run(begin_and_die())
    world.store.rollover()
    assert world.once() == 0
    assert world.store.numbers == list(range(50))


def test_a_rollover_between_look_up_and_send(world: World) -> None:
    """A record that was created in a younger index than was looked up is looked up again, and its second copy is removed."""
    append(world.folder / "a.jsonl", lines(range(10)))

    def late(request: httpx.Request) -> httpx.Response:
        """The request that was thought lost arrives after the look-up, in the old index; the next one meets a new one."""
        world.store.take(first[0])
        world.store.rollover()
        return world.store.take(request)

    first: list[httpx.Request] = []

    def lose(request: httpx.Request) -> httpx.Response:
        first.append(request)
        raise httpx.ReadTimeout("on its way", request=request)

    world.store.streams[FOREIGN] = [{}]
    world.store.script.extend([lose, late])
    assert world.once() == 0
    assert world.store.numbers == list(range(10))
    assert not world.seen(StoredTwice)


def test_a_second_copy_that_may_not_be_removed_is_said(world: World) -> None:
    """Without the privilege to delete, the second copies are counted aloud."""
    append(world.folder / "a.jsonl", lines(range(10)))

    def late(request: httpx.Request) -> httpx.Response:
        world.store.take(first[0])
        world.store.rollover()
        return world.store.take(request)

    first: list[httpx.Request] = []

    def lose(request: httpx.Request) -> httpx.Response:
        first.append(request)
        raise httpx.ReadTimeout("on its way", request=request)

    world.store.streams[FOREIGN] = [{}]
    world.store.script.extend([lose, late, say(403)])
    assert world.once() == 0
    (said,) = world.seen(StoredTwice)
    assert said.count == 10
    assert "privilege delete" in str(said)


def test_without_the_privileges_it_is_at_least_once(world: World) -> None:
    """Where look-ups are forbidden everything is sent again, and it is said once what that means."""
    append(world.folder / "a.jsonl", lines(range(10)))
    world.store.script.append(take_and(world, world.store.rollover))
    world.store.forbid = ("_search", "_refresh", "_mget")
    assert world.once() == 0
    assert sorted(set(world.store.numbers)) == list(range(10))
    (said,) = world.seen(LookupsForbidden)
    assert "read, maintenance and view_index_metadata" in str(said)


def test_a_look_up_that_fails_is_tried_again(world: World) -> None:
    """A search that is not answered, or for a part of the shards only, leaves the lines waiting."""
    append(world.folder / "a.jsonl", lines(range(10)))
    world.store.script.append(take_and(world, world.store.rollover))
    partial = say(200, {"timed_out": False, "_shards": {"failed": 1}, "hits": {"hits": []}})
    world.store.search.extend([say(503), partial, say(200, b"<html>"), None])
    assert world.once() == 0
    assert world.store.numbers == list(range(10))


def test_the_same_record_under_an_id_that_was_never_sent(world: World) -> None:
    """A conflict of a line that was never sent is compared: the same record is there already."""
    part = Part(world.folder, lines(range(10))).end()
    world.store.streams[STREAM] = [{f"{part.key}-{n:x}": line for n, line in enumerate(lines(range(10)).splitlines())}]
    begin_checkpoint(world)
    assert world.once() == 0
    assert (fates(world), world.store.numbers) == ({Fate.DUPLICATE: 10}, list(range(10)))


def test_another_record_under_the_same_id(world: World) -> None:
    """A line whose id another record has is delivered under a new id, the same one if it is sent again."""
    part = Part(world.folder, lines(range(10))).end()
    world.store.streams[STREAM] = [{f"{part.key}-{n:x}": b'{"n": 77}' for n in range(3)}]
    begin_checkpoint(world)
    world.store.script.extend([None, take_and(world)])
    assert world.once() == 0
    assert world.store.numbers == [*range(10), 77, 77, 77]
    assert len([key for key in world.store.records if key.startswith(f"{part.key}~")]) == 3
    assert len(world.seen(SameIdTwice)) == 3


def test_records_that_may_not_be_compared_are_not_taken_for_delivered(world: World) -> None:
    """Without the privilege to read, an id that is taken is not believed to be ours."""
    part = Part(world.folder, lines(range(3))).end()
    world.store.streams[STREAM] = [{f"{part.key}-0": b'{"n": 77}'}]
    begin_checkpoint(world)
    world.store.forbid = ("_mget", "_search", "_refresh")
    assert world.once() == 0
    assert world.store.numbers == [0, 1, 2, 77]


def test_a_reservation_is_on_disk_before_anything_is_sent(world: World) -> None:
    """At the moment in which the first request arrives, the checkpoint says that it may."""
    append(world.folder / "a.jsonl", lines(range(10)))
    seen: list[object] = []

    async def program() -> None:
        async with world.pipeline() as pipeline:

            def look(request: httpx.Request) -> None:
                seen.extend(pipeline.checkpoint.reservations())
                assert json.loads(request.content.split(b"\n")[0])

            world.store.script.append(look)
            await asyncio.wait_for(pipeline.run(once=True), 20)

    asyncio.run(program())
    assert len(seen) == 1

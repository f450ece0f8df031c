"""What bounds the pipeline: bytes, memory, processor time, requests and messages."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path

import httpx
import pytest

from shipper.events import DeadLettered, Settled, SinkFailed
from shipper.limits import Limits
from tests.fakes import (
    QUICK,
    World,
    append,
    line,
    lines,
    say,
    until,
)


@pytest.fixture
def bulk(tmp_path: Path) -> World:
    return World(tmp_path / "logs")


def test_bytes_in_flight_are_bounded(bulk: World) -> None:
    """With the store down, no more is read than the bound and one chunk; memory does not grow with the backlog."""
    bulk.limits = Limits(poll_interval_s=0.01, linger_s=0, in_flight_bytes=1024 * 1024, batch_bytes=256 * 1024)
    for number in range(20):
        append(bulk.folder / f"{number}.jsonl", line(number, pad="x" * 1000) * 2000)
    bulk.store.down = say(503)

    async def program() -> None:
        async with bulk.pipeline() as pipeline:
            task = asyncio.create_task(pipeline.run())
            highest = 0
            for _ in range(20):
                count = len(bulk.slept)
                await until(lambda count=count: len(bulk.slept) > count, "an attempt")
                highest = max(highest, pipeline._bytes)
            assert 0 < highest <= 1024 * 1024 + 256 * 1024
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.done()

    asyncio.run(program())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_what_is_shipped(bulk: World) -> None:
    """Over 300 MB of lines, resident memory grows by less than 90 MiB, a part of it the test's own store, and that without the collection of cycles."""
    pad = line(0, pad="x" * 1000) * 20_000
    for number in range(15):
        append(bulk.folder / f"{number}.jsonl", pad)

    def swallow(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, json={"errors": False, "items": [{"create": {"status": 201}}] * (request.content.count(b"\n") // 2)}
        )

    bulk.store.requests = type("Nothing", (list,), {"append": lambda self, _: None})()
    bulk.store.down = swallow
    highest, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            highest[0] = max(highest[0], resident_bytes())

    thread = threading.Thread(target=watch)
    gc.collect()
    before = resident_bytes()
    thread.start()
    gc.disable()
    try:
        assert bulk.once() == 0
    finally:
        gc.enable()
        done.set()
        thread.join()
    assert sum(e.tally.total() for e in bulk.seen(Settled)) == 300_000
    print(f"{(highest[0] - before) / 2**20:.0f} MiB more")
    assert highest[0] - before < 90 * 1024 * 1024


def test_idle_and_waiting_cost_little(bulk: World) -> None:
    """With nothing to do, and with the store down, the pipeline takes a few percent of a processor at most."""
    bulk.limits = Limits()
    bulk.longest_sleep_s = 0.25
    for number in range(20):
        append(bulk.folder / f"{number}.jsonl", lines(range(10)))

    async def cost() -> float:
        before, started = time.process_time(), time.monotonic()
        await asyncio.sleep(1.0)  # the time over which is measured
        return (time.process_time() - before) / (time.monotonic() - started)

    async def program() -> None:
        async with bulk.running():
            await until(lambda: len(bulk.store.records) == 200, "the records")
            idle = await cost()
            bulk.store.down = say(503, retry_after="5")
            append(bulk.folder / "a.jsonl", lines(range(10)))
            down = await cost()
            bulk.store.down = None
        print(f"idle {idle:.1%}, store down {down:.1%}")
        assert idle < 0.05
        assert down < 0.05

    asyncio.run(program())


def test_ten_thousand_small_files(bulk: World) -> None:
    """10,000 files of one record are shipped in seconds, many in one request."""
    bulk.limits = Limits()
    for number in range(10_000):
        append(bulk.folder / f"{number}.jsonl", line(number))
    started = time.monotonic()
    bulk.once()
    took = time.monotonic() - started
    print(f"10,000 files in {took:.1f} s, {len(bulk.store.requests)} requests")
    assert len(bulk.store.records) == 10_000
    assert len(bulk.store.requests) < 500


@pytest.mark.parametrize("item", [False, True])
def test_a_store_that_is_too_small_for_a_request(bulk: World, item: bool) -> None:
    """A request that is answered 429 as a whole, or for all of its items, again and again is halved until there is room."""
    bulk.limits = Limits(poll_interval_s=0.01, linger_s=0)
    busy = {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception"}}}

    def small(request: httpx.Request) -> httpx.Response:
        if len(request.content) <= 100_000:
            return bulk.store.take(request)
        items = {"errors": True, "items": [busy] * (request.content.count(b"\n") // 2)}
        return httpx.Response(200, json=items) if item else httpx.Response(429)

    bulk.store.down = lambda request: small(request) if request.content else httpx.Response(200)
    append(bulk.folder / "a.jsonl", b"".join(line(n, pad="x" * 1000) for n in range(500)))
    assert bulk.once() == 0
    assert bulk.store.numbers == list(range(500))
    assert set(bulk.store.sent.values()) == {1}
    assert not bulk.dead
    assert len(bulk.store.requests) < 60


def test_a_busy_store_is_not_sent_ever_smaller_requests(bulk: World) -> None:
    """A store that is too busy for anything gets the same small request again, not one for each record."""
    bulk.store.script.extend([say(429)] * 30)
    append(bulk.folder / "a.jsonl", lines(range(200)))
    assert bulk.once() == 0
    assert bulk.store.numbers == list(range(200))
    assert len(bulk.store.requests) == 31


def test_messages_are_not_repeated(bulk: World) -> None:
    """A store that is busy now and then is no news, and many refused records in one request are one sentence."""
    busy = {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception"}}}
    bulk.store.script.extend([say(200, {"errors": True, "items": [busy] * 10}), None] * 5)

    async def program() -> None:
        async with bulk.running():
            for start in range(0, 50, 10):
                append(bulk.folder / "a.jsonl", lines(range(start, start + 10)))
                await bulk.shipped(range(start + 10))
            bulk.store.refuse = lambda _: True
            append(bulk.folder / "a.jsonl", lines(range(50, 100)))
            await until(lambda: len(bulk.dead) == 50, "the dead letters")

    asyncio.run(program())
    assert not bulk.seen(SinkFailed)
    assert len(bulk.seen(DeadLettered)) <= 3


def test_requests_side_by_side_commit_in_order(bulk: World) -> None:
    """While the first batch of a file waits and later ones are taken, nothing of it is committed."""
    bulk.limits = Limits(poll_interval_s=0.01, linger_s=0, batch_bytes=1024, in_flight=4)
    append(bulk.folder / "a.jsonl", lines(range(100)))

    async def program() -> None:
        async with bulk.running() as pipeline:

            def first_never(request: httpx.Request) -> httpx.Response:
                if request.method == "GET":  # whether the store is there
                    return httpx.Response(200)
                return httpx.Response(503) if b'"n": 0,' in request.content else bulk.store.take(request)

            bulk.store.down = first_never
            append(bulk.folder / "a.jsonl", lines(range(100, 200)))
            await until(lambda: bulk.slept, "the first batch to be refused")
            append(bulk.folder / "a.jsonl", lines(range(200, 300)))
            await until(lambda: len(bulk.slept) > 30, "time to pass")
            assert all(s.position.offset == 0 for s in pipeline.checkpoint.load().values())
            bulk.store.down = None
            await bulk.shipped(range(300))

    bulk.limits = QUICK
    asyncio.run(program())

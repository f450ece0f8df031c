"""Endpoints that know requests by `Idempotency-Key` alone: every record once, whatever happens, and never one key for two bodies."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from shipper.checkpoint import Checkpoint, FileState
from shipper.core.acks import Commit
from shipper.core.endpoint import Endpoint, encode
from shipper.core.framing import check
from shipper.core.manifest import Manifest, Span, manifest_of, request_name
from shipper.core.model import ORIGIN, Batch, Fate, Piece, Position, Source
from shipper.core.shapes import SHAPES
from shipper.errors import StoreFull
from shipper.events import NotRepeated, StateFailed
from shipper.formats import VERSIONS
from tests.fakes import QUICK, Part, World, append, line, lines, say, until
from tests.shipper.support import Keyed

# A run that ends in the middle of opening files leaves their descriptors to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SMALL = replace(QUICK, batch_records=30, batch_bytes=1500)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(
        tmp_path / "logs", store=Keyed(), sink="http", limits=SMALL, max_line_bytes=400, rules=replace(STRICTLY)
    )


STRICTLY = World.__dataclass_fields__["rules"].default


async def killed_when(world: World, condition: Callable[[], object]) -> None:
    """Run until something holds, then end as SIGKILL does: nothing is written any more."""
    async with world.pipeline() as pipeline:
        task = asyncio.create_task(pipeline.run())
        await until(lambda: task.done() or condition(), "the moment to die")
        async with pipeline._committer._writing:
            pipeline.checkpoint.commit = lambda *_, **__: None  # type: ignore[method-assign]
            task.cancel()
        await asyncio.wait({task})
        await asyncio.to_thread(time.sleep, 0.02)  # what a thread has begun


def no_answer(world: World, taken: bool) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        if taken:
            world.store.take(request)
        raise httpx.ReadTimeout("nobody hears the answer", request=request)

    return answer


def write(world: World, files: int, start: int, count: int) -> None:
    """Own and foreign files, with lines that are repaired, wrapped and empty."""
    for n in range(start, start + count):
        odd = b"\n" if n % 17 == 0 else b"no JSON %d\n" % n if n % 23 == 0 else b""
        append(world.folder / f"{n % files}.jsonl", line(n, text="x" * (n % 40)) + odd)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ordered", [False, True])
def test_kills_at_any_moment(world: World, seed: int, ordered: bool) -> None:
    """Killed again and again, in the middle of whatever it does: every record once, by keys alone."""
    chance = random.Random(seed)
    world.limits = replace(world.limits, ordered=ordered)
    world.rules = replace(world.rules, wrap=True)
    world.finished = {"fate": "delete"} if seed % 2 else {}
    world.store.most, world.store.never = chance.choice([10_000, 20, 6]), chance.choice([0, 37, 90])
    answers = [say(503), say(429), no_answer(world, taken=True), no_answer(world, taken=False), None, None]
    written = 0
    parts: list[Part] = []

    for _ in range(8):
        write(world, 3, written, 60)
        parts = [part.end() for part in parts][:0]
        parts.append(Part(world.folder, lines(range(written + 60, written + 100))))
        written += 100
        world.store.script = type(world.store.script)(chance.choice(answers) for _ in range(30))
        moment = len(world.store.requests) + chance.randrange(12)
        asyncio.run(
            killed_when(world, lambda moment=moment: len(world.store.requests) >= moment or not world.store.script)
        )
    world.store.script.clear()
    for part in parts:
        part.end()
    world.once()
    dead = {json.loads(entry["data"])["n"] for entry in world.dead}
    assert dead == {n for n in range(written) if world.store.never and n % world.store.never == 0}
    assert world.store.numbers == [n for n in range(written) if n not in dead]
    wrapped = Counter(json.loads(text)["message"] for text in world.store.taken if b"no JSON" in text)
    assert set(wrapped.values()) <= {1}
    assert not world.seen(NotRepeated)


def test_the_same_request_comes_again_after_a_crash(world: World) -> None:
    """The endpoint took a request and nobody heard it: after the crash the same lines come in the same order, under the same key."""
    write(world, 3, 0, 200)
    world.store.script.extend([no_answer(world, taken=True)] * 1000)
    asyncio.run(killed_when(world, lambda: len(world.store.bodies) >= 3))
    before = set(world.store.bodies)
    assert before
    world.store.script.clear()
    write(world, 3, 200, 50)
    world.store.requests.clear()
    world.once()
    again = {request.headers["idempotency-key"] for request in world.store.requests}
    assert before <= again, "with the same bodies: the store compares them"
    assert world.store.repeated >= len(before)
    assert world.store.numbers == list(range(250))


def test_a_foreign_record_has_the_time_and_the_path_that_it_had(world: World) -> None:
    """A line without a time of its own, in a file that was renamed and compressed since: its record comes again as it was."""
    append(world.folder / "a.jsonl", lines(range(20)))
    world.patterns = ("*",)
    world.store.script.extend([no_answer(world, taken=True)] * 100)
    asyncio.run(killed_when(world, lambda: world.store.bodies))
    world.store.script.clear()
    (world.folder / "a.jsonl.1.gz").write_bytes(gzip.compress((world.folder / "a.jsonl").read_bytes()))
    (world.folder / "a.jsonl").unlink()
    world.once()
    assert world.store.numbers == list(range(20))
    assert all(b'a.jsonl"' in text for text in world.store.taken)
    assert world.store.repeated


@pytest.mark.parametrize("rules", [{"wrap": True}, {"wrap": False}])
def test_lines_of_every_kind_come_again_as_they_were(world: World, rules: dict[str, bool]) -> None:
    """Over-long lines, NULs, bad, empty and torn ones, a last line without newline, of foreign files and of ours."""
    world.rules = replace(world.rules, **rules)
    text = lines(range(3)) + b'{"n": 3, "long": "' + b"x" * 3000 + b'"}\n' + b"\0" * 9000 + lines(range(4, 6))
    text += b"bad\n\n" + b"\xff\xfe\n" + lines(range(6, 60))
    append(world.folder / "a.jsonl", text + b'{"n": 60}')
    part = Part(world.folder, text[:200] + b'{"n": 61}\n' + b'{"torn":')
    part.end()
    world.store.script.extend([no_answer(world, taken=True)] * 1000)

    async def once() -> None:
        async with world.pipeline() as pipeline:
            task = asyncio.create_task(pipeline.run(once=True))
            await until(lambda: len(world.store.requests) > 12, "some requests")
            task.cancel()
            await asyncio.wait({task})
            pipeline._committer.waiting.clear()

    asyncio.run(once())
    before = len(world.store.bodies)
    world.store.script.clear()
    world.once()
    assert world.store.repeated >= before > 0
    assert max(Counter(world.store.numbers).values()) <= 2, "one in each file"
    assert not world.seen(NotRepeated)


def test_a_batch_that_is_settled_before_an_earlier_one_is_not_sent_again(world: World) -> None:
    """What was taken behind something that was not stays known as taken over a crash, with how its lines ended."""
    append(world.folder / "a.jsonl", lines(range(200)))
    first: list[str] = []

    def stuck(request: httpx.Request) -> httpx.Response | None:
        first.append(request.headers["idempotency-key"])
        return httpx.Response(429) if request.headers["idempotency-key"] == first[0] else None

    world.store.script.extend([stuck] * 1000)

    async def run() -> None:
        async with world.pipeline() as pipeline:
            task = asyncio.create_task(pipeline.run())
            await until(lambda: len(world.store.bodies) > 3, "later ones")
            await until(lambda: not pipeline._committer._settled and len(pipeline._journal._open) == 1, "the commit")
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(run())
    before = set(world.store.bodies)
    world.store.script.clear()
    world.store.requests.clear()
    world.once()
    assert not before & {request.headers["idempotency-key"] for request in world.store.requests}
    assert world.store.numbers == list(range(200))
    with_it = Checkpoint(world.state)
    assert with_it.manifests() == []
    with_it.close()


def test_halves_stay_halves(world: World) -> None:
    """What was sent in parts since it was too large is sent in those parts after a crash, even if it would be taken whole by then."""
    append(world.folder / "a.jsonl", lines(range(100)))
    world.store.most = 6
    world.store.script.extend([None] * 9 + [no_answer(world, taken=True)] * 1000)
    asyncio.run(killed_when(world, lambda: world.store.repeated))
    assert len(world.store.bodies) > 1
    world.store.script.clear()
    world.store.most = 10_000
    world.once()
    assert world.store.numbers == list(range(100))


@pytest.mark.parametrize("harm", ["delete", "truncate", "rewrite"])
def test_what_cannot_be_repeated_is_said(world: World, harm: str) -> None:
    """A file of a request is gone or rewritten: what is left of it comes under another key, never under the old one, and it is said."""
    for name in ("a", "b"):
        append(world.folder / f"{name}.jsonl", lines(range(5) if name == "a" else range(5, 10)))
    world.limits = QUICK
    world.store.script.extend([no_answer(world, taken=True)] * 100)
    asyncio.run(killed_when(world, lambda: world.store.bodies))
    world.store.script.clear()
    path = world.folder / "a.jsonl"
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes(lines(range(10, 12)) if harm == "truncate" else lines(range(10, 30)))
    world.once()
    (said,) = world.seen(NotRepeated)
    assert "a.jsonl" in str(said)
    assert said.lines == 10
    counts = Counter(world.store.numbers)
    assert set(range(10)) <= set(counts), "nothing is lost"
    assert {counts[n] for n in range(5, 10)} == {2}, "by keys alone it cannot be known"
    new = {"delete": range(0), "truncate": range(10, 12), "rewrite": range(10, 30)}[harm]
    assert all(counts[n] == 1 for n in new)


def test_other_settings_are_another_request(world: World) -> None:
    """A field that is configured between two starts changes the bodies, and so their keys."""
    append(world.folder / "a.jsonl", lines(range(5)))
    world.store.script.extend([no_answer(world, taken=True)] * 100)
    asyncio.run(killed_when(world, lambda: world.store.bodies))
    world.store.script.clear()
    world.rules = replace(world.rules, fields={"team": "pay"})
    world.once()
    assert len(world.store.bodies) == 2


def test_a_file_that_a_request_needs_is_not_deleted_before_the_commit(world: World) -> None:
    """A finished file stays as long as a request with lines of it may have to be repeated."""
    world.finished = {"fate": "delete"}
    part = Part(world.folder, lines(range(5))).end()

    async def run() -> None:
        async with world.pipeline() as pipeline:
            commit = pipeline.checkpoint.commit
            held = threading.Event()
            pipeline.checkpoint.commit = lambda *given, **more: (held.wait(10), commit(*given, **more))
            task = asyncio.create_task(pipeline.run())
            await until(lambda: pipeline._acks.idle and world.store.bodies, "the answer")
            await pipeline._clean_up(wait=True)
            assert part.path.exists()
            held.set()
            await until(lambda: not part.path.exists(), "its end")
            pipeline.stop(wait_for_writers=False)
            await task

    asyncio.run(run())


def test_a_full_disk_holds_no_request_up(world: World) -> None:
    """What cannot be written down is sent all the same: that makes the room."""
    world.finished = {"fate": "delete"}
    part = Part(world.folder, lines(range(100))).end()

    async def run() -> None:
        async with world.pipeline() as pipeline:
            execute, full = pipeline.checkpoint._execute, [True]

            def no_room(statements: Any) -> None:
                if full and any("manifests" in text or text.startswith("UPDATE") for text, rows in statements if rows):
                    raise StoreFull("no room")
                execute(statements)

            pipeline.checkpoint._execute = no_room  # type: ignore[method-assign]
            task = asyncio.create_task(pipeline.run())
            await until(lambda: not part.path.exists(), "the room")
            full.clear()
            pipeline.stop(wait_for_writers=False)
            await task

    asyncio.run(run())
    assert world.store.numbers == list(range(100))
    assert len(world.seen(StateFailed)) == 1


def piece(*texts: bytes, first: int = 0, key: str = "k") -> Piece:
    return Piece(Source(key, "t", "p"), first, list(texts), sum(map(len, texts)) + len(texts))


def key_of(*pieces: Piece, shape: str = "http") -> str:
    return dict(encode(Endpoint(SHAPES[shape]), pieces).headers)["idempotency-key"]


def test_keys_are_those_of_the_lines() -> None:
    """The same lines have the same key, however they are held; other lines, bytes, files or bodies have another."""
    one = key_of(piece(b'{"a":1}', b'{"a":2}'))
    assert one == key_of(piece(b'{"a":1}'), piece(b'{"a":2}', first=1)) == key_of(piece(b'{"a":1}', b'{"a":2}'))
    others = [
        key_of(piece(b'{"a":1}')), key_of(piece(b'{"a":1}', b'{"a":3}')), key_of(piece(b'{"a":1}', b'{"a":2}', first=1)),
        key_of(piece(b'{"a":1}', b'{"a":2}', key="l")), key_of(piece(b'{"a":1}', b'{"a":2}'), shape="json_array"),
    ]  # fmt: skip
    assert len({one, *others}) == 6


def test_what_a_batch_is_made_of_is_kept(tmp_path: Path) -> None:
    """Written, halved, settled behind an earlier one, passed, discarded: the checkpoint holds what is needed and no more."""
    checkpoint = Checkpoint(tmp_path)
    checkpoint.adopt([FileState(key, f"/{key}", False, 1, 2) for key in "ab"])
    made = [check(Source(key, "t", f"/{key}"), ORIGIN, lines(range(3)), at="now") for key in "ab"]
    first = manifest_of(Batch(tuple(made), 7))
    end = made[0].chunk.end
    later = Manifest(9, (Span("a", end, Position(end.offset + 5, 4), "/old", "then", sent=False),))
    checkpoint.record([first, later])
    checkpoint.halve(7, request_name(made[0].pieces))
    checkpoint.close()
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.manifests() == [replace(first, halved=frozenset({"a-0+3"})), later]
    tally = Counter({Fate.DELIVERED: 1})
    checkpoint.commit([], settled={9: {"a": tally}})
    assert checkpoint.manifests()[1] == replace(later, tallies={"a": tally})
    checkpoint.commit(
        [
            Commit("a", later.spans[0].end, b"", 4, tally + Counter({Fate.DELIVERED: 3})),
            Commit("b", end, b"", 3, Counter()),
        ],
        settled={7: {"a": Counter(), "b": Counter()}},
    )
    assert checkpoint.manifests() == []
    checkpoint.record([replace(first, number=11), replace(first, number=12)])
    checkpoint.discard(11)
    checkpoint.adopt((), forget=["b"])
    (left,) = checkpoint.manifests()
    assert (left.number, left.whole, left.keys) == (12, False, {"a"})
    checkpoint.close()


def test_a_batch_whose_files_part_ways_is_no_longer_whole(tmp_path: Path) -> None:
    """Files that move to another worker take their lines along; neither of the two takes its half for the whole batch."""
    one, other = Checkpoint(tmp_path / "one"), Checkpoint(tmp_path / "other")
    one.adopt([FileState(key, f"/{key}", False, 1, 2) for key in "ab"])
    made = [check(Source(key, "t", f"/{key}"), ORIGIN, lines(range(3)), at="now") for key in "ab"]
    one.record([manifest_of(Batch(tuple(made), 7))])
    one.hand_over(["b"], other)
    for checkpoint, key in ((one, "a"), (other, "b")):
        (left,) = checkpoint.manifests()
        assert (left.keys, left.whole) == ({key}, False)
        checkpoint.close()


def test_a_checkpoint_of_the_third_format_is_brought_up_to_date(tmp_path: Path) -> None:
    """What an earlier version knew stays known."""
    import sqlite3

    db = sqlite3.connect(tmp_path / "checkpoint.sqlite")
    for statement in (text for version in VERSIONS[:3] for text in version):
        db.execute(statement)
    db.execute("INSERT INTO files VALUES ('k', '/k', 0, 1, 2, x'', 10, 1, x'', 0.0, 0)")
    db.execute("PRAGMA user_version=3")
    db.commit()
    db.close()
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load()["k"].position == Position(10, 1)
    assert checkpoint.manifests() == []
    checkpoint.close()
    assert os.path.exists(tmp_path / "checkpoint.sqlite")

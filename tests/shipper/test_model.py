"""
Random programs against real files, the real pipeline and a scripted store; the store's content against a small model.

The model knows three things of each line: it must arrive exactly once, it may have been destroyed before anybody could read it, or
it must stand in the dead-letter file.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from shipper.core.enrich import Rules
from tests.fakes import QUICK, Part, World, append, line, say, until

BAD = b"this is no JSON %d\n"


def only_many(status: int) -> Any:
    """Refuse a request of several records; a single one is taken as usual."""
    return lambda request: httpx.Response(status) if request.content.count(b"\n") > 2 else None


def cut_answer(request: httpx.Request) -> httpx.Response:
    """Answer for fewer records than were sent."""
    return httpx.Response(200, json={"errors": False, "items": []})


def reset(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


def all_items(status: int, error: str) -> Any:
    """The same answer for each record."""
    item = {"create": {"status": status, "error": {"type": error, "reason": "r"}}}
    return lambda request: httpx.Response(
        200, json={"errors": True, "items": [item] * (request.content.count(b"\n") // 2)}
    )


ANSWERS = {
    "503": say(503), "429": say(429, retry_after="0"), "413": only_many(413), "400": only_many(400), "403": say(403),
    "reset": reset, "html": say(200, b"<html>"), "cut": cut_answer, "lost": None, "some": None,
    "unsure": None, "busy": all_items(429, "es_rejected_execution_exception"), "gone": all_items(404, "index_not_found_exception"),
    "blocked": all_items(403, "cluster_block_exception"),
}  # fmt: skip


@dataclass
class Simulation:
    """The world, the program's next number, and the model."""

    world: World
    must: set[int] = field(default_factory=set)
    maybe: set[int] = field(default_factory=set)
    bad: set[int] = field(default_factory=set)
    torn: set[str] = field(default_factory=set)
    pending: dict[Path, bytes] = field(default_factory=dict)  # what is missing of a partial line
    rotated: list[Path] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    counter: Any = field(default_factory=count)
    pipeline: Any = None
    task: Any = None
    open: Any = None
    clean: bool = True  # nobody was killed: dead letters are exact, too

    def path(self, name: str) -> Path:
        return self.world.folder / name

    def new_lines(self, number: int) -> bytes:
        numbers = [next(self.counter) for _ in range(number)]
        self.must.update(numbers)
        return b"".join(line(n, text="ä\u2028" * (n % 3)) for n in numbers)

    def completion(self, key: Path) -> bytes:
        return self.pending.pop(key, b"")

    # what a program may do

    async def write(self, name: str, number: int) -> None:
        path = self.path(name)
        append(path, self.completion(path) + self.new_lines(number))

    async def partial(self, name: str, _: int) -> None:
        path = self.path(name)
        data = self.completion(path) + self.new_lines(1)
        append(path, data[:-5])
        self.pending[path] = data[-5:]

    async def bad_line(self, name: str, _: int) -> None:
        path = self.path(name)
        number = next(self.counter)
        self.bad.add(number)
        append(path, self.completion(path) + BAD % number)

    async def rotate(self, name: str, number: int) -> None:
        path = self.path(name)
        if not path.exists():
            return
        to = self.path(f"{name}.{next(self.counter)}")
        path.rename(to)
        self.rotated.append(to)
        if path in self.pending:
            self.pending[to] = self.pending.pop(path)
        if number % 2:
            await self.write(name, number)

    async def compress(self, name: str, number: int) -> None:
        """Rotate a file and compress it, as logrotate does, with the plain one there for a moment more."""
        path = self.path(name)
        if not path.exists():
            return
        append(path, self.completion(path))
        plain = path.rename(self.path(f"{name}.{next(self.counter)}"))
        packed = plain.with_name(plain.name + ".gz")
        data = gzip.compress(plain.read_bytes())
        packed.write_bytes(data[: len(data) // 2])
        if number % 2:
            await asyncio.sleep(0.02)
        append(packed, data[len(data) // 2 :])
        if number % 3:
            await asyncio.sleep(0.02)
        plain.unlink()

    async def late_write(self, _: str, number: int) -> None:
        if self.rotated:
            path = self.rotated[number % len(self.rotated)]
            append(path, self.completion(path) + self.new_lines(number))

    async def move_out(self, name: str, number: int) -> None:
        """Rename a file to where nobody looks; what is written to it a moment later is still its own."""
        path = self.path(name)
        if not path.exists():
            return
        append(path, self.completion(path))
        await self.settle()
        if self.task is not None:
            await until(lambda: self.is_open(path), "the file to be opened")
        self.destroy(path)
        with path.open("ab") as file:
            path.rename(self.world.folder.parent / f"{name}.{next(self.counter)}")
            if self.task is not None and file.tell():  # an empty file has nothing yet that it could be known by
                file.write(self.new_lines(number))
        await self.settle()

    async def truncate(self, name: str, number: int) -> None:
        path = self.path(name)
        if not path.exists():
            return
        self.destroy(path)
        os.truncate(path, 0)
        if number % 3:  # a moment later, or in the same one, with more than what was there, or less
            append(path, self.new_lines(number * (1 + number % 4)))

    async def delete(self, name: str, number: int) -> None:
        path = self.path(name)
        if not path.exists():
            return
        self.destroy(path)
        path.unlink()
        if number % 2:
            await self.write(name, number)

    def destroy(self, path: Path) -> None:
        """What had not arrived from a file may be lost with it."""
        self.pending.pop(path, None)
        text = path.read_bytes()
        here = {n for n in self.must if b'{"n": %d,' % n in text} | {n for n in self.bad if BAD % n in text}
        self.must -= here - set(self.world.store.numbers)
        self.maybe |= here

    async def part(self, _: str, number: int) -> None:
        part = self.parts[-1] if self.parts and number % 3 else Part(self.world.folder)
        if part not in self.parts:
            self.parts.append(part)
        part.write(self.new_lines(number))

    async def end_part(self, _: str, number: int) -> None:
        if self.parts:
            part = self.parts.pop(number % len(self.parts))
            if number % 2:
                part.write(b'{"torn": "' + part.key.encode())
                self.torn.add(part.key)
            part.end()

    async def answer(self, _: str, number: int) -> None:
        name = sorted(ANSWERS)[number % len(ANSWERS)]
        special = {"lost": self.store_and_reset, "some": self.take_some, "unsure": self.take_all_and_doubt_some}
        self.world.store.script.append(special.get(name) or ANSWERS[name])

    def store_and_reset(self, request: httpx.Request) -> httpx.Response:
        self.world.store.take(request)
        raise httpx.ReadTimeout("nobody hears the answer", request=request)

    def take_some(self, request: httpx.Request) -> httpx.Response:
        """Take every other record and be too busy for the rest."""
        body = request.content.split(b"\n")
        kept = [pair for i in range(0, len(body) - 1, 4) for pair in (body[i], body[i + 1])]
        answer = self.world.store.take(httpx.Request("POST", request.url, content=b"\n".join([*kept, b""]))).json()
        items = []
        for i in range(0, len(body) - 1, 2):
            busy = {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception"}}}
            items.append(busy if i % 4 else answer["items"][i // 4])
        return httpx.Response(200, json={"errors": True, "items": items})

    def take_all_and_doubt_some(self, request: httpx.Request) -> httpx.Response:
        """Take every record, and say of two thirds that this is not known."""
        answer = self.world.store.take(request).json()
        unsure = {"create": {"status": 503, "error": {"type": "unavailable_shards_exception"}}}
        items = [unsure if number % 3 else item for number, item in enumerate(answer["items"])]
        return httpx.Response(200, json={"errors": True, "items": items})

    async def rollover(self, *_: Any) -> None:
        """From now on no id is taken: only what is known of the lines keeps them from being stored twice."""
        self.world.store.rollover()

    async def restart(self, _: str, number: int) -> None:
        if self.task is not None:
            self.pipeline.stop(wait_for_writers=False)
            await asyncio.wait_for(self.task, 20)
            await self.leave()
        if number % 3:
            await self.begin()

    async def kill(self, _: str, number: int) -> None:
        if self.task is not None:
            self.clean = False
            await asyncio.sleep(number / 200)  # so that something is under way
            async with self.pipeline._committer._writing:
                self.pipeline.checkpoint.commit = lambda *_, **__: None  # nothing is written any more
                self.task.cancel()
            await asyncio.wait({self.task})
            await self.leave()
        if number % 3:
            await self.begin()

    async def settle(self, *_: Any) -> None:
        if self.task is not None:
            await until(self.is_settled, "everything to arrive", timeout_s=10)

    def is_settled(self) -> bool:
        if self.task.done():
            self.task.result()
        held = {int(value) for path in self.pending for value in [*self.must] if self.is_partial(path, value)}
        if not self.must - held <= set(self.world.store.numbers) or not self.pipeline._acks.idle:
            return False
        here = {n for path in self.pending for n in self.bad if path.read_bytes().endswith(BAD[:-1] % n)}
        return self.bad - self.maybe - here <= self.put_aside()

    def is_open(self, path: Path) -> bool:
        info = path.stat()
        tailer = self.pipeline.files.tailers.get((info.st_dev, info.st_ino))
        return not info.st_size or (tailer is not None and tailer.file is not None)

    def put_aside(self) -> set[int]:
        return set(self.all_put_aside())

    def all_put_aside(self) -> list[int]:
        """Lines that are no JSON: dead letters, or wrapped, as this world has it."""
        if not self.world.rules.wrap:
            return [int(e["data"].split()[-1]) for e in self.world.dead if e["data"].startswith("this")]
        records = map(json.loads, self.world.store.records.values())
        return [int(record["message"].split()[-1]) for record in records if "message" in record]

    def is_partial(self, path: Path, number: int) -> bool:
        last = path.read_bytes().rpartition(b"\n")[2] + self.pending[path]
        return last.startswith(b'{"n": %d,' % number)

    # around it

    async def begin(self) -> None:
        self.open = self.world.pipeline()
        self.pipeline = await self.open.__aenter__()
        self.task = asyncio.create_task(self.pipeline.run())
        if self.world.watch != "poll":
            await until(
                lambda: self.task.done() or (self.pipeline._watcher and self.pipeline._watcher.active),
                "the kernel to tell",
            )

    async def leave(self) -> None:
        await self.open.__aexit__(None, None, None)
        self.task = self.pipeline = None

    async def finish(self) -> None:
        for path in list(self.pending):
            append(path, self.completion(path))
        for part in self.parts:
            part.end()
        if self.task is None:
            await self.begin()
        await self.settle()
        self.pipeline.stop(wait_for_writers=True)
        await asyncio.wait_for(self.task, 20)
        left = self.pipeline.left
        await self.leave()
        assert left == 0

    def compare(self) -> None:
        stored = self.world.store.numbers
        assert len(stored) == len(set(stored)), "something was stored twice"
        assert self.must <= set(stored), f"lost: {self.must - set(stored)}"
        assert set(stored) <= self.must | self.maybe
        dead = self.world.dead
        put_aside = self.all_put_aside()
        torn = [json.loads(e["data"] + '"}')["torn"] for e in dead if e["data"].startswith('{"torn"')]
        assert self.bad - self.maybe <= set(put_aside) <= self.bad
        assert set(torn) == self.torn
        assert len(dead) == len(torn) + (0 if self.world.rules.wrap else len(put_aside))
        if self.clean or self.world.rules.wrap:
            assert len(put_aside) == len(set(put_aside)), "a dead letter was written twice"
        if self.clean:
            assert len(torn) == len(set(torn)), "a dead letter was written twice"


OPERATIONS = {
    "write": 12, "partial": 3, "bad_line": 2, "rotate": 4, "compress": 3, "late_write": 2, "move_out": 2, "truncate": 3,
    "delete": 2,
    "part": 8, "end_part": 3, "answer": 8, "rollover": 3, "restart": 2, "kill": 3, "settle": 4,
}  # fmt: skip
operation = st.tuples(
    st.sampled_from([name for name, weight in OPERATIONS.items() for _ in range(weight)]),
    st.sampled_from(["a.log", "b.log"]),
    st.integers(1, 14),  # each of the answers can be drawn
)


@dataclass(frozen=True)
class Way:
    """How the shipper is set in a run."""

    finished: str
    watch: str
    wrap: bool
    ordered: bool


ways = st.builds(
    Way,
    st.sampled_from(["keep", "delete", "archive"]),
    st.sampled_from(["poll", "inotify"]),
    st.booleans(),
    st.booleans(),
)


async def run(program: list[tuple[str, str, int]], *, folder: Path, way: Way) -> None:
    world = World(
        folder / "logs",
        patterns=("*.log*", "*.jsonl", "a*"),
        finished={"fate": way.finished, "archive": folder / "archive"},
        watch=way.watch,
        rules=Rules(wrap=way.wrap),
        limits=replace(QUICK, ordered=way.ordered),
        max_open=50,
    )
    await run_program(Simulation(world), program)


async def run_program(simulation: Simulation, program: list[tuple[str, str, int]]) -> None:
    """Do what a program says, end well, and compare."""
    await simulation.begin()
    try:
        for name, file, number in program:
            await getattr(simulation, name)(file, number)
        await simulation.finish()
    finally:
        if simulation.task is not None:
            simulation.task.cancel()
            await asyncio.wait({simulation.task})
            await simulation.leave()
    simulation.compare()


# Who is killed closes nothing: a thread that reads may open a file after the program that waited for it has ended.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed file:ResourceWarning")
@settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", "40")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.lists(operation, min_size=3, max_size=40), ways)
def test_the_store_holds_what_the_model_says(program: list[tuple[str, str, int]], way: Way) -> None:
    """Whatever is written, rotated, truncated, killed or answered: each readable line is stored once, each bad one put aside or wrapped."""
    for name, _, _ in program:
        event(name)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(program, folder=Path(folder), way=way))

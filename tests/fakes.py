"""
What stands in for the world in tests of the shipper, all of it in one place: a store that is a function, files and writers,
a pipeline put together as the service does it, and the one bounded way to wait.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from jsonlog.files.protocol import PartName, create_part, new_run
from shipper.checkpoint import Checkpoint
from shipper.core.accounting import Imbalance
from shipper.core.enrich import Rules
from shipper.deadletters import DeadLetters
from shipper.delivery import Delivery
from shipper.files import Files
from shipper.finished import Finished
from shipper.limits import Limits
from shipper.look import absolute_patterns
from shipper.memory import use_one_arena
from shipper.pipeline import Pipeline
from shipper.sinks.elasticsearch import ElasticsearchSink, Server
from shipper.sinks.http import HttpSink
from shipper.sinks.interface import Sink
from shipper.tailer import Reader
from shipper.transport import Transport

Answer = Callable[[httpx.Request], httpx.Response | None]
STRICT = Rules(wrap=False)
QUICK = Limits(poll_interval_s=0.01, linger_s=0.0)


def wait_for(condition: Callable[[], Any], what: str, *, timeout_s: float = 20.0) -> Any:
    """Ask until *condition* holds and return what it said; the only place where a test waits for another process."""
    deadline = time.monotonic() + timeout_s
    while not (said := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain: {what}")
        time.sleep(0.01)
    return said


async def until(condition: Callable[[], Any], what: str, *, timeout_s: float = 20.0) -> Any:
    """Ask until *condition* holds, letting other tasks run."""
    deadline = time.monotonic() + timeout_s
    while not (said := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain: {what}")
        await asyncio.sleep(0.005)
    return said


def line(number: int, **more: Any) -> bytes:
    """One record as a line."""
    return json.dumps({"n": number, **more}, ensure_ascii=False).encode() + b"\n"


def lines(numbers: Iterable[int]) -> bytes:
    """Some records as lines."""
    return b"".join(map(line, numbers))


def append(path: Path, data: bytes) -> None:
    """Append to a file as a foreign program would."""
    with path.open("ab") as file:
        file.write(data)


class Part:
    """A file of ours under its writer's lock, until `end`."""

    def __init__(
        self, folder: Path, data: bytes = b"", *, service: str = "shop", run: str | None = None, part: int = 0
    ):
        self.name = PartName(service, "host", 1, run or new_run(), part, locked=True)
        self._fd, path = create_part(str(folder), self.name, 0o640)
        self.path = Path(path)
        self.key = self.name.stem
        self.write(data)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def end(self) -> Part:
        """Let go of the lock, as the death of the process does."""
        os.close(self._fd)
        return self


@dataclass
class Store:
    """
    A store behind `httpx.MockTransport`: it creates by id like `_bulk`, and takes NDJSON by the ids in the header.

    Args:
        script: What the next requests that carry records get in place of the usual answer; None for the usual one.
        refuse: Says of a line whether it is never taken.
    """

    script: deque[Answer | None] = field(default_factory=deque)
    refuse: Callable[[bytes], bool] = lambda _: False
    streams: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)  # the backing indices of each, by id
    requests: list[httpx.Request] = field(default_factory=list)
    questions: list[httpx.Request] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    down: Answer | None = None
    forbid: tuple[str, ...] = ()  # ends of paths that nobody may ask
    search: deque[Answer | None] = field(default_factory=deque)  # a script for the next searches

    @property
    def records(self) -> dict[str, bytes]:
        """All records, by id."""
        return {key: value for index in self._indices() for key, value in index.items()}

    @property
    def numbers(self) -> list[int]:
        """The `n` of all records, sorted; one that is stored twice is there twice."""
        records = [json.loads(value) for index in self._indices() for value in index.values()]
        return sorted(record["n"] for record in records if "n" in record)

    def rollover(self) -> None:
        """Give each stream a new write index, in which no id is taken."""
        for indices in self.streams.values():
            indices.append({})

    def _indices(self) -> list[dict[str, bytes]]:
        # Requests are answered in threads of their own: each copy is one step.
        return [dict(index) for indices in list(self.streams.values()) for index in list(indices)]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        carries = request.method == "POST" and bool(request.content) and request.url.path in ("/", "/_bulk")
        (self.requests if carries else self.questions).append(request)
        if self.down is not None:
            return self.down(request)
        if not carries:
            return self.answer(request)
        if self.script and (answer := self.script.popleft()) is not None and (response := answer(request)) is not None:
            return response
        return self.take(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a question as the stores do."""
        _, first, *rest = request.url.path.split("/")
        if request.url.path.endswith(self.forbid or "/?"):
            return httpx.Response(403)
        if rest == ["_search"] and self.search and (answer := self.search.popleft()) is not None:
            return answer(request) or httpx.Response(500)
        if first == "_data_stream" and rest[0] in self.streams:
            names = [{"index_name": name} for name in self._names(rest[0])]
            return httpx.Response(200, json={"data_streams": [{"name": rest[0], "indices": names}]})
        if rest == ["_search"]:
            wanted = set(json.loads(request.content)["query"]["ids"]["values"])
            pairs = zip(self._names(first), self.streams.get(first, []), strict=True)
            hits = [{"_id": key, "_index": name} for name, index in pairs for key in index if key in wanted]
            return httpx.Response(200, json={"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": hits}})
        if first == "_mget":
            return httpx.Response(200, json={"docs": [self._get(**d) for d in json.loads(request.content)["docs"]]})
        return httpx.Response(404 if first == "_data_stream" or rest == ["_alias"] else 200, json={})

    def _names(self, stream: str) -> list[str]:
        return [f".ds-{stream}-{number:06}" for number, _ in enumerate(self.streams.get(stream, []), 1)]

    def _find(self, name: str) -> dict[str, bytes]:
        stream, _, number = name.removeprefix(".ds-").rpartition("-")
        return self.streams[stream][int(number) - 1]

    def _get(self, _index: str, _id: str) -> dict[str, Any]:
        found = self._find(_index).get(_id)
        return {"_id": _id, "found": found is not None, **({"_source": json.loads(found)} if found else {})}

    def take(self, request: httpx.Request) -> httpx.Response:
        """Store what a request carries, and answer as usual."""
        body = request.content.split(b"\n")
        if request.url.path.endswith("/_bulk"):
            items = [self._do(*step) for step in _steps(body)]
            return httpx.Response(200, json={"errors": any("error" in i["create"] for i in items), "items": items})
        ids = header_ids(request.headers["shipper-lines"])
        assert len(ids) == len(body) - 1, "the counts in the header do not add up to the lines of the body"
        for key, data in zip(ids, body, strict=False):
            self._create("http", key, data)
        return httpx.Response(200, json={})

    def _do(self, action: dict[str, Any], data: bytes) -> dict[str, Any]:
        if "delete" in action:
            del self._find(action["delete"]["_index"])[action["delete"]["_id"]]
            return {"create": {"status": 200}, "delete": {"status": 200}}
        return {"create": self._create(action["create"]["_index"], action["create"]["_id"], data)}

    def _create(self, stream: str, key: str, data: bytes) -> dict[str, Any]:
        where = {"_id": key, "_index": (self._names(stream) or [f".ds-{stream}-000001"])[-1]}
        if self.refuse(data):
            return {**where, "status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}
        self.sent[key] += 1
        index = self.streams.setdefault(stream, [{}])[-1]
        if key in index:
            return {**where, "status": 409, "error": {"type": "version_conflict_engine_exception"}}
        index[key] = data
        return {**where, "status": 201}


def _steps(body: list[bytes]) -> Iterable[tuple[dict[str, Any], bytes]]:
    lines = iter(body[:-1])
    for text in lines:
        action = json.loads(text)
        yield action, b"" if "delete" in action else next(lines)


def header_ids(header: str) -> list[str]:
    """Read the ids out of a `Shipper-Lines` header, as docs/design.md describes it."""
    ids = []
    for run in header.split(", "):
        key, _, rest = run.rpartition(":")
        first, _, number = rest.partition("+")
        ids += [f"{key}-{int(first, 16) + i:x}" for i in range(int(number))]
    return ids


def say(status: int, body: Any = b"", **headers: str) -> Answer:
    """An answer that never changes."""
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return lambda _: httpx.Response(
        status, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def refuse_connection(request: httpx.Request) -> httpx.Response:
    """No store there."""
    raise httpx.ConnectError("refused", request=request)


@dataclass
class World:
    """A folder of logs with a store and a checkpoint; a pipeline over them can be started again and again."""

    folder: Path
    store: Store = field(default_factory=Store)
    patterns: tuple[str, ...] = ("*.jsonl",)
    state: Path | None = None
    sink: str = "elasticsearch"
    limits: Limits = QUICK
    exclude: tuple[Path, ...] = ()
    finished: dict[str, Any] = field(default_factory=dict)
    watch: str = "poll"
    max_line_bytes: int = 1024 * 1024
    rules: Rules = STRICT  # dead letters are what most of these tests are about
    max_open: int = 100
    keep_gone_s: float = 0.2
    longest_sleep_s: float = 0.01
    slept: list[float] = field(default_factory=list)
    events: list[object] = field(default_factory=list)
    _epochs: Iterable[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.state = self.state or self.folder / ".shipper"

    @property
    def dead(self) -> list[dict[str, Any]]:
        """The entries of the dead-letter file."""
        path = self.state / "dead-letters.jsonl"
        return [json.loads(text) for text in path.read_bytes().splitlines()] if path.exists() else []

    def seen(self, kind: type) -> list[Any]:
        """List the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Pipeline]:
        """A pipeline as the service puts it together, with a checkpoint opened for it."""
        use_one_arena()
        checkpoint = Checkpoint(self.state)
        transport, sink = await self.open_sink()
        reader = Reader(self.max_line_bytes, self.max_open, self.rules)
        files = Files(
            absolute_patterns(self.patterns, self.folder),
            checkpoint.load(),
            (self.state.resolve(), *self.exclude),
            reader,
            lambda: f"{next(self._epochs):016x}",
            self.events.append,
            self.keep_gone_s,
        )
        dead = DeadLetters(self.state / "dead-letters.jsonl")
        delivery = Delivery(sink, transport, dead, self.events.append, self.limits.ordered, sleep=self._sleep)
        pipeline = Pipeline(
            files,
            delivery,
            checkpoint,
            self.limits,
            self.events.append,
            finished=Finished(self.events.append, **self.finished),
            watch=self.watch,
        )
        try:
            yield pipeline
            assert not self.imbalances(checkpoint), self.imbalances(checkpoint)
        finally:
            await files.close()
            await transport.close()
            checkpoint.close()

    async def open_sink(self) -> tuple[Transport, Sink]:
        """The way to the store, and what it is taken for."""
        transport = Transport("http://store", transport=httpx.MockTransport(self.store))
        if self.sink == "http":
            return transport, HttpSink()
        server = Server("opensearch", "3.8.0")
        return transport, ElasticsearchSink(transport, server, self.events.append, template=False)

    def imbalances(self, checkpoint: Checkpoint) -> list[Any]:
        """What does not close, of all that was counted until now; after any test that ends well there must be nothing."""
        return [*self.seen(Imbalance), *filter(None, (account.imbalance for account in checkpoint.accounts()))]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(min(seconds, self.longest_sleep_s))

    def once(self) -> int:
        """Ship what is there; return what is left."""

        async def ship() -> int:
            async with self.pipeline() as pipeline:
                async with asyncio.timeout(20):
                    await pipeline.run(once=True)
                return pipeline.left

        return asyncio.run(ship())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        """A pipeline that follows the files; at the end it drains without waiting for writers."""
        async with self.pipeline() as pipeline:
            task = asyncio.create_task(pipeline.run())
            try:
                if self.watch != "poll":
                    await until(
                        lambda: task.done() or (pipeline._watcher and pipeline._watcher.active), "the kernel to tell"
                    )
                yield pipeline
                pipeline.stop(wait_for_writers=False)
                async with asyncio.timeout(20):
                    await task
            finally:
                task.cancel()
                await asyncio.wait({task})

    async def shipped(self, numbers: Iterable[int]) -> None:
        """Wait until the store holds exactly these numbers."""
        wanted = sorted(numbers)
        await until(
            lambda: len(self.store.records) >= len(wanted),
            f"{len(wanted)} records, of which {len(self.store.records)} came",
        )
        assert self.store.numbers == wanted


@dataclass
class Program:
    """A `shipper` process; its output is kept in a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def start(
    log: Path, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None, **more: Any
) -> Program:
    """Start `shipper` with its arguments."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "shipper", *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=clean_environment(env or {}), cwd=cwd or REPOSITORY, **more
        )  # fmt: skip
    return Program(process, log)


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    """The environment without settings of ours, and with this checkout importable from any folder."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "JSONLOG_"))}
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), str(REPOSITORY)]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), **extra}


REPOSITORY = Path(__file__).parent.parent

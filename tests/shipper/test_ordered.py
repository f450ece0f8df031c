"""`ordered`: of each file nothing is sent before what stands before it is settled, whatever is answered."""

from __future__ import annotations

import http.server
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.framing import check
from shipper.core.model import Batch, Position, Source
from shipper.lanes import Lanes
from shipper.limits import Limits
from tests.fakes import QUICK, World, append, line, lines, refuse_connection, say
from tests.shipper.support import Shipper

SMALL = replace(QUICK, batch_records=20, batch_bytes=1000, ordered=True)
FILES, RECORDS = 7, 150


class Arrivals:
    """Keeps what is taken in the order in which it is taken, as several threads bring it."""

    def __init__(self, world: World) -> None:
        self.world, self.numbers = world, defaultdict[str, list[int]](list)
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def take(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        time.sleep(random.random() / 200)  # answers do not come in the order of the questions
        with self._lock:
            answer = self.world.store.take(request)
            for text, item in zip(texts(request), items(answer), strict=False):
                if item in (200, 201):
                    record = json.loads(text)
                    self.numbers[record["file"]].append(record["n"])
            self.at_once -= 1
        return answer


def texts(request: httpx.Request) -> list[bytes]:
    body = request.content.split(b"\n")[:-1]
    return body[1::2] if request.url.path == "/_bulk" else body


def items(answer: httpx.Response) -> list[int]:
    found = answer.json().get("items")
    return [item["create"]["status"] for item in found] if found is not None else [200] * 10_000


def write(world: World, files: int = FILES, records: int = RECORDS) -> None:
    for number in range(records):
        for name in range(files):
            append(world.folder / f"{name}.jsonl", line(number, file=str(name)))


@pytest.mark.parametrize("sink", ["elasticsearch", "http"])
def test_each_file_arrives_in_order_whatever_is_answered(tmp_path: Path, sink: str) -> None:
    """Busy, down, reset, too large, forbidden, in any mixture: each file arrives in order, once, and several at once."""
    world = World(tmp_path / "logs", sink=sink, limits=SMALL, longest_sleep_s=0.02, max_line_bytes=500)
    write(world)
    arrivals = Arrivals(world)

    def too_large(request: httpx.Request) -> httpx.Response:
        return httpx.Response(413) if len(texts(request)) > 1 else arrivals.take(request)

    bad = [say(429), say(503), say(403), too_large, refuse_connection, say(500), say(408)]
    shaken = [answer for answer in bad * 12 for answer in (answer, arrivals.take, arrivals.take)]
    random.Random(7).shuffle(shaken)
    world.store.script.extend(shaken + [arrivals.take] * 1000)
    world.once()
    assert dict(arrivals.numbers) == {str(name): list(range(RECORDS)) for name in range(FILES)}
    assert arrivals.most_at_once > 1, "different files go side by side"
    assert not world.dead


def test_without_it_nothing_waits(tmp_path: Path) -> None:
    """The default: while one request of a file is put off the others of the same file go on."""
    world = World(
        tmp_path / "logs", sink="http", limits=replace(SMALL, ordered=False), longest_sleep_s=0.2, max_line_bytes=500
    )
    write(world, files=1)
    arrivals = Arrivals(world)
    world.store.script.extend([say(429)] * 2 + [arrivals.take] * 1000)
    world.once()
    assert sorted(arrivals.numbers["0"]) == list(range(RECORDS)) != arrivals.numbers["0"]


def refuse(numbers: set[int], arrivals: Arrivals) -> Any:
    """Refuse a whole request for one of some records."""

    def answer(request: httpx.Request) -> httpx.Response:
        bad = any(json.loads(text)["n"] in numbers for text in texts(request))
        return httpx.Response(400) if bad else arrivals.take(request)

    return answer


@pytest.mark.parametrize("bad", [{0}, {0, 1, 2}, {50}, {RECORDS - 1}, {0, 20, 21, 22, 23, 60, 61, RECORDS - 1}])
def test_records_that_fail_their_request_are_passed_in_order(tmp_path: Path, bad: set[int]) -> None:
    """What is refused alone is put aside once one behind it is taken; those hold nothing up for ever, and nothing passes another."""
    world = World(tmp_path / "logs", sink="http", limits=SMALL, max_line_bytes=500)
    write(world, files=1)
    arrivals = Arrivals(world)
    world.store.script.extend([refuse(bad, arrivals)] * 5000)
    world.once()
    assert arrivals.numbers["0"] == [n for n in range(RECORDS) if n not in bad]
    assert sorted(json.loads(entry["data"])["n"] for entry in world.dead) == sorted(bad)


def test_an_endpoint_that_refuses_everything_for_a_while_changes_no_order(tmp_path: Path) -> None:
    """An operator's mistake that refuses every request costs no record, and no order."""
    world = World(tmp_path / "logs", sink="http", limits=SMALL, max_line_bytes=500)
    write(world, files=2)
    arrivals = Arrivals(world)
    world.store.script.extend([say(400)] * 60 + [arrivals.take] * 5000)
    world.once()
    dead = [json.loads(entry["data"]) for entry in world.dead]
    assert len(dead) <= 2 * 3, "at most those of one look ahead in each line"
    for name in ("0", "1"):
        aside = {record["n"] for record in dead if record["file"] == name}
        assert arrivals.numbers[name] == [n for n in range(RECORDS) if n not in aside]


def test_a_record_to_be_rescued_holds_back_the_next_request(tmp_path: Path) -> None:
    """Whatever a store refuses of a request is dealt with before the next request with lines of the same file."""
    world = World(tmp_path / "logs", limits=SMALL, max_line_bytes=500)
    append(world.folder / "a.jsonl", b"".join(line(n, file="a", extra={"n": n}) for n in range(100)))
    arrivals = Arrivals(world)

    def answer(request: httpx.Request) -> httpx.Response:
        if not any(b'"n": 5,' in text for text in texts(request)) or b"rescued" in request.content:
            return arrivals.take(request)
        found = arrivals.take(request).json()
        reason = "failed to parse field [extra.n] of type [long] in document with id 'x'. Preview: 'y'"
        for text, item in zip(texts(request), found["items"], strict=True):
            if b'"n": 5,' in text:
                stored = world.store.streams[next(iter(world.store.streams))][-1]
                stored.pop(item["create"]["_id"], None)
                arrivals.numbers["a"].remove(5)
                item["create"] |= {"status": 400, "error": {"type": "document_parsing_exception", "reason": reason}}
        return httpx.Response(200, json={**found, "errors": True})

    world.store.script.extend([answer] * 1000)
    world.once()
    first = arrivals.numbers["a"][: arrivals.numbers["a"].index(5) + 1]
    assert sorted(first) == list(range(len(first))), "after those of its request, before all others"
    assert arrivals.numbers["a"] == [*first, *range(len(first), 100)]


def test_a_restart_goes_on_in_order(tmp_path: Path) -> None:
    """What is left at a stop is delivered after a new start behind what was delivered before."""
    world = World(tmp_path / "logs", sink="http", limits=SMALL, max_line_bytes=500)
    arrivals = Arrivals(world)
    for _ in range(4):
        start = len(arrivals.numbers["0"])
        for number in range(start, start + 60):
            append(world.folder / "0.jsonl", line(number, file="0"))
        world.store.script.extend([say(503), arrivals.take] * 20)
        world.once()
        world.store.script.clear()
    assert arrivals.numbers["0"] == list(range(240))


class Recorder(http.server.ThreadingHTTPServer):
    """A real server that keeps lines in the order of their arrival, and is busy now and then."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RecorderHandler)
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.lock = threading.Lock()
        self.random = random.Random(3)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class RecorderHandler(http.server.BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).splitlines()
        with self.server.lock:
            status = self.server.random.choice([200, 200, 200, 429, 503])
            if status == 200:
                for text in body:
                    record = json.loads(text)
                    self.server.numbers[record["file"]].append(record["n"])
        self.send_response(status)
        self.send_header("content-length", "0")
        self.send_header("retry-after", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.shutdown()
    made.server_close()


def test_a_real_endpoint_sees_each_file_in_order(shipper: Shipper, recorder: Recorder) -> None:
    """Several files, many requests, one in three of them put off: the endpoint gets each file from its first line to its last."""
    for name in ("a", "b", "c"):
        append(shipper.logs / f"{name}.jsonl", b"".join(line(n, file=name) for n in range(400)))
    program = shipper.run(
        "run", "--once", "--path", "logs", "--to", recorder.url, "--sink", "http", "--ordered",
        env={"SHIPPER_BATCH_RECORDS": "40", "SHIPPER_BATCH_BYTES": "1024", "SHIPPER_MAX_LINE_BYTES": "1024"},
    )  # fmt: skip
    assert program.wait(60) == 0, program.said
    assert dict(recorder.numbers) == {name: list(range(400)) for name in ("a", "b", "c")}


def chunk(key: str, number: int) -> Any:
    start = Position(number * 100, number)
    return check(Source(key, "t", key), start, lines([number]))


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 9)), max_size=60), st.integers(1, 4))
def test_a_file_is_in_one_lane_at_a_time(steps: list[tuple[str, int]], in_flight: int) -> None:
    """However batches come and go, no two senders have lines of one file at once, and those of a file leave in order."""
    lanes = Lanes(Limits(batch_records=2, in_flight=in_flight, ordered=True))
    under_way: list[Batch | None] = [None] * in_flight
    left: dict[str, list[int]] = defaultdict(list)
    count: dict[str, int] = defaultdict(int)

    def turn(number: int) -> None:
        done, queue = under_way[number], lanes.queues[number]
        if done is not None:
            lanes.settled(done)
        under_way[number] = None if queue.empty() else queue.get_nowait()
        for checked in under_way[number].chunks if under_way[number] else ():
            left[checked.chunk.source.key].append(checked.chunk.start.line)
        keys = [{checked.chunk.source.key for checked in batch.chunks} for batch in under_way if batch]
        assert sum(map(len, keys)) == len(set().union(*keys)), "a file is with two senders"

    for key, number in steps:
        full = lanes.add(chunk(key, count[key]), 0.0)
        count[key] += 1
        for queue, batch in full if number % 3 else [*full, *lanes.take()]:
            queue.put_nowait(batch)
        turn(number % in_flight)
    for queue, batch in lanes.take():
        queue.put_nowait(batch)
    for _ in range(len(steps) + 1):
        for number in range(in_flight):
            turn(number)
    assert left == {key: list(range(number)) for key, number in count.items()}
    assert not lanes._stays


def test_lanes_share_the_load() -> None:
    """Files that come anew go where the least is waiting."""
    lanes = Lanes(Limits(batch_records=1, in_flight=3, ordered=True))
    queues = [lanes.add(chunk(key, 0), 0.0)[0][0] for key in "abc"]
    assert len(set(map(id, queues))) == 3


def test_one_lane_serves_all_senders_by_default() -> None:
    """Where order is not asked for, any sender takes the next batch."""
    assert len(set(map(id, Lanes(Limits()).queues))) == 1

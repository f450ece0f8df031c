"""`shipper verify` against real stores: whole runs are found whole, and each number that is missing or double is named with its place."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests import fakes
from tests.fakes import Part
from tests.servers import Server
from tests.shipper.support import Endpoint

COUNT = int(os.environ.get("VERIFY_RECORDS", "21000"))  # of each of two runs: more than a window of numbers holds


def record(run: str, number: int) -> bytes:
    """A record as jsonlog writes it, in what matters here."""
    return (
        b'{"@timestamp":"2026-11-22T05:02:17.220Z","msecs":220,"message":"m","service":{"name":"%s"},"run":"%s",'
        b'"event":{"sequence":%d}}\n'
    ) % (run[:12].encode(), run.encode(), number)


def part(folder: Path, numbers: Iterable[int]) -> Part:
    """A file of ours whose writer has ended."""
    made = Part(folder)
    made.write(b"".join(record(made.name.run, number) for number in numbers))
    return made.end()


def memory_kib(pid: int) -> int:
    """The most memory that a process has had; 0 when it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(text.split()[1]) for text in status.splitlines() if text.startswith("VmHWM")), 0)


class Site:
    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.logs = folder, url, folder / "logs"
        self.logs.mkdir()

    def shipper(self, *arguments: str, code: int = 0) -> str:
        started = time.monotonic()
        program = fakes.start(self.folder / f"out{os.urandom(4).hex()}", *arguments, cwd=self.folder)
        most = 0
        while program.process.poll() is None:
            most = max(most, memory_kib(program.process.pid))
            time.sleep(0.02)
        assert program.process.returncode == code, program.said
        print(f"shipper {arguments[0]}: {time.monotonic() - started:.1f} s, at most {most >> 10} MiB")
        return program.said

    def ship(self) -> None:
        self.shipper("run", "--once", "--path", "logs", "--to", self.url)

    def verify(self, *more: str, code: int = 0, stream: str = "") -> dict[str, Any]:
        index = ("--index", stream) if stream else ()
        return json.loads(
            self.shipper("verify", "--json", "--path", "logs", "--to", self.url, *index, *more, code=code)
        )


def by_run(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["run"]: one for one in answer["runs"]}


def test_elasticsearch_and_opensearch(tmp_path: Path, store: Server) -> None:
    """Runs that are whole are; what is taken out of the store, or put in twice, is named; and where it is, or was."""
    site = Site(tmp_path, store.url)
    whole, hurt = part(site.logs, range(COUNT)), part(site.logs, range(COUNT))
    gaps = part(site.logs, [n for n in range(100) if n not in (10, 11, 50)])
    stream = ",".join(f"logs-{made.name.run[:12]}.jsonlog-*" for made in (whole, hurt, gaps))
    site.ship()
    answer = site.verify(stream=stream)
    runs = by_run(answer)
    assert answer["whole"]
    assert {r: (runs[r]["records"], runs[r]["missing"], runs[r]["twice"]) for r in runs} == {
        whole.name.run: (COUNT, 0, 0), hurt.name.run: (COUNT, 0, 0), gaps.name.run: (97, 0, 0)
    }  # fmt: skip
    assert runs[gaps.name.run]["unused"] == 3
    assert runs[gaps.name.run]["details"][0].startswith("10 to 11: no line has it; the writer could not write")

    run = hurt.name.run
    index = f"logs-{run[:12]}.jsonlog-default"
    lost = [
        0,
        *range(4990, 5011),
        9999,
        *range(19_998, 20_003),
        COUNT - 1,
    ]  # also at the edge of a window, first and last
    _, streams = store.call("GET", f"/_data_stream/{index}")
    backing = streams["data_streams"][0]["indices"][-1]["index_name"]
    actions = [{"delete": {"_index": backing, "_id": f"{hurt.key}-{number:x}"}} for number in lost]
    status, deleted = store.call("POST", "/_bulk?refresh=true", actions)
    assert [item["delete"]["status"] for item in deleted["items"]] == [200] * len(lost)
    for number, name in ((30, "second"), (30, "third"), (4989, "fourth")):
        status, _ = store.call("POST", f"/{index}/_create/{name}?refresh=true", json.loads(record(run, number)))
        assert status == 201
    answer = site.verify(code=1, stream=stream)
    found = by_run(answer)[run]
    assert (found["missing"], found["twice"], found["unused"]) == (len(lost), 3, 0)
    size = len(b"".join(record(run, number) for number in range(4990)))
    assert f"4990 to 5010 missing; {hurt.path} from line 4991, offset {size}" in found["details"]
    assert f"0 missing; {hurt.path} line 1, offset 0" in found["details"]
    assert any(text.startswith(f"{COUNT - 1} missing; {hurt.path} line {COUNT}") for text in found["details"])
    assert sum(text.startswith("30 is there twice: ") for text in found["details"]) == 2
    assert by_run(answer)[whole.name.run]["missing"] == 0
    text = site.shipper("verify", "--path", "logs", "--to", store.url, "--index", stream, code=1)
    assert f"{len(lost)} missing, 3 there twice" in text.splitlines()[-1]

    for made in (hurt, gaps):
        made.path.unlink()
    answer = site.verify(code=1, stream=stream)
    found = by_run(answer)[run]
    assert found["missing"] == len(lost) - 1  # nothing tells of the last one any more
    assert any(
        text == f"9999 missing; between lines 9999 and 10001 of {hurt.key}.jsonl, and the file is not there any more"
        for text in found["details"]
    )
    assert by_run(answer)[gaps.name.run]["unused"] == 3, "the lines around tell that nothing stood between them"
    assert by_run(answer)[gaps.name.run]["missing"] == 0


def test_a_run_that_never_came_and_one_that_waits(tmp_path: Path, store: Server) -> None:
    """A run of which the store has nothing is missing where the shipper has passed it, and waits where it has not."""
    site = Site(tmp_path, store.url)
    gone = part(site.logs, range(20))
    site.ship()
    store.call("DELETE", f"/_data_stream/logs-{gone.name.run[:12]}.jsonlog-default")
    later = part(site.logs, range(20))
    late = by_run(site.verify(code=1, stream=f"logs-{gone.name.run[:12]}*,logs-{later.name.run[:12]}*"))
    assert (late[gone.name.run]["records"], late[gone.name.run]["missing"]) == (0, 20)
    assert late.get(later.name.run, {"missing": 0})["missing"] == 0
    with gone.path.open("ab") as file:
        file.write(record(gone.name.run, 20))
    late = by_run(site.verify(code=1, stream=f"logs-{gone.name.run[:12]}*"))
    assert late[gone.name.run]["missing"] == 20


def test_the_collector(tmp_path: Path, start: Any) -> None:
    """The collector is asked in SQL: the same answers."""
    collector = start()
    site = Site(tmp_path, collector.url)
    whole, hurt = part(site.logs, range(COUNT)), part(tmp_path, range(300))
    lines = hurt.path.read_bytes().split(b"\n")
    site.ship()
    assert site.verify()["whole"]
    for first, last in ((1, 17), (19, 150), (150, 299)):
        post(collector.url, b"\n".join([*lines[first:last], b""]), f"{hurt.key}:{first:x}+{last - first}")
    post(collector.url, lines[40] + b"\n", "0123456789abcdef:0+1")
    answer = site.verify(code=1)
    found = by_run(answer)
    assert (found[whole.name.run]["records"], found[whole.name.run]["missing"]) == (COUNT, 0)
    assert (found[hurt.name.run]["records"], found[hurt.name.run]["twice"], found[hurt.name.run]["missing"]) == (
        297,
        1,
        3,
    )
    assert any(
        text.startswith(f"17 to 18 missing; between lines 17 and 20 of {hurt.key}.jsonl")
        for text in found[hurt.name.run]["details"]
    )
    hurt.path.rename(site.logs / hurt.path.name)  # here it is, and nothing of it is acknowledged
    found = by_run(site.verify(code=1))
    assert (found[hurt.name.run]["missing"], found[hurt.name.run]["waiting"]) == (0, 3)


def post(url: str, body: bytes, ids: str) -> None:
    headers = {"content-type": "application/x-ndjson", "shipper-lines": ids}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
        assert answer.status == 200


def test_an_endpoint_that_cannot_be_asked(tmp_path: Path) -> None:
    """An endpoint that is no store is refused in one sentence."""
    endpoint = Endpoint()
    try:
        said = Site(tmp_path, endpoint.url).shipper("verify", "--to", endpoint.url, code=2)
    finally:
        endpoint.close()
    assert "which cannot be asked what it has" in said


def test_since_leaves_out_what_is_older(tmp_path: Path, store: Server) -> None:
    """With an age only records that are not older count, and what the store has deleted before that is not missed."""
    site = Site(tmp_path, store.url)
    made = part(site.logs, range(10, 30))  # what came before was deleted by the store long ago
    site.ship()
    made.path.unlink()
    stream = f"logs-{made.name.run[:12]}*"
    assert by_run(site.verify(code=1, stream=stream))[made.name.run]["missing"] == 10
    assert by_run(site.verify("--since", "1h", stream=stream)) == {}
    fresh = datetime.now(UTC).isoformat(timespec="milliseconds").encode()
    new = Part(site.logs)
    data = [record(new.name.run, number) for number in range(30)]
    new.write(b"".join(data[:20]) + b"".join(one.replace(b"2026-11-22T05:02:17.220Z", fresh) for one in data[20:]))
    new.end()
    site.ship()
    stream = f"logs-{new.name.run[:12]}*"
    assert by_run(site.verify("--since", "1h", stream=stream))[new.name.run]["records"] == 10


def test_dead_letters_are_sent_again_exactly_once(tmp_path: Path, store: Server, unique_service: str) -> None:
    """A replay arrives under its id; one that was killed before it could say so is repeated, also across a rollover: still once."""
    site = Site(tmp_path, store.url)
    (site.logs / "a.jsonl").write_bytes(b"not json\n")
    aside = {"SHIPPER_BAD_LINES": "dead_letter", "SHIPPER_DATASET": unique_service}
    ship = ("run", "--once", "--path", "logs", "--to", store.url)
    program = fakes.start(tmp_path / "out", *ship, cwd=tmp_path, env=aside)
    assert program.wait(120) == 0, program.said
    letters = site.logs / ".shipper" / "dead-letters.jsonl"
    before = letters.read_bytes()
    entry = json.loads(before)

    def replay() -> str:
        done = fakes.start(
            tmp_path / f"out{os.urandom(4).hex()}", "dead", "replay", "--path", "logs", "--to", store.url, cwd=tmp_path,
            env={"SHIPPER_DATASET": unique_service},
        )  # fmt: skip
        assert done.wait(120) == 0, done.said
        return done.said

    assert "1 wrapped, 0 refused again; 0 left" in replay()
    pattern = f"logs-{unique_service}.*"
    store.call("POST", f"/{pattern}/_refresh")
    _, found = store.call("POST", f"/{pattern}/_search", {"query": {"match_all": {}}})
    (hit,) = found["hits"]["hits"]
    assert (hit["_id"], hit["_source"]["message"]) == (entry["id"], "not json")
    stream = hit["_index"].removeprefix(".ds-").rsplit("-", 2 if store.kind == "elasticsearch" else 1)[0]
    letters.write_bytes(before)
    assert "0 left" in replay()
    status, _ = store.call("POST", f"/{stream}/_rollover")
    assert status == 200
    letters.write_bytes(before)
    assert "1 duplicate, 0 refused again; 0 left" in replay()
    store.call("POST", f"/{pattern}/_refresh")
    _, counted = store.call("GET", f"/{pattern}/_count")
    assert counted["count"] == 1

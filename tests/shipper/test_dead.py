"""`shipper dead`, with real processes: what was put aside is shown exactly, sent again under its id, or given up."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from shipper.core.model import Refused, Source
from shipper.deadletters import DEAD_LETTERS, DeadLetters, index, read
from shipper.errors import StoreFull
from tests.fakes import append, line, lines, wait_for
from tests.shipper.support import Endpoint, Shipper

BAD = [b"not json", b"\xff\xfe raw", b'{"cut": ']
ASIDE = {"SHIPPER_BAD_LINES": "dead_letter"}


def dead(shipper: Shipper, command: str, *more: str, code: int = 0, env: dict[str, str] | None = None) -> str:
    program = shipper.run("dead", command, "--path", "logs", *more, env=env)
    assert program.wait() == code, program.said
    return program.said


def listed(shipper: Shipper, *more: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in dead(shipper, "list", "--json", *more).splitlines()]


@pytest.fixture
def aside(shipper: Shipper, endpoint: Endpoint) -> Shipper:
    """A shipper that has put three lines aside and delivered two."""
    append(shipper.logs / "a.jsonl", b"".join([line(0), *(bad + b"\n" for bad in BAD), line(1)]))
    program = shipper.run("run", "--once", "--path", "logs", "--to", endpoint.url, env=ASIDE)
    assert program.wait() == 0
    assert "a.jsonl line 2 (and 2 more) cannot be shipped" in program.said
    return shipper


def test_list_and_show(aside: Shipper) -> None:
    """The list has time, place, id and reason, with the line's number as the console says it; show has the exact line."""
    entries = listed(aside)
    assert [(e["line"], e["offset"]) for e in entries] == [(2, 9), (3, 18), (4, 25)]
    text = dead(aside, "list")
    assert text.splitlines()[0].split() == ["TIME", "STATUS", "FILE", "AND", "LINE", "ID", "REASON"]
    assert "a.jsonl:2 " in text.splitlines()[1]
    assert "3 in " in text
    assert len(dead(aside, "list", "--limit", "1").splitlines()) == 3
    assert [e["line"] for e in listed(aside, "--reason", "not UTF-8")] == [3]
    assert listed(aside, "--older-than", "1h") == []
    shown = dead(aside, "show", entries[0]["id"])
    assert shown.endswith("\nnot json\n")
    assert "no dead letter x-1" in dead(aside, "show", "x-1", code=2)


def test_replay_keeps_the_id(aside: Shipper, endpoint: Endpoint) -> None:
    """A line that can be made a record of now arrives under the id it always had; a second replay has nothing to do."""
    ids = [e["id"] for e in listed(aside)]
    assert not set(ids) & set(endpoint.records)
    said = dead(aside, "replay", ids[0], "--to", endpoint.url)
    assert "1 wrapped, 0 refused again; 2 left" in said
    assert json.loads(endpoint.records[ids[0]])["message"] == "not json"
    said = dead(aside, "replay", "--to", endpoint.url)
    assert "2 wrapped, 0 refused again; 0 left" in said
    assert set(ids) <= set(endpoint.records)
    assert "nothing to send" in dead(aside, "replay", "--to", endpoint.url)
    assert (aside.logs / ".shipper" / DEAD_LETTERS).read_bytes() == b""


def test_what_is_refused_again_stays(aside: Shipper, endpoint: Endpoint) -> None:
    """With the settings that put it aside it comes back, once, exactly, and the exit code says so."""
    before = listed(aside)
    said = dead(aside, "replay", "--to", endpoint.url, code=1, env=ASIDE)
    assert "0 delivered, 3 refused again; 3 left" in said
    after = listed(aside)
    assert [{**e, "time": ""} for e in after] == [{**e, "time": ""} for e in before]
    assert len((aside.logs / ".shipper" / DEAD_LETTERS).read_bytes().splitlines()) == 3


def test_a_replay_that_is_killed_is_repeated(aside: Shipper, endpoint: Endpoint) -> None:
    """Killed while the store takes nothing, or after it has taken it, nothing is lost and nothing doubled."""
    ids = {e["id"] for e in listed(aside)}
    endpoint.status = 503
    program = aside.run("dead", "replay", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: "is not available" in program.said, "the message")
    second = aside.run("dead", "replay", "--path", "logs", "--to", endpoint.url)
    assert second.wait() == 2
    assert "another shipper dead command works on" in second.said
    program.kill()
    assert {e["id"] for e in listed(aside)} == ids
    endpoint.status = 200
    endpoint.records.update(
        dict.fromkeys(ids, b"{}")
    )  # an earlier replay got that far and was killed before it said so
    assert "0 left" in dead(aside, "replay", "--to", endpoint.url)
    assert set(endpoint.records) >= ids


def test_beside_a_shipper_that_runs(aside: Shipper, endpoint: Endpoint) -> None:
    """A shipper that puts more aside meanwhile loses none of it to a replay."""
    program = aside.run("run", "--path", "logs", "--to", endpoint.url, env=ASIDE)
    wait_for(lambda: "the sink is" in program.said, "the shipper")
    for number in range(5):
        append(aside.logs / "a.jsonl", b"bad %d\n" % number * 20)
        dead(aside, "replay", "--to", endpoint.url)
    wait_for(lambda: ("last" not in program.said and b"bad 4" not in b"".join(endpoint.records.values())) or True, "x")
    program.signal(signal.SIGINT)
    assert program.wait() == 0
    dead(aside, "replay", "--to", endpoint.url)
    messages = [json.loads(value).get("message", "") for value in endpoint.records.values()]
    assert [sum(m == f"bad {n}" for m in messages) for n in range(5)] == [20] * 5


def test_purge(aside: Shipper) -> None:
    """Given up is what was named and nothing else, and everything only when it is said."""
    entries = listed(aside)
    assert "--all" in dead(aside, "purge", code=2)
    assert "1 given up, 2 left" in dead(aside, "purge", entries[1]["id"])
    assert [e["id"] for e in listed(aside)] == [entries[0]["id"], entries[2]["id"]]
    assert "2 given up, 0 left" in dead(aside, "purge", "--all")
    assert "not an age" in dead(aside, "purge", "--older-than", "soon", code=2)


def test_a_bound_that_is_reached_loses_nothing(shipper: Shipper, endpoint: Endpoint) -> None:
    """At its bound the file takes no more, the checkpoint passes nothing, readiness says why, and a purge lets it go on."""
    append(shipper.logs / "a.jsonl", b"x" * 2000 + b"\n")
    program = shipper.run(
        "run", "--path", "logs", "--to", endpoint.url, env={**ASIDE, "SHIPPER_DEAD_LETTERS_BYTES": "3000"}
    )
    path = shipper.logs / ".shipper" / DEAD_LETTERS
    wait_for(path.exists, "the first entry")
    append(shipper.logs / "a.jsonl", b"y" * 2000 + b"\n" + lines(range(3)))
    wait_for(lambda: "dead_letters_bytes allows 3000" in program.said, "the message")
    assert path.stat().st_size < 3000
    dead(shipper, "purge", "--all")
    wait_for(lambda: "the dead-letter file can be written again" in program.said, "it to go on")
    wait_for(lambda: len(endpoint.records) == 3, "the records behind it")
    assert [e["data"][:1] for e in listed(shipper)] == ["y"]
    program.signal(signal.SIGINT)
    assert program.wait() == 0


SOURCE = Source("k", "logs-a.jsonlog-b", "/f")


def test_later_entries_replace_earlier_ones_and_done_takes_out(tmp_path: Path) -> None:
    """Of two entries with one id the last counts; what is done is gone; a half entry at the end is none."""
    letters = DeadLetters(tmp_path / "d.jsonl")
    letters.append([Refused(SOURCE, n, b"first %d" % n, "a") for n in range(4)])
    letters.append([Refused(SOURCE, 1, b"second", "b")])
    letters.done(["k-2", "k-9"], "replayed")
    with letters.path.open("ab") as file:
        file.write(b'{"id":"k-7","half')
    assert [(e.id, e.data) for e in read(letters.path)] == [
        ("k-0", b"first 0"),
        ("k-3", b"first 3"),
        ("k-1", b"second"),
    ]
    letters.append([Refused(SOURCE, 2, b"again", "c")])
    assert list(index(letters.path)) == ["k-0", "k-3", "k-1", "k-2"]
    letters.rewrite()
    assert [e.data for e in read(letters.path)] == [b"first 0", b"first 3", b"second", b"again"]
    assert letters.path.read_bytes().count(b"\n") == 4


def test_the_first_entries_fit_in_any_case(tmp_path: Path) -> None:
    """A bound that is smaller than what comes at once is no trap: an empty file takes it, a full one nothing."""
    letters = DeadLetters(tmp_path / "d.jsonl", max_bytes=100)
    letters.append([Refused(SOURCE, 0, b"x" * 500, "a")])
    with pytest.raises(StoreFull, match="dead_letters_bytes allows 100"):
        letters.append([Refused(SOURCE, 1, b"x", "a")])
    letters.done(["k-0"], "purged")
    letters.rewrite()
    letters.append([Refused(SOURCE, 1, b"x", "a")])

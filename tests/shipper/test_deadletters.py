"""Dead letters: exact bytes, whole entries, on disk."""

from __future__ import annotations

import base64
import json
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.model import Refused, Source
from shipper.deadletters import DeadLetters
from shipper.errors import StoreFull

SOURCE = Source("key", "logs-a.jsonlog-b", "/logs/ä\udcff.jsonl")


def refused(data: bytes, number: int = 0) -> Refused:
    return Refused(SOURCE, number, data, "why", 400, 17)


def entries(path: Path) -> list[dict[str, object]]:
    return [json.loads(text) for text in path.read_bytes().split(b"\n")[:-1]]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_the_bytes_are_exact(tmp_path_factory: pytest.TempPathFactory, data: list[bytes]) -> None:
    """Any bytes come back exactly, each entry is one line, with reason, status, id, place and time."""
    path = tmp_path_factory.mktemp("dead") / "dead.jsonl"
    DeadLetters(path).append([refused(one, number) for number, one in enumerate(data)])
    found = entries(path)
    for number, (entry, one) in enumerate(zip(found, data, strict=True)):
        got = entry["data"].encode() if "data" in entry else base64.b64decode(entry["data_base64"])
        assert got == one
        assert (entry["id"], entry["line"], entry["offset"]) == (f"key-{number:x}", number + 1, 17)
        assert (entry["reason"], entry["status"], entry["target"]) == ("why", 400, "logs-a.jsonlog-b")
        assert str(entry["time"]).endswith("Z")


def test_many_at_once(tmp_path: Path) -> None:
    """Entries that are written side by side stay whole."""
    dead = DeadLetters(tmp_path / "dead.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: dead.append([refused(b"x" * 50_000, n), refused(b"y", n)]), range(40)))
    assert sorted(e["line"] for e in entries(dead.path)) == sorted([*range(1, 41)] * 2)


def test_half_an_entry_spoils_none(tmp_path: Path) -> None:
    """What a crash left of an entry does not take the next one with it."""
    path = tmp_path / "dead.jsonl"
    path.write_bytes(b'{"half')
    DeadLetters(path).append([refused(b"x")])
    assert path.read_bytes().startswith(b'{"half\n{')
    assert json.loads(path.read_bytes().split(b"\n")[1])["data"] == "x"


def test_no_room_leaves_no_half_entry(tmp_path: Path) -> None:
    """When it cannot be written to the end, the file is what it was, and the error says that it may pass."""
    dead = DeadLetters(tmp_path / "dead.jsonl")
    dead.append([refused(b"first")])
    before = dead.path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limit[1]))
        with pytest.raises(StoreFull, match=r"dead\.jsonl"):
            dead.append([refused(b"x" * 1000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert dead.path.read_bytes() == before
    dead.append([refused(b"second")])
    assert [e["data"] for e in entries(dead.path)] == ["first", "second"]

"""What `verify` makes of gaps: files, checkpoint and dead letters are real, the store's answers are given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from shipper.commands.places import Places
from shipper.commands.verify import RunReport, _check_run
from shipper.core.model import Refused, Source
from shipper.core.sequences import Edge, Summary, edges
from shipper.deadletters import DEAD_LETTERS, DeadLetters
from tests.fakes import Part


@dataclass
class Given:
    """A store that has these records."""

    records: list[tuple[int, str]]

    async def runs(self) -> AsyncIterator[Summary]:
        yield self.summary("r")

    def summary(self, run: str) -> Summary:
        return Summary(run, len(self.records), self.records[0][0], self.records[-1][0])

    async def edges(self, summary: Summary) -> AsyncIterator[Edge]:
        for edge in edges(self.records, None)[0]:
            yield edge


def lines(part: Part, numbers: range | list[int]) -> list[bytes]:
    return [b'{"run":"%s","event":{"sequence":%d}}\n' % (part.name.run.encode(), number) for number in numbers]


def check(part: Part, store: list[tuple[int, str]], places: Places) -> RunReport:
    given = Given(store)
    return asyncio.run(_check_run(given, given.summary(part.name.run), places, is_whole=True))


def test_dead_letters_and_what_waits(tmp_path: Path) -> None:
    """A number that is missing is one of: a dead letter, not acknowledged yet, or lost; each is counted once."""
    part = Part(tmp_path)
    data = lines(part, range(20))
    part.write(b"".join(data))
    part.end()
    source = Source(part.key, "t", str(part.path))
    DeadLetters(tmp_path / DEAD_LETTERS).append([Refused(source, n, data[n].rstrip(b"\n"), "why") for n in (3, 4)])
    places = Places()
    places.add_file(str(part.path), sum(map(len, data[:15])))
    places.add_dead_letters(tmp_path)
    store = [(n, f"{part.key}-{n:x}") for n in range(19) if n not in (3, 4, 5, 9, 16)]
    report = check(part, store, places)
    assert (report.dead_count, report.missing_count, report.waiting_count, report.unused_count) == (2, 2, 1, 0)
    assert [text.partition(" missing")[0] for text in report.missing] == ["5", "9"]
    assert report.dead == [f"3 is a dead letter: {part.key}-3", f"4 is a dead letter: {part.key}-4"]
    assert not report.is_whole


def test_the_tail_is_known_from_the_file(tmp_path: Path) -> None:
    """What was acknowledged behind the last record of the store is missing; what was not is not asked for."""
    part = Part(tmp_path)
    data = lines(part, range(20))
    part.write(b"".join(data))
    part.end()
    places = Places()
    places.add_file(str(part.path), sum(map(len, data[:15])))
    report = check(part, [(n, f"{part.key}-{n:x}") for n in range(12)], places)
    assert report.missing == [f"12 to 14 missing; {part.path} from line 13, offset {sum(map(len, data[:12]))}"]


def test_a_part_that_is_gone_proves_nothing(tmp_path: Path) -> None:
    """A gap between two files is a loss unless every file between is there and has no such line."""
    first = Part(tmp_path, part=0)
    second = Part(tmp_path, run=first.name.run, part=1)
    first.write(b"".join(lines(first, range(10))))
    second.write(b"".join(lines(first, range(12, 20))))
    first.end()
    second.end()
    store = [(n, f"{first.key}-{n:x}") for n in range(10)] + [(n, f"{second.key}-{n - 12:x}") for n in range(12, 20)]
    places = Places()
    places.add_file(str(first.path), None)
    places.add_file(str(second.path), None)
    report = check(first, store, places)
    assert (report.missing_count, report.unused_count) == (0, 2)
    only_second = Places()
    only_second.add_file(str(second.path), None)
    report = check(first, store, only_second)
    assert (report.missing_count, report.unused_count) == (2, 0)
    assert report.missing[0].startswith(f"10 to 11 missing; after line 10 of {first.key}.jsonl")

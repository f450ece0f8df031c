"""Where the record of a number is or was: in a file that is still there, among the dead letters, or nowhere."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from jsonlog.files.protocol import PartName, parse_name
from shipper.deadletters import DEAD_LETTERS, read

_END = 4 * 1024 * 1024  # of a file: more than its last record


class _Event(msgspec.Struct):
    sequence: int | None = None


class _Record(msgspec.Struct):
    run: str | None = None
    event: _Event | None = None


_decoder = msgspec.json.Decoder(type=_Record)


@dataclass(frozen=True, slots=True)
class Part:
    """
    A file of ours that is still there.

    Args:
        path: Where.
        name: What its name says.
        acknowledged: How many bytes the shipper has passed; all of them where that is not known.
    """

    path: str
    name: PartName
    acknowledged: int

    def numbers(self) -> Iterator[tuple[int, int, int]]:
        """Give number, line (from 0) and offset of each record, in the order of the file."""
        offset = 0
        with open(self.path, "rb") as file:  # noqa: PTH123 (a path may hold bytes that are no text)
            for line, data in enumerate(file):
                if data.endswith(b"\n") and (number := number_of(data, self.name.run)) is not None:
                    yield number, line, offset
                offset += len(data)

    def last_acknowledged(self) -> int | None:
        """Return the highest number among the last records that the shipper has passed."""
        start = max(0, self.acknowledged - _END)
        with open(self.path, "rb") as file:  # noqa: PTH123
            file.seek(start)
            lines = file.read(self.acknowledged - start).split(b"\n")
        return next((n for line in reversed(lines) if (n := number_of(line, self.name.run)) is not None), None)


@dataclass(slots=True)
class Found:
    """
    Neighbouring records that the store does not have.

    Args:
        first, last: Their numbers.
        path, line, offset: Where the first one stands; the line from 0.
        waits: The shipper has not passed them yet.
    """

    first: int
    last: int
    path: str
    line: int
    offset: int
    waits: bool = False

    @property
    def size(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Places:
    """
    What is known of where records are.

    Args:
        parts: Files that are there, by run, in order.
        dead: The ids of dead letters by run and number.
    """

    parts: dict[str, list[Part]] = field(default_factory=dict)
    dead: dict[str, dict[int, str]] = field(default_factory=dict)

    def add_file(self, path: str, acknowledged: int | None) -> None:
        """Take a file into account if it is one of ours; *acknowledged* is None where no checkpoint tells."""
        name = parse_name(os.path.basename(path))  # noqa: PTH119
        try:
            size = os.stat(path).st_size  # noqa: PTH116
        except OSError:
            return
        if name is not None:
            part = Part(path, name, size if acknowledged is None else acknowledged)
            self.parts.setdefault(name.run, []).append(part)
            self.parts[name.run].sort(key=lambda one: one.name.part)

    def add_dead_letters(self, folder: Path) -> None:
        """Take the dead letters in a state folder into account."""
        for letter in read(folder / DEAD_LETTERS):
            stem = parse_name(letter.id.rpartition("-")[0] + ".jsonl")
            if stem is not None and (number := number_of(letter.data, stem.run)) is not None:
                self.dead.setdefault(stem.run, {})[number] = letter.id

    def find(self, run: str, wanted: Iterable[range]) -> list[Found]:
        """Look for numbers in the files that are there, but for dead letters, going through each file once."""
        ranges = sorted(wanted, key=lambda one: one.start)
        starts = [one.start for one in ranges]
        aside = self.dead.get(run, {})
        found: list[Found] = []
        for part in self.parts.get(run, ()):
            for number, line, offset in part.numbers():
                index = bisect_right(starts, number) - 1
                if index < 0 or number not in ranges[index] or number in aside:
                    continue
                one, waits = found[-1] if found else None, offset >= part.acknowledged
                if one and (one.path, one.last + 1, one.waits) == (part.path, number, waits):
                    one.last = number
                else:
                    found.append(Found(number, number, part.path, line, offset, waits))
        return found

    def has_all(self, run: str, first: int, last: int) -> bool:
        """Tell whether all parts of a run from *first* to *last* are there."""
        there = {part.name.part for part in self.parts.get(run, ())}
        return all(number in there for number in range(first, last + 1))

    def last_acknowledged(self, run: str) -> int | None:
        """Return the highest number of a run that the shipper has passed, as far as files tell."""
        numbers = (part.last_acknowledged() for part in reversed(self.parts.get(run, [])))
        return next((number for number in numbers if number is not None), None)


def number_of(line: bytes, run: str) -> int | None:
    """Return the number of a record if it is one of *run*."""
    try:
        record = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if record.run != run or record.event is None:
        return None
    return record.event.sequence

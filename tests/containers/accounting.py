"""What the store holds, against what must be there. Pure: records and answers in, findings out."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.containers.traffic import Answer

# An answer leaves the application a moment before its access record is logged. One SIGKILL can come between the two, for each
# worker once; the log call was then never made, and nothing is lost that had been logged.
UNLOGGED_BEFORE_S = 1.0
UNLOGGED_PER_KILL = 4
# A record is written before it is counted, so a SIGKILL can also leave each of the five processes one record ahead of its count.
UNCOUNTED_PER_KILL = 5


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as far as the accounts need it."""

    run: str
    sequence: int
    logger: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Kill:
    """When the application was killed: the instants before and after the command."""

    began: float
    ended: float

    def may_hide(self, answer: Answer) -> bool:
        """Say whether this answer can be one whose log call was never made."""
        return self.began - UNLOGGED_BEFORE_S <= answer.at <= self.ended


@dataclass(frozen=True, slots=True)
class Account:
    """The outcome: figures to print, and every finding that disproves the claim."""

    records: int
    counted: int
    runs: int
    requests: int
    unlogged: int
    wrong: tuple[str, ...]


def settle(records: Sequence[Stored], counted: int, answers: Sequence[Answer], kills: Sequence[Kill]) -> Account:
    """Compare what is stored with what must be there.

    Args:
        counted: the log calls that the application counted itself.
        answers: the requests that were answered; each has one access record.
        kills: when the application was sent SIGKILL.
    """
    missing = _missing(records, answers)
    unlogged = {answer for answer in missing for kill in kills if kill.may_hide(answer)}
    wrong = [*_twice(records), *_gaps(records), *_requests_twice(records)]
    if not 0 <= len(records) - counted <= UNCOUNTED_PER_KILL * len(kills):
        wrong.append(f"{len(records)} records are stored, and the application counted {counted} log calls")
    lost = sorted(answer.request_id for answer in missing if answer not in unlogged)
    if lost:
        wrong.append(f"{len(lost)} answered requests have no access record: {_some(lost)}")
    if len(unlogged) > UNLOGGED_PER_KILL * len(kills):
        wrong.append(
            f"{len(unlogged)} answers before {len(kills)} kills have no access record, too many for the workers"
        )
    runs = len({record.run for record in records})
    return Account(len(records), counted, runs, len(answers), len(unlogged), tuple(wrong))


def _missing(records: Iterable[Stored], answers: Iterable[Answer]) -> list[Answer]:
    logged = {record.request_id for record in records if record.logger == "gunicorn.access"}
    return [answer for answer in answers if answer.request_id not in logged]


def _twice(records: Iterable[Stored]) -> Iterable[str]:
    counts = Counter((record.run, record.sequence) for record in records)
    twice = sorted(f"{run}/{sequence}" for (run, sequence), count in counts.items() if count > 1)
    return [f"{len(twice)} records are stored more than once: {_some(twice)}"] if twice else []


def _gaps(records: Iterable[Stored]) -> Iterable[str]:
    numbers: dict[str, set[int]] = defaultdict(set)
    for record in records:
        numbers[record.run].add(record.sequence)
    for run, seen in sorted(numbers.items()):
        gone = sorted(set(range(max(seen) + 1)) - seen)
        if gone:
            yield f"run {run}: {len(gone)} of {max(seen) + 1} numbers are missing: {_some(map(str, gone))}"


def _requests_twice(records: Iterable[Stored]) -> Iterable[str]:
    accesses = Counter(
        record.request_id for record in records if record.logger == "gunicorn.access" and record.request_id
    )
    twice = sorted(request_id for request_id, count in accesses.items() if count > 1)
    return [f"{len(twice)} requests have more than one access record: {_some(twice)}"] if twice else []


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

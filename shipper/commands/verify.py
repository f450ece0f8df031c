"""
`shipper verify`: asks a store whether every number of every run is there, exactly once.

What is missing is looked for: among the dead letters, and in the files that are still there. A number that stands in no line was
used up by its writer for a record that it could not write; that is a gap in the file, and no loss on the way.
"""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonlog.files.protocol import parse_name
from shipper.checkpoint import CHECKPOINT, peek
from shipper.commands.numbers import PATTERN, CollectorNumbers, Numbers, SearchNumbers
from shipper.commands.places import Found, Places
from shipper.commands.store import open_transport, table
from shipper.config import Settings
from shipper.core.sequences import Gap, Summary, gap_of, lines_between, place_of
from shipper.errors import ConfigError
from shipper.look import absolute_patterns, look
from shipper.service import find_state
from shipper.sinks.detect import Wanted, find_sink
from shipper.sinks.elasticsearch import ElasticsearchSink
from shipper.transport import Transport

_KEPT = 10_000  # of each kind and run; all are counted
_SHOWN = 10
_ROWS = 50


@dataclass(slots=True)
class RunReport:
    """
    What was found out about a run.

    Args:
        summary: What the store has.
        twice: Numbers that it has more than once, each with two ids.
        missing: Lines of sentences on what is missing: in the file and acknowledged, or nowhere to be seen.
        dead, waiting, unused: Numbers among the dead letters, not acknowledged yet, never written.
    """

    summary: Summary
    twice_count: int = 0
    missing_count: int = 0
    dead_count: int = 0
    waiting_count: int = 0
    unused_count: int = 0
    twice: list[tuple[int, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """True when nothing is missing and nothing is there twice."""
        return not (self.missing_count or self.twice_count or self.dead_count)


@dataclass(frozen=True, slots=True)
class Options:
    """
    What is to be verified.

    Args:
        pattern: Streams or indices.
        since_s: Only records that are not older than this; 0 for all.
        as_json: As one JSON object.
    """

    pattern: str = PATTERN
    since_s: float = 0.0
    as_json: bool = False


def verify(settings: Settings, options: Options) -> tuple[str, int]:
    """
    Compare what a store has with the numbers that were given, and with the files that are still there.

    Returns:
        The text, and the exit code: 1 when anything is missing in the store or there twice.

    Raises:
        ConfigError: The URL is missing, or what stands there cannot be asked.
        SinkError: The store does not answer.
    """
    places = _places(settings)
    reports, notes = asyncio.run(_verify(settings, options, places))
    whole = all(report.is_whole for report in reports)
    if options.as_json:
        return json.dumps(_json(reports, notes), ensure_ascii=False), int(not whole)
    return _text(reports, notes), int(not whole)


def _places(settings: Settings) -> Places:
    """Collect the files: those the checkpoint knows, and those that match the patterns."""
    places = Places()
    known: set[str] = set()
    for folder in _folders(settings):
        for account in peek(folder):
            if account.state.key:
                known.add(account.state.path)
                places.add_file(account.state.path, account.state.position.offset)
        places.add_dead_letters(folder)
    if settings.path:
        view = look(absolute_patterns(settings.path, Path.cwd()), ())
        for seen in view.files.values():
            if seen.path not in known:  # nothing of it is acknowledged where there is a checkpoint
                places.add_file(seen.path, 0 if known else None)
    return places


def _folders(settings: Settings) -> list[Path]:
    """Find the state, if there is one: files alone tell a lot, too."""
    if settings.state is None and not settings.path:
        return []
    try:
        folders = find_state(settings)
    except ConfigError:
        if settings.state is not None:
            raise
        return []
    return [folder for folder in folders if (folder / CHECKPOINT).exists()]


async def _verify(settings: Settings, options: Options, places: Places) -> tuple[list[RunReport], list[str]]:
    transport = open_transport(settings, settings.to)
    since = time.time() - options.since_s if options.since_s else 0.0
    notes: list[str] = []
    try:
        numbers = await _numbers(transport, options, since, notes)
        reports = [await _check_run(numbers, summary, places, is_whole=not since) async for summary in numbers.runs()]
    finally:
        await transport.close()
    known = {report.summary.run for report in reports}
    for run in sorted(set(places.parts) - known):
        last = places.last_acknowledged(run)
        if last is not None and (not since or _is_younger(places, run, since)):
            report = RunReport(Summary(run, 0, 0, -1))
            _explain(report, [Gap(0, last)], places)
            reports.append(report)
    return reports, notes


async def _numbers(transport: Transport, options: Options, since: float, notes: list[str]) -> Numbers:
    sink = await find_sink(transport, Wanted(), lambda _: None)
    if isinstance(sink, ElasticsearchSink):
        numbers = SearchNumbers(transport, options.pattern, since)
        if problem := await numbers.refresh():
            notes.append(f"what was written in the last seconds may not be found yet ({problem})")
        return numbers
    if await CollectorNumbers(transport).is_there():
        return CollectorNumbers(transport, since)
    raise ConfigError(f"{transport.url} is {sink.kind}, which cannot be asked what it has")


async def _check_run(numbers: Numbers, summary: Summary, places: Places, *, is_whole: bool) -> RunReport:
    report = RunReport(summary)
    gaps: list[Gap] = []
    async for edge in numbers.edges(summary):
        gap = gap_of(edge)
        if gap is None:
            report.twice_count += 1
            if len(report.twice) < _KEPT:
                report.twice.append((edge.before, edge.before_id, edge.after_id))
        elif len(gaps) < _KEPT:
            gaps.append(gap)
        else:  # too many to look each one up
            report.missing_count += gap.size
    if is_whole and summary.low > 0:
        gaps.append(Gap(0, summary.low - 1))
    last = places.last_acknowledged(summary.run)
    if last is not None and last > summary.high:
        gaps.append(Gap(summary.high + 1, last))
    _explain(report, gaps, places)
    return report


def _explain(report: RunReport, gaps: Sequence[Gap], places: Places) -> None:
    """Find out for each missing number whether it was lost, waits, is a dead letter, or was never written."""
    if not gaps:
        return
    run = report.summary.run
    dead = places.dead.get(run, {})
    gaps = sorted(gaps, key=lambda gap: gap.first)
    starts = [gap.first for gap in gaps]
    found: dict[int, list[Found]] = {}
    for one in places.find(run, (range(gap.first, gap.last + 1) for gap in gaps)):
        found.setdefault(bisect_right(starts, one.first) - 1, []).append(one)
    for index, gap in enumerate(gaps):
        in_file = found.get(index, [])
        aside = sorted(number for number in dead if gap.first <= number <= gap.last)
        report.dead_count += len(aside)
        report.dead += [f"{number} is a dead letter: {dead[number]}" for number in aside]
        report.waiting_count += sum(one.size for one in in_file if one.waits)
        lost = [one for one in in_file if not one.waits]
        report.missing_count += sum(one.size for one in lost)
        report.missing += map(_sentence, lost)
        seen = sum(one.size for one in in_file) + len(aside)
        if seen < gap.size:
            _judge_the_rest(report, gap, places, seen=seen)


def _judge_the_rest(report: RunReport, gap: Gap, places: Places, *, seen: int) -> None:
    """Judge numbers that were found nowhere: by the files, if all of them are there, else by the lines around the gap."""
    numbers = _numbers_of(gap.first, gap.last)
    unused = rest = gap.size - seen
    if not _files_are_there(report.summary.run, gap, places):
        between = lines_between(gap)
        unused = max(0, rest - max(0, between - seen)) if between is not None else 0
        if rest > unused:
            report.missing_count += rest - unused
            where = _around(gap)
            some = "" if rest - unused == gap.size else f"{rest - unused} of "
            report.missing.append(f"{some}{numbers} missing; {where}, and the file is not there any more")
    if unused:
        report.unused_count += unused
        some = "" if unused == gap.size else f"{unused} of "
        report.unused.append(f"{some}{numbers}: no line has it; the writer could not write the record ({_around(gap)})")


def _files_are_there(run: str, gap: Gap, places: Places) -> bool:
    """Tell whether every file in which a record of a gap could stand is still there."""
    before, after = (place_of(one) for one in (gap.before_id, gap.after_id))
    first = parse_name(f"{before.stem}.jsonl") if before is not None else None
    last = parse_name(f"{after.stem}.jsonl") if after is not None else None
    parts = places.parts.get(run, [])
    if not parts or (gap.before_id and first is None) or (gap.after_id and last is None):
        return False
    highest = last.part if last is not None else parts[-1].name.part
    return places.has_all(run, first.part if first is not None else 0, highest)


def _around(gap: Gap) -> str:
    before, after = place_of(gap.before_id), place_of(gap.after_id)
    if before is not None and after is not None and before.stem == after.stem:
        return f"between lines {before.line + 1} and {after.line + 1} of {before.stem}.jsonl"
    if before is not None:
        return f"after line {before.line + 1} of {before.stem}.jsonl"
    if after is not None:
        return f"before line {after.line + 1} of {after.stem}.jsonl"
    return "before the first record or after the last one in the store"


def _sentence(one: Found) -> str:
    lines = f"line {one.line + 1}" if one.size == 1 else f"from line {one.line + 1}"
    return f"{_numbers_of(one.first, one.last)} missing; {one.path} {lines}, offset {one.offset}"


def _numbers_of(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _is_younger(places: Places, run: str, since: float) -> bool:
    return any(Path(part.path).stat().st_mtime >= since for part in places.parts[run])


def _json(reports: Sequence[RunReport], notes: Sequence[str]) -> dict[str, Any]:
    return {
        "whole": all(report.is_whole for report in reports),
        "notes": list(notes),
        "runs": [
            {
                "run": report.summary.run,
                "records": report.summary.records,
                "first": report.summary.low if report.summary.records else None,
                "last": report.summary.high if report.summary.records else None,
                "missing": report.missing_count,
                "twice": report.twice_count,
                "dead_letters": report.dead_count,
                "waiting": report.waiting_count,
                "unused": report.unused_count,
                "details": [*report.missing, *report.dead, *report.unused, *map(_twice, report.twice)],
            }
            for report in reports
        ],
    }


def _text(reports: Sequence[RunReport], notes: Sequence[str]) -> str:
    ordered = sorted(reports, key=lambda report: (report.is_whole, report.unused_count == 0))
    rows: list[tuple[str, ...]] = [("RECORDS", "FIRST", "LAST", "MISSING", "TWICE", "DEAD", "WAITING", "UNUSED", "RUN")]
    for report in ordered[:_ROWS]:
        one = report.summary
        ends = (str(one.low), str(one.high)) if one.records else ("-", "-")
        counts = (
            report.missing_count,
            report.twice_count,
            report.dead_count,
            report.waiting_count,
            report.unused_count,
        )
        rows.append((str(one.records), *ends, *map(str, counts), one.run))
    lines = [table(rows)] if reports else []
    if len(ordered) > _ROWS:
        lines.append(f"and {len(ordered) - _ROWS} runs more")
    for report in ordered:
        for kind in (report.missing, list(map(_twice, report.twice)), report.dead, report.unused):
            lines += [f"run {report.summary.run}: {text}" for text in kind[:_SHOWN]]
            if len(kind) > _SHOWN:
                lines.append(f"run {report.summary.run}: and {len(kind) - _SHOWN} more like this (--json)")
    lines += [f"note: {note}" for note in notes]
    return "\n".join([*lines, _verdict(reports)])


def _twice(one: tuple[int, str, str]) -> str:
    number, first, second = one
    return f"{number} is there twice: {first}, {second}"


def _verdict(reports: Sequence[RunReport]) -> str:
    records = sum(report.summary.records for report in reports)
    counted = (
        (sum(report.missing_count for report in reports), "missing"),
        (sum(report.twice_count for report in reports), "there twice"),
        (sum(report.dead_count for report in reports), "among the dead letters"),
    )
    bad = ", ".join(f"{number} {words}" for number, words in counted if number)
    waiting = sum(report.waiting_count for report in reports)
    later = f" ({waiting} not shipped yet)" if waiting else ""
    return f"{len(reports)} runs, {records} records: {bad or 'nothing is missing, nothing is there twice'}{later}"

"""
`shipper dead`: what could not be delivered: looked at, sent again, or given up.

A replay may be interrupted and repeated, and a shipper may run beside it: an entry is marked as done only once its record is
settled, and a record keeps its id, so that a store keeps it once.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path

from msgspec.structs import replace

from shipper.commands.store import open_transport, table
from shipper.config import Settings
from shipper.core.framing import check
from shipper.core.model import Batch, Checked, Position, Source
from shipper.deadletters import DEAD_LETTERS, DeadLetter, DeadLetters, ids_from, index, read
from shipper.delivery import Delivery
from shipper.errors import ConfigError
from shipper.events import Emit
from shipper.service import find_state, rules_of, wait_for_sink
from shipper.sinks.interface import Sink

_AT_ONCE = 500
_LONGEST = 60  # characters of a reason in the table


@dataclass(frozen=True, slots=True)
class Choice:
    """
    Which entries are meant: all that fit everything that is said.

    Args:
        ids: These; empty for any.
        reason: A text that stands in the reason; empty for any.
        older_s: At least so old; 0 for any.
    """

    ids: Sequence[str] = ()
    reason: str = ""
    older_s: float = 0.0

    def __call__(self, letter: DeadLetter) -> bool:
        """Tell whether an entry is meant."""
        if self.ids and letter.id not in self.ids:
            return False
        if self.reason not in str(letter.entry.get("reason", "")):
            return False
        return not self.older_s or _age_s(letter) >= self.older_s

    @property
    def is_all(self) -> bool:
        """True when nothing is said."""
        return not (self.ids or self.reason or self.older_s)


def show_list(settings: Settings, choice: Choice, *, limit: int, as_json: bool) -> str:
    """List entries, the oldest first."""
    paths = _paths(settings)
    found = chain.from_iterable(read(path, choice) for path in paths)
    if as_json:
        return "\n".join(json.dumps(letter.entry, ensure_ascii=False) for letter in found)
    letters = list(islice(found, limit))
    if not letters:
        return f"nothing{'' if choice.is_all else ' of that kind'} in {paths[0]}"
    rows = [("TIME", "STATUS", "FILE AND LINE", "ID", "REASON"), *map(_row, letters)]
    total = sum(len(index(path)) for path in paths)
    more = f"\n{total} in {paths[0]}" if choice.is_all else ""
    return table(rows) + more


def show(settings: Settings, ids: Sequence[str]) -> str:
    """Show everything about some entries, the line exactly as it is."""
    paths = _paths(settings)
    found = [letter for path in paths for letter in read(path, Choice(ids))]
    missing = set(ids) - {letter.id for letter in found}
    if missing:
        raise ConfigError(f"no dead letter {', '.join(sorted(missing))} in {paths[0]}; see shipper dead list")
    return "\n\n".join(_whole(letter) for letter in found)


def purge(settings: Settings, choice: Choice, *, everything: bool) -> str:
    """Give entries up for good."""
    if choice.is_all and not everything:
        raise ConfigError("say what is to be given up for good: IDs, --reason, --older-than, or --all")
    paths = _paths(settings)
    count = 0
    for path in paths:
        letters = DeadLetters(path)
        with _alone(path):
            ids = [letter.id for letter in read(path, choice)]
            letters.done(ids, "purged")
            letters.rewrite()
        count += len(ids)
    return f"{count} given up, {sum(len(index(path)) for path in paths)} left in {paths[0]}"


def replay(settings: Settings, choice: Choice, emit: Emit) -> tuple[str, int]:
    """
    Send entries again, each with its id; what the store refuses once more stays.

    Returns:
        A sentence, and the exit code: 1 when something stays that was to be sent.
    """
    return asyncio.run(_replay(settings, _paths(settings), choice, emit))


async def _replay(settings: Settings, paths: Sequence[Path], choice: Choice, emit: Emit) -> tuple[str, int]:
    transport = open_transport(settings, settings.to)
    tally: Counter[str] = Counter()
    sink: Sink | None = None
    try:
        for path in paths:
            with _alone(path):
                if not await asyncio.to_thread(lambda of: any(True for _ in read(of, choice)), path):
                    continue
                sink = sink or await wait_for_sink(transport, settings, emit)
                letters = DeadLetters(path)
                tally += await _send_again(letters, Delivery(sink, transport, letters, emit), choice, settings)
    finally:
        await transport.close()
    if sink is None:
        return f"nothing to send in {paths[0]}", 0
    stay = tally.pop("dead_lettered", 0)
    said = ", ".join(f"{lines} {fate.replace('_', ' ')}" for fate, lines in tally.items()) or "0 delivered"
    left = sum(len(index(path)) for path in paths)
    return f"{said}, {stay} refused again; {left} left in {paths[0]}", int(stay > 0)


async def _send_again(letters: DeadLetters, delivery: Delivery, choice: Choice, settings: Settings) -> Counter[str]:
    """Send the entries of one file that are meant, some at a time; return how they ended."""
    tally: Counter[str] = Counter()
    entries = read(letters.path, choice)  # what comes later, refused again or new, is not among these
    while group := await asyncio.to_thread(lambda: list(islice(entries, _AT_ONCE))):
        before = (await asyncio.to_thread(letters.path.stat)).st_size
        ledger = await delivery.deliver(Batch(tuple(_as_read(letter, settings) for letter in group)))
        tally.update({fate.value: lines for fate, lines in ledger.total.items()})
        back = await asyncio.to_thread(ids_from, letters.path, before)
        await asyncio.to_thread(letters.done, [one.id for one in group if one.id not in back], "replayed")
    await asyncio.to_thread(letters.rewrite)
    return tally


def _as_read(letter: DeadLetter, settings: Settings) -> Checked:
    """Make of an entry what the reading of its file made of it, with the settings as they are now."""
    entry = letter.entry
    key, _, number = letter.id.rpartition("-")
    source = Source(key, str(entry.get("target", "")), str(entry.get("file", "")), foreign=bool(entry.get("foreign")))
    start = Position(int(entry.get("offset", 0)), int(number, 16))
    checked = check(source, start, letter.data + b"\n", rules_of(settings), at=str(entry.get("time", "")))
    # An earlier replay may have been interrupted after it had sent them: they are looked up first.
    return replace(checked, pieces=tuple(replace(piece, since="") for piece in checked.pieces))


def parse_age(text: str) -> float:
    """
    Read an age such as `30d`, `12h`, `5m` or `10s`.

    Raises:
        ConfigError: It is none.
    """
    unit = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}.get(text[-1:])
    if unit is None or not text[:-1].isdecimal():
        raise ConfigError(f"{text}: not an age; give one such as 30d, 12h or 5m")
    return int(text[:-1]) * unit


def _paths(settings: Settings) -> list[Path]:
    return [folder / DEAD_LETTERS for folder in find_state(settings)]


def _age_s(letter: DeadLetter) -> float:
    try:
        return time.time() - datetime.fromisoformat(str(letter.entry["time"])).timestamp()
    except (KeyError, ValueError):
        return 0.0


def _row(letter: DeadLetter) -> tuple[str, ...]:
    entry = letter.entry
    reason = " ".join(str(entry.get("reason", "")).split())
    place = f"{entry.get('file', '?')}:{entry.get('line', '?')}"
    short = reason if len(reason) <= _LONGEST else reason[: _LONGEST - 1] + "…"
    return str(entry.get("time", "")), str(entry.get("status", "-")), place, letter.id, short


def _whole(letter: DeadLetter) -> str:
    rows = [(key, str(value)) for key, value in letter.entry.items() if key not in ("data", "data_base64")]
    return table(rows) + "\n" + letter.data.decode("utf-8", "backslashreplace")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the only command that changes the file; a shipper may go on appending."""
    try:
        fd = os.open(path.with_suffix(".command-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as exc:
        raise ConfigError(f"cannot write in {path.parent}: {exc.strerror or exc}") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ConfigError(f"another shipper dead command works on {path}; wait for its end") from None
    try:
        yield
    finally:
        os.close(fd)

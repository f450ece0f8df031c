"""
`shipper status`: how far each file is, what has become of its lines, and how the store is.

Made of the checkpoint and the files, so that it works whether a shipper runs or not; one that runs adds how it is (`status.json`).
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jsonlog.files.protocol import is_alive, parse_name
from shipper.checkpoint import Account, peek
from shipper.commands.store import table
from shipper.config import Settings
from shipper.core.accounting import Tally
from shipper.core.model import Fate
from shipper.deadletters import DEAD_LETTERS, last_errors
from shipper.holding import holder
from shipper.lag import record_at
from shipper.look import absolute_patterns, look
from shipper.report import STATUS
from shipper.service import find_state

_ROWS = 50
_ERROR_LENGTH = 200  # in the table; JSON has it whole
NEW = "not read yet"
GONE = "the file is gone"


@dataclass(frozen=True, slots=True)
class FileStatus:
    """
    How far a file is.

    Args:
        path: Where it is.
        offset: Bytes that are acknowledged.
        size: Bytes that it has; None when it is gone.
        oldest_at: When its oldest record that is not acknowledged was written, in seconds since 1970.
        writer: `alive`, `ended`, or empty where a lock does not tell.
        problem: Why it does not go on.
        error: Why its last dead letter became one, and when.
        lines: How many lines have ended.
        tally: How.
        closes: The two add up.
    """

    path: str
    offset: int
    size: int | None
    oldest_at: float | None = None
    writer: str = ""
    problem: str = ""
    lines: int = 0
    tally: Tally | None = None
    closes: bool = True
    error: str = ""

    @property
    def lag_bytes(self) -> int:
        """Bytes that are there and not acknowledged."""
        return max(0, (self.size or 0) - self.offset)


def status(settings: Settings, *, as_json: bool, everything: bool = False) -> tuple[str, int]:
    """
    Tell how it is.

    Args:
        settings: `state`, or `path`, says of which shipper.
        as_json: As one JSON object in place of a table.
        everything: All files; else those that are furthest behind.

    Returns:
        The text, and the exit code: 0, or 1 when the accounting does not close.

    Raises:
        ConfigError: There is no checkpoint.
        StoreError: It cannot be read.
    """
    folders = find_state(settings)
    accounts = [account for folder in folders for account in peek(folder)]
    live = _together([_live(folder) for folder in folders])
    unreadable = live.get("unreadable", {})
    files = [_known(account, unreadable) for account in accounts if account.state.key]
    files += _unknown(settings, folders[0], {file.path for file in files}, unreadable)
    dead, errors = _dead(folders)
    files = [replace(file, error=errors.get(file.path, "")) for file in files]
    files.sort(key=lambda file: (-file.lag_bytes, file.path))
    closes = live.get("accounting_closes", True) and all(account.imbalance is None for account in accounts)
    totals: Counter[Fate] = Counter()
    for account in accounts:
        totals.update(account.tally)
    if as_json:
        return json.dumps(_json(files, totals, live, dead=dead, closes=closes), ensure_ascii=False), int(not closes)
    return _text(files, totals, live, dead=dead, closes=closes, rows=None if everything else _ROWS), int(not closes)


def _dead(folders: Sequence[Path]) -> tuple[int, dict[str, str]]:
    """Count the dead letters, and tell the last error of each file that has some."""
    found = [last_errors(folder / DEAD_LETTERS) for folder in folders]
    return sum(count for count, _ in found), {path: error for _, errors in found for path, error in errors.items()}


def _live(folder: Path) -> dict[str, Any]:
    """Read what the shipper said of itself; whether it still runs is told by its lock."""
    try:
        said = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = {}
    said = said if isinstance(said, dict) else {}
    return {**said, "running": holder(folder)}


def _together(lives: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put what several workers said of themselves together."""
    if len(lives) == 1:
        return lives[0]
    running = [live for live in lives if live["running"]]
    said = running or [live for live in lives if "to" in live]
    return {
        **(said[0] if said else {}),
        "running": ", ".join(live["running"] for live in running),
        "not_ready": "; ".join(dict.fromkeys(live["not_ready"] for live in said if live.get("not_ready"))),
        "in_flight_lines": sum(live.get("in_flight_lines", 0) for live in running),
        "unreadable": {path: reason for live in said for path, reason in live.get("unreadable", {}).items()},
        "accounting_closes": all(live.get("accounting_closes", True) for live in said),
    }


def _known(account: Account, unreadable: dict[str, str]) -> FileStatus:
    state = account.state
    size = None
    try:
        info = os.stat(state.path)  # noqa: PTH116 (a path may hold bytes that are no text)
        size = info.st_size if info.st_ino == state.inode else None
    except OSError:
        pass
    offset = state.position.offset
    behind = size is not None and size > offset
    problem = unreadable.get(state.path, "") if size is not None else GONE
    return FileStatus(
        state.path,
        offset,
        size,
        record_at(state.path, offset) if behind else None,
        _writer(state.path) if size is not None else "",
        problem,
        account.lines,
        account.tally,
        account.imbalance is None,
    )


def _unknown(settings: Settings, folder: Path, known: set[str], unreadable: dict[str, str]) -> list[FileStatus]:
    """List files that match the patterns and that the checkpoint does not know."""
    if not settings.path:
        return []
    view = look(absolute_patterns(settings.path, Path.cwd()), (folder.resolve(),))
    found = [
        FileStatus(
            seen.path,
            0,
            seen.size,
            record_at(seen.path, 0),
            _writer(seen.path),
            unreadable.get(seen.path, NEW if seen.size else ""),
        )
        for seen in view.files.values()
        if seen.path not in known
    ]
    return found + [FileStatus(path, 0, None, problem=reason) for path, reason in view.unreadable.items()]


def _writer(path: str) -> str:
    part = parse_name(Path(path).name)
    if part is None or not part.locked:
        return ""
    return "alive" if is_alive(path) else "ended"


def _oldest(files: Sequence[FileStatus]) -> float | None:
    return min((file.oldest_at for file in files if file.oldest_at is not None), default=None)


def _json(
    files: Sequence[FileStatus], totals: Tally, live: dict[str, Any], *, dead: int, closes: bool
) -> dict[str, Any]:
    now = time.time()

    def age(at: float | None) -> float | None:
        return None if at is None else round(max(0.0, now - at), 3)

    return {
        "running": live["running"] or None,
        "store": _store(live),
        "not_ready": live.get("not_ready", "") if live["running"] else None,
        "accounting_closes": closes,
        "records": {fate.value: totals[fate] for fate in Fate},
        "in_flight_lines": live.get("in_flight_lines") if live["running"] else None,
        "lag_bytes": sum(file.lag_bytes for file in files),
        "oldest_unacknowledged_s": age(_oldest(files)),
        "dead_letters": dead,
        "files": [
            {
                "path": file.path,
                "offset": file.offset,
                "size": file.size,
                "lag_bytes": file.lag_bytes,
                "oldest_unacknowledged_s": age(file.oldest_at),
                "writer": file.writer or None,
                "problem": file.problem or None,
                "last_error": file.problem or file.error or None,
                "lines": file.lines,
                "records": {fate.value: lines for fate, lines in (file.tally or {}).items()},
                "accounting_closes": file.closes,
            }
            for file in files
        ],
    }


def _text(
    files: Sequence[FileStatus], totals: Tally, live: dict[str, Any], *, dead: int, closes: bool, rows: int | None
) -> str:
    now = time.time()
    lines = [
        (
            str(file.offset),
            "-" if file.size is None else str(file.size),
            str(file.lag_bytes),
            _age(file.oldest_at, now),
            file.writer or "-",
            file.path,
            "its accounting does not close" if not file.closes else (file.problem or file.error)[:_ERROR_LENGTH],
        )
        for file in files[:rows]
    ]
    text = table([("OFFSET", "SIZE", "LAG", "OLDEST", "WRITER", "FILE", ""), *lines]) if lines else "no files yet"
    more = len(files) - len(lines)
    ended = ", ".join(f"{totals[fate]} {fate.value.replace('_', ' ')}" for fate in Fate if totals[fate]) or "none yet"
    flying = f", {live['in_flight_lines']} in flight" if live["running"] and live.get("in_flight_lines") else ""
    return "\n".join(
        [
            text,
            *([f"and {more} files more that are not as far behind (--all)"] if more else []),
            "",
            f"lines    {ended}{flying}" + ("" if closes else "; THE ACCOUNTING DOES NOT CLOSE"),
            f"lag      {sum(file.lag_bytes for file in files)} bytes, the oldest {_age(_oldest(files), now)}",
            f"dead     {dead} in the dead-letter file" + (" (shipper dead list)" if dead else ""),
            f"store    {_store(live)}",
        ]
    )


def _store(live: dict[str, Any]) -> str:
    """Say in one sentence how the store is."""
    to, sink, problem = live.get("to", "?"), live.get("sink") or "unknown yet", live.get("not_ready", "")
    if live["running"]:
        if "to" not in live:
            return f"a shipper runs ({live['running']}), and has not said yet how it is"
        return f"{sink} at {to} " + (f"takes no records: {problem}" if problem else "takes records")
    if "to" not in live:
        return "no shipper runs here"
    when = datetime.fromtimestamp(live.get("written", 0), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"no shipper runs; the last one sent to {sink} at {to}, last heard of at {when}" + (
        f" with: {problem}" if problem else ""
    )


def _age(at: float | None, now: float) -> str:
    if at is None:
        return "-"
    seconds = max(0.0, now - at)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"

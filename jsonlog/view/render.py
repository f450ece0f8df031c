"""
Renders records as text for people: one line each, tracebacks indented below.

    11-22 05:02:17.220 INFO  shop.pay  order 17 placed  user=ann amount=12.5

Cells that repeat (levels, loggers, processes) are made once and kept, aligned to the widest so far.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from jsonlog.view.fields import adapt, is_ours, rank_of
from jsonlog.view.text import decode, many_lines, one_line

_SHORT = {"WARNING": "WARN", "CRITICAL": "CRIT", "INFORMATION": "INFO"}
_SHOWN_APART = frozenset({"@timestamp", "msecs", "log", "message", "exc", "stack", "extra"})
_QUIET = _SHOWN_APART | {"service", "host", "process", "ecs", "sender", "run", "event", "trace", "span", "transaction"}
_MOST_LOGGER = 24
_MOST_WHO = 32
_MOST_CELLS = 10_000
_NEEDS_QUOTES = frozenset(" =\"'{}[],")
_LITERALS = frozenset({"true", "false", "null"})
_WHO_COLOURS = ("36", "35", "34", "33", "32", "96", "95", "94", "93", "92")


def _colour_of(level: str) -> str:
    rank = rank_of(level)
    if rank is None:
        return "35"
    for least, colour in ((50, "1;37;41"), (40, "1;31"), (30, "33"), (20, "32"), (10, "34")):
        if rank >= least:
            return colour
    return "2"


class Palette:
    """Puts colours around text, or nothing at all."""

    def __init__(self, *, colour: bool) -> None:
        self.reset = "\x1b[0m" if colour else ""
        self._colour = colour

    def start(self, code: str) -> str:
        """Give what begins a colour."""
        return f"\x1b[{code}m" if self._colour else ""

    def paint(self, code: str, text: str) -> str:
        """Give *text* in a colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text


class Renderer:
    """
    Renders one record after the other.

    Args:
        colour: Whether to use colours.
        everything: Whether to show also the fields that are the same on most lines.
        clock: Turns `2026-11-22T05:02:17.220` in UTC into what is shown; None leaves it.
    """

    def __init__(self, *, colour: bool, everything: bool = False, clock: Callable[[str], str] | None = None) -> None:
        self._palette = Palette(colour=colour)
        self._hidden = _SHOWN_APART if everything else _QUIET
        self._clock = clock
        self._year = f"{datetime.now(UTC).year}-"
        self._levels: dict[str, str] = {}
        self._loggers: dict[str, str] = {}
        self._logger_width = 0
        self._labels: dict[str, str] = {}
        self._writers: dict[str, str] = {}  # by run: one writer is one process
        self._who: dict[tuple[Any, Any, Any], str] = {}
        self._who_width = 0
        self._different: tuple[set[Any], set[Any], set[Any]] = (set(), set(), set())
        self._dim = self._palette.start("2")
        self._key = self._palette.start("2;36")
        self._reset = self._palette.reset

    def render(self, line: bytes, record: dict[str, Any] | None) -> str:
        """
        Render one line.

        Args:
            line: As it stands in the file.
            record: The same, parsed; None when it is no JSON object: it is shown as it is.

        Returns:
            One or more lines of text, each with its newline.
        """
        if record is None:
            return decode(line) + "\n"
        try:  # almost always every cell is there already
            log, stamp, message = record["log"], record["@timestamp"], record["message"]
            who, level, logger = self._writers[record["run"]], self._levels[log["level"]], self._loggers[log["logger"]]
            plain = message.isprintable()
        except (KeyError, TypeError, AttributeError):
            if not is_ours(record):
                record = adapt(record)
            log, stamp, message = record["log"], record["@timestamp"], record["message"]
            who = self._who_cell(record)
            level, logger = self._level_cell(log.get("level")), self._logger_cell(log.get("logger"))
            plain = message.isprintable()
        if not plain:
            message = many_lines(message).rstrip("\n").replace("\n", "\n    ")
        below = self._below(record) if "exc" in record or "stack" in record else ""
        return f"{self._time(stamp)} {level} {who}{logger}{message}{self._extras(record)}\n{below}"

    def announce(self, service: str, host: str, process: int) -> None:
        """Tell of a process before its first record comes, so that columns are there from the first line on."""
        self._who_new((service, host, process))

    def _time(self, stamp: str) -> str:
        if self._clock is not None:
            stamp = self._clock(stamp)
        stamp = stamp[5:23] if stamp[:5] == self._year and stamp[10:11] == "T" else stamp[:23]
        stamp = one_line(stamp).removesuffix("Z").replace("T", " ", 1)
        return f"{self._dim}{stamp or ' ' * 18}{self._reset}"

    def _level_cell(self, level: Any) -> str:
        name = level if type(level) is str else ""
        cell = self._levels.get(name)
        if cell is None:
            shown = one_line(_SHORT.get(name.upper(), name.upper()))
            cell = self._palette.paint(_colour_of(name), shown) + " " * (5 - len(shown))
            self._keep(self._levels, name, cell)
        return cell

    def _logger_cell(self, logger: Any) -> str:
        if type(logger) is not str or not logger:
            return ""
        cell = self._loggers.get(logger)
        if cell is None:
            shown = one_line(logger)
            if self._logger_width < len(shown) <= _MOST_LOGGER:
                self._logger_width = len(shown)
                self._loggers.clear()
            cell = self._palette.paint("36", shown) + " " * (self._logger_width - len(shown) + 2)
            self._keep(self._loggers, logger, cell)
        return cell

    def _who_cell(self, record: dict[str, Any]) -> str:
        service, host, process = record.get("service"), record.get("host"), record.get("process")
        who = (
            service.get("name") if type(service) is dict else service,
            host.get("name") if type(host) is dict else None,
            process.get("pid") if type(process) is dict else None,
        )
        try:
            cell = self._who.get(who)
        except TypeError:  # a name that is an object: not ours
            return ""
        if cell is None:
            self._who_new(who)
            cell = self._who_make(who)
        run = record.get("run")
        if type(run) is str:
            self._keep(self._writers, run, cell)
        return cell

    def _who_new(self, who: tuple[Any, Any, Any]) -> None:
        before = [len(seen) > 1 for seen in self._different]
        for seen, name in zip(self._different, who, strict=True):
            if name is not None and len(seen) < 2:
                seen.add(name)
        if before != [len(seen) > 1 for seen in self._different]:
            self._forget_who()

    def _forget_who(self) -> None:
        self._who.clear()
        self._writers.clear()

    def _who_make(self, who: tuple[Any, Any, Any]) -> str:
        names = [
            one_line(str(name))
            for seen, name in zip(self._different, who, strict=True)
            if len(seen) > 1 and name is not None
        ]
        shown = "/".join(names)
        if self._who_width < len(shown) <= _MOST_WHO:
            self._who_width = len(shown)
            self._forget_who()
        colour = _WHO_COLOURS[sum(map(ord, shown)) % len(_WHO_COLOURS)]
        cell = self._palette.paint(colour, shown) + " " * (self._who_width - len(shown))
        cell = cell + " " if self._who_width else ""
        self._keep(self._who, who, cell)
        return cell

    @staticmethod
    def _keep(cells: dict[Any, str], key: Any, cell: str) -> None:
        if len(cells) >= _MOST_CELLS:
            cells.clear()
        cells[key] = cell

    def _extras(self, record: dict[str, Any]) -> str:
        pieces: list[str] = []
        extra = record.get("extra")
        if type(extra) is dict:
            self._add_all(pieces, "", extra)
        elif extra is not None:
            self._add_all(pieces, "", {"extra": extra})
        hidden = self._hidden
        if not hidden.issuperset(record):
            self._add_all(pieces, "", {key: value for key, value in record.items() if key not in hidden})
        return "  " + " ".join(pieces) if pieces else ""

    def _add_all(self, pieces: list[str], prefix: str, fields: dict[str, Any]) -> None:
        labels = self._labels
        for key, value in fields.items():
            path = prefix + key
            if type(value) is dict and value:
                self._add_all(pieces, path + ".", value)
                continue
            label = labels.get(path)
            if label is None:
                label = f"{self._key}{one_line(path)}={self._reset}"
                self._keep(labels, path, label)
            pieces.append(label + show_value(value))

    def _below(self, record: dict[str, Any]) -> str:
        """Render the exception and the stack, indented."""
        text = ""
        exc = record.get("exc")
        if type(exc) is dict:
            trace = exc.get("traceback")
            if type(trace) is not str or not trace:
                trace = ": ".join(str(exc[name]) for name in ("type", "message") if exc.get(name))
            text += self._trace(trace)
        elif exc is not None:
            text += self._trace(str(exc))
        stack = record.get("stack")
        if stack is not None:
            text += self._trace(str(stack))
        return text

    def _trace(self, text: str) -> str:
        shown = []
        for line in many_lines(text).rstrip("\n").split("\n"):
            colour = "2" if line.lstrip(" |").startswith("File ") else "" if line[:1] in {" ", "|", ""} else "31"
            if line.startswith(("Traceback ", "Stack ")):
                colour = "2"
            shown.append(f"    {self._palette.paint(colour, line) if colour else line}\n")
        return "".join(shown)


def show_value(value: Any) -> str:
    """Show one value of a record: text bare where that is clear, everything else as JSON."""
    if type(value) is not str:
        return str(value) if type(value) is int else one_line(orjson.dumps(value).decode())
    if value.isidentifier() and value.isascii() and value not in _LITERALS:
        return value
    if not value or not value.isprintable() or not _NEEDS_QUOTES.isdisjoint(value) or _looks_like_json(value):
        return one_line(orjson.dumps(value).decode())
    return value


def _looks_like_json(text: str) -> bool:
    if text in _LITERALS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True

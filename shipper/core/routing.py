"""
Names of targets that are made of what stands in records, line by line.

Strategy: a template is taken apart once. Of the lines of a chunk only the fields that it names are decoded, in one pass of a C parser,
and each combination of values is turned into a name once. Where nothing but service and environment is named there is no router:
those are constant per file of ours, and `naming` knows them. Rules:

1. A field counts if it is a string, under its dotted name or within objects; what no name may hold becomes `_`.
2. A field that is missing, or is something else, has its default: `generic` for the service, `default` for the environment, else `unknown`.
3. A date is that of `@timestamp` in UTC; where that is none, the day of reading.
4. How many names there may be is bounded for all files together: a store pays for each. A name beyond is made of defaults alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from shipper.core.naming import DEFAULT_DATASET, DEFAULT_NAMESPACE, NO_FACTS, Facts, clean, index_name, stream_for

UNKNOWN = "unknown"
_DEFAULTS = {"service.name": DEFAULT_DATASET, "service.environment": DEFAULT_NAMESPACE}
_SHORT = {"service": "service.name", "environment": "service.environment"}
_PLACE = re.compile(r"\{([^{}]*)\}")
_FIELD = re.compile(r"[\w@-]+(?:\.[\w@-]+)*\Z")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)[^Zz+-]*(?:[Zz]|([+-])(\d\d):?(\d\d))?)?\Z")
_DIRECTIVES = {"%Y": 0, "%m": 1, "%d": 2, "%H": 3}
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a template: the value of a field stands there, or a date in a format."""

    name: str
    date: str = ""

    @property
    def default(self) -> str:
        """What stands there where the record has nothing."""
        return _DEFAULTS.get(self.name, UNKNOWN)


Parts = tuple[str | Place, ...]


def parse(template: str) -> Parts:
    """
    Take a template apart.

    Raises:
        ValueError: It is none.
    """
    parts: list[str | Place] = []
    for number, text in enumerate(_PLACE.split(template)):
        if number % 2:
            parts.append(_place(text))
        elif "{" in text or "}" in text:
            raise ValueError("a brace stands alone; fields are written {log.level}, a date {@timestamp:%Y.%m.%d}")
        elif text:
            parts.append(text)
    return tuple(parts)


def _place(text: str) -> Place:
    name, colon, date = text.partition(":")
    if name == "@timestamp":
        rest = re.sub("|".join(_DIRECTIVES), "", date)
        if not date or "%" in rest:
            raise ValueError("a date is written {@timestamp:%Y.%m.%d}, with %Y, %m, %d and %H")
        return Place(name, date)
    if colon or not _FIELD.match(name):
        raise ValueError(f"{{{text}}} names no field; fields are written {{log.level}}, a date {{@timestamp:%Y.%m.%d}}")
    return Place(_SHORT.get(name, name))


def check_template(template: str, *, alone: bool = False) -> str:
    """
    Check what names are made of, and write it as `naming` knows it.

    Args:
        template: Text with places for fields.
        alone: It is the whole name.

    Raises:
        ValueError: It is no template, or makes no name.
    """
    parts = parse(template)
    if not template.isascii() or (alone and not template.strip("-_+. ")):
        raise ValueError("no name of an index")
    return "".join(
        part if isinstance(part, str) else f"{{{part.name}{':' if part.date else ''}{part.date}}}" for part in parts
    )


def is_plain(template: str | None) -> bool:
    """Tell whether a template names nothing but service and environment, which are constant per file of ours."""
    return all(isinstance(part, str) or part.name in _DEFAULTS for part in parse(template or ""))


class Router:
    """
    Chooses the target of each line.

    Args:
        dataset, namespace: What they are made of, in place of service and environment.
        index: What names of plain indices are made of, in place of those of data streams.

    Raises:
        ValueError: One of them is no template.
    """

    def __init__(self, *, dataset: str | None = None, namespace: str | None = None, index: str | None = None) -> None:
        self._index = parse(index) if index is not None else None
        self._dataset, self._namespace = (parse(text) if text else None for text in (dataset, namespace))
        templates = (self._index,) if self._index is not None else (self._dataset, self._namespace)
        self._places = tuple(dict.fromkeys(p for t in templates for p in t or () if isinstance(p, Place)))
        keys = dict.fromkeys(key for p in self._places for key in (p.name.partition(".")[0], p.name))
        more = [key for key in keys if key not in ("service", "service.name", "service.environment")]
        attributes = {key: f"field_{number}" for number, key in enumerate(more)}
        known = {"service": "service", "service.name": "service_name", "service.environment": "service_environment"}
        columns: list[tuple[str, Any, Any]] = [
            (attributes[key], Any, msgspec.field(name=key, default=None)) for key in more
        ]
        routed: type[Facts] = cast("type[Facts]", msgspec.defstruct("Routed", columns, bases=(Facts,), frozen=True))
        self._decoder = msgspec.json.Decoder(type=routed)
        self._getters = [_getter(p, {**known, **attributes}) for p in self._places]
        self._names: dict[tuple[str, ...], str] = {}
        self._defaults: dict[str, str] = {}

    def name_of_line(self, line: bytes, *, foreign: bool, at: str) -> str:
        """Name the target of one record; of what is none, the one that is made of defaults."""
        try:
            facts = self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self.default(foreign=foreign)
        return self._name(facts, foreign, at)

    def names(self, data: bytes, *, foreign: bool, at: str) -> list[str]:
        """
        Name the target of each line of a chunk.

        Raises:
            msgspec.MsgspecError, RecursionError: Not each line is a record.
        """
        return [self._name(facts, foreign, at) for facts in self._decoder.decode_lines(data)]

    def default(self, *, foreign: bool) -> str:
        """Return the name for what is no record."""
        return self._make(NO_FACTS, foreign, {place: place.default for place in self._places})

    def default_of(self, name: str) -> str:
        """Return the name that is made of defaults alone, in the place of one that was given before."""
        return self._defaults.get(name, name)

    def _name(self, facts: Facts, foreign: bool, at: str) -> str:  # noqa: FBT001 (asked for each line)
        values = [get(facts, at) for get in self._getters]
        profile = stream_for(facts, dataset="", namespace="", foreign=foreign) if self._index is None else ""
        key = (profile, *values)
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= _REMEMBERED:
                self._names.clear()
                self._defaults.clear()
            name = self._names[key] = self._make(facts, foreign, dict(zip(self._places, values, strict=True)))
            self._defaults[name] = self._make(facts, foreign, {place: place.default for place in self._places})
        return name

    def _make(self, facts: Facts, foreign: bool, values: dict[Place, str]) -> str:  # noqa: FBT001
        def fill(parts: Parts) -> str:
            return "".join(part if isinstance(part, str) else _text(part, values[part]) for part in parts)

        if self._index is not None:
            return index_name(fill(self._index), None, None)
        dataset, namespace = (fill(parts) if parts else None for parts in (self._dataset, self._namespace))
        return stream_for(facts, dataset=dataset, namespace=namespace, foreign=foreign)


def _text(place: Place, value: str) -> str:
    return value or place.default if place.date else clean(value, place.default)


def _getter(place: Place, attributes: dict[str, str]) -> Callable[[Facts, str], str]:
    """Build what reads the value of a place out of the decoded fields of a line."""
    whole = attributes[place.name]
    top, _, rest = place.name.partition(".")
    first, inner = attributes[top], rest.split(".") if rest else []

    def text(facts: Facts) -> str:
        value = getattr(facts, whole)
        if place.name == "service.name" and isinstance(facts.service, str):
            return facts.service
        if inner and not isinstance(value, str):
            value = getattr(facts, first)
            for key in inner:
                value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    if not place.date:
        return lambda facts, _: text(facts)
    return lambda facts, at: format_date(text(facts), place.date) or format_date(at, place.date)


def format_date(timestamp: str, form: str) -> str:
    """Write the day and hour of a time in UTC; empty where it is no time."""
    found = _DATE.match(timestamp)
    if found is None:
        return ""
    year, month, day, hour, minute = (int(text or 0) for text in found.groups()[:5])
    if not (year and 1 <= month <= 12 and 1 <= day <= _days(year, month) and hour < 24 and minute < 60):
        return ""
    if found[6]:
        minutes = hour * 60 + minute - (1 if found[6] == "+" else -1) * (int(found[7]) * 60 + int(found[8]))
        hour = minutes // 60 % 24
        year, month, day = _moved(year, month, day, minutes // 1440)
    values = (f"{year:04}", f"{month:02}", f"{day:02}", f"{hour:02}")
    for directive, number in _DIRECTIVES.items():
        form = form.replace(directive, values[number])
    return form


def _days(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _DAYS[month - 1] + leap


def _moved(year: int, month: int, day: int, days: int) -> tuple[int, int, int]:
    """Move a date by at most a few days."""
    day += days
    while day < 1:
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        day += _days(year, month)
    while day > _days(year, month):
        day -= _days(year, month)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return year, month, day


def router_for(dataset: str | None, namespace: str | None, index: str | None) -> Router | None:
    """Build the router for some templates; None where `naming` can do without, which costs nothing."""
    if index is not None:
        return None if is_plain(index) else Router(index=index)
    fixed = not any("{" in (text or "") for text in (dataset, namespace))
    return None if fixed else Router(dataset=dataset, namespace=namespace)


@dataclass(slots=True)
class Targets:
    """
    The names that may be used, for all files together.

    Args:
        most: How many.
        clock: Seconds.
        idle_s: How long a name may not have been used before another may take its place.
        new, gone: What the checkpoint has to know before anything is sent to them.
        beyond: Lines that went to a name of defaults, since their own was one too many.
    """

    most: int = 256
    clock: Callable[[], float] = lambda: 0.0
    idle_s: float = 2 * 86400.0
    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    beyond: int = 0
    refused: str = ""  # one of those that were too many
    _used: dict[str, float] = field(default_factory=dict)

    def load(self, names: Iterable[str]) -> None:
        """Take names that an earlier run used."""
        self._used |= dict.fromkeys(names, self.clock())

    def admit(self, name: str, lines: int, *, always: bool = False) -> bool:
        """Tell whether a name may be used for some lines; one that *always* may takes room, too."""
        now = self.clock()
        if not always and name not in self._used and len(self._used) >= self.most and not self._make_room(now):
            self.beyond += lines
            self.refused = name
            return False
        if name not in self._used:
            self.new.append(name)
        self._used[name] = now
        return True

    def _make_room(self, now: float) -> bool:
        oldest = min(self._used, key=lambda name: self._used[name], default=None)
        if oldest is None or now - self._used[oldest] < self.idle_s:
            return False
        del self._used[oldest]
        self.gone.append(oldest)
        return True

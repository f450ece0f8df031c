"""
The filters: what exactly passes. Pure.

`prefilter` leaves out most lines before anything is parsed; what it lets through is judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from jsonlog.view.errors import ViewError
from jsonlog.view.fields import RANKS, level_of, logger_of, rank_of

_CONDITION = re.compile(r"([^=!<>~]+)(!=|>=|<=|=|>|<|~)(.*)", re.DOTALL)
_ESCAPE = re.compile(r'\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|["\\/bfnrt])')
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One `--field`: a path with dots, an operator and a text.

    Attributes:
        number: The text as a number, where it is one.
        pattern: The text as a regular expression, for `~`.
    """

    path: str
    operator: str
    text: str
    number: float | None = None
    pattern: re.Pattern[str] | None = None

    def accepts(self, record: dict[str, Any]) -> bool:
        """Judge a record. A list passes if one of its items does; `!=` is everything that `=` is not."""
        value = look_up(record, self.path)
        if value is _MISSING:
            value = look_up(record, f"extra.{self.path}")
        if self.operator == "!=":
            return not self._one("=", value)
        return self._one(self.operator, value)

    def _one(self, operator: str, value: Any) -> bool:
        if type(value) is list:
            return any(self._one(operator, item) for item in value)
        if value is _MISSING:
            return False
        text = value if type(value) is str else orjson.dumps(value).decode()
        if operator == "=":
            return text == self.text or (self.number is not None and _is_number(value) and value == self.number)
        if operator == "~":
            return self.pattern is not None and self.pattern.search(text) is not None
        if self.number is not None and _is_number(value):
            return _ORDERS[operator](value, self.number)
        return type(value) is str and self.number is None and _ORDERS[operator](value, self.text)


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _is_number(value: object) -> bool:
    return type(value) is int or type(value) is float


def look_up(value: Any, path: str) -> Any:
    """Find a path in an object; keys may have dots in them. `_MISSING` where there is nothing."""
    if type(value) is not dict:
        return _MISSING
    if path in value:
        return value[path]
    at = path.find(".")
    while at >= 0:
        head = path[:at]
        if head in value:
            found = look_up(value[head], path[at + 1 :])
            if found is not _MISSING:
                return found
        at = path.find(".", at + 1)
    return _MISSING


def parse_condition(text: str) -> Condition:
    """
    Read a `--field`.

    Raises:
        ViewError: It has no operator, or a wrong regular expression.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ViewError(f"--field {text}: write NAME=VALUE, or one of != > >= < <= ~ (a regular expression)")
    path, operator, value = found.groups()
    number: float | None
    try:
        number = orjson.loads(value) if value[:1] in "-0123456789" else None
    except ValueError:
        number = None
    pattern = parse_regex("--field", value) if operator == "~" else None
    return Condition(path.strip(), operator, value, number, pattern)


def parse_regex(option: str, text: str) -> re.Pattern[str]:
    """
    Compile a regular expression.

    Raises:
        ViewError: It is none.
    """
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as exc:
        raise ViewError(f"{option} {text}: no regular expression: {exc}") from exc


def parse_level(text: str) -> int:
    """
    Read a `--level`: a name in any case, or a number.

    Raises:
        ViewError: The name is not known.
    """
    rank = rank_of(text)
    if rank is None:
        raise ViewError(f"--level {text}: not one of {', '.join(RANKS)} or a number")
    return rank


@dataclass(frozen=True, slots=True)
class Query:
    """
    All filters together; the times are not among them, since the sources judge them by the keys.

    Attributes:
        level: The least rank.
        logger: A logger, with its children.
        conditions: Each must hold.
        texts: Each must stand in the line, once its escapes are undone.
        patterns: Each must be found there.
    """

    level: int | None = None
    logger: str | None = None
    conditions: tuple[Condition, ...] = ()
    texts: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        return self == _EVERYTHING

    def accepts(self, line: bytes, record: dict[str, Any] | None) -> bool:
        """
        Judge one line.

        Args:
            line: As it stands in the file.
            record: The same, parsed; None when it is no JSON object. Such a line has no level, logger or fields.
        """
        if record is None:
            if self.level is not None or self.logger is not None or self.conditions:
                return False
        elif not (self._level(record) and self._logger(record) and all(one.accepts(record) for one in self.conditions)):
            return False
        if not self.texts and not self.patterns:
            return True
        text = plain_text(line, record)
        return all(one in text for one in self.texts) and all(one.search(text) for one in self.patterns)

    def _level(self, record: dict[str, Any]) -> bool:
        if self.level is None:
            return True
        level = level_of(record)
        if level is None:
            return False
        rank = rank_of(level)
        return rank is None or rank >= self.level  # a level of the application's own is better shown than hidden

    def _logger(self, record: dict[str, Any]) -> bool:
        if self.logger is None:
            return True
        logger = logger_of(record)
        return logger is not None and (logger == self.logger or logger.startswith(self.logger + "."))


_EVERYTHING = Query()


def plain_text(line: bytes, record: dict[str, Any] | None) -> str:
    """Give the text that is searched: the line as it stands in the file, the escapes of its JSON strings undone."""
    text = line.decode(errors="surrogateescape")  # as an argument with such bytes comes in
    if record is None or "\\" not in text:
        return text
    return _ESCAPE.sub(_unescape, text)


def _unescape(found: re.Match[str]) -> str:
    value: str = orjson.loads(f'"{found[0]}"')
    return value

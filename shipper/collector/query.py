"""The language of the search box, turned into SQL with bound parameters. Pure; no text of the user's ever becomes SQL.

========================================  =====================================================================
``timeout``, ``"card declined"``          in the message or the exception's type, message or traceback, any case
``log.level:error``  ``extra.user:ann*``  a field by its name in the record; the whole value, any case; ``*`` ``?``
``message:declined``                      in long texts (message, traceback, …) a part is enough
``extra.ms:>250``  ``extra.n:[1 TO 5]``   more, less, between (``{`` ``}`` leave the bound out, ``*`` is open)
``exc.type:*``                            the record has the field
``a AND (b OR NOT c)``  ``a -b``          words side by side mean AND
``log.level:(error OR critical)``         a group for one field
========================================  =====================================================================

A field is looked for as nested objects (``{"extra": {"user": …}}``), as one dotted key at the top (``{"extra.user": …}``)
and as a dotted key inside its first object; in a list any element may match.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, NoReturn

MAX_LENGTH = 2_000
MAX_TERMS = 100
MAX_DEPTH = 20

Parameter = str | float | datetime | list[str]

# Names of the record that have a column of their own.
_COLUMNS = {
    "_id": "id",
    "@timestamp": "time",
    "log.level": "level",
    "log.logger": "logger",
    "message": "message",
    "service.name": "service",
    "service.environment": "environment",
    "host.name": "host",
    "process.pid": "pid",
    "exc.type": "exc_type",
    "exc.message": "exc_message",
    "exc.traceback": "traceback",
    "run": "run",
    "event.sequence": "sequence",
    "trace.id": "trace_id",
}
_LONG_TEXTS = frozenset({"message", "exc.message", "exc.traceback", "exc.chain.message", "stack"})
_EVERYWHERE = ("message", "exc_type", "exc_message", "traceback")

_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"((?:\\.|[^\s()\"\\:])+):\s*")
_PHRASE = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_WORD = re.compile(r"(?:\\.|[^\s()\"\\])+", re.DOTALL)
_BOUND = r'"(?:\\.|[^"\\])*"|[^\s\]}"]+'
_RANGE = re.compile(rf"([\[{{])\s*({_BOUND})\s+TO\s+({_BOUND})\s*([\]}}])")
_COMPARISON = re.compile(r"[<>]=?")
_RELATIVE = re.compile(r"now(?:([+-])(\d{1,6})(ms|s|m|h|d|w))?")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class QueryError(ValueError):
    """The query cannot be read; the message says what was expected and where. The asker's fault."""


class Condition(NamedTuple):
    """A boolean SQL expression and the values of its question marks."""

    sql: str
    parameters: tuple[Parameter, ...] = ()


EVERYTHING = Condition("true")


def parse_query(text: str, now: datetime) -> Condition:
    """Turn a query into a condition on the columns of the store.

    Args:
        text: The query; blank means everything.
        now: What ``now`` stands for in times.

    Returns:
        The condition; it is never NULL, so NOT means what it says.

    Raises:
        QueryError: With the position, counted from 1.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the query has {len(text)} characters, at most {MAX_LENGTH} are read")
    return _Parser(text, now).parse() if text.strip() else EVERYTHING


def parse_time(text: str, now: datetime) -> datetime:
    """Read a point in time.

    Args:
        text: RFC 3339 (``2026-11-22T05:02:17Z``; without a zone it is UTC) or relative (``now``, ``now-15m``).
        now: What ``now`` stands for; UTC.

    Returns:
        The time in UTC.

    Raises:
        QueryError: It is neither.
    """
    text = text.strip()
    relative = _RELATIVE.fullmatch(text)
    try:
        if relative:
            sign, amount, unit = relative.groups()
            step = timedelta(**{_UNITS[unit]: int(amount)}) if unit else timedelta()
            return now - step if sign == "-" else now + step
        # In a URL an unescaped + before the zone arrives as a space.
        time = datetime.fromisoformat(re.sub(r"(T\S+) (\d\d:?\d\d)$", r"\1+\2", text))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise QueryError(f"{text[:60]!r} is not a time: use 2026-11-22T05:02:17Z or now-15m") from exc


def all_of(*conditions: Condition) -> Condition:
    """Join conditions that must all hold."""
    return _join(" AND ", conditions)


def levels_in(levels: list[str]) -> Condition:
    """The level is one of these, in any case; an empty list lets everything pass, an empty name means no level."""
    return (
        Condition("list_contains(?, coalesce(level, ''))", ([level.upper() for level in levels],))
        if levels
        else EVERYTHING
    )


def between(start: datetime | None, end: datetime | None) -> Condition:
    """The record's time is at or after ``start`` and before ``end``, where they are given."""
    bounds = [("time >= ?", start), ("time < ?", end)]
    return all_of(*(Condition(sql, (_naive(value),)) for sql, value in bounds if value))


def _naive(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)  # the store's times are UTC without a zone


def _join(operator: str, conditions: tuple[Condition, ...] | list[Condition]) -> Condition:
    if not conditions:
        return EVERYTHING
    sql = operator.join(condition.sql for condition in conditions)
    return Condition(f"({sql})", tuple(value for condition in conditions for value in condition.parameters))


# What a value is compared with: given the SQL of one value, the condition on it. `bare` is the same for a column of times.
Test = Callable[[str], Condition]


@dataclass(frozen=True, slots=True)
class _Field:
    """A name in the record, and how to put a test to all values that stand under it."""

    name: str

    @property
    def column(self) -> str | None:
        return _COLUMNS.get(self.name)

    def where(self, test: Test) -> Condition:
        if self.column:
            sql, parameters = test(self.column)
            return Condition(f"coalesce({sql}, false)", parameters)
        sql, parameters = test("v")
        found = f"len(list_filter({_VALUES}, lambda v: coalesce({sql}, false))) > 0"
        return Condition(f"coalesce({found}, false)", (_paths(self.name), *parameters))


# All values under some paths, as text; of a list, each of its elements.
_VALUES = """flatten(list_transform(json_extract(record, ?), lambda j:
    CASE json_type(j) WHEN 'ARRAY' THEN json_transform(j, '["VARCHAR"]') ELSE [j->>'$'] END))"""


def _paths(name: str) -> str | list[str]:
    if name.startswith("exc.chain."):  # a list of objects: only JSONPath, and only one, reaches into each
        quoted = name.removeprefix("exc.chain.").replace("\\", "\\\\").replace('"', '\\"')
        return f'$.exc.chain[*]."{quoted}"'
    escaped = name.replace("~", "~0").replace("/", "~1")
    first, _, rest = escaped.partition(".")
    return list(
        dict.fromkeys(["/" + escaped.replace(".", "/"), f"/{escaped}", f"/{first}/{rest}" if rest else f"/{first}"])
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _pattern(word: str) -> str:
    """A word as a LIKE pattern: ``*`` and ``?`` are wild unless escaped, ``%`` and ``_`` never are."""

    def one(match: re.Match[str]) -> str:
        wild = {"*": "%", "?": "_"}.get(match[0])
        char = match[0][-1]
        return wild or ("\\" + char if char in "%_\\" else char)

    return re.sub(r"\\.|.", one, word, flags=re.DOTALL)


def _literal(text: str) -> str:
    return re.sub(r"[%_\\]", r"\\\g<0>", text)


def _like(pattern: str) -> Test:
    return lambda value: Condition(f"CAST({value} AS VARCHAR) ILIKE ? ESCAPE '\\'", (pattern,))


def _equals(pattern: str, number: float | None) -> Test:
    if number is None:
        return _like(pattern)
    return lambda value: Condition(
        f"(CAST({value} AS VARCHAR) ILIKE ? ESCAPE '\\' OR TRY_CAST({value} AS DOUBLE) = ?)", (pattern, number)
    )


def _compares(operator: str, bound: str) -> Test:
    number = _number(bound)
    if number is None:
        return lambda value: Condition(f"CAST({value} AS VARCHAR) {operator} ?", (bound,))
    return lambda value: Condition(f"TRY_CAST({value} AS DOUBLE) {operator} ?", (number,))


class _Parser:
    """Recursive descent; one method per rule, each leaves ``at`` behind what it read."""

    def __init__(self, text: str, now: datetime) -> None:
        self.text = text
        self.now = now
        self.at = 0
        self.terms = 0

    def parse(self) -> Condition:
        condition = self.either(None, 0)
        if self.at < len(self.text):
            self.fail("this parenthesis was never opened")
        return condition

    def either(self, field: _Field | None, depth: int) -> Condition:
        choices = [self.both(field, depth)]
        while self.keyword("OR"):
            choices.append(self.both(field, depth))
        return choices[0] if len(choices) == 1 else _join(" OR ", choices)

    def both(self, field: _Field | None, depth: int) -> Condition:
        parts = [self.one(field, depth)]
        while self.keyword("AND") or not (self.ends() or self.sees("OR")):
            parts.append(self.one(field, depth))
        return parts[0] if len(parts) == 1 else _join(" AND ", parts)

    def one(self, field: _Field | None, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            self.fail(f"NOT and parentheses are nested more than {MAX_DEPTH} deep")
        if self.keyword("NOT") or self.match(re.compile(r"-(?=[^\s-])")):
            inner = self.one(field, depth + 1)
            return Condition(f"(NOT {inner.sql})", inner.parameters)
        if field is None and (name := self.match(_FIELD)):
            return self.one_value(_Field(_unescape(name[1])), depth)
        return self.one_value(field, depth)

    def one_value(self, field: _Field | None, depth: int) -> Condition:
        self.terms += 1
        if self.terms > MAX_TERMS:
            self.fail(f"a query has at most {MAX_TERMS} terms")
        if self.match(re.compile(r"\(")):
            inner = self.either(field, depth + 1)
            if not self.match(re.compile(r"\)")):
                self.fail("a closing parenthesis is missing")
            return inner
        if field and (operator := self.match(_COMPARISON)):
            return self.compare(field, operator[0], self.bound())
        if field and (span := self.match(_RANGE)):
            return self.between(field, span)
        if phrase := self.match(_PHRASE):
            return self.text_in(field, _literal(_unescape(phrase[1])), _unescape(phrase[1]))
        word = self.match(_WORD)
        if word is None or word[0] in ("AND", "OR", "NOT"):
            self.at = word.start() if word else self.at
            self.fail(self.missing(field))
        return self.text_in(field, _pattern(word[0]), _unescape(word[0]))

    def missing(self, field: _Field | None) -> str:
        if self.text[self.at : self.at + 1] == '"':
            return "a closing quote is missing"
        return f"a value is missing after {field.name}:" if field else "a word, a phrase or field:value is missing"

    def bound(self) -> str:
        if phrase := self.match(_PHRASE):
            return _unescape(phrase[1])
        word = self.match(_WORD)
        if word is None:
            self.fail("a value to compare with is missing")
        return _unescape(word[0])

    def between(self, field: _Field, span: re.Match[str]) -> Condition:
        bounds = []
        for text, operator in ((span[2], ">=" if span[1] == "[" else ">"), (span[3], "<=" if span[4] == "]" else "<")):
            if text != "*":
                bounds.append(self.compare(field, operator, _unescape(text.strip('"'))))
        return _join(" AND ", bounds) if bounds else field.where(lambda value: Condition(f"{value} IS NOT NULL"))

    def compare(self, field: _Field, operator: str, bound: str) -> Condition:
        if field.column != "time":
            return field.where(_compares(operator, bound))
        try:
            time = _naive(parse_time(bound, self.now))
        except QueryError as exc:
            self.fail(str(exc))
        return field.where(lambda value: Condition(f"{value} {operator} ?", (time,)))

    def text_in(self, field: _Field | None, pattern: str, text: str) -> Condition:
        if field is None:
            everywhere = [
                Condition(f"coalesce({name} ILIKE ? ESCAPE '\\', false)", (f"%{pattern}%",)) for name in _EVERYWHERE
            ]
            return _join(" OR ", everywhere)
        if pattern == "%":
            return field.where(lambda value: Condition(f"{value} IS NOT NULL"))
        if field.name in _LONG_TEXTS:
            return field.where(_like(f"%{pattern}%"))
        return field.where(_equals(pattern, _number(text)))

    def keyword(self, word: str) -> bool:
        return self.match(re.compile(rf"{word}(?![^\s()\"])")) is not None

    def sees(self, word: str) -> bool:
        at = self.at
        found = self.keyword(word)
        self.at = at
        return found

    def ends(self) -> bool:
        self.at = _end(_SPACE, self.text, self.at)
        return self.at == len(self.text) or self.text[self.at] == ")"

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Skip blanks, then take what the pattern matches, if it does."""
        self.at = _end(_SPACE, self.text, self.at)
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def fail(self, message: str) -> NoReturn:
        raise QueryError(f"at position {self.at + 1}: {message}")


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at

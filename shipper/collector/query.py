"""The language of the search box: Lucene's, as Kibana and the stores' `query_string` read it, turned into conditions. Pure.

========================================  =====================================================================
``timeout``, ``"card declined"``          words in the message or the exception, in any letters
``log.level:error``  ``extra.user:ann*``  a field by its name in the record, as a whole; ``*`` ``?`` are wild
``message:declined``                      in texts (message, traceback, …) words, in any letters
``extra.ms:>250``  ``extra.n:[1 TO 5]``   more, less, between (``{`` ``}`` leave the bound out, ``*`` is open)
``exc.type:*``  ``_exists_:exc.type``     the record has the field
``a AND (b OR NOT c)``  ``a -b``          words side by side mean AND
``log.level:(error OR critical)``         a group for one field
========================================  =====================================================================

A field is looked for as nested objects (``{"extra": {"user": …}}``), as one dotted key at the top (``{"extra.user": …}``)
and as a dotted key inside its first object; in a list any element may match.

The grammar is luqum's. What only ranks (``^2``) is read and has no effect; what the collector cannot do (``~``, ``/…/``) is
refused by name.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from luqum import tree
from luqum.exceptions import ParseError
from luqum.thread import parse

from shipper.collector.conditions import EVERYTHING, Condition, Field, anywhere, join, naive, unescape

__all__ = ["EVERYTHING", "Condition", "QueryError", "all_of", "between", "levels_in", "parse_query", "parse_time"]

MAX_LENGTH = 2_000
MAX_TERMS = 100
MAX_DEPTH = 20

_RELATIVE = re.compile(r"now(?:([+-])(\d{1,6})(ms|s|m|h|d|w))?")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# What Lucene reads and luqum does not: operators in signs, a number below zero after < or >, and an apostrophe in front.
_SIGNS = re.compile(
    r""""(?:\\.|[^"\\])*"|\\.|(?P<AND>(?<=\s)&&(?=\s))|(?P<OR>(?<=\s)\|\|(?=\s))|(?P<NOT>(?<![^\s(])!(?=[^\s=]))
    |(?P<escaped>(?<=[<>])-|(?<=[<>]=)-|(?<![^\s(:])')""",
    re.DOTALL | re.VERBOSE,
)
_NOT_READ = {
    tree.Fuzzy: "a word that is only like it (~)",
    tree.Proximity: "words that are only near each other (~)",
    tree.Regex: "a regular expression (/…/)",
}


class QueryError(ValueError):
    """The query cannot be read; the message says what was expected and where. The asker's fault."""


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
    if not text.strip():
        return EVERYTHING
    lucene = _SIGNS.sub(_in_words, text)
    try:
        root = parse(lucene)
    except ParseError as exc:
        raise QueryError(_explain(lucene, str(exc))) from exc
    return _Reader(now).read(root, None, 0)


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
    return join(" AND ", conditions)


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
    return all_of(*(Condition(sql, (naive(value),)) for sql, value in bounds if value))


def _in_words(sign: re.Match[str]) -> str:
    if sign["escaped"]:
        return f"\\{sign['escaped']}"
    return f"{sign.lastgroup} " if sign.lastgroup == "NOT" else sign.lastgroup or sign[0]


def _explain(text: str, said: str) -> str:
    """Say where a query cannot be read and what is probably missing."""
    at = re.search(r"at position (\d+)", said)
    position = int(at[1]) if at else len(text)
    rest = text[position:]
    if rest.startswith('"'):
        what = "a closing quote is missing"
    elif rest.startswith("/"):
        what = "a value that begins with / has to stand in quotes"
    elif rest.startswith(")"):
        what = "a parenthesis is closed that was never opened, or is empty"
    elif not rest and text.count("(") > text.count(")"):
        what = "a closing parenthesis, or a value before it, is missing"
    elif not rest and text.rstrip().endswith(":"):
        what = f"a value is missing after {text.rsplit(maxsplit=1)[-1]}"
    else:
        what = f"a value is missing{' before ' + rest.split()[0] if rest.strip() else ''}"
    return f"at position {position + 1}: {what}"


@dataclass(slots=True)
class _Reader:
    """Turns the tree of a query into a condition."""

    now: datetime
    terms: int = field(default=0)

    def read(self, node: tree.Item, name: Field | None, depth: int) -> Condition:
        """Turn a node into a condition; *name* is the field that it stands in, *depth* how deep that is."""
        if depth > MAX_DEPTH:
            self.fail(node, f"NOT and parentheses are nested more than {MAX_DEPTH} deep")
        if isinstance(node, tree.AndOperation | tree.UnknownOperation):
            return join(" AND ", [self.read(child, name, depth) for child in node.children])
        if isinstance(node, tree.OrOperation):
            return join(" OR ", [self.read(child, name, depth) for child in node.children])
        if isinstance(node, tree.Not | tree.Prohibit):
            inner = self.read(node.a, name, depth + 1)
            return Condition(f"(NOT {inner.sql})", inner.parameters)
        if isinstance(node, tree.BaseGroup | tree.Boost | tree.Plus):
            return self.read(node.children[0], name, depth + 1)
        if isinstance(node, tree.SearchField):
            return self.in_field(node, name, depth)
        return self.term(node, name)

    def in_field(self, node: tree.SearchField, outer: Field | None, depth: int) -> Condition:
        if outer is not None:
            self.fail(node, "a value with a colon in it has to stand in quotes")
        name, value = unescape(node.name), node.expr
        if name == "_exists_":
            return Field(self.text(value)).exists()
        if name == "*" and self.is_star(value):
            return EVERYTHING
        if isinstance(value, tree.Prohibit):  # `n:-5` is a number below zero
            self.count(node)
            return Field(name).holds(f"\\-{self.raw(value.a)}", is_phrase=False)
        return self.read(value, Field(name), depth + 1)

    def term(self, node: tree.Item, name: Field | None) -> Condition:
        self.count(node)
        if type(node) in _NOT_READ:
            self.fail(node, f"{_NOT_READ[type(node)]} is not read here; a value with such signs has to stand in quotes")
        if self.is_star(node):
            return EVERYTHING if name is None else name.exists()
        if isinstance(node, tree.Word | tree.Phrase):
            is_phrase = isinstance(node, tree.Phrase)
            raw = self.raw(node)
            return anywhere(raw, is_phrase=is_phrase) if name is None else name.holds(raw, is_phrase=is_phrase)
        if name is None:
            self.fail(node, "a range needs a field before it")
        if isinstance(node, tree.Range):
            low, high = (">=" if node.include_low else ">"), ("<=" if node.include_high else "<")
            bounds = [(low, node.low), (high, node.high)]
            given = [self.compare(name, operator, bound) for operator, bound in bounds if not self.is_star(bound)]
            return join(" AND ", given) if given else name.exists()
        operator = (">" if isinstance(node, tree.From) else "<") + ("=" if node.include else "")
        return self.compare(name, operator, node.a)

    def compare(self, name: Field, operator: str, bound: tree.Item) -> Condition:
        text = self.text(bound)
        if not name.is_time and not _RELATIVE.fullmatch(text):
            return name.compared(operator, text)
        try:
            return name.compared(operator, parse_time(text, self.now))
        except QueryError as exc:
            self.fail(bound, str(exc))

    def is_star(self, node: tree.Item) -> bool:
        return isinstance(node, tree.Word) and node.value == "*"

    def text(self, node: tree.Item) -> str:
        return unescape(self.raw(node))

    def raw(self, node: tree.Item) -> str:
        if isinstance(node, tree.Prohibit):
            return f"-{self.raw(node.a)}"
        if not isinstance(node, tree.Word | tree.Phrase):
            self.fail(node, "a value is missing")
        value: str = node.value
        return value[1:-1] if isinstance(node, tree.Phrase) else value

    def count(self, node: tree.Item) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            self.fail(node, f"a query has at most {MAX_TERMS} terms")

    def fail(self, node: tree.Item, message: str) -> NoReturn:
        raise QueryError(f"at position {(node.pos or 0) + 1}: {message}")

"""What is asked of one field of a record, as SQL with bound parameters. Pure; no text of the user's ever becomes SQL.

Fields are compared as the index templates of Elasticsearch and OpenSearch have them (`schemas/stores.py`): a text by its words in any
letters, the level in any letters, everything else as a whole.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

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
    # The names that ECS has for some of them.
    "error.type": "exc_type",
    "error.message": "exc_message",
    "error.stack_trace": "traceback",
}
TEXTS = frozenset(
    {"message", "exc.message", "exc.traceback", "exc.notes", "exc.chain.message", "stack", "event.original"}
)
TEXTS |= {"error.message", "error.stack_trace", "shipper.rescued.json", "shipper.rescued.reason"}
# Where a word without a field is looked for: by words, and as the whole of a value.
_WORDS_IN = ("message", "exc.message", "exc.traceback")
_WHOLE_IN = ("exc.type", "log.logger", "service.name", "host.name", "trace.id", "run")

_EXACT_IN_DOUBLE = 2**53


class Condition(NamedTuple):
    """A boolean SQL expression and the values of its question marks."""

    sql: str
    parameters: tuple[Parameter, ...] = ()


EVERYTHING = Condition("true")
NOTHING = Condition("false")

# What a value is compared with: given the SQL of one value, the condition on it.
Test = Callable[[str], Condition]


def join(operator: str, conditions: Iterable[Condition]) -> Condition:
    """Put conditions together; none at all lets everything pass."""
    conditions = list(conditions)
    if not conditions:
        return EVERYTHING
    sql = operator.join(condition.sql for condition in conditions)
    return Condition(f"({sql})", tuple(value for condition in conditions for value in condition.parameters))


def naive(time: datetime) -> datetime:
    """Give a time as the store keeps it: UTC without a zone."""
    return time.astimezone(UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class Field:
    """A name in the record, and how to put a test to all values that stand under it."""

    name: str

    @property
    def is_time(self) -> bool:
        """Whether it is compared as a time."""
        return self.name == "@timestamp"

    def where(self, test: Test) -> Condition:
        """Say that some value passes."""
        column = _COLUMNS.get(self.name)
        if column:
            sql, parameters = test(column)
            return Condition(f"coalesce({sql}, false)", parameters)
        sql, parameters = test("v")
        found = f"len(list_filter({_VALUES}, lambda v: coalesce({sql}, false))) > 0"
        return Condition(f"coalesce({found}, false)", (_paths(self.name), *parameters))

    def exists(self) -> Condition:
        """Say that the record has it."""
        return self.where(lambda value: Condition(f"{value} IS NOT NULL"))

    def holds(self, pattern: str, *, is_phrase: bool) -> Condition:
        """Say that it is, or as a text has in it, what a query has after the colon.

        Args:
            pattern: With its backslashes, and with `*` and `?` that are wild unless it is a phrase.
            is_phrase: Whether it stood in quotes.
        """
        if self.name in TEXTS:
            words = _words(pattern, is_phrase=is_phrase)
            return NOTHING if words is None else self.where(_matches(words))
        return self.where(_equals(pattern, is_phrase=is_phrase, any_case=self.name == "log.level"))

    def compared(self, operator: str, bound: str | datetime) -> Condition:
        """Say that it is more or less than *bound*: a time, a number, or else by its letters."""
        if isinstance(bound, datetime) and self.is_time:
            return self.where(lambda value: Condition(f"{value} {operator} ?", (naive(bound),)))
        text = bound.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] if isinstance(bound, datetime) else bound
        number = _number(text)
        if number is None:
            return self.where(lambda value: Condition(f"CAST({value} AS VARCHAR) {operator} ?", (text,)))
        return self.where(lambda value: Condition(f"TRY_CAST({value} AS DOUBLE) {operator} ?", (number,)))


def anywhere(pattern: str, *, is_phrase: bool) -> Condition:
    """Say that a word or phrase without a field stands in the message or the exception, or is the name of who wrote it."""
    found = [Field(name).holds(pattern, is_phrase=is_phrase) for name in (*_WORDS_IN, *_WHOLE_IN)]
    return join(" OR ", found)


def unescape(text: str) -> str:
    """Take the backslashes away that make a sign an ordinary one."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


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


# --- as a whole ------------------------------------------------------------------------------------------------------


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _equals(pattern: str, *, is_phrase: bool, any_case: bool) -> Test:
    text = unescape(pattern)
    is_wild = not is_phrase and re.search(r"[*?]", re.sub(r"\\.", "", pattern, flags=re.DOTALL))
    operator = "ILIKE" if any_case else "LIKE" if is_wild else "="
    like = (_like(pattern) if is_wild else re.sub(r"[%_\\]", r"\\\g<0>", text)) if operator != "=" else text
    escape = " ESCAPE '\\'" if operator != "=" else ""
    number = None if is_wild else _number(text)
    if number is None or abs(number) >= _EXACT_IN_DOUBLE:  # a larger one is an id: its neighbours are others
        return lambda value: Condition(f"CAST({value} AS VARCHAR) {operator} ?{escape}", (like,))
    return lambda value: Condition(
        f"(CAST({value} AS VARCHAR) {operator} ?{escape} OR TRY_CAST({value} AS DOUBLE) = ?)", (like, number)
    )


def _like(word: str) -> str:
    """A word as a LIKE pattern: ``*`` and ``?`` are wild unless escaped, ``%`` and ``_`` never are."""

    def one(match: re.Match[str]) -> str:
        wild = {"*": "%", "?": "_"}.get(match[0])
        char = match[0][-1]
        return wild or ("\\" + char if char in "%_\\" else char)

    return re.sub(r"\\.|.", one, word, flags=re.DOTALL)


# --- by words --------------------------------------------------------------------------------------------------------

# The stores split a text by the rules of Unicode (UAX 29): letters, digits and _ make a word, and one of these signs joins it
# where letters, or digits, stand on both sides: `shop.pay`, `O'Neil`, `1,000.5`.
_LETTER, _DIGIT = r"\p{L}\p{M}", r"\p{N}"
_JOINS_LETTERS, _JOINS_DIGITS = ".:'\N{RIGHT SINGLE QUOTATION MARK}", ".,;'"
_APART = rf"[^{_LETTER}{_DIGIT}_]+"
_TOKEN = re.compile(rf"\w+(?:[{_JOINS_LETTERS}](?=[^\W\d])\w+|[{_JOINS_DIGITS}](?=\d)\w+)*")
_CHAR = rf"[{_LETTER}{_DIGIT}_{_JOINS_LETTERS}]"


def _matches(words: str) -> Test:
    return lambda value: Condition(f"regexp_matches(CAST({value} AS VARCHAR), ?, 'i')", (words,))


def _words(pattern: str, *, is_phrase: bool) -> str | None:
    """Give a regular expression of RE2 for words that stand side by side; None where there is none."""
    wild = {"*": f"{_CHAR}*", "?": _CHAR}
    is_wild = not is_phrase and re.search(r"[*?]", re.sub(r"\\.", "", pattern, flags=re.DOTALL))
    if is_wild:  # within one word, as the stores do it
        parts = re.findall(r"\\.|.", pattern, re.DOTALL)
        ends = [part if part in wild else part[-1] for part in (parts[0], parts[-1])]
        return _edge(ends[0], 0) + "".join(wild.get(part) or _literal(part[-1]) for part in parts) + _edge(ends[1], -1)
    tokens = _TOKEN.findall(unescape(pattern))
    if not tokens:
        return None
    return _edge(tokens[0], 0) + _APART.join(map(_literal, tokens)) + _edge(tokens[-1], -1)


def _literal(text: str) -> str:
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)


def _edge(token: str, end: int) -> str:
    """Say that a word ends there: no letter or digit follows, nor a sign that joins one to it."""
    char = token[end]
    if char in "*?" or unicodedata.name(char, "").startswith(("CJK", "HIRAGANA")):  # each of these is a word of its own
        return ""
    own, joins = (_DIGIT, _JOINS_DIGITS) if char.isdigit() else (_LETTER, _JOINS_LETTERS)
    anchor, apart = "^" if end == 0 else "$", f"[^{_LETTER}{_DIGIT}_{joins}]"
    beyond = f"(?:{anchor}|[^{own}_])"
    joined = f"{beyond}[{joins}]" if end == 0 else f"[{joins}]{beyond}"
    return f"(?:{anchor}|{apart}|{joined})"

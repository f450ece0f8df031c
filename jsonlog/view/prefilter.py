r"""
Leaves out lines before anything is parsed. Pure.

One rule: a line may be left out only if `query` would refuse it, whatever order, blanks and escapes its JSON has. A text
can hide in two ways: as `\uXXXX`, so a line with `\u` in it is always let through, and behind the short escapes, so
only the stretch of a text without such characters is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product

from jsonlog.view.fields import RANKS
from jsonlog.view.query import Condition, Query

Pick = Callable[[bytes], tuple[list[bytes], list[int]]]
_HIDING = b"\\u"
_PLAIN = re.compile(r'[^"\\/\x00-\x1f\x7f\ud800-\udfff]+')


def needle_of(text: str) -> bytes:
    r"""Give the longest stretch of *text* that stands in JSON as it is, unless it is written as `\uXXXX`."""
    return max(_PLAIN.findall(text), key=len, default="").encode()


def needles(query: Query) -> list[bytes]:
    r"""Give texts that must all stand in a line that passes, or `\u` must; the longest first."""
    texts = list(query.texts)
    if query.logger is not None:
        texts.append(query.logger)
    for condition in query.conditions:
        if condition.operator == "=" and condition.number is None and not _written_by_others(condition.text):
            texts.append(condition.text)
        if condition.operator != "!=":
            texts += condition.path.split(".")[-1:]  # the last name of a path is, or ends, some key of the record
    found = {needle_of(text) for text in texts}
    return sorted(found - {b""}, key=len, reverse=True)


def _written_by_others(text: str) -> bool:
    """Whether *text* may stand for something that is written differently: an object or a list with blanks in it."""
    return text[:1] in {"{", "["}


def make_prefilter(query: Query) -> Pick | None:
    """
    Make the choice of the lines of a block.

    Returns:
        Takes a block of whole lines, gives its lines and the numbers of those that may pass (no lines at all where none
        may); None where there is nothing to gain.
    """
    required = needles(query)
    integers = [_integer_pattern(condition) for condition in query.conditions if _is_plain_integer(condition)]
    low = None if query.level is None else _low_levels(query.level)
    patterns = [pattern.search for pattern in query.patterns]
    if not required and low is None and not patterns:
        return None

    def pick(body: bytes) -> tuple[list[bytes], list[int]]:
        hides = _hides(body)
        if not hides and not (
            all(needle in body for needle in required) and all(search(body) is not None for search in integers)
        ):
            return [], []
        lines = body[:-1].split(b"\n")
        if hides:
            chosen = [i for i, line in enumerate(lines) if _HIDING in line or all(one in line for one in required)]
        else:
            chosen = list(range(len(lines)))
            for needle in required:
                chosen = [i for i in chosen if needle in lines[i]]
        for search in integers:
            chosen = [i for i in chosen if search(lines[i]) is not None or _HIDING in lines[i]]
        if low is not None:
            chosen = [
                i
                for i in chosen
                if (line := lines[i])[_LEVEL] not in low
                or line.find(b'"', len(_TIME)) != 39
                or line[: len(_TIME)] != _TIME
            ]
        for search_text in patterns:
            # Without a backslash the text that is searched is the line itself.
            chosen = [
                i
                for i in chosen
                if b"\\" in (line := lines[i]) or search_text(line.decode(errors="surrogateescape")) is not None
            ]
        return lines, chosen

    return pick


def _is_plain_integer(condition: Condition) -> bool:
    name = condition.path.split(".")[-1]
    return condition.operator == "=" and condition.text.isdecimal() and needle_of(name) == name.encode() != b""


def _integer_pattern(condition: Condition) -> Callable[[bytes], re.Match[bytes] | None]:
    """
    Make the search for a field that may have the wanted integer.

    Skipped is only what has no value behind the name but other integers; anything else (a fraction, an exponent, a
    string, a list) is found.
    """
    name, wanted = re.escape(condition.path.split(".")[-1].encode()), condition.text.encode()
    return re.compile(rb'%b"\s*:\s*(?:%b[,}]|(?!\d+[,}]))' % (name, wanted)).search


def _hides(body: bytes) -> bool:
    r"""Tell whether `\u` is in *body*: like `in`, but much faster where backslashes are rare."""
    return b"\\" in body and any(piece.startswith(b"u") for piece in body.split(b"\\")[1:])


_TIME = b'{"@timestamp":"'
_LEVEL = slice(38, 80)  # from the end of the time to the end of the level, in a line as `jsonlog` writes it


def _low_levels(level: int) -> frozenset[bytes]:
    """
    List what stands at `_LEVEL` in lines whose level is too low, if they begin with the time and it ends there.

    A raw quote cannot stand inside a JSON string, so a low level at this place is the record's own level.
    """
    low = [name for name in ("DEBUG", "INFO", "WARNING", "ERROR") if RANKS[name] < level]
    followers = (b',"logger":"', b',"origin":{', b'},"message"')
    heads = set()
    for milliseconds, name, follower in product(range(1000), low, followers):
        text = b'Z","msecs":%d,"log":{"level":"%b"%b' % (milliseconds, name.encode(), follower)
        heads.add(text[: _LEVEL.stop - _LEVEL.start])
    return frozenset(heads)

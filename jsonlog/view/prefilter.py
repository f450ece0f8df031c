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
    steps: list[Callable[[bytes], bool]] = []
    if query.level is not None:
        steps.append(_high_enough(query.level))
    steps += [_this_integer(condition) for condition in query.conditions if _is_plain_integer(condition)]
    if not required and not steps:
        return None

    def pick(body: bytes) -> tuple[list[bytes], list[int]]:
        hides = b"\\" in body and _HIDING in body  # the first is a hundred times faster
        if not hides and not all(needle in body for needle in required):
            return [], []
        lines = body[:-1].split(b"\n")
        if hides:
            chosen = [i for i, line in enumerate(lines) if _HIDING in line or all(one in line for one in required)]
        else:
            chosen = list(range(len(lines)))
            for needle in required:
                chosen = [i for i in chosen if needle in lines[i]]
        for step in steps:
            chosen = [i for i in chosen if step(lines[i])]
        return lines, chosen

    return pick


def _is_plain_integer(condition: Condition) -> bool:
    name = condition.path.split(".")[-1]
    return condition.operator == "=" and condition.text.isdecimal() and needle_of(name) == name.encode() != b""


def _this_integer(condition: Condition) -> Callable[[bytes], bool]:
    """
    Make the test that a line may have the wanted integer: not, if all values behind the name are other integers.

    Anything else behind the name (a fraction, an exponent, a string, a list) is let through, as is a line in which the
    name may hide.
    """
    name = condition.path.split(".")[-1].encode()
    values = re.compile(re.escape(name) + rb'"\s*:\s*([^,}\]\s]*)').findall
    wanted = condition.text.encode()
    return lambda line: not all(value.isdigit() and value != wanted for value in values(line)) or _HIDING in line


_TIMED = re.compile(rb'\{"@timestamp":"[^"\\]{23}Z"').match
_HEAD = slice(38, 80)  # from the end of the time to the end of the level, in a line as `jsonlog` writes it


def _high_enough(level: int) -> Callable[[bytes], bool]:
    """
    Make the test that a line's level may be high enough.

    A raw quote cannot stand inside a JSON string, so a low level at the usual place is the record's own level.
    """
    low = [name for name in ("DEBUG", "INFO", "WARNING", "ERROR") if RANKS[name] < level]
    followers = (b',"logger":"', b',"origin":{', b'},"message"')
    heads = set()
    for milliseconds, name, follower in product(range(1000), low, followers):
        text = b'Z","msecs":%d,"log":{"level":"%b"%b' % (milliseconds, name.encode(), follower)
        heads.add(text[: _HEAD.stop - _HEAD.start])
    return lambda line: line[_HEAD] not in heads or not _TIMED(line)

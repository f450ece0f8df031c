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

Pick = Callable[[list[bytes]], list[int]]
Skip = Callable[[bytes], bool]
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


def make_prefilter(query: Query) -> tuple[Pick | None, Skip | None]:
    """
    Make the two functions of a `Sieve`.

    Returns:
        The choice of lines, and the test whether a whole block can be left out; None where there is nothing to gain.
    """
    required = needles(query)
    level = None if query.level is None else _level_heads(query.level)
    refusals = [_other_integer(condition) for condition in query.conditions if _is_plain_integer(condition)]
    if not required and not level:
        return None, None
    if not required:
        assert level is not None
        heads = level
        return lambda lines: [i for i, line in enumerate(lines) if line[_HEAD] not in heads or not _TIMED(line)], None
    needle, *others = required

    def skip(block: bytes) -> bool:
        return needle not in block and _HIDING not in block

    def pick(lines: list[bytes]) -> list[int]:
        chosen = [i for i, line in enumerate(lines) if needle in line or _HIDING in line]
        for other in others:
            chosen = [i for i in chosen if other in lines[i] or _HIDING in lines[i]]
        for refuses in refusals:
            chosen = [i for i in chosen if not refuses(lines[i])]
        if level is not None:
            chosen = [i for i in chosen if lines[i][_HEAD] not in level or not _TIMED(lines[i])]
        return chosen

    return pick, skip


def _is_plain_integer(condition: Condition) -> bool:
    name = condition.path.split(".")[-1]
    return condition.operator == "=" and condition.text.isdecimal() and needle_of(name) == name.encode() != b""


def _other_integer(condition: Condition) -> Callable[[bytes], bool]:
    """
    Make the test that a line has the field only with other integers.

    Anything else behind the name (a fraction, an exponent, a string, a list) is let through, as is a line in which the
    name may hide.
    """
    name = condition.path.split(".")[-1].encode()
    values = re.compile(re.escape(name) + rb'"\s*:\s*([^,}\]\s]*)').findall
    wanted = condition.text.encode()

    def refuses(line: bytes) -> bool:
        return _HIDING not in line and all(value.isdigit() and value != wanted for value in values(line))

    return refuses


_TIMED = re.compile(rb'\{"@timestamp":"[^"\\]{23}Z"').match
_HEAD = slice(38, 80)  # from the end of the time to the end of the level, in a line as `jsonlog` writes it


def _level_heads(level: int) -> frozenset[bytes]:
    """
    List what stands at `_HEAD` in lines whose level is too low.

    A raw quote cannot stand inside a JSON string, so these bytes at this place are the record's own level.
    """
    low = [name for name in ("DEBUG", "INFO", "WARNING", "ERROR") if RANKS[name] < level]
    followers = (b',"logger":"', b',"origin":{', b'},"message"')
    heads = set()
    for milliseconds, name, follower in product(range(1000), low, followers):
        text = b'Z","msecs":%d,"log":{"level":"%b"%b' % (milliseconds, name.encode(), follower)
        heads.add(text[: _HEAD.stop - _HEAD.start])
    return frozenset(heads)

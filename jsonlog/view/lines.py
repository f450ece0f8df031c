"""
The sort keys of lines. Pure.

Almost every line begins `{"@timestamp":"2026-11-22T05:02:17.220Z"`, so its key stands at a fixed place and nothing is
parsed. A line without a time of its own (foreign text, a traceback's second line) stays behind the line before it.
"""

from __future__ import annotations

import re
from operator import itemgetter

from jsonlog.view.fields import parse, time_key

_HEAD = re.compile(rb'\{"@timestamp":"\d{4}-\d\d-\d\dT\d\d:')
_OWN = re.compile(rb'\{"@timestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9})Z"')
_START = 15
_FORMS = tuple((end, itemgetter(slice(_START, end))) for end in (38, 41))  # three or six decimals
_LOOK_BACK_LINES = 1000


def own_key(line: bytes) -> bytes:
    """Give a line's own key; empty when it has no time."""
    found = _OWN.match(line)
    if found is not None:
        return found[1]
    if line.lstrip()[:1] != b"{":
        return b""
    record = parse(line)
    return time_key(record) if record is not None else b""


def keys_of(lines: list[bytes], before: bytes) -> list[bytes]:
    """
    Give the keys of consecutive lines of one file.

    Args:
        lines: The lines, without their newlines.
        before: The key of the line before the first one.
    """
    if not lines:
        return []
    for end, cut in _FORMS:
        if lines[0][end : end + 2] != b'Z"':
            continue
        if {line[end : end + 2] for line in lines} == {b'Z"'} and all(
            map(_HEAD.fullmatch, {line[: _START + 14] for line in lines})
        ):
            return list(map(cut, lines))
    keys = []
    for line in lines:
        before = own_key(line) or before
        keys.append(before)
    return keys


def key_at(lines: list[bytes], index: int, before: bytes) -> bytes:
    """Give the key of one line, looking back for a line that has a time; *before* when there is none near."""
    for back in range(index, max(-1, index - _LOOK_BACK_LINES), -1):
        key = own_key(lines[back])
        if key:
            return key
    return before


def last_key(data: bytes, end: int, before: bytes) -> bytes:
    """Give the key of the last line of `data[:end]` (whole lines, the last newline included), looking back like `key_at`."""
    end -= 1
    for _ in range(_LOOK_BACK_LINES):
        if end < 0:
            break
        start = data.rfind(b"\n", 0, end) + 1
        key = own_key(data[start:end])
        if key:
            return key
        end = start - 1
    return before

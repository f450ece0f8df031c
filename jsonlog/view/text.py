"""
Makes text safe to show. Pure.

A log value may hold what a terminal obeys: escape sequences, carriage returns, eight-bit controls, characters that turn
the reading direction. None of it goes out raw.
"""

from __future__ import annotations

import re

_TURNING = (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)


def _name(code: int) -> str:
    short = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}.get(code)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


_ONE_LINE = {code: _name(code) for code in (*range(32), *range(127, 160), *_TURNING)}
_MANY_LINES = {code: name for code, name in _ONE_LINE.items() if code not in {9, 10}}
_CONTROLS = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


def one_line(text: str) -> str:
    """Make *text* safe within a line: no newline, no tab, nothing that a terminal obeys."""
    return text if text.isprintable() else text.translate(_ONE_LINE)


def many_lines(text: str) -> str:
    """Make *text* safe; newlines and tabs stay."""
    return text if text.isprintable() else text.translate(_MANY_LINES)


def decode(line: bytes) -> str:
    r"""Read a line of unknown origin; bytes that are no UTF-8 are shown as `\xff`."""
    return many_lines(line.removesuffix(b"\r").decode(errors="backslashreplace"))


def disarm_json(data: bytes) -> bytes:
    """Make JSON lines safe for a terminal: what it would obey becomes an escape, which means the same in a JSON string."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0].decode()):04x}".encode(), data)

"""
Text that JSON and the stores accept, and the bounds and marks of a record. Everything else in this folder builds on it.

Rules:

1. Whatever user code does when it is asked for its text, it costs that text, never the record. Only `Exception` is
   caught: KeyboardInterrupt and SystemExit pass through.
2. Every change is named by a tag, so that one can search for it.
3. A cut falls between characters and says how much there was.
"""

from __future__ import annotations

import dataclasses

import orjson

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

TAG_ARGS = "jsonlog.args"
TAG_VALUE = "jsonlog.value"
TAG_KEY = "jsonlog.key"
TAG_CUT = "jsonlog.cut"
MARKS = frozenset({TAG_ARGS, TAG_VALUE, TAG_KEY, TAG_CUT})

# What is looked at beyond a bound before it is cut, so that a secret that lies across the cut is still recognized.
SCRUB_AHEAD = 4096


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class Bounds:
    """
    How large a record may become, and what is taken out of its texts.

    Args:
        text: Characters of the message, the traceback, the stack and of each string in `extra`.
        items: Items of one list or mapping in `extra`.
        depth: Levels of nesting in `extra`.
        line: Bytes of the whole line.
        name: Characters of the names of loggers, threads, processes, files, functions and classes.
        room: Characters of all the texts in `extra` together.
        chain: Entries of `exc.chain` and `exc.notes`.
        scrub: Replaces secrets in a text; None where no redaction is asked for.
        is_secret: Tells whether what stands under a key may have to be redacted; None likewise.
    """

    text: int = 256 * 1024
    items: int = 1000
    depth: int = 16
    line: int = 1_000_000
    name: int = 1024
    room: int = 1_000_000
    chain: int = 32
    scrub: Callable[[str], str] | None = None
    is_secret: Callable[[str], bool] | None = None

    def steps(self) -> Iterator[Bounds]:
        """
        Yield these bounds, those for a line that came out too long, and those for one that is too long even so.

        A character takes at most six bytes as JSON; four texts and ten names share the line with `extra`.
        """
        line = self.line
        change = dataclasses.replace
        yield self
        yield change(self, text=line // 40, items=32, depth=4, name=line // 320, room=line // 40, chain=4)
        yield change(self, text=line // 80, items=4, depth=1, name=line // 320, room=line // 160, chain=0)


def cut(text: str, limit: int, tags: set[str]) -> str:
    """Keep the head of *text* and say how long it was."""
    tags.add(TAG_CUT)
    return f"{text[:limit]}… [cut: {len(text)} characters]"


def cut_middle(text: str, bounds: Bounds, tags: set[str]) -> str:
    """Bound a traceback so that its beginning and, above all, its end stay: the innermost frames and the message."""
    text = clean(text, tags)
    if bounds.scrub is not None:
        text = bounds.scrub(text)
    limit = bounds.text
    if len(text) <= limit:
        return text
    tags.add(TAG_CUT)
    head = limit // 4
    return f"{text[:head]}\n… [cut: {len(text)} characters]\n{text[len(text) - (limit - head) :]}"


def clean(text: str, tags: set[str]) -> str:
    """Make a plain `str` that is valid UTF-8 of *text*: a lone surrogate is written out with a backslash."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        tags.add(TAG_VALUE)
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def bounded(text: str, bounds: Bounds, tags: set[str], *, whole: str = "") -> str:
    """
    Clean, scrub and cut one text.

    Args:
        text: The text, or the first `bounds.text + SCRUB_AHEAD` characters of it.
        bounds: What it is cut to.
        tags: Gets a tag for every kind of change.
        whole: How large the whole is, if *text* is only the beginning.
    """
    limit, size = bounds.text, len(text)
    is_piece = bool(whole) or size > limit + SCRUB_AHEAD
    if size > limit:
        text = text[: limit + SCRUB_AHEAD]
    text = clean(text, tags)
    if bounds.scrub is not None:
        text = bounds.scrub(text)
        if is_piece:  # where it was looked at last, half a secret may stand
            text = text[:-SCRUB_AHEAD]
    if whole or size > limit or len(text) > limit:
        tags.add(TAG_CUT)
        text = f"{text[:limit]}… [cut: {whole or f'{max(size, len(text))} characters'}]"
    return text


def plain_str(text: str) -> str:
    """Copy what a subclass of `str` holds, without asking any of its methods."""
    return text if type(text) is str else str.__str__(text)


def safe_text(value: object, tags: set[str]) -> str:
    """Return `str(value)`, or else what can still be said about it."""
    try:
        return plain_str(str(value))
    except Exception as exc:  # noqa: BLE001 (whatever a value's __str__ raises)
        tags.add(TAG_VALUE)
        return f"<{type(value).__name__}: str() raised {type(exc).__name__}>"


def safe_repr(value: object, bounds: Bounds, tags: set[str]) -> str:
    """Return `repr(value)`, bounded, or else what can still be said about it."""
    try:
        text = plain_str(repr(value))
    except Exception as exc:  # noqa: BLE001 (whatever a value's __repr__ raises)
        tags.add(TAG_VALUE)
        return f"<{type(value).__name__}: repr() raised {type(exc).__name__}>"
    return bounded(text, bounds, tags)


def name_text(value: Any, bounds: Bounds, tags: set[str]) -> str | None:
    """Return a name as bounded plain text; None for None and for an empty one."""
    if value is None:
        return None
    if type(value) is str and value.isascii() and len(value) <= bounds.name:
        return value or None
    text = safe_text(value, tags)
    if len(text) > bounds.name:
        tags.add(TAG_CUT)
        text = text[: bounds.name]
    return clean(text, tags) or None


def encode_text(text: str, bounds: Bounds, tags: set[str]) -> bytes:
    """Encode one string as JSON, bounded."""
    return orjson.dumps(bounded(text, bounds, tags))

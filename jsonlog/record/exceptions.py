"""
An exception to the `exc` field: what it is, the whole traceback as text, and its chain as a flat list.

The text has the standard library's look without the caret lines, which cost 95 % of its time. Source lines come from
`linecache` without `checkcache`, so a traceback does no disk access per record once a file has been read. "Did you mean"
is left out, since it runs user code. Local variables are never shown.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from itertools import groupby
from typing import TYPE_CHECKING, Any

from jsonlog.record.encode import Bounds, clean, cut, safe_repr, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_LINKS = {
    "cause": "\nThe above exception was the direct cause of the following exception:\n\n",
    "context": "\nDuring handling of the above exception, another exception occurred:\n\n",
}
_HEADER = "Traceback (most recent call last):\n"
_REPEATS = 3
_MAX_CHAIN = 32
_MAX_FRAMES = 400
_MAX_GROUP_WIDTH = 15
_MAX_GROUP_DEPTH = 10
_missing: set[str] = set()  # files without source, so that each is looked for on disk once and not per record


def find_exception(record: Any) -> BaseException | None:
    """
    Find the exception of a log record, whatever was given as `exc_info`.

    Args:
        record: A LogRecord; `exc_info` may be a tuple, an exception, True, False, None or missing.
    """
    info = getattr(record, "exc_info", None)
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return next((item for item in info if isinstance(item, BaseException)), None)
    return sys.exc_info()[1] if info is True else None


def describe(exc: BaseException, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    """
    Build the `exc` field of an exception.

    Returns:
        `type`, `module`, `message`, `traceback`, and where there are some `notes` and `chain`, all plain text.
    """
    field: dict[str, Any] = _name(exc)
    field["message"] = _bounded(safe_text(exc, tags), bounds, tags)
    text = _Text()
    text.add(exc)
    field["traceback"] = cut_middle(clean(str(text), tags), bounds.text, tags)
    notes = _notes(exc)
    if notes:
        field["notes"] = [_bounded(note, bounds, tags) for note in notes[:_MAX_CHAIN]]
    chain = list(_chain(exc, bounds, tags))
    if chain:
        field["chain"] = chain
    return field


def cut_middle(text: str, limit: int, tags: set[str]) -> str:
    """Cut a traceback so that its beginning and, above all, its end stay: the innermost frames and the message."""
    if len(text) <= limit:
        return text
    head = limit // 4
    cut(text, 0, tags)
    return f"{text[:head]}\n… [cut: {len(text)} characters]\n{text[len(text) - (limit - head) :]}"


def _bounded(text: str, bounds: Bounds, tags: set[str]) -> str:
    text = clean(text, tags)
    return cut(text, bounds.text, tags) if len(text) > bounds.text else text


def _name(exc: BaseException) -> dict[str, Any]:
    kind = type(exc)
    return {"type": str(kind.__qualname__), "module": str(kind.__module__)}


def _notes(exc: BaseException) -> list[str]:
    try:
        notes = getattr(exc, "__notes__", None)
        if isinstance(notes, (list, tuple)):
            return [safe_text(note, set()) for note in notes]
        return [] if notes is None else [safe_repr(notes, Bounds(), set())]
    except Exception:  # noqa: BLE001 (a property of user code)
        return []


def _members(exc: BaseException) -> tuple[BaseException, ...]:
    return exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()


def _linked(exc: BaseException) -> tuple[str, BaseException] | None:
    """Return the cause or context that the interpreter would show."""
    if exc.__cause__ is not None:
        return "cause", exc.__cause__
    if exc.__context__ is not None and not exc.__suppress_context__:
        return "context", exc.__context__
    return None


def _chain(exc: BaseException, bounds: Bounds, tags: set[str]) -> Iterator[dict[str, Any]]:
    seen = {id(exc)}
    todo = [exc]
    count = 0
    while todo and count < _MAX_CHAIN:
        current = todo.pop(0)
        linked = _linked(current)
        for relation, other in ([linked] if linked else []) + [("member", m) for m in _members(current)]:
            if id(other) in seen or count >= _MAX_CHAIN:
                continue
            seen.add(id(other))
            todo.append(other)
            count += 1
            yield {"relation": relation, **_name(other), "message": _bounded(safe_text(other, tags), bounds, tags)}


class _Text:
    """Collects the text of a traceback; members of a group stand behind a margin, as the interpreter prints them."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._depth = 0
        self._unclosed = False
        self._seen: set[int] = set()

    def __str__(self) -> str:
        return "".join(self._parts)

    def add(self, exc: BaseException) -> None:
        """Add an exception after its causes and contexts, oldest first."""
        line: list[tuple[BaseException, str]] = []
        current: BaseException | None = exc
        link = ""
        while current is not None and id(current) not in self._seen and len(line) < _MAX_CHAIN:
            self._seen.add(id(current))
            line.append((current, link))
            linked = _linked(current)
            link, current = (_LINKS[linked[0]], linked[1]) if linked else ("", None)
        for position in range(len(line) - 1, -1, -1):
            self._add_one(line[position][0])
            if position:
                self._put(line[position][1])

    def _put(self, text: str, margin: str = "|") -> None:
        if self._depth:
            lead = f"{'  ' * self._depth}{margin} "
            text = "".join(f"{lead}{part}\n" for part in text[:-1].split("\n"))
        self._parts.append(text)

    def _add_one(self, exc: BaseException) -> None:
        members = _members(exc)
        if not members:
            self._put_body(exc, _HEADER)
        elif self._depth > _MAX_GROUP_DEPTH:
            self._put(f"... (max_group_depth is {_MAX_GROUP_DEPTH})\n")
        else:
            outermost = self._depth == 0
            self._depth += outermost
            self._put_body(exc, "Exception Group " + _HEADER, "+" if outermost else "|")
            self._add_members(members)
            self._depth -= outermost

    def _put_body(self, exc: BaseException, header: str, margin: str = "|") -> None:
        if exc.__traceback__ is not None:
            self._put(header, margin)
            for text in _frames(exc.__traceback__):
                self._put(text)
        for text in _last_lines(exc):
            self._put(text)

    def _add_members(self, members: tuple[BaseException, ...]) -> None:
        shown = members[:_MAX_GROUP_WIDTH]
        more = len(members) - len(shown)
        self._unclosed = False
        for number in range(1, len(shown) + 1 + bool(more)):
            last = number == len(shown) + bool(more)
            self._unclosed = self._unclosed or last
            title = "..." if number > len(shown) else str(number)
            self._parts.append(
                f"{'  ' * self._depth}{'+-' if number == 1 else '  '}+---------------- {title} ----------------\n"
            )
            self._depth += 1
            if number > len(shown):
                self._put(f"and {more} more exception{'s' if more > 1 else ''}\n")
            else:
                self.add(members[number - 1])
            if last and self._unclosed:  # an inner group that was the last one has closed the margin already
                self._parts.append(f"{'  ' * self._depth}+------------------------------------\n")
                self._unclosed = False
            self._depth -= 1


def _frames(tb: TracebackType | None) -> Iterator[str]:
    """Yield the lines of each frame; a frame that repeats more than three times is counted, as the interpreter does."""
    frames: list[tuple[str, int, str, Any]] = []
    while tb is not None:
        code = tb.tb_frame.f_code
        frames.append((code.co_filename, tb.tb_lineno or 0, code.co_name, tb.tb_frame.f_globals))
        tb = tb.tb_next
    skipped = 0
    if len(frames) > 2 * _MAX_FRAMES:
        grouped = len(list(groupby(frames, key=lambda frame: frame[:3])))
        if grouped > 2 * _MAX_FRAMES:
            skipped = len(frames) - 2 * _MAX_FRAMES
            frames = frames[:_MAX_FRAMES] + frames[-_MAX_FRAMES:]
    shown = 0
    for key, same in groupby(frames, key=lambda frame: frame[:3]):
        group = list(same)
        for *_, module in group[:_REPEATS]:
            yield _frame(key[0], key[1], key[2], module)
            shown += 1
            if skipped and shown == _MAX_FRAMES:
                yield f"  [{skipped} frames left out]\n"
        if len(group) > _REPEATS:
            more = len(group) - _REPEATS
            yield f"  [Previous line repeated {more} more time{'s' if more > 1 else ''}]\n"


def _frame(filename: str, lineno: int, name: str, module: dict[str, Any]) -> str:
    source = _source(filename, lineno, module)
    shown = f"    {source}\n" if source else ""
    return f'  File "{filename}", line {lineno}, in {name}\n{shown}'


def _source(filename: str, lineno: int, module: dict[str, Any]) -> str:
    if filename in _missing:
        return ""
    try:
        if filename not in linecache.cache:
            linecache.lazycache(filename, module)
        line = linecache.getline(filename, lineno).strip()
    except Exception:  # noqa: BLE001 (a loader of user code)
        line = ""
    if not line and not linecache.cache.get(filename) and len(_missing) < 10_000:
        _missing.add(filename)
    return line


def _last_lines(exc: BaseException) -> list[str]:
    """Return the lines under the frames: the exception itself and its notes."""
    kind = type(exc)
    if issubclass(kind, SyntaxError):
        try:
            return traceback.format_exception_only(kind, exc)
        except Exception:  # noqa: BLE001, S110 (attributes that user code has set)
            pass
    name = (
        kind.__qualname__ if kind.__module__ in ("__main__", "builtins") else f"{kind.__module__}.{kind.__qualname__}"
    )
    text = safe_text(exc, set())
    lines = [f"{name}: {text}\n" if text else f"{name}\n"]
    for note in _notes(exc):
        lines.extend(f"{part}\n" for part in note.split("\n"))
    return lines

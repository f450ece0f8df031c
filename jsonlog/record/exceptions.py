"""
An exception to the `exc` field: what it is, the whole traceback as text, and its chain as a flat list.

The text has the standard library's look without the caret lines, which cost 95 % of its time. Source lines come from
`linecache` without `checkcache`, so a traceback does no disk access per record once a file has been read. "Did you mean"
is left out, since it runs user code. Local variables are never shown.
"""

from __future__ import annotations

import sys
import traceback

from jsonlog.record.fingerprint import fingerprint
from jsonlog.record.frames import trace_of
from jsonlog.record.text import Bounds, bounded, clean, cut_middle, name_text, safe_repr, safe_text

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    from jsonlog.record.frames import Trace


# What the interpreter itself reads: a subclass may have an attribute of its own in the place of one of these.
_traceback: Callable[[BaseException], TracebackType | None] = BaseException.__traceback__.__get__  # type: ignore[union-attr]
_cause: Callable[[BaseException], BaseException | None] = BaseException.__cause__.__get__  # type: ignore[union-attr]
_context: Callable[[BaseException], BaseException | None] = BaseException.__context__.__get__  # type: ignore[union-attr]
_is_suppressed: Callable[[BaseException], bool] = BaseException.__suppress_context__.__get__  # type: ignore[attr-defined]
_LINKS = {
    "cause": "\nThe above exception was the direct cause of the following exception:\n\n",
    "context": "\nDuring handling of the above exception, another exception occurred:\n\n",
}
_HEADER = "Traceback (most recent call last):\n"
_MAX_LINE = 32  # exceptions one behind the other in the text
_MAX_GROUP_WIDTH = 15
_MAX_GROUP_DEPTH = 10
_MAX_NODES = 500  # exceptions in one text: a group can hold the same one many times over


def find_exception(info: Any) -> BaseException | None:
    """
    Find the exception in what was given as `exc_info`.

    Args:
        info: A tuple, an exception, True (the one being handled), False, None, or anything else.
    """
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return next((item for item in info if isinstance(item, BaseException)), None)
    return sys.exc_info()[1] if info is True else None


def describe(exc: BaseException, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    """
    Build the `exc` field of an exception.

    Returns:
        `type`, `module`, `message`, `traceback`, `fingerprint`, and where there are some `notes` and `chain`, all plain.
    """
    field: dict[str, Any] = _name(exc, bounds, tags)
    field["message"] = bounded(safe_text(exc, tags), bounds, tags)
    trace = trace_of(_traceback(exc))
    alone = _linked(exc) is None and not isinstance(exc, BaseExceptionGroup)
    field["traceback"] = _alone(exc, trace, bounds, tags) if alone else format_traceback(exc, bounds, tags)
    chain = [] if alone else list(_chain(exc))
    others = [other for _, other in chain]
    field["fingerprint"] = fingerprint([exc, *others], [trace, *(trace_of(_traceback(other)) for other in others)])
    notes = _notes(exc)[: bounds.chain]
    if notes:
        field["notes"] = [_short(note, bounds, tags) for note in notes]
    if chain and bounds.chain:
        field["chain"] = [
            {
                "relation": relation,
                **_name(other, bounds, tags),
                "message": _short(safe_text(other, tags), bounds, tags),
            }
            for relation, other in chain[: bounds.chain]
        ]
    return field


def format_traceback(exc: BaseException, bounds: Bounds, tags: set[str]) -> str:
    """Format an exception with its causes, contexts, notes and groups as the interpreter prints it, without carets."""
    text = _Text()
    text.add(_tree(exc))
    return cut_middle(str(text), bounds, tags)


def _alone(exc: BaseException, trace: Trace, bounds: Bounds, tags: set[str]) -> str:
    """Do the same for the usual exception, which has no others behind it."""
    header = "" if _traceback(exc) is None else _HEADER
    return cut_middle("".join((header, trace.text, *_last_lines(exc))), bounds, tags)


def _short(text: str, bounds: Bounds, tags: set[str]) -> str:
    """Bound a text of which a record may hold many."""
    text = bounded(text, bounds, tags)
    limit = max(bounds.text // 32, bounds.name)
    return bounded(text, Bounds(text=limit), tags) if len(text) > limit else text


def _name(exc: BaseException, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    kind = type(exc)
    name = name_text(kind.__qualname__, bounds, tags) or "?"
    return {"type": name, "module": name_text(kind.__module__, bounds, tags) or "?"}


def _notes(exc: BaseException) -> list[str]:
    try:
        notes = getattr(exc, "__notes__", None)
        if isinstance(notes, (list, tuple)):
            return [safe_text(note, set()) for note in notes]
        return [] if notes is None else [safe_repr(notes, Bounds(), set())]
    except Exception:  # noqa: BLE001 (a property of user code)
        return []


def _members(exc: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(exc, BaseExceptionGroup):
        return ()
    # The tuple that the group was made with: a subclass may have an attribute of its own in its place.
    return BaseExceptionGroup.exceptions.__get__(exc)  # type: ignore[no-any-return]


def _linked(exc: BaseException) -> tuple[str, BaseException] | None:
    """Return the cause or context that the interpreter would show."""
    cause = _cause(exc)
    if cause is not None:
        return "cause", cause
    context = _context(exc)
    return None if context is None or _is_suppressed(exc) else ("context", context)


def _chain(exc: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Yield the exceptions behind *exc*, the nearest first, each once."""
    seen = {id(exc)}
    todo = [exc]
    while todo:
        current = todo.pop(0)
        linked = _linked(current)
        members = [("member", member) for member in _members(current)[:_MAX_LINE]]
        for relation, other in [linked, *members] if linked else members:
            if id(other) not in seen:
                if len(seen) > _MAX_LINE:
                    return
                seen.add(id(other))
                todo.append(other)
                yield relation, other


class _Node:
    """One appearance of an exception in the text: with what stands above it, and its members if it is a group."""

    __slots__ = ("above", "exc", "members", "relation")

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc
        self.relation = ""
        self.above: _Node | None = None
        self.members: list[_Node] | None = []


def _tree(exc: BaseException) -> _Node:
    """
    Arrange an exception and those behind it.

    What is shown already is not shown above another one again. The order of the visits is `traceback`'s own, so that
    an exception that appears twice has its causes at the same place.
    """
    root = _Node(exc)
    seen = {id(exc)}
    todo = [root]
    left = _MAX_NODES
    while todo:
        node = todo.pop()
        linked = _linked(node.exc)
        if linked and id(linked[1]) not in seen and left > 0:
            seen.add(id(linked[1]))
            node.relation, node.above = linked[0], _Node(linked[1])
            todo.append(node.above)
            left -= 1
        members = _members(node.exc)
        if len(members) > left:
            node.members = None
        else:
            node.members = [_Node(member) for member in members]
            seen.update(map(id, members))
            todo.extend(node.members)
            left -= len(members)
    return root


class _Text:
    """Collects the text of a traceback; members of a group stand behind a margin, as the interpreter prints them."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._depth = 0
        self._unclosed = False

    def __str__(self) -> str:
        return "".join(self._parts)

    def add(self, node: _Node) -> None:
        """Add an exception after its causes and contexts, oldest first."""
        line = [node]
        while line[-1].above is not None and len(line) < _MAX_LINE:
            line.append(line[-1].above)
        for position in range(len(line) - 1, -1, -1):
            self._add_one(line[position])
            if position:
                self._put(_LINKS[line[position - 1].relation])

    def _put(self, text: str, margin: str = "|") -> None:
        if self._depth:
            lead = f"{'  ' * self._depth}{margin} "
            text = "".join(f"{lead}{part}\n" for part in text[:-1].split("\n"))
        self._parts.append(text)

    def _add_one(self, node: _Node) -> None:
        if node.members == []:
            self._put_body(node.exc, _HEADER)
        elif self._depth > _MAX_GROUP_DEPTH:
            self._put(f"... (max_group_depth is {_MAX_GROUP_DEPTH})\n")
        else:
            outermost = self._depth == 0
            self._depth += outermost
            self._put_body(node.exc, "Exception Group " + _HEADER, "+" if outermost else "|")
            if node.members is None:
                self._put(f"... (more than {_MAX_NODES} exceptions)\n")
            else:
                self._add_members(node.members)
            self._depth -= outermost

    def _put_body(self, exc: BaseException, header: str, margin: str = "|") -> None:
        if _traceback(exc) is not None:
            self._put(header, margin)
            frames = trace_of(_traceback(exc)).text
            if frames:
                self._put(frames)
        for text in _last_lines(exc):
            self._put(text)

    def _add_members(self, members: list[_Node]) -> None:
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


def _last_lines(exc: BaseException) -> list[str]:
    """Return the lines under the frames: the exception itself and its notes."""
    kind = type(exc)
    if issubclass(kind, SyntaxError):
        try:
            return traceback.format_exception_only(kind, exc)
        except Exception:  # noqa: BLE001, S110 (attributes that user code has set)
            pass
    module, name = str(kind.__module__), str(kind.__qualname__)
    name = name if module in ("__main__", "builtins") else f"{module}.{name}"
    text = safe_text(exc, set())
    lines = [f"{name}: {text}\n" if text else f"{name}\n"]
    for note in _notes(exc):
        lines.extend(f"{part}\n" for part in note.split("\n"))
    return lines


def exception_fields(facts: dict[Any, Any], bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    """
    Build `exc` and `stack` from a record's attributes.

    An `exc_text` that another formatter left is used only where `exc_info` holds no exception: a record that came
    through a socket or a queue has nothing else.
    """
    fields: dict[str, Any] = {}
    exc = find_exception(facts.get("exc_info"))
    if exc is not None:
        fields["exc"] = _describe_anyhow(exc, bounds, tags)
    else:
        text = facts.get("exc_text")
        if isinstance(text, str) and text:
            fields["exc"] = {"traceback": cut_middle(safe_text(text, tags), bounds, tags)}
    stack = facts.get("stack_info")
    if stack is not None and stack is not False:
        text = safe_text(stack, tags)
        if text:
            fields["stack"] = cut_middle(text, bounds, tags)
    return fields


def _describe_anyhow(exc: BaseException, bounds: Bounds, tags: set[str]) -> dict[str, Any]:
    try:
        return describe(exc, bounds, tags)
    except Exception as error:  # noqa: BLE001 (an exception class that breaks its own description)
        tags.add("jsonlog.value")
        name = clean(str(type.__getattribute__(type(exc), "__name__")), tags)[: bounds.name]
        return {
            "type": name,
            "message": f"could not be described: {type(error).__name__}",
            "traceback": f"{name}: could not be described: {type(error).__name__}\n",
        }

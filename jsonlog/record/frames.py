"""
The frames of a traceback as text, and what they count as in a fingerprint.

An application fails at few places many times. So what a traceback comes to is remembered by the code objects and
instructions on its way, and the next exception from the same place costs a walk and one look-up. The source stands as
it was when the place was first seen, which is nearer to the code that runs than a file edited since.
"""

from __future__ import annotations

import linecache
import os
from itertools import groupby

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from types import CodeType, TracebackType
    from typing import Any

    Frame = tuple[CodeType, int, dict[str, Any]]

_REPEATS = 3
_MAX_FRAMES = 400  # at each end of a traceback
_MAX_KNOWN = 1024  # tracebacks
_MAX_KNOWN_FRAMES = 64  # a longer one is not remembered
_MAX_MISSING = 10_000
_STDLIB = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_FOREIGN = ("site-packages", "dist-packages")
# Python 3.11 runs comprehensions in frames of their own, later versions do not.
_INLINED = ("<listcomp>", "<dictcomp>", "<setcomp>")
_missing: set[str] = set()  # files without source, so that each is looked for on disk once and not per record
_known: dict[tuple[Any, ...], Trace] = {}


class Trace:
    """
    What a traceback comes to.

    Attributes:
        text: The lines of the frames, outermost first.
        ours: The distinct `module:function` of the application's frames, in the order in which they were first called.
        theirs: Those of the standard library and of installed packages.
    """

    __slots__ = ("_codes", "ours", "text", "theirs")

    def __init__(self, frames: list[Frame]) -> None:
        self._codes = [code for code, _, _ in frames]  # kept alive: they are known by their addresses
        self.text = "".join(_folded([_frame_text(*frame) for frame in frames]))
        places: tuple[dict[str, None], dict[str, None]] = {}, {}
        # All of them: where a recursion is cut off differs from call to call.
        for code, module in {(id(code), id(module)): (code, module) for code, _, module in frames}.values():
            if code.co_name not in _INLINED:
                places[in_app(code.co_filename)][f"{_module(module)}:{_qualname(code.co_qualname)}"] = None
        self.theirs, self.ours = map(tuple, places)


def trace_of(tb: TracebackType | None) -> Trace:
    """Describe a traceback; None has no frames."""
    key: list[Any] = []
    start = tb
    while tb is not None:
        frame = tb.tb_frame
        name = frame.f_globals.get("__name__")
        key += (id(frame.f_code), tb.tb_lasti, name if type(name) is str else "?")
        tb = tb.tb_next
    if len(key) > 3 * _MAX_KNOWN_FRAMES:
        return Trace(_walk(start))
    known = _known.get(tuple(key))
    if known is None:
        known = Trace(_walk(start))
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        _known[tuple(key)] = known
    return known


def _walk(tb: TracebackType | None) -> list[Frame]:
    frames: list[Frame] = []
    while tb is not None:
        frames.append((tb.tb_frame.f_code, tb.tb_lineno, tb.tb_frame.f_globals))
        tb = tb.tb_next
    return frames


def _folded(texts: list[str]) -> list[str]:
    """Count a frame that repeats more than three times, as the interpreter does, and leave out the middle of very many."""
    if len(set(texts)) == len(texts) <= _MAX_FRAMES:
        return texts
    folded = [(text, len(list(same))) for text, same in groupby(texts)]
    skipped = folded[_MAX_FRAMES:-_MAX_FRAMES]
    if not skipped:
        return [_repeated(text, count) for text, count in folded]
    return [
        *(_repeated(text, count) for text, count in folded[:_MAX_FRAMES]),
        f"  [{sum(count for _, count in skipped)} frames left out]\n",
        *(_repeated(text, count) for text, count in folded[-_MAX_FRAMES:]),
    ]


def _repeated(text: str, count: int) -> str:
    if count <= _REPEATS:
        return text * count
    more = count - _REPEATS
    return f"{text * _REPEATS}  [Previous line repeated {more} more time{'s' if more > 1 else ''}]\n"


def _frame_text(code: CodeType, lineno: int | None, module: dict[str, Any]) -> str:
    source = _source(code.co_filename, lineno, module)
    shown = f"    {source}\n" if source else ""
    return f'  File "{code.co_filename}", line {lineno}, in {code.co_name}\n{shown}'


def _source(filename: str, lineno: int | None, module: dict[str, Any]) -> str:
    if filename in _missing or lineno is None:
        return ""
    try:
        if filename not in linecache.cache:
            linecache.lazycache(filename, module)
        line = linecache.getline(filename, lineno).strip()
    except Exception:  # noqa: BLE001 (a loader of user code)
        line = ""
    if not line and not linecache.cache.get(filename) and len(_missing) < _MAX_MISSING:
        _missing.add(filename)
    return line


def in_app(filename: str) -> bool:
    """Tell the application's files from the standard library's and from installed packages."""
    if filename.startswith("<frozen "):
        return False
    pieces = filename.replace("\\", "/").split("/")
    return not any(name in pieces for name in _FOREIGN) and not filename.startswith(_STDLIB)


def _module(module: dict[str, Any]) -> str:
    name = module.get("__name__")
    if name == "__main__":
        name = getattr(module.get("__spec__"), "name", name)
    return name if type(name) is str else "?"


def _qualname(name: str) -> str:
    for inlined in _INLINED:
        name = name.replace(f"{inlined}.", "")
    return name

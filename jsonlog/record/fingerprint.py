"""
A number for "the same error": the same on every machine, release and version of Python.

It is made of the types of the exceptions and of the functions of the application that they went through. Paths, line
numbers and messages change from release to release and call to call, so they have no part in it.
"""

from __future__ import annotations

import os
from functools import lru_cache

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, TracebackType
    from typing import Any

VERSION = "1"
_MAX_FRAMES = 800
_STDLIB = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_FOREIGN = ("site-packages", "dist-packages")
# Python 3.11 runs comprehensions in frames of their own, later versions do not.
_INLINED = ("<listcomp>", "<dictcomp>", "<setcomp>")


def fingerprint(exceptions: Iterable[BaseException]) -> str:
    """
    Fingerprint exceptions that belong together.

    Args:
        exceptions: The exception and then those behind it.

    Returns:
        The version of this recipe, a colon and 16 hexadecimal digits.
    """
    types: list[str] = []
    ours: dict[str, None] = {}
    theirs: dict[str, None] = {}
    for exc in exceptions:
        kind = type(exc)
        types.append(f"{kind.__module__}.{kind.__qualname__}")
        for code, module in _frames(exc.__traceback__):
            in_app, place = _place(code.co_filename, _module(module), code.co_qualname, code.co_name)
            if place:
                (ours if in_app else theirs)[place] = None
    return _digest("\n".join(["types", *types, "frames", *(ours or theirs)]))


def _frames(tb: TracebackType | None) -> list[tuple[CodeType, dict[str, Any]]]:
    """List code and globals of the innermost frames, outermost first."""
    frames = []
    while tb is not None:
        frame = tb.tb_frame
        frames.append((frame.f_code, frame.f_globals))
        tb = tb.tb_next
    return frames[-_MAX_FRAMES:]


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    import hashlib  # noqa: PLC0415 (4 ms that an application need not pay before its first exception)

    return f"{VERSION}:{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"


@lru_cache(maxsize=4096)
def _place(filename: str, module: str, qualname: str, name: str) -> tuple[bool, str]:
    """Tell whether a frame is the application's, and what it counts as; nothing where only some versions have it."""
    if name in _INLINED:
        return False, ""
    return _in_app(filename), f"{module}:{_qualname(qualname)}"


def _in_app(filename: str) -> bool:
    """Tell the application's files from the standard library's and from installed packages."""
    if filename.startswith("<frozen "):
        return False
    pieces = filename.replace("\\", "/").split("/")
    return not any(name in pieces for name in _FOREIGN) and not filename.startswith(_STDLIB)


def _module(module: dict[str, Any]) -> str:
    name = module.get("__name__")
    if name == "__main__":
        name = getattr(module.get("__spec__"), "name", name)
        # `python -m shop` runs shop/__main__.py, whose spec is called shop.__main__
    return name if type(name) is str else "?"


def _qualname(name: str) -> str:
    for inlined in _INLINED:
        name = name.replace(f"{inlined}.<locals>.", "")
    return name

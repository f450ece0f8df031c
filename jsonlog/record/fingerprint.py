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
    from collections.abc import Callable, Iterable
    from types import CodeType
    from typing import Any

VERSION = "1"
_MAX_FRAMES = 800
_STDLIB = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_FOREIGN = ("site-packages", "dist-packages")
# Python 3.11 runs comprehensions in frames of their own, later versions do not.
_INLINED = ("<listcomp>", "<dictcomp>", "<setcomp>")


def fingerprint(
    exceptions: Iterable[BaseException], frames_of: Callable[[Any], list[tuple[CodeType, dict[str, Any], int]]]
) -> str:
    """
    Fingerprint exceptions that belong together.

    Args:
        exceptions: The exception and then those behind it.
        frames_of: Gives code, globals and line number of the frames of a traceback, outermost first.

    Returns:
        The version of this recipe, a colon and 16 hexadecimal digits.
    """
    import hashlib  # noqa: PLC0415 (4 ms that an application need not pay before its first exception)

    types: list[str] = []
    ours: dict[str, None] = {}
    theirs: dict[str, None] = {}
    for exc in exceptions:
        kind = type(exc)
        types.append(f"{kind.__module__}.{kind.__qualname__}")
        for code, module, _ in frames_of(exc.__traceback__)[-_MAX_FRAMES:]:
            if code.co_name not in _INLINED:
                known = ours if _in_app(code.co_filename) else theirs
                known[f"{_module(module)}:{_qualname(code)}"] = None
    text = "\n".join(["types", *types, "frames", *(ours or theirs)])
    return f"{VERSION}:{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"


@lru_cache(maxsize=2048)
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


def _qualname(code: CodeType) -> str:
    name = code.co_qualname
    if "comp>" in name:
        for inlined in _INLINED:
            name = name.replace(f"{inlined}.<locals>.", "")
    return name

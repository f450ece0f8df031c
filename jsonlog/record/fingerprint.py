"""
A number for "the same error": the same on every machine, release and version of Python.

It is made of the types of the exceptions and of the functions of the application that they went through. Paths, line
numbers and messages change from release to release and call to call, so they have no part in it.
"""

from __future__ import annotations

from functools import lru_cache

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonlog.record.frames import Trace

VERSION = "1"
# Exceptions of the standard library that have been given another name since Python 3.11.
_NAMES = {"re.PatternError": "re.error"}


def fingerprint(exceptions: Sequence[BaseException], traces: Sequence[Trace]) -> str:
    """
    Fingerprint exceptions that belong together.

    Args:
        exceptions: The exception and then those behind it.
        traces: Of each.

    Returns:
        The version of this recipe, a colon and 16 hexadecimal digits.
    """
    types = tuple([_name(type(exc)) for exc in exceptions])
    if len(traces) == 1:
        return _digest(types, traces[0].ours or traces[0].theirs)
    ours = dict.fromkeys(place for trace in traces for place in trace.ours)
    return _digest(types, tuple(ours or dict.fromkeys(place for trace in traces for place in trace.theirs)))


def _name(kind: type[BaseException]) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    return _NAMES.get(name, name)


@lru_cache(maxsize=1024)
def _digest(types: tuple[str, ...], places: tuple[str, ...]) -> str:
    import hashlib  # noqa: PLC0415 (4 ms that an application need not pay before its first exception)

    text = "\n".join(["types", *types, "frames", *places])
    return f"{VERSION}:{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"

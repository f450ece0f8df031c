"""What the C library does with memory that is given back."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # malloc.h


def use_one_arena() -> None:
    """
    Let all threads take their memory from one place.

    glibc gives each thread an arena of its own, each of which keeps what was once freed in it: with the bodies of some
    requests in each, that was 30 MB. Only one thread runs Python at a time, so none waits for another here. Elsewhere nothing
    happens.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError):  # not glibc
        return

"""What the C library does with memory that is given back."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 64 * 1024 * 1024


def use_one_arena() -> None:
    """
    Let all threads take their memory from one place.

    glibc gives each thread an arena of its own, each of which keeps what was once freed in it: with the bodies of some
    requests in each, that was 30 MB. Only one thread runs Python at a time, so none waits for another here. Elsewhere nothing
    happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    except (OSError, AttributeError):  # not glibc
        return

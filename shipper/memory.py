"""What the C library does with memory that is given back."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 64 * 1024 * 1024  # more than is ever on its way


def use_one_arena() -> None:
    """
    Let all threads take their memory from one place, and keep what is freed there.

    glibc gives each thread an arena of its own, each of which keeps what was once freed in it: with the bodies of some
    requests in each, that was 30 MB. Only one thread runs Python at a time, so none waits for another here. And it gives
    buffers of half a megabyte back to the kernel at once, which clears their pages when they are asked for again: that was a
    quarter of the processor time of a backlog. Elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    except (OSError, AttributeError):  # not glibc
        return

"""What the C library does with memory that is given back."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_CALM_S, _BUSY_BYTES = 2.0, 1024 * 1024
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


async def give_back_when_calm(held: Callable[[], int]) -> None:
    """
    Give memory back to the system some seconds after a backlog: what it took is of no use while there is little to do.

    Args:
        held: Says how many bytes are on their way.
    """
    kept = True
    while True:
        await asyncio.sleep(_CALM_S)
        if held() > _BUSY_BYTES:
            kept = True
        elif kept:
            kept = False
            with suppress(OSError, AttributeError):  # not glibc
                await asyncio.to_thread(ctypes.CDLL(None).malloc_trim, 0)

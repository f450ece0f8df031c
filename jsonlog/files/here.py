"""
Whether this is still the process that something was made in, or a child of it, however it was forked.

To ask for the pid is a call to the kernel, which at each record takes as long as a quarter of the formatting. So the kernel
is told once to wipe a page of memory in every child, as the random generators of OpenSSL and glibc do; then it is a look
at a byte. That holds for forks that run no hook, too, since it is a property of the memory.
"""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from typing import Protocol

    class Here(Protocol):
        """Its item 0 is true in the process that made it, false in children of it."""

        def __getitem__(self, index: int, /) -> int: ...


_WIPE_ON_FORK = 18  # since Linux 4.14; the module `mmap` has no name for it
_NO_ADVICE = 1 << 20


def mark() -> Here:
    """Make what tells this process from its children."""
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, AttributeError, OSError):
            return _page()
    return _Asked()


def _page() -> Here:
    """
    Make a page of memory that children find empty.

    Raises:
        OSError: This kernel has no such thing.
    """
    import mmap  # noqa: PLC0415 (only who logs needs it)

    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page.madvise(_WIPE_ON_FORK)
    page[0] = 1
    try:
        page.madvise(_NO_ADVICE)
    except OSError:
        return page
    raise OSError  # an emulator that takes all advice, and heeds none


class _Asked:
    """The same, asked of the system each time."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, index: int, /) -> int:
        return os.getpid() == self._pid

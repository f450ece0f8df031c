"""
How a process ends, for what it still holds in memory.

Three ways lead out of a Python process, and each passes by the others' hooks: `atexit` (which a child of multiprocessing
does not run before Python 3.13), the finalizers of multiprocessing, and SIGTERM, whose default action runs no Python at
all. SIGKILL and `os._exit` cannot be met; what they cost is written in docs/relay.md.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Protocol

    class Holder(Protocol):
        """What holds records in memory."""

        ends_first: int
        """Holders with a lower number finish before the others."""

        @property
        def waits_for_children(self) -> bool:
            """Whether child processes bring it records."""

        def drain(self, deadline: float) -> None:
            """Wait until what it holds now has gone on, or until the deadline (of `time.monotonic`)."""

        def finish(self, deadline: float) -> None:
            """Do the same, and hold nothing back from then on."""


EXIT_S = 10.0
_SIGTERM_S = 5.0
_BEFORE_QUEUES = 20  # the finalizers of multiprocessing's queues have 10 and -5, and the highest comes first
_holders: weakref.WeakSet[Holder] = weakref.WeakSet()
_hooked: set[int] = set()


def watch(holder: Holder) -> None:
    """Have a holder finish when this process ends; call it once more in a forked child."""
    _holders.add(holder)
    pid = os.getpid()
    if pid in _hooked:
        return
    if not _hooked:
        atexit.register(finish_all)  # a forked child inherits it
    _hooked.add(pid)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, finish_all, exitpriority=_BEFORE_QUEUES)


def finish_all() -> None:
    """Let all holders finish, within one deadline for all of them."""
    holders = sorted(_holders, key=lambda one: one.ends_first)
    if any(holder.waits_for_children for holder in holders):
        _join_children()
    deadline = time.monotonic() + EXIT_S
    for holder in holders:
        holder.finish(deadline)


def _join_children() -> None:
    """Wait for the children that multiprocessing is about to wait for anyway: what they still send is to be read."""
    from multiprocessing import active_children  # noqa: PLC0415 (there is such a queue)

    for child in active_children():
        if not child.daemon:
            child.join()


def drain_at_sigterm() -> None:
    """
    Have SIGTERM wait for what is held in memory, up to 5 s, before it ends the process as it would have.

    Nothing is done where the application handles or ignores SIGTERM, outside the main thread, and in a container's first
    process, which SIGTERM does not end by default.
    """
    if threading.current_thread() is not threading.main_thread() or os.getpid() == 1:
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    # The interrupted code may hold any lock, so this must return at once: another thread waits.
    signal.signal(number, signal.SIG_DFL)
    try:
        _thread.start_new_thread(_drain_and_end, (number,))
    except RuntimeError:
        os.kill(os.getpid(), number)


def _drain_and_end(number: int) -> None:
    try:
        deadline = time.monotonic() + _SIGTERM_S
        for holder in sorted(_holders, key=lambda one: one.ends_first):
            holder.drain(deadline)
    finally:
        os.kill(os.getpid(), number)

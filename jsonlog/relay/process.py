"""The main work of a listener process: wait for records, for a signal, and for the death of the parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import contextmanager
from multiprocessing.connection import wait

from jsonlog.relay.ends import EXIT_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_QUIET_S = 0.3
_LOOK_S = 0.2  # for queues that cannot be waited for together with anything else


def serve(queue: Any, step: Callable[[float], bool | None]) -> None:
    """
    Hand on records until the queue says that it is over, and then, or after SIGTERM or the parent's death, what is left.

    Args:
        queue: Of `multiprocessing`, or any with `get`.
        step: Hands on one record, for which it waits so many seconds; False when there was none, None when it is over.
    """
    with _signals() as (ended, wakes):
        _loop(queue, step, ended, wakes)
        deadline = time.monotonic() + EXIT_S
        while step(_QUIET_S) is not False and time.monotonic() < deadline:
            pass


@contextmanager
def _signals() -> Iterator[tuple[threading.Event, int]]:
    """Take SIGTERM, which sets an event and makes a descriptor readable, and pass over Ctrl-C."""
    ended = threading.Event()
    wakes, waker = os.pipe()

    def end(*_: object) -> None:
        ended.set()
        os.write(waker, b".")

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.signal(n, how) for n, how in ((signal.SIGTERM, end), (signal.SIGINT, signal.SIG_IGN))}
    try:
        yield ended, wakes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wakes)
        os.close(waker)


def _loop(queue: Any, step: Callable[[float], bool | None], ended: threading.Event, wakes: int) -> None:
    parent = multiprocessing.parent_process()
    reader = getattr(queue, "_reader", None)
    sources: list[Any] = [wakes, reader, parent.sentinel if parent else wakes]
    while not ended.is_set():
        if reader is None:
            outcome, orphaned = step(_LOOK_S), parent is not None and not parent.is_alive()
        else:
            ready = wait(sources)
            outcome, orphaned = step(0.0) if reader in ready else False, parent is not None and parent.sentinel in ready
        if outcome is None or orphaned:
            return

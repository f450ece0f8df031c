"""How a run ends: signals, the deadline of a drain, the time of `--once`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from shipper.config import Settings
from shipper.errors import ConfigError
from shipper.events import Draining, Reloading, TimedOut
from shipper.metrics import Figures
from shipper.pipeline import Pipeline

T = TypeVar("T")

TIMED_OUT = 5
"""The exit code when `--once` was not done in its time."""
_RELOAD_DRAIN_S = 2.0  # what is on its way may arrive; what is not sent yet is read again


class Stop:
    """
    Signals. The first one drains, a second one ends the process at once; SIGHUP reads the settings again.

    SIGTERM comes to an application and its sidecar together: what the application still logs is waited for. SIGINT comes
    from a person at a terminal: the writers are not waited for.
    """

    def __init__(self, settings: Settings, figures: Figures, *, reload: Callable[[], Settings] | None) -> None:
        self.settings: Settings | None = None
        """Those to go on with; None when it is the end."""
        self.expired = 0
        """The exit code when the time of `--once` is over."""
        self._settings = settings
        self._figures = figures
        self._reload = reload
        self._stopped = asyncio.Event()
        self._signal = 0
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)
        if reload is not None:
            self._loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # one that came during the start comes now

    def expire_after(self, seconds: float) -> None:
        """End after some seconds, whatever is left."""
        self._loop.call_later(seconds, self._on_expiry)

    def _on_signal(self, number: int) -> None:
        if self._signal:
            with suppress(OSError):
                os.write(2, b"shipper: stopped at once; what is not acknowledged is sent again at the next start\n")
            os._exit(128 + number)
        self._signal, self.settings = number, None
        self._stopped.set()

    def _on_reload(self) -> None:
        if self._reload is None or self._stopped.is_set():
            return
        try:
            settings = self._reload()
        except ConfigError as exc:
            self._figures(Reloading(str(exc)))
            return
        self._figures(Reloading())
        self.settings = settings
        self._stopped.set()

    def _on_expiry(self) -> None:
        if not self._stopped.is_set():
            self._figures(TimedOut(self._settings.once_timeout_s, self._figures.why_not_ready))
            self.expired = TIMED_OUT
            self._stopped.set()

    async def unless_stopped(
        self,
        work: Coroutine[Any, Any, T],
        *,
        beside: asyncio.Task[None] | None = None,
        tried: asyncio.Event | None = None,
    ) -> T | None:
        """
        Return what *work* returns; None when a signal came first.

        Args:
            work: What is waited for.
            beside: Its end is as good as a signal.
            tried: Until this is set a signal waits, for as long as a drain may take.
        """
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._heeded(tried))
        await asyncio.wait({task, stopped, beside or stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            return task.result()
        await cancel(task)
        return None

    async def _heeded(self, tried: asyncio.Event | None) -> None:
        await self._stopped.wait()
        if tried is not None and not self.expired:
            with suppress(TimeoutError):
                await asyncio.wait_for(tried.wait(), self._settings.drain_s)

    async def run(self, pipeline: Pipeline, task: asyncio.Task[None]) -> bool:
        """Wait for the pipeline; after the first signal, for as long as a drain may take. False when that was too short."""
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done() and not self.expired:
            pipeline.stop(wait_for_writers=self._signal == signal.SIGTERM)
            if self._signal:
                self._figures(Draining(self._settings.drain_s))
            await asyncio.wait({task}, timeout=self._settings.drain_s if self._signal else _RELOAD_DRAIN_S)
        if not task.done():
            await cancel(task)
            return False
        task.result()
        return True


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

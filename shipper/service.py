"""One pipeline with everything around it: signals, the deadline of a drain, the order of starting and stopping."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import secrets
import signal
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from shipper.checkpoint import CHECKPOINT, Checkpoint
from shipper.config import Settings
from shipper.core.accounting import Imbalance, Tally
from shipper.core.enrich import Rules
from shipper.core.retry import backoff_s
from shipper.deadletters import DeadLetters
from shipper.delivery import Delivery
from shipper.errors import ConfigError, SinkError, SinkMisconfigured
from shipper.events import (
    Draining,
    Emit,
    NoFolderYet,
    NotStarted,
    Settled,
    SinkFailed,
    SinkFound,
    SinkRecovered,
    Started,
    Stopped,
)
from shipper.files import Files
from shipper.look import absolute_patterns, fixed_folder, look
from shipper.pipeline import Limits, Pipeline
from shipper.sinks.detect import find_sink
from shipper.sinks.interface import Sink
from shipper.tailer import Reader
from shipper.transport import Transport, check_url

T = TypeVar("T")

STATE_FOLDER = ".shipper"
DEAD_LETTERS = "dead-letters.jsonl"
NOT_CLOSED = 4
"""The exit code when the accounting does not close."""
_MAX_OPEN = 1000


@dataclass(slots=True)
class Totals:
    """Counts what happened in this run, between the pipeline and the console."""

    emit: Emit
    tally: Tally = field(default_factory=Counter)
    closes: bool = True

    def __call__(self, event: object) -> None:
        """Take an event and pass it on."""
        if isinstance(event, Settled):
            self.tally.update(event.tally)
        elif isinstance(event, Imbalance):
            self.closes = False
        self.emit(event)


def run(settings: Settings, *, once: bool, emit: Emit) -> int:
    """
    Ship until a signal, or once.

    Args:
        settings: Checked settings.
        once: End when what was there at the start is acknowledged.
        emit: Takes events.

    Returns:
        The exit code: 0; 1 when *once* left something behind: it was stopped, or a file could not be read; 4 when the
        accounting does not close.

    Raises:
        ConfigError: Nothing can be shipped with these settings.
        StoreError: The checkpoint cannot be used.
    """
    if not settings.path:
        raise ConfigError("no files to ship: give --path 'logs/*.jsonl' (or SHIPPER_PATH, or 'path' in the YAML file)")
    if not settings.to:
        raise ConfigError("nowhere to ship to: give --to http://… (or SHIPPER_TO, or 'to' in the YAML file)")
    check_url(settings.to)
    try:
        return asyncio.run(_run(settings, once=once, emit=Totals(emit)))
    except ExceptionGroup as group:  # the task group wraps what went wrong in one of its tasks
        raise _first(group) from group


def state_folder(settings: Settings, patterns: tuple[str, ...]) -> Path:
    """Return the folder of checkpoint and dead letters: the one that was given, or one beside the files."""
    if settings.state is not None:
        return settings.state.expanduser().absolute()
    return fixed_folder(patterns[0]) / STATE_FOLDER


async def _run(settings: Settings, *, once: bool, emit: Totals) -> int:
    patterns = absolute_patterns(settings.path, Path.cwd())
    stop = _Stop(settings, emit)
    state = state_folder(settings, patterns)
    if once and not await _is_something_there(patterns, state):
        missing = [str(folder) for folder in map(fixed_folder, patterns) if not await asyncio.to_thread(folder.is_dir)]
        why = f"the folder {missing[0]} does not exist" if missing else "there is nothing to ship"
        raise ConfigError(f"no file matches {', '.join(patterns)}: {why}; check --path")
    if settings.state is None and not await _wait_for_folder(state.parent, emit=emit, stop=stop):
        emit(NotStarted(f"the folder {state.parent} never appeared"))
        return 0
    checkpoint = await asyncio.to_thread(Checkpoint, state)
    transport = Transport(
        settings.to, compression=settings.compression, timeout_s=settings.timeout_s, connections=settings.in_flight + 1
    )
    try:
        files = Files(
            patterns,
            await asyncio.to_thread(checkpoint.load),
            exclude=state.resolve(),
            reader=Reader(settings.max_line_bytes, _max_open(settings), _rules(settings)),
            new_epoch=lambda: secrets.token_hex(8),
            emit=emit,
        )
        emit(Started(patterns, transport.url, str(state)))
        sink = await stop.unless_stopped(_find_sink(transport, settings, emit))
        if sink is None:
            emit(NotStarted(f"{transport.url} never answered"))
            return 1 if once else 0
        emit(SinkFound(sink.kind))
        pipeline = Pipeline(
            files,
            Delivery(sink, transport, DeadLetters(state / DEAD_LETTERS), emit),
            checkpoint,
            _limits(settings),
            emit,
            delete_finished=settings.finished == "delete",
        )
        complete = await stop.run(pipeline, once=once)
        for account in await asyncio.to_thread(checkpoint.accounts):
            if account.imbalance is not None:
                emit(account.imbalance)
        emit(Stopped(emit.tally, pipeline.left))
        files.close()
        if not emit.closes:
            return NOT_CLOSED
        return 1 if once and (files.unreadable or not complete) else 0
    finally:
        await transport.close()
        checkpoint.close()


async def _is_something_there(patterns: tuple[str, ...], state: Path) -> bool:
    """Tell whether a file matches, or did so in an earlier run: then there is nothing new, which is no mistake."""
    view = await asyncio.to_thread(look, patterns, state)
    return bool(view.files or view.unreadable) or await asyncio.to_thread((state / CHECKPOINT).exists)


async def _wait_for_folder(folder: Path, *, emit: Emit, stop: _Stop) -> bool:
    """Wait for the folder of the files: making it would give it the wrong owner. False when stopped meanwhile."""
    if await asyncio.to_thread(folder.is_dir):
        return True
    emit(NoFolderYet(str(folder)))

    async def appears() -> bool:
        while not await asyncio.to_thread(folder.is_dir):  # noqa: ASYNC110 (nobody tells when a folder appears)
            await asyncio.sleep(0.5)
        return True

    return bool(await stop.unless_stopped(appears()))


async def _find_sink(transport: Transport, settings: Settings, emit: Emit) -> Sink:
    """Ask what stands at the URL until there is an answer."""
    attempt = 0
    while True:
        attempt += 1
        try:
            sink = await find_sink(
                transport, kind=settings.sink, compression=settings.compression, template=settings.template, emit=emit
            )
        except SinkError as exc:
            if attempt == 1:
                emit(SinkFailed(str(exc), operator=isinstance(exc, SinkMisconfigured)))
            await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 (jitter is no secret)
        else:
            if attempt > 1:
                emit(SinkRecovered())
            return sink


class _Stop:
    """
    Signals. The first one drains, a second one ends the process at once.

    SIGTERM comes to an application and its sidecar together: what the application still logs is waited for. SIGINT comes
    from a person at a terminal: the writers are not waited for.
    """

    def __init__(self, settings: Settings, emit: Emit) -> None:
        self._settings = settings
        self._emit = emit
        self._stopped = asyncio.Event()
        self._signal = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if self._signal:
            with suppress(OSError):
                os.write(2, b"shipper: stopped at once; what is not acknowledged is sent again at the next start\n")
            os._exit(128 + number)
        self._signal = number
        self._stopped.set()

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what *work* returns; None when a signal came first."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            return task.result()
        await _cancel(task)
        return None

    async def run(self, pipeline: Pipeline, *, once: bool) -> bool:
        """Run the pipeline; after the first signal, for as long as a drain may take. False when that was too short."""
        task = asyncio.create_task(pipeline.run(once=once))
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            self._emit(Draining(self._settings.drain_s))
            pipeline.stop(wait_for_writers=self._signal == signal.SIGTERM)
            await asyncio.wait({task}, timeout=self._settings.drain_s)
        if not task.done():
            await _cancel(task)
            return False
        task.result()
        return True


async def _cancel(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _max_open(settings: Settings) -> int:
    """How many files may be open at once: what the system allows, less connections, checkpoint and standard streams."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(8, min(_MAX_OPEN, allowed - settings.in_flight - 48))


def _rules(settings: Settings) -> Rules:
    return Rules(
        wrap=settings.bad_lines == "wrap",
        fields=settings.fields,
        stream_fields=settings.stream_fields,
        dataset=settings.dataset,
        namespace=settings.namespace,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        batch_bytes=settings.batch_bytes,
        batch_records=settings.batch_records,
        linger_s=settings.linger_s,
        in_flight=settings.in_flight,
        in_flight_bytes=settings.in_flight_bytes,
        poll_interval_s=settings.poll_interval_s,
    )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    exc: Exception = group
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return exc

"""One pipeline with everything around it: signals, the deadline of a drain, the order of starting and stopping."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from shipper.access import open_transport
from shipper.checkpoint import CHECKPOINT, Checkpoint
from shipper.config import Settings
from shipper.core.endpoint import Endpoint
from shipper.core.enrich import Rules
from shipper.core.retry import backoff_s
from shipper.core.routing import Targets, router_for
from shipper.core.shapes import SHAPES
from shipper.deadletters import DEAD_LETTERS, DeadLetters
from shipper.delivery import Delivery
from shipper.errors import ConfigError, SinkError, SinkMisconfigured
from shipper.events import (
    Emit,
    NoFolderYet,
    NotStarted,
    SinkFailed,
    SinkFound,
    SinkRecovered,
    Started,
    Stopped,
)
from shipper.files import Files
from shipper.finished import Finished
from shipper.limits import Limits
from shipper.look import absolute_patterns, fixed_folder, look
from shipper.memory import use_one_arena
from shipper.metrics import Figures
from shipper.pipeline import Pipeline
from shipper.report import Report
from shipper.sinks.detect import Wanted, find_sink
from shipper.sinks.interface import Sink
from shipper.stopping import Stop, cancel
from shipper.tailer import Reader
from shipper.transport import Transport
from shipper.urls import split_urls
from shipper.workers import ALL, Share, deal_out, state_folders, supervise

STATE_FOLDER = ".shipper"
NOT_CLOSED = 4
"""The exit code when the accounting does not close."""
_MAX_OPEN = 1000


def run(
    settings: Settings,
    *,
    once: bool,
    emit: Emit,
    reload: Callable[[], Settings] | None = None,
    progress: Callable[[str], None] | None = None,
    share: Share = ALL,
) -> int:
    """
    Ship until a signal, or once.

    Args:
        settings: Checked settings.
        once: End when what was there at the start is acknowledged.
        emit: Takes events.
        reload: Reads the settings again at SIGHUP; may raise ConfigError, then they stay as they are.
        progress: Shows how far *once* is; None where nobody looks.
        share: The files that are this process's own.

    Returns:
        The exit code: 0; 1 when *once* left something behind: it was stopped, or a file could not be read; 4 when the
        accounting does not close; 5 when *once* was not done in its time.

    Raises:
        ConfigError: Nothing can be shipped with these settings.
        StoreError: The checkpoint cannot be used.
    """
    figures = Figures(emit)
    reload_checked = (lambda: _check(reload())) if reload is not None else None
    use_one_arena()
    gc.collect()
    gc.set_threshold(
        50_000, 20, 20
    )  # each look at all objects costs as much as some requests; bodies are let go of by hand
    gc.freeze()  # what the imports made stays: no need to look at it again and again
    while True:
        _check(settings)
        try:
            code = asyncio.run(_run(settings, _Ways(figures, reload_checked, progress, share), once=once))
        except ExceptionGroup as group:  # the task group wraps what went wrong in one of its tasks
            raise _first(group) from group
        if isinstance(code, int):
            return code
        settings = code


def share_out(settings: Settings, work: Callable[..., int]) -> int:
    """
    Run several workers that share the files.

    Args:
        settings: Checked settings.
        work: `run` with all of its arguments but `share`.

    Returns:
        The largest exit code.

    Raises:
        ConfigError, StoreError: As `run` does.
    """
    _check(settings)
    deal_out(state_folder(settings, absolute_patterns(settings.path, Path.cwd())), settings.workers)
    return supervise(settings.workers, lambda share: work(share=share))


def _check(settings: Settings) -> Settings:
    """Return settings with which something can be shipped, as far as they alone can tell."""
    if not settings.path:
        raise ConfigError("no files to ship: give --path 'logs/*.jsonl' (or SHIPPER_PATH, or 'path' in the YAML file)")
    if settings.finished == "archive" and settings.archive is None:
        raise ConfigError("finished: archive needs a folder: set archive (or SHIPPER_ARCHIVE)")
    if not settings.to:
        raise ConfigError("nowhere to ship to: give --to http://… (or SHIPPER_TO, or 'to' in the YAML file)")
    split_urls(settings.to)
    return settings


def state_folder(settings: Settings, patterns: tuple[str, ...]) -> Path:
    """Return the folder of checkpoint and dead letters: the one that was given, or one beside the files."""
    if settings.state is not None:
        return settings.state.expanduser().absolute()
    return fixed_folder(patterns[0]) / STATE_FOLDER


def find_state(settings: Settings) -> list[Path]:
    """
    Find the folders of checkpoint and dead letters of a shipper with these settings: one for each worker.

    Raises:
        ConfigError: It is not said where it is, or it is not there.
    """
    if settings.state is None and not settings.path:
        raise ConfigError("whose state? give --state DIR, or --path or --config as for shipper run")
    folder = state_folder(settings, absolute_patterns(settings.path, Path.cwd()))
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder {folder}: no shipper has run with these settings yet, or give --state DIR"
        )
    return state_folders(folder)


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways out of a run, and back into it."""

    figures: Figures
    reload: Callable[[], Settings] | None
    progress: Callable[[str], None] | None
    share: Share


async def _run(settings: Settings, ways: _Ways, *, once: bool) -> int | Settings:
    """Run one pipeline; return the exit code, or the settings for the next one."""
    figures = ways.figures
    patterns = absolute_patterns(settings.path, Path.cwd())
    stop = Stop(settings, figures, reload=ways.reload)
    state = state_folder(settings, patterns)
    if once and not await _is_something_there(patterns, state):
        missing = [str(folder) for folder in map(fixed_folder, patterns) if not await asyncio.to_thread(folder.is_dir)]
        why = f"the folder {missing[0]} does not exist" if missing else "there is nothing to ship"
        raise ConfigError(f"no file matches {', '.join(patterns)}: {why}; check --path")
    if settings.state is None and not await _wait_for_folder(state.parent, emit=figures, stop=stop):
        figures(NotStarted(f"the folder {state.parent} never appeared"))
        return stop.settings or 0
    if ways.share == ALL:
        await asyncio.to_thread(deal_out, state, 1)  # there may have been several workers before
    folder = ways.share.folder(state)
    checkpoint = await asyncio.to_thread(Checkpoint, folder)
    transport = open_transport(settings, connections=settings.in_flight + 1)
    report = Report(figures, folder, transport.url, folder / DEAD_LETTERS)
    if once and settings.once_timeout_s:
        stop.expire_after(settings.once_timeout_s)
    try:
        async with report.running(_metrics_address(settings, ways.share), progress=ways.progress if once else None):
            return await _ship(
                settings, stop, report, _Parts(patterns, checkpoint, transport, state, ways.share), once=once
            )
    finally:
        await transport.close()
        checkpoint.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is opened before and closed after a pipeline."""

    patterns: tuple[str, ...]
    checkpoint: Checkpoint
    transport: Transport
    state: Path
    share: Share


async def _ship(settings: Settings, stop: Stop, report: Report, parts: _Parts, *, once: bool) -> int | Settings:
    figures, transport = report.figures, parts.transport
    targets = Targets(settings.max_targets, time.time)
    targets.load(await asyncio.to_thread(parts.checkpoint.targets))
    files = Files(
        parts.patterns,
        await asyncio.to_thread(parts.checkpoint.load),
        exclude=tuple(
            folder.resolve() for folder in (parts.state, report.folder, settings.archive) if folder is not None
        ),
        reader=Reader(settings.max_line_bytes, _max_open(settings), rules_of(settings, targets)),
        new_epoch=lambda: secrets.token_hex(8),
        emit=figures,
        holds=parts.share.holds if parts.share.count > 1 else None,
    )
    figures(Started(parts.patterns, transport.url, str(report.folder)))
    report.pipeline = pipeline = Pipeline(
        files,
        None,
        parts.checkpoint,
        _limits(settings),
        figures,
        finished=_finished(settings, figures),
        watch=settings.watch,
    )
    # Files are followed from now on: what rotates away before the store has answered for the first time is not missed.
    running = asyncio.create_task(pipeline.run(once=once))
    try:
        # A store that answers is not to be left without the files, however early the signal came.
        finding = wait_for_sink(transport, settings, figures, tried := asyncio.Event())
        sink = await stop.unless_stopped(finding, beside=running, tried=tried)
    except BaseException:
        await cancel(running)
        await files.close()
        raise
    if sink is None and not running.done():
        await cancel(running)
        await files.close()
        if not stop.settings and not stop.expired:
            figures(NotStarted(f"{transport.url} never answered"))
        return stop.settings or (stop.expired or 1 if once else 0)
    if sink is not None:
        figures(SinkFound(sink.kind))
        dead = DeadLetters(report.dead, max_bytes=settings.dead_letters_bytes)
        pipeline.deliver_by(Delivery(sink, transport, dead, figures, settings.ordered))
    complete = await stop.run(pipeline, running)
    for account in await asyncio.to_thread(parts.checkpoint.accounts):
        if account.imbalance is not None:
            figures(account.imbalance)
    if not stop.settings:
        figures(Stopped(figures.tally, pipeline.left))
    await files.close()
    if not figures.closes:
        return NOT_CLOSED
    return stop.settings or stop.expired or (1 if once and (files.unreadable or not complete) else 0)


async def _is_something_there(patterns: tuple[str, ...], state: Path) -> bool:
    """Tell whether a file matches, or did so in an earlier run: then there is nothing new, which is no mistake."""
    view = await asyncio.to_thread(look, patterns, (state,))
    return bool(view.files or view.unreadable) or await asyncio.to_thread((state / CHECKPOINT).exists)


async def _wait_for_folder(folder: Path, *, emit: Emit, stop: Stop) -> bool:
    """Wait for the folder of the files: making it would give it the wrong owner. False when stopped meanwhile."""
    if await asyncio.to_thread(folder.is_dir):
        return True
    emit(NoFolderYet(str(folder)))

    async def appears() -> bool:
        while not await asyncio.to_thread(folder.is_dir):  # noqa: ASYNC110 (nobody tells when a folder appears)
            await asyncio.sleep(0.5)
        return True

    return bool(await stop.unless_stopped(appears()))


async def wait_for_sink(
    transport: Transport, settings: Settings, emit: Emit, tried: asyncio.Event | None = None
) -> Sink:
    """Ask what stands at the URL until there is an answer; *tried* is set when there was none at first."""
    attempt = 0
    while True:
        attempt += 1
        try:
            sink = await find_sink(transport, _wanted(settings, transport), emit)
        except SinkError as exc:
            if attempt == 1:
                emit(SinkFailed(str(exc), operator=isinstance(exc, SinkMisconfigured)))
            if tried is not None:
                tried.set()
            await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 (jitter is no secret)
        else:
            if attempt > 1:
                emit(SinkRecovered())
            return sink


def _wanted(settings: Settings, transport: Transport) -> Wanted:
    parameters = {"pipeline": settings.pipeline, "routing": settings.routing}
    text = "".join(f"&{name}={quote(value, safe='')}" for name, value in parameters.items() if value)
    shape = SHAPES.get(settings.sink, SHAPES["http"])
    path = settings.http_path if settings.http_path is not None else "" if transport.has_path else shape.path
    headers, statuses = tuple(settings.http_headers.items()), frozenset(settings.http_statuses)
    endpoint = Endpoint(shape, path, settings.http_method, headers, statuses)
    streams = settings.template and settings.index is None
    return Wanted(settings.sink, settings.compression, streams, text, endpoint)


def _finished(settings: Settings, emit: Emit) -> Finished:
    archive = settings.archive.expanduser().absolute() if settings.archive is not None else None
    return Finished(emit, settings.finished, archive, settings.archive_compression, settings.finished_nolock_s)


def _metrics_address(settings: Settings, share: Share) -> str | None:
    """Return where to serve metrics: each worker at a port of its own."""
    if settings.metrics is None or not share.index:
        return settings.metrics
    host, _, port = settings.metrics.rpartition(":")
    return f"{host}:{int(port) + share.index if port.isdigit() and port != '0' else port}"


def _max_open(settings: Settings) -> int:
    """How many files may be open at once: what the system allows, less connections, checkpoint and standard streams."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(8, min(_MAX_OPEN, allowed - settings.in_flight - 48))


def rules_of(settings: Settings, targets: Targets | None = None) -> Rules:
    """Say how lines become records; *targets* bounds how many names they may choose."""
    return Rules(
        wrap=settings.bad_lines == "wrap",
        fields=settings.fields,
        stream_fields=settings.stream_fields,
        dataset=settings.dataset,
        namespace=settings.namespace,
        index=settings.index,
        router=router_for(settings.dataset, settings.namespace, settings.index),
        targets=targets,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        batch_bytes=settings.batch_bytes,
        batch_records=settings.batch_records,
        linger_s=settings.linger_s,
        in_flight=settings.in_flight,
        in_flight_bytes=settings.in_flight_bytes,
        poll_interval_s=settings.poll_interval_s,
        forget_s=settings.forget_s,
        ordered=settings.ordered,
    )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    exc: Exception = group
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return exc

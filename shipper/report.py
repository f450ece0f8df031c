"""
How the shipper is, told to those who ask: over HTTP, as a file for `shipper status`, and as a line on a terminal.

The file `status.json` is written beside the checkpoint once a second when something has changed. It is a convenience: where it
cannot be written, `status` does with the checkpoint and the files, and nothing else is held up.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shipper.core.model import Fate
from shipper.events import Listening
from shipper.health import TEXT, HealthServer, Page
from shipper.lag import oldest_at
from shipper.metrics import Figures, Live, exposition
from shipper.pipeline import Pipeline

Progress = Callable[[str], None]
STATUS = "status.json"
_WRITE_INTERVAL_S = 1.0
_PROGRESS_INTERVAL_S = 0.2


@dataclass(slots=True)
class Report:
    """
    Tells how a run of the shipper is.

    Args:
        figures: What was counted.
        folder: The state folder.
        to: The URL of the sink, without its password.
        dead: The dead-letter file.
        pipeline: What runs, once it does.
    """

    figures: Figures
    folder: Path
    to: str
    dead: Path
    pipeline: Pipeline | None = None
    started: float = field(default_factory=time.time)
    _written: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self, listen: str | None, *, progress: Progress | None = None) -> AsyncIterator[None]:
        """
        Report while the block runs.

        Args:
            listen: The address for HTTP, None for none.
            progress: Shows a line of progress, None for nobody.
        """
        server = HealthServer(self.pages)
        if listen is not None:
            self.figures(Listening(await server.start(listen)))
        tasks = {asyncio.create_task(self._keep_writing())}
        if progress is not None:
            tasks.add(asyncio.create_task(self._show_progress(progress)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await server.close()
            await asyncio.to_thread(self._write, self._state())

    @property
    def pages(self) -> dict[str, Page]:
        """What is served over HTTP, by path."""
        return {"/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}

    def live(self) -> Live:
        """Look up how things are, without touching a file."""
        pipeline = self.pipeline
        if pipeline is None:
            return Live()
        return Live(
            files=len(pipeline.files.tailers),
            unreadable=dict(pipeline.files.unreadable),
            in_flight=pipeline.in_flight,
            lag_bytes=pipeline.left,
        )

    async def _metrics(self) -> tuple[int, str, bytes]:
        live = self.live()
        places = self._behind()
        live.oldest_at = await asyncio.to_thread(oldest_at, places)
        with suppress(OSError):
            live.dead_bytes = (await asyncio.to_thread(self.dead.stat)).st_size
        text, kind = exposition(self.figures, live)
        return 200, kind, text

    async def _healthz(self) -> tuple[int, str, bytes]:
        return 200, TEXT, b"alive\n"

    async def _readyz(self) -> tuple[int, str, bytes]:
        why = self.figures.why_not_ready
        return (503, TEXT, f"not ready: {why}\n".encode()) if why else (200, TEXT, b"ready\n")

    def _behind(self) -> list[tuple[str, int]]:
        """List the files of which something is not acknowledged, each with how far it is."""
        if self.pipeline is None:
            return []
        files = self.pipeline.files
        known = ((tailer, files.known.get(tailer.source.key)) for tailer in files.tailers.values())
        return [(t.source.path, s.position.offset) for t, s in known if s is not None and s.position.offset < t.size]

    def _state(self) -> dict[str, Any]:
        live, figures = self.live(), self.figures
        return {
            "pid": os.getpid(),
            "started": self.started,
            "to": self.to,
            "sink": figures.sink,
            "not_ready": figures.why_not_ready,
            "in_flight_lines": live.in_flight,
            "lag_bytes": live.lag_bytes,
            "files": live.files,
            "unreadable": live.unreadable,
            "lines_read": figures.lines_read,
            "records": {fate.value: figures.tally[fate] for fate in Fate},
            "accounting_closes": figures.closes,
        }

    async def _keep_writing(self) -> None:
        while True:
            state = self._state()
            if state != self._written:
                self._written = state
                await asyncio.to_thread(self._write, state)
            await asyncio.sleep(_WRITE_INTERVAL_S)

    async def _show_progress(self, show: Progress) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(_PROGRESS_INTERVAL_S)
            done, left = self.figures.bytes_settled, self.live().lag_bytes
            if done or left:
                show(progress_line(done, left, time.monotonic() - began))

    def _write(self, state: dict[str, Any]) -> None:
        path = self.folder / STATUS
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps({**state, "written": time.time()}) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()


def progress_line(done: int, left: int, took_s: float) -> str:
    """
    Say how far it is, in one line.

    Args:
        done: Bytes that have ended.
        left: Bytes that have not.
        took_s: Seconds since the start.
    """
    total = done + left
    share = done / total if total else 1.0
    speed = done / took_s if took_s else 0.0
    bar = "#" * round(share * 20)
    rest = f", {left / speed:.0f} s left" if speed and left else ""
    return f"[{bar:<20}] {share:4.0%} of {total / 1e6:.1f} MB, {speed / 1e6:.1f} MB/s{rest}"

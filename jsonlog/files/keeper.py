"""
Keeps a directory within bounds while records are written to it.

Either there is no shipper, and the oldest finished parts go as a matter of course; or there is one that seems to be gone,
and a part that goes is a loss: it is counted, told on stderr, and told to whoever reads the log, in a record.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace

from jsonlog.files.prune import Bounds, Pruned, prune
from jsonlog.files.stderr import say

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonlog.files.folder import Folder
    from jsonlog.files.writer import PartWriter

_INTERVAL_S = 60.0


class Keeper:
    """
    Writes a record, then looks after the directory: whenever a part was begun, and once a minute.

    Args:
        writer: Whose parts they are.
        write: How a record is written.
        folder: Where they are made; only parts of its service count and go.
        bounds: What may stay.
        is_loss: Whether a part that goes is a loss.

    Attributes:
        format: Formats a record for the log.
        dropped: Files and bytes of each time that this process dropped what nobody is known to have.
    """

    def __init__(
        self,
        writer: PartWriter,
        write: Callable[[bytes], None],
        folder: Folder,
        bounds: Bounds,
        *,
        is_loss: bool,
    ) -> None:
        self.format: Callable[[logging.LogRecord], bytes] | None = None
        self.dropped: list[tuple[int, int]] = []
        self._writer = writer
        self._write = write
        self._folder = folder
        self._bounds = bounds
        self._is_loss = is_loss
        self._seen: tuple[str, int] = ("", 0)
        self._look_at = 0.0
        self._has_failed = False

    def write(self, line: bytes) -> None:
        """
        Write a line as the writer does.

        Raises:
            OSError: It could not be written, and the policy is to raise that.
        """
        self._write(line)
        writer = self._writer
        if (writer.run, writer.count) != self._seen or time.monotonic() >= self._look_at:
            self._look_after()

    def _look_after(self) -> None:
        # First of all: another thread, or a signal handler, that comes meanwhile need not look.
        self._seen = (self._writer.run, self._writer.count)
        self._look_at = time.monotonic() + _INTERVAL_S
        try:
            done = prune(self._folder.path, replace(self._bounds, service=self._folder.service), time.time())
        except OSError as exc:
            self._complain(exc)
            return
        if done.failed:
            self._complain(done.failed[0][1])
        else:
            self._has_failed = False
        if self._is_loss and any(part.name for part in done.deleted):
            self._tell(done)

    def _complain(self, exc: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            say(f"cannot keep {self._folder.path} within its bounds: {exc.strerror or exc}")

    def _tell(self, done: Pruned) -> None:
        lost = [part for part in done.deleted if part.name]
        size = sum(part.size for part in lost)
        self.dropped.append((len(lost), size))
        text = "dropped %d finished files with %d bytes that may not have been shipped: the directory is over its bound"
        say(f"{text % (len(lost), size)}: {self._folder.path}")
        if self.format is None:
            return
        record = logging.LogRecord("jsonlog", logging.WARNING, __file__, 0, text, (len(lost), size), None, "_tell")
        record.dropped_files = len(lost)
        record.dropped_bytes = size
        record.dropped_names = [os.path.basename(part.path) for part in lost]  # noqa: PTH119
        self._write(self.format(record))

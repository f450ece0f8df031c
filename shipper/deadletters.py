"""
The dead-letter file: lines that can never be delivered as they are, each with its bytes and the reason.

JSON Lines, appended and fsynced before the checkpoint passes the line. A line that is not UTF-8 is kept as base64, so the
bytes are always exact.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from shipper.core.model import Refused
from shipper.errors import StoreFull


class DeadLetters:
    """
    Appends refused lines to a file.

    Args:
        path: Created at the first refused line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()

    def append(self, refused: Sequence[Refused]) -> None:
        """
        Write refused lines; on return they are on disk.

        Raises:
            StoreFull: They are not; the checkpoint must not pass them.
        """
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = b"".join(_encode(one, now) for one in refused)
        try:
            with self._writing:  # deliveries run side by side; cutting back must not cut off another one's entry
                self._append(data)
        except OSError as exc:
            raise StoreFull(f"cannot write the dead-letter file {self.path}: {exc.strerror or exc}") from exc

    def _append(self, data: bytes) -> None:
        self.path.parent.mkdir(exist_ok=True, mode=0o750)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data  # a crash has left half an entry
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        if not size:  # the name of a new file is on disk only once its folder is
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _encode(refused: Refused, now: str) -> bytes:
    entry: dict[str, object] = {
        "time": now,
        "reason": refused.reason,
        "status": refused.status or None,
        "id": f"{refused.source.key}-{refused.line:x}",
        "target": refused.source.target,
        "file": refused.source.path,
        "line": refused.line,
        "offset": refused.offset if refused.offset >= 0 else None,
    }
    try:
        entry["data"] = refused.data.decode()
    except UnicodeDecodeError:
        entry["data_base64"] = base64.b64encode(refused.data).decode()
    present = {key: value for key, value in entry.items() if value is not None}
    return json.dumps(present, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"

"""
Where a receiver puts what it gets: parts in the file protocol, as any process of the application would write them.

One writer for each service and environment, since a shipper reads from the first record of a file where all of it goes.
"""

from __future__ import annotations

import os

import orjson

from jsonlog.files.folder import Folder
from jsonlog.files.policy import Policy
from jsonlog.files.writer import PartWriter
from jsonlog.relay.journal import Journal
from jsonlog.relay.sender import put_sender, take_numbers
from jsonlog.relay.wire import Refused, foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_WRITERS = 64
_Kind = tuple[str, str, bool]


class Store:
    """
    The record files of a receiver.

    Args:
        directory: Where they go.
        host: The second piece of their names.
        max_bytes: The size at which a part is left.
        mode: Permission bits of the files.

    Raises:
        CommandError: Another receiver writes there.
        OSError: The directory cannot be made or written.
    """

    def __init__(self, directory: str, *, host: str, max_bytes: int, mode: int) -> None:
        self._directory, self._host, self._mode = directory, host, mode
        self._policy = Policy(max_bytes=max_bytes, raise_errors=True, is_retried=True)
        self._folder("").make()
        self._journal = Journal(directory)
        self._writers: dict[_Kind, PartWriter] = {}
        self.written = 0
        self.duplicates = 0
        self.handled = 0
        """Lines that may be acknowledged: they are in the files and noted."""

    def add(self, frames: Sequence[bytes]) -> None:
        """
        Write lines that are new, in their order, and take note of them.

        Args:
            frames: Lines of a spool.

        Raises:
            Refused: One of them is no line of a spool; those before it are written.
            OSError: They could not all be written; what is missing may be brought again.
        """
        seen: dict[str, int] = {}
        used: dict[str, PartWriter] = {}
        handled = 0
        try:
            for frame in frames:
                line, run, number, kind = _read(frame)
                if number <= seen.get(run, self._journal.last(run)):
                    self.duplicates += 1
                else:
                    writer = self._writers.get(kind) or self._begin(kind)
                    used[writer.run] = writer
                    writer.write(put_sender(line, run, number, relayed=True))
                    seen[run] = number
                    self.written += 1
                handled += 1
        finally:
            if seen:
                self._journal.note(seen, {run: _place(writer) for run, writer in used.items()})
            self.handled += handled

    def close(self) -> None:
        """Release the files."""
        for writer in self._writers.values():
            writer.close()
        self._journal.close()

    def _begin(self, kind: _Kind) -> PartWriter:
        if len(self._writers) >= _MAX_WRITERS:  # the one that was begun first; a later record begins another
            oldest = self._writers.pop(next(iter(self._writers)))
            self._journal.end(oldest.run)
            oldest.close()
        writer = PartWriter(self._folder(kind[0]), self._policy)
        self._journal.begin(writer.run)
        self._writers[kind] = writer
        return writer

    def _folder(self, service: str) -> Folder:
        folder = Folder(self._directory, mode=self._mode, group=None, directory_mode=0o750)
        folder.service, folder.host = service or "app", self._host
        return folder


def _place(writer: PartWriter) -> tuple[str, int]:
    path = writer.path
    return ("", 0) if path is None else (os.path.basename(path), os.stat(path).st_size)  # noqa: PTH116, PTH119


def _read(frame: bytes) -> tuple[bytes, str, int, _Kind]:
    """
    Check a line of a spool.

    Returns:
        The line without its numbers; run and number of the sender; what kind of file it belongs to.
    """
    numbered = take_numbers(frame)
    try:
        fields = orjson.loads(frame)
    except ValueError:
        raise Refused(foreign(frame) or "a line is not JSON") from None
    if numbered is None or type(fields) is not dict or b"\n" in frame or b"\r" in frame:
        raise Refused("a line is not a record as jsonlog.SocketHandler sends it, one line with its numbers at the end")
    service = fields.get("service")
    if not (_is_text(fields, "@timestamp") and type(fields.get("log")) is dict):
        raise Refused("a line is no record: it has no '@timestamp' or no 'log'")
    if type(service) is not dict:
        service = {}
    name, environment = service.get("name"), service.get("environment")
    kind = (name if type(name) is str else "", environment if type(environment) is str else "", "msecs" not in fields)
    return *numbered, kind


def _is_text(fields: dict[str, object], name: str) -> bool:
    return type(fields.get(name)) is str

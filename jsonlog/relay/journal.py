"""
What a receiver has in its files of each sender, remembered beyond its death.

A record that is in a file may be sent again: the receiver was killed before it could say so. Its number tells, if one
knows the last number of each run that was written. Two things know it: the files themselves, and this journal, which is
written after the files and before the acknowledgement. At a start the journal is read, and of the files what was written
after its last entry. The journal is needed because a shipper may have delivered and deleted those files meanwhile.

What can still come twice: a batch that was in a file but not yet in the journal, if between these two writes the receiver
was killed, and the shipper deleted that file before the receiver was started again.
"""

from __future__ import annotations

import contextlib
import errno
import os

import orjson

from jsonlog.errors import CommandError
from jsonlog.files.protocol import parse_name
from jsonlog.relay.sender import read_sender

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows
    flock = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_RUNS = 100_000
_COMPACT_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
FOLDER = ".receive"


class Journal:
    """
    The last number that was written of each sender's run.

    Args:
        directory: Of the record files; the journal stands in `.receive` there.

    Raises:
        CommandError: Another receiver writes to this directory.
        OSError: It cannot be read or written.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._folder = os.path.join(directory, FOLDER)  # noqa: PTH118
        os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        self._lock = self._take_lock()
        self._path = os.path.join(self._folder, "journal")  # noqa: PTH118
        self._seen: dict[str, int] = {}
        self._places = self._read()
        self._scan()
        self._fd = -1
        self._size = self._least = 0
        self._is_torn = False
        self._places = {}
        self._compact()

    def last(self, run: str) -> int:
        """The last number of a run that is in the files; -1 for a run that is not known."""
        return self._seen.get(run, -1)

    def begin(self, writer: str) -> None:
        """
        Take note of a writer before it writes its first record.

        Raises:
            OSError: The journal cannot be written.
        """
        self._places[writer] = ("", 0)
        self._append({"writers": {writer: ("", 0)}})

    def end(self, writer: str) -> None:
        """Forget a writer that will not write any more."""
        self._places.pop(writer, None)

    def note(self, seen: dict[str, int], writers: dict[str, tuple[str, int]]) -> None:
        """
        Take note of records that are in the files now.

        Args:
            seen: The last number of each run.
            writers: By the run of each writer: the name of its part, and the bytes in it.

        Raises:
            OSError: The journal cannot be written: what it should say must not be acknowledged.
        """
        self._remember(seen)  # also if the disk takes no journal now
        self._places.update(writers)
        self._append({"seen": seen, "writers": writers})
        if self._size > _COMPACT_BYTES and self._size > 2 * self._least:
            self._compact()

    def _remember(self, seen: dict[str, int]) -> None:
        """Know it in memory; runs of which nothing was heard for longest are forgotten beyond 100,000."""
        for run, number in seen.items():
            self._seen.pop(run, None)
            self._seen[run] = number
        while len(self._seen) > _MAX_RUNS:
            del self._seen[next(iter(self._seen))]

    def close(self) -> None:
        """Let go of the journal, and with it of the directory."""
        self._places = {}
        with contextlib.suppress(OSError):
            self._compact()
        os.close(self._fd)
        os.close(self._lock)

    def _take_lock(self) -> int:
        fd = os.open(os.path.join(self._folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # noqa: PTH118
        if flock is not None:
            try:
                flock(fd, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise CommandError(f"another receiver writes to {self._directory}") from None
        return fd

    def _append(self, entry: dict[str, Any]) -> None:
        data = orjson.dumps(entry) + b"\n"
        if self._is_torn:
            data = b"\n" + data
        self._is_torn = True  # until all of it is there
        _write(self._fd, data)
        self._is_torn = False
        self._size += len(data)

    def _read(self) -> dict[str, tuple[str, int]]:
        """Read the journal; returns the part that each writer wrote last, and what of it is known."""
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return {}
        writers: dict[str, tuple[str, int]] = {}
        for line in lines:
            with contextlib.suppress(ValueError):  # torn by a kill
                entry = orjson.loads(line)
                self._remember(entry.get("seen", {}))
                writers.update(entry.get("writers", {}))
        return writers

    def _scan(self) -> None:
        """Read what was written after the last entry."""
        writers = self._places
        for name in sorted(os.listdir(self._directory), key=_part_of) if writers else ():  # noqa: PTH208
            part = parse_name(name)
            if part is None or part.run not in writers:
                continue
            known = parse_name(writers[part.run][0])
            if known is None or part.part > known.part:
                self._scan_part(name, 0)
            elif part.part == known.part:
                self._scan_part(name, writers[part.run][1])

    def _scan_part(self, name: str, start: int) -> None:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self._directory, name), "rb") as file:  # noqa: PTH118, PTH123
            file.seek(start)
            rest = b""
            while block := file.read(_BLOCK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    sender = read_sender(line)
                    if sender is not None and sender[1] > self.last(sender[0]):
                        self._remember({sender[0]: sender[1]})

    def _compact(self) -> None:
        """Write it anew, short."""
        new = self._path + ".new"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        data = orjson.dumps({"seen": self._seen, "writers": self._places}) + b"\n"
        try:
            _write(fd, data)
            os.rename(new, self._path)  # noqa: PTH104
        except BaseException:
            os.close(fd)
            raise
        old, self._fd = self._fd, fd
        self._size = self._least = len(data)
        self._is_torn = False
        if old >= 0:
            os.close(old)


def _write(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, "the journal could be written in part only")


def _part_of(name: str) -> int:
    part = parse_name(name)
    return -1 if part is None else part.part

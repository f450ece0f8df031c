"""
The dead-letter file: lines that can never be delivered as they are, each with its bytes and the reason.

JSON Lines, only ever appended to, and fsynced before the checkpoint passes the line. A line that is not UTF-8 is kept as base64, so
the bytes are always exact. What is done with an entry later is appended, too: an entry with `done`. So whatever is interrupted
can be repeated; `rewrite` drops what is done. A file lock beside it keeps a shipper and a command from writing at once.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from shipper.core.model import Checked, Chunk, Refused
from shipper.errors import StoreFull

DEAD_LETTERS = "dead-letters.jsonl"
_MAX_CHUNK = 16 * 1024 * 1024  # bytes of a file that are read to find lines of it again


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """
    One entry of the file.

    Args:
        id: Of the record.
        entry: Everything that stands in it.
    """

    id: str
    entry: dict[str, Any]

    @property
    def data(self) -> bytes:
        """The line, exactly."""
        if "data_base64" in self.entry:
            return base64.b64decode(self.entry["data_base64"])
        return str(self.entry.get("data", "")).encode("utf-8", "surrogatepass")


class DeadLetters:
    """
    Appends refused lines to a file.

    Args:
        path: Created at the first refused line.
        max_bytes: The file becomes no larger, unless by the entries that are written first; 0 for no bound.
    """

    def __init__(self, path: Path, *, max_bytes: int = 0) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._writing = threading.Lock()

    def append(self, refused: Sequence[Refused], chunks: Sequence[Checked] = ()) -> None:
        """
        Write refused lines; on return they are on disk.

        Args:
            refused: The lines.
            chunks: What they are from; looked up for the place and the bytes of a line that a store has refused.

        Raises:
            StoreFull: They are not; the checkpoint must not pass them.
        """
        now = _now()
        self._add(b"".join(_encode(one, now) for one in trace(refused, chunks)), self._max_bytes)

    def done(self, ids: Iterable[str], how: str) -> None:
        """
        Write that nothing more is to be done with entries; on return it is on disk.

        Raises:
            StoreFull: It is not.
        """
        now = _now()
        data = b"".join(json.dumps({"time": now, "done": one, "how": how}).encode() + b"\n" for one in ids)
        if data:
            self._add(data, 0)

    def rewrite(self) -> None:
        """
        Drop from the file what is done, and entries that a later one of the same id replaces.

        Raises:
            StoreFull: There is no room for it; the file is what it was.
        """
        temporary = self.path.with_suffix(".tmp")
        try:
            with self._writing, _locked(self.path):
                kept = sorted(index(self.path).values())
                with self.path.open("rb") as old, temporary.open("wb") as new:
                    os.fchmod(new.fileno(), os.fstat(old.fileno()).st_mode & 0o777)
                    for offset in kept:
                        old.seek(offset)
                        new.write(old.readline())
                    new.flush()
                    os.fsync(new.fileno())
                temporary.replace(self.path)
                _sync_folder(self.path.parent)
        except FileNotFoundError:
            return
        except OSError as exc:
            with suppress(OSError):
                temporary.unlink()
            raise StoreFull(f"cannot write {temporary}: {exc.strerror or exc}") from exc

    def _add(self, data: bytes, max_bytes: int) -> None:
        try:
            self.path.parent.mkdir(exist_ok=True, mode=0o750)
            # Deliveries run side by side; cutting back must not cut off another one's entry.
            with self._writing, _locked(self.path):
                self._append(data, max_bytes)
        except OSError as exc:
            raise StoreFull(f"cannot write the dead-letter file {self.path}: {exc.strerror or exc}") from exc

    def _append(self, data: bytes, max_bytes: int) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(fd).st_size
            if max_bytes and size and size + len(data) > max_bytes:
                raise StoreFull(
                    f"the dead-letter file {self.path} has {size} bytes, and dead_letters_bytes allows {max_bytes}: "
                    "deal with what is in it (shipper dead list, replay, purge)"
                )
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
            _sync_folder(self.path.parent)


def index(path: Path) -> dict[str, int]:
    """
    Find the entries with which something is still to be done.

    Returns:
        Where each one stands in the file, by its id, the oldest first; of several with one id the last.
    """
    found: dict[str, int] = {}
    for offset, entry in _entries(path):
        if "done" in entry:
            found.pop(str(entry["done"]), None)
        elif "id" in entry:
            found.pop(str(entry["id"]), None)
            found[str(entry["id"])] = offset
    return found


def read(path: Path, wanted: Callable[[DeadLetter], bool] = lambda _: True) -> Iterator[DeadLetter]:
    """Read the entries with which something is still to be done, one at a time."""
    places = index(path)
    if not places:
        return
    with path.open("rb") as file:
        for key, offset in places.items():
            file.seek(offset)
            letter = DeadLetter(key, json.loads(file.readline()))
            if wanted(letter):
                yield letter


def last_errors(path: Path) -> tuple[int, dict[str, str]]:
    """Count the entries with which something is still to be done, and tell for each file why its last line became one."""
    count, errors = 0, {}
    for letter in read(path):
        count += 1
        entry = letter.entry
        errors[str(entry.get("file"))] = (
            f"{entry.get('time')}: line {entry.get('line')} is a dead letter: {entry.get('reason')}"
        )
    return count, errors


def ids_from(path: Path, offset: int) -> set[str]:
    """Return the ids of the entries that stand at *offset* and after it."""
    return {str(entry["id"]) for _, entry in _entries(path, offset) if "id" in entry}


def trace(refused: Sequence[Refused], chunks: Sequence[Checked]) -> list[Refused]:
    """
    Find out where refused lines stand in their files, and their bytes there: what was sent may have been added to.

    Args:
        refused: Lines.
        chunks: What they are from.

    Returns:
        The lines; one that is not found where it should be (its file was moved away) stays as it is.
    """
    places = [_Places(checked.chunk) for checked in chunks]
    return [one if one.offset >= 0 else _trace(one, places) for one in refused]


def _trace(one: Refused, places: Sequence[_Places]) -> Refused:
    for place in places:
        if one in place:
            return place.find(one)
    return one


class _Places:
    """Where the lines of a chunk stand in their file, which is read once, when the first of them is asked for."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def __contains__(self, one: Refused) -> bool:
        chunk = self._chunk
        return chunk.source.key == one.source.key and chunk.start.line <= one.line < chunk.end.line

    def find(self, one: Refused) -> Refused:
        if not self._lines:
            return one
        number = one.line - self._chunk.start.line
        return replace(one, data=self._lines[number].removesuffix(b"\n"), offset=self._offsets[number])

    @cached_property
    def _lines(self) -> list[bytes]:
        """None where the file is another one by now, or the chunk is one line too long to be held."""
        chunk = self._chunk
        if chunk.size > _MAX_CHUNK:
            return []
        try:
            with open(chunk.source.path, "rb") as file:  # noqa: PTH123 (a path may hold bytes that are no text)
                data = os.pread(file.fileno(), chunk.size, chunk.start.offset)
        except OSError:
            return []
        same = len(data) == chunk.size and (data.endswith(chunk.tail) or chunk.tail.endswith(data))
        return list(BytesIO(data)) if same else []

    @cached_property
    def _offsets(self) -> list[int]:
        return list(accumulate(map(len, self._lines), initial=self._chunk.start.offset))


def _entries(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read whole entries with their places; half of one, which a crash has left, is no entry."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if line.endswith(b"\n"):
                with suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        yield offset, entry
            offset += len(line)


def _encode(refused: Refused, now: str) -> bytes:
    entry: dict[str, object] = {
        "time": now,
        "reason": refused.reason,
        "status": refused.status or None,
        "id": f"{refused.source.key}{refused.mark}-{refused.line:x}",
        "target": refused.source.target,
        "foreign": refused.source.foreign or None,
        "file": refused.source.path,
        "line": refused.line + 1,  # for people: as editors count
        "offset": refused.offset if refused.offset >= 0 else None,
    }
    try:
        entry["data"] = refused.data.decode()
    except UnicodeDecodeError:
        entry["data_base64"] = base64.b64encode(refused.data).decode()
    present = {key: value for key, value in entry.items() if value is not None}
    return json.dumps(present, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside a dead-letter file; not the file's own, since another file may take its place."""
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""
What a `SocketHandler` keeps on disk until the receiver has it.

A spool is a folder of parts in the file protocol, written by the same writer as log files: every record is one write, on
disk before the log call returns. Any number of processes share the folder; each writes a run of its own. Rules:

1. A run is sent by who holds the lock on `.<run>.owner`. Its process takes that before its first record, and the kernel
   lets go of it when the process is gone, however it went.
2. A run that nobody owns, and of which no part has a living writer, is sent by whoever takes it, from its beginning: the
   receiver knows what it has.
3. A part is deleted when all of it is acknowledged and it is not being written.
4. A line that is not ended was never completed: it is not sent.
"""

from __future__ import annotations

import contextlib
import os

from jsonlog.files.protocol import NOLOCK, SUFFIX, is_alive, move_high, parse_name

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: a spool is delivered by the process that wrote it alone
    flock = None  # type: ignore[assignment]

_CHUNK_BYTES = 256 * 1024
_OWNER = ".owner"


class SpooledRun:
    """
    The lines of one run, read in order, as far as they are there.

    Args:
        directory: The spool.
        run: Whose parts.
    """

    def __init__(self, directory: str, run: str) -> None:
        self.run = run
        self._directory = directory
        self._part = -1
        self._name = ""
        self._fd = -1
        self._read = 0
        self._acknowledged = 0
        self._rest = b""

    @property
    def part(self) -> int:
        """The number of the part that is being read; -1 before the first."""
        return self._part

    def read(self) -> list[bytes]:
        """
        Read the next lines, about 256 KiB of them, from one part.

        Returns:
            Lines without their newlines; none where nothing more is there yet.

        Raises:
            OSError: The folder cannot be read.
        """
        lines = self._lines()
        while not lines:
            # Looked for first, read again after: what was written before the writer went on must not be passed over.
            following = self._following()
            if following is None:
                return []
            lines = self._lines()
            if not lines:
                self._go_on(*following)
                lines = self._lines()
        return lines

    def commit(self) -> None:
        """Take note that everything that was read is acknowledged."""
        self._acknowledged = self._read

    def rewind(self) -> None:
        """Read once more what was not acknowledged."""
        self._read = self._acknowledged

    def delete(self) -> None:
        """Delete what is left of the run, after all of it was acknowledged; a part that has not been read stays."""
        self.close()
        for part, name in _parts(self._directory).get(self.run, []):
            if part <= self._part:
                _unlink(self._directory, name)
        _unlink(self._directory, f".{self.run}{_OWNER}")

    def close(self) -> None:
        """Let go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _lines(self) -> list[bytes]:
        if self._fd < 0:
            return []
        size = _CHUNK_BYTES
        while True:
            data = os.pread(self._fd, size, self._read)
            end = data.rfind(b"\n") + 1
            if end or len(data) < size:
                break
            size *= 4  # a line that is longer than that
        self._read += end
        return data[:end].split(b"\n")[:-1]

    def _following(self) -> tuple[int, str] | None:
        later = [one for one in _parts(self._directory).get(self.run, []) if one[0] > self._part]
        return later[0] if later else None

    def _go_on(self, part: int, name: str) -> None:
        """Go on to the next part, only ever after everything in this one has been acknowledged."""
        if self._acknowledged < self._read:
            raise RuntimeError("a part was left before it was acknowledged")
        fd = os.open(os.path.join(self._directory, name), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))  # noqa: PTH118
        self.close()
        if self._name:
            _unlink(self._directory, self._name)
        self._part, self._name, self._fd = part, name, move_high(fd)
        self._read = self._acknowledged = 0


def claim(directory: str, run: str) -> int | None:
    """
    Become the one who sends a run.

    Returns:
        A descriptor to keep open as long as one does; None where somebody else is.

    Raises:
        OSError: The folder cannot be written, or knows no locks.
    """
    if flock is None:
        raise OSError("this system has no flock")
    path = os.path.join(directory, f".{run}{_OWNER}")  # noqa: PTH118
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        fd = os.open(path, flags, 0o600)
        try:
            flock(fd, LOCK_EX | LOCK_NB)
            found, known = os.stat(path), os.fstat(fd)  # noqa: PTH116
            if (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino):
                return move_high(fd)
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its owner had deleted it; look again


def find_orphan(directory: str) -> tuple[SpooledRun, int] | None:
    """
    Take over a run that a process has left behind.

    Returns:
        The run and the descriptor that holds it; None where there is none.
    """
    try:
        runs = _parts(directory)
    except OSError:
        return None
    for run, parts in runs.items():
        if any(name.endswith(NOLOCK + SUFFIX) for _, name in parts):
            continue  # nobody can tell whether its writer lives
        with contextlib.suppress(OSError):
            fd = claim(directory, run)
            if fd is None:
                continue
            if not any(is_alive(os.path.join(directory, name)) for _, name in parts):  # noqa: PTH118
                return SpooledRun(directory, run), fd
            os.close(fd)
    return None


def _parts(directory: str) -> dict[str, list[tuple[int, str]]]:
    """List the parts of each run, in order."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in os.listdir(directory):  # noqa: PTH208
        part = parse_name(name)
        if part is not None:
            found.setdefault(part.run, []).append((part.part, name))
    return {run: sorted(parts) for run, parts in found.items()}


def _unlink(directory: str, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(directory, name))  # noqa: PTH108, PTH118

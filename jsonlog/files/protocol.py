"""
The file protocol between the two programs: names and locks. See docs/design.md, section 2.

`jsonlog` writes by it and `shipper` reads by it, so it imports the standard library alone.

Rules that everything here keeps:

1. A name is used once. The `run` in it is random, so neither a pid nor a restart can repeat it.
2. Visible means locked. A part gets its final name only after its writer holds `flock(LOCK_EX)` on it.
3. Nobody calls `LOCK_UN`. In a forked child that would free the parent's lock; `close` does not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable

_flock: Callable[[int, int], None] | None
_move: Callable[[int, int], int] | None
try:
    from fcntl import F_DUPFD_CLOEXEC, LOCK_EX, LOCK_NB, LOCK_SH, fcntl, flock

    _flock = flock

    def _move(fd: int, least: int) -> int:
        return fcntl(fd, F_DUPFD_CLOEXEC, least)

except ImportError:  # Windows has no flock; parts there are named `.nolock`
    _flock = _move = None

_HIGH = (900, 200)  # the usual limit is 1,024 descriptors, small ones are 256
SUFFIX = ".jsonl"
NOLOCK = ".nolock"
_RUN_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no letter that looks like a digit
_RUN_LENGTH = 16
MAX_SERVICE = 80
_MAX_HOST = 60
_NAME = (  # compiled at its first use: writers never need it
    r"(?P<service>[A-Za-z0-9_.%]{1,80})-(?P<host>[A-Za-z0-9_.%]{1,60})-(?P<pid>[0-9]{1,10})"
    rf"-(?P<run>[{_RUN_ALPHABET}]{{{_RUN_LENGTH}}})\.(?P<part>[0-9]{{1,10}})(?P<nolock>\.nolock)?\.jsonl"
)
# What a file system without flock answers: some NFS mounts, some shares of virtual machines.
_NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class PartName:
    """The facts that stand in the name of a part."""

    service: str
    host: str
    pid: int
    run: str
    part: int
    locked: bool

    @property
    def stem(self) -> str:
        """The file name without `.jsonl` (and `.nolock`): what the ids of its lines begin with."""
        return f"{encode_piece(self.service, MAX_SERVICE)}-{encode_piece(self.host, _MAX_HOST)}-{self.pid}-{self.run}.{self.part}"

    def __str__(self) -> str:
        return self.stem + ("" if self.locked else NOLOCK) + SUFFIX


def new_run() -> str:
    """Draw the name of a new writer: 16 characters, 80 random bits."""
    number = int.from_bytes(os.urandom(10), "big")
    return "".join(_RUN_ALPHABET[number >> shift & 31] for shift in range(0, 80, 5))


def encode_piece(text: str, limit: int) -> str:
    """
    Percent-encode *text* so that it can stand in a file name between hyphens.

    Args:
        text: Any string, also an empty one, one with slashes or lone surrogates.
        limit: The most characters of the result; it is cut between whole encoded characters.

    Returns:
        Only `[A-Za-z0-9_.%]`, never empty, never with a leading dot (a hidden file matches no glob).
    """
    pieces: list[str] = []
    length = 0
    for position, char in enumerate(text):
        plain = char.isascii() and (char.isalnum() or char == "_" or (char == "." and position > 0))
        piece = char if plain else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        length += len(piece)
        if length > limit:
            break
        pieces.append(piece)
    return "".join(pieces) or "_"


def _decode_piece(text: str) -> str:
    # urllib.parse.unquote would do, but costs an application that imports jsonlog 4 ms.
    head, *rest = text.encode().split(b"%")
    try:
        data = head + b"".join(bytes((int(piece[:2], 16),)) + piece[2:] for piece in rest)
        return data.decode("utf-8", "surrogatepass")
    except ValueError:  # not what `encode_piece` writes, so the name will not be the same again
        return ""


def parse_name(name: str) -> PartName | None:
    """
    Read the facts out of a file name.

    Returns:
        None when the name is not one of ours: such a file is foreign.
    """
    found = re.fullmatch(_NAME, name)
    if found is None:
        return None
    part = PartName(
        service=_decode_piece(found["service"]),
        host=_decode_piece(found["host"]),
        pid=int(found["pid"]),
        run=found["run"],
        part=int(found["part"]),
        locked=found["nolock"] is None,
    )
    return part if str(part) == name else None


def create_part(directory: str, name: PartName, mode: int, group: int = -1, pid: int | None = None) -> tuple[int, str]:
    """
    Create a part and make it visible under its name, already locked.

    Args:
        directory: An existing directory.
        name: The part's facts; `locked` is what one hopes for.
        mode: Permission bits, set whatever the umask is, so that a sidecar's group can read. Where the file system or
            the user's rights do not allow mode or group, the part has others.
        group: Its group, by number; -1: what the system gives it.
        pid: The process whose part it is; a child that a signal handler forks in the middle must not make it, too.

    Returns:
        The descriptor (append only, closed on exec, lock held) and the path. Where the file system knows no `flock`,
        the path ends in `.nolock.jsonl`.

    Raises:
        OSError: The directory is gone, full or not writable, or somebody replaced the file while it was made; nothing
            is left behind.
    """
    pid = os.getpid() if pid is None else pid
    temporary = os.path.join(directory, f".{name}.tmp")  # noqa: PTH118 (a Path costs more than the call it wraps)
    flags = (
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    )
    fd = os.open(temporary, flags, 0o600)
    try:
        _give(fd, mode, group)
        if not _lock(fd):
            name = PartName(name.service, name.host, name.pid, name.run, name.part, locked=False)
        path = os.path.join(directory, str(name))  # noqa: PTH118
        _publish(fd, temporary, path, pid)
    except BaseException:
        os.close(fd)
        if os.getpid() == pid:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
        raise
    return fd, path


def _give(fd: int, mode: int, group: int) -> None:
    if group >= 0 and hasattr(os, "fchown"):
        with contextlib.suppress(OSError):
            os.fchown(fd, -1, group)
    if hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):
            os.fchmod(fd, mode)


def _publish(fd: int, temporary: str, path: str, pid: int) -> None:
    if os.getpid() != pid:
        raise OSError(errno.ECHILD, os.strerror(errno.ECHILD))
    os.rename(temporary, path)  # noqa: PTH104
    if _is_replaced(fd, path):
        raise PermissionError(errno.EPERM, "somebody replaced the file while it was made", path)


def _is_replaced(fd: int, path: str) -> bool:
    """
    Tell whether the path leads to another file than the descriptor: who may write to the directory can do that.

    Some file systems of the FUSE kind number a file differently by its path, so an empty file of this user's with no
    other name is believed.
    """
    here = os.fstat(fd)
    there = os.lstat(path)
    if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
        return False
    known = (stat.S_IFREG, here.st_uid, 1, 0)
    return here.st_nlink == 0 or (stat.S_IFMT(there.st_mode), there.st_uid, there.st_nlink, there.st_size) != known


def move_high(fd: int) -> int:
    """
    Give a descriptor a high number, where code that closes or reuses low ones does not meet it; the lock goes with it.

    Returns:
        The new number, closed on exec; *fd* itself where the system has no room up there.
    """
    if _move is None:
        return fd
    for least in _HIGH:
        try:
            high = _move(fd, least)
        except OSError:
            continue
        os.close(fd)
        return high
    return fd


def _lock(fd: int) -> bool:
    if _flock is None:
        return False
    try:
        _flock(fd, LOCK_EX | LOCK_NB)
    except OSError as exc:
        if exc.errno in _NO_FLOCK:
            return False
        raise
    return True


def writer_alive(fd: int) -> bool:
    """
    Tell whether the writer of a locked part still holds its lock.

    The probe takes a shared lock for as long as *fd* is open, so give it a descriptor of its own and close that.

    Args:
        fd: A descriptor of a part whose name says that it is locked, opened for this probe.

    Raises:
        OSError: The file system cannot answer.
    """
    if _flock is None:
        return False
    try:
        _flock(fd, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    return False


def is_alive(path: str) -> bool:
    """Tell whether the writer of a part lives, by its path; a part that is gone has none, and in doubt it lives."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return writer_alive(fd)
    except OSError:
        return True
    finally:
        os.close(fd)

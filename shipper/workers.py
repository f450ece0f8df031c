"""
Several processes that share the files, for a machine that writes more than one core can ship.

Each worker is a whole shipper with a state of its own: worker 0 in the state folder, the others in `worker-1`, `worker-2` and so
on in it. A file of jsonlog belongs to the worker that its run falls to by a checksum; foreign files, whose names prove nothing,
all belong to worker 0. When the number of workers changes, what the checkpoints know of the files is dealt out anew before the
first worker starts.

The parent does no work: it passes signals on, and ends all workers when one of them ends unexpectedly. When it is killed, they end at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

from jsonlog.files.protocol import parse_name
from shipper.checkpoint import CHECKPOINT, Checkpoint
from shipper.errors import ShipperError

_PREFIX = "worker-"


@dataclass(frozen=True, slots=True)
class Share:
    """The files of worker *index* of *count*."""

    index: int = 0
    count: int = 1

    def holds(self, path: str) -> bool:
        """Tell whether a file belongs to this worker."""
        return self.count == 1 or owner(path, self.count) == self.index

    def folder(self, state: Path) -> Path:
        """Return the folder of this worker's state in the one that was configured."""
        return state / f"{_PREFIX}{self.index}" if self.index else state


ALL = Share()


def owner(path: str, count: int) -> int:
    """Return the number of the worker that a file belongs to; all parts of a run belong to one."""
    part = parse_name(os.path.basename(path))  # noqa: PTH119 (asked of every file, at every look)
    return zlib.crc32(part.run.encode()) % count if part is not None else 0


def state_folders(state: Path) -> list[Path]:
    """List the folders of all workers that have ever run with this state: the one that was configured first."""
    return [state, *sorted(path for path in state.glob(f"{_PREFIX}*") if (path / CHECKPOINT).exists())]


def deal_out(state: Path, count: int) -> None:
    """
    Move what the checkpoints know of files to the workers that these belong to now.

    A checkpoint is made only for a worker that gets something: that it is new tells a worker that nobody knows what was sent.

    Raises:
        ConfigError: Another shipper uses the state.
        StoreError: A checkpoint cannot be used.
    """
    folders = state_folders(state)
    if len(folders) == count == 1:
        return
    opened = {folder: Checkpoint(folder) for folder in folders if (folder / CHECKPOINT).exists()}
    try:
        for folder, checkpoint in list(opened.items()):
            moves: dict[Path, list[str]] = {}
            for key, known in checkpoint.load().items():
                index = 0 if known.foreign else owner(f"{key}.jsonl", count)
                moves.setdefault(Share(index, count).folder(state), []).append(key)
            moves.pop(folder, None)
            for right, keys in moves.items():
                if right not in opened:
                    opened[right] = Checkpoint(right)
                checkpoint.hand_over(keys, opened[right])
    finally:
        for checkpoint in opened.values():
            checkpoint.close()


def supervise(count: int, work: Callable[[Share], int]) -> int:
    """
    Run *work* in *count* processes.

    Args:
        count: How many, at least 2.
        work: Ships one share and returns the exit code.

    Returns:
        The largest exit code of a worker; 128 and the number of the signal for one that was killed.
    """
    context = multiprocessing.get_context(
        "fork"
    )  # nothing runs yet that a fork could harm, and all is imported already
    alive, here = context.Pipe(duplex=False)
    workers = [context.Process(target=_work, args=(work, Share(index, count), alive, here)) for index in range(count)]
    told: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        del frame
        told.append(number)
        for worker in workers:
            if worker.pid is not None and worker.exitcode is None:
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    for worker in workers:
        worker.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # one that came during the start comes now
    return _await(workers, told, pass_on)


def _await(workers: list[ForkProcess], told: list[int], pass_on: Callable[[int, object], None]) -> int:
    running = {worker.sentinel: worker for worker in workers}
    worst = 0
    while running:
        for sentinel in wait(list(running)):
            assert isinstance(sentinel, int)
            worker = running.pop(sentinel)
            worker.join()
            code = worker.exitcode or 0
            worst = max(worst, code if code >= 0 else 128 - code)
            if code and running and not set(told) & {signal.SIGTERM, signal.SIGINT}:
                pass_on(signal.SIGTERM, None)  # who restarts us, restarts us as a whole
    return worst


def _work(work: Callable[[Share], int], share: Share, alive: Connection, here: Connection) -> None:
    """Be a worker: out of reach of the terminal's signals, which the parent passes on, and not for longer than the parent."""
    os.setpgid(0, 0)
    here.close()

    def watch() -> None:
        with suppress(EOFError, OSError):
            alive.recv_bytes()
        os.kill(os.getpid(), signal.SIGKILL)  # as it was: who starts it again finds the state free

    threading.Thread(target=watch, daemon=True).start()
    try:
        code = work(share)
    except ShipperError as exc:
        sys.stderr.write(f"shipper: worker {share.index}: {exc}\n")
        code = exc.exit_code
    sys.exit(code)

"""
The thread that brings a spool to the receiver. One for each process that logs.

It sends a chunk of lines, waits until the receiver has them in its files, and sends the next: nothing is ever forgotten
before that, so it does not matter when the connection breaks or either side is killed. After its own run it sends those
that other processes have left behind.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import threading
import time

from jsonlog.files.policy import Policy
from jsonlog.files.protocol import move_high
from jsonlog.files.stderr import say
from jsonlog.files.writer import PartWriter
from jsonlog.relay.link import Link
from jsonlog.relay.spool import SpooledRun, claim, find_orphan
from jsonlog.relay.wire import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jsonlog.files.folder import Folder
    from jsonlog.relay.place import Place

_FIRST_S, _MOST_S = 0.1, 10.0
_ORPHANS_S = 30.0
_SEGMENTS = 8
_MAX_SEGMENT_BYTES = 8 * 1024 * 1024
REFUSED = "refused.jsonl"


class Delivery:
    """
    What one process has to do with a spool and a receiver: a run in the spool, and the thread that sends it.

    Args:
        place: Where the records go.
        folder: The spool, as the writer sees it.
    """

    def __init__(self, place: Place, folder: Folder) -> None:
        self.pid = os.getpid()
        self.refused = 0
        self._place = place
        self._segment_bytes = min(_MAX_SEGMENT_BYTES, place.max_spool_bytes // _SEGMENTS)
        folder.make()
        self._writer = PartWriter(folder, Policy(max_bytes=self._segment_bytes))
        self._own = SpooledRun(place.spool, self._writer.run)
        self._owner: int | None = None
        with contextlib.suppress(OSError):  # no locks here, so nobody can take over from anybody
            self._owner = claim(place.spool, self._writer.run)
        self._adopted: tuple[SpooledRun, int] | None = None
        self._link: Link | None = None
        self._wakes, self._waker = map(move_high, os.pipe())
        os.set_blocking(self._waker, False)
        self._is_idle = False
        self._is_ending = False
        self._deadline = float("inf")
        self._look_at = 0.0
        self._wait_s = 0.0
        self._told = ""
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="jsonlog-socket", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down: `end` sends in its own thread
            self._thread = None

    def put(self, line: bytes) -> None:
        """Put a line into the spool. Where that is full it goes to stderr and uses up its number."""
        if self._writer.count - max(0, self._own.part) >= self._place.max_spool_bytes // self._segment_bytes:
            self._writer.refuse(line, f"the spool holds {self._place.max_spool_bytes} bytes that the receiver has not")
        else:
            self._writer.write(line)
        if self._is_idle:
            self._wake()

    def end(self, drain_s: float) -> None:
        """Deliver what is there within *drain_s*, and leave the rest in the spool for the next process."""
        self._deadline = time.monotonic() + drain_s
        self._is_ending = True
        self._writer.close()
        self._wake()
        if self._thread is not None:
            self._thread.join(drain_s + 1)
            if self._thread.is_alive():  # in the middle of a call to the system; the spool keeps what it has
                return
        else:
            self._run()
        self._close()

    def abandon(self) -> None:
        """In a forked child: let go of what is the parent's, without a word to the receiver."""
        if self._link is not None:
            self._link.close()
        self._close(in_child=True)

    def _wake(self) -> None:
        self._is_idle = False
        with contextlib.suppress(OSError):  # full: then it is awake
            os.write(self._waker, b".")

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._work()
                self._wait_s = 0.0
            except Exception as exc:  # noqa: BLE001 (the thread must not end: records would pile up without a word)
                self._hang_up()
                self._tell(exc)
                self._wait_s = min(_MOST_S, max(_FIRST_S, 2 * self._wait_s))
                self._sleep(self._wait_s * random.uniform(0.5, 1.0))  # noqa: S311 (so that 50 senders do not come at once)

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline

    def _work(self) -> None:
        """Send until there is nothing more to send, then wait for more, or return if it is the end."""
        while not self._is_over():
            is_last = self._is_ending  # asked before the look: what was put before the end was said is there to be seen
            sent = self._send(self._own)
            orphan = self._orphan()
            if orphan is not None:
                if self._send(orphan[0]):
                    sent = True
                else:
                    self._adopted = None
                    orphan[0].delete()
                    os.close(orphan[1])
                    self._look_at = 0.0  # there may be more of them
            if sent or orphan is not None:
                continue
            if is_last:
                self._deadline = 0.0
                return
            self._is_idle = True
            if self._writer.path is not None and self._send(self._own):  # between the last look and the flag
                self._is_idle = False
                continue
            if self._is_ending:
                continue
            self._sleep(_ORPHANS_S)

    def _send(self, run: SpooledRun) -> bool:
        """Send one chunk of a run; False where it has no more."""
        lines = run.read()
        if not lines:
            return False
        try:
            link = self._link or self._connect()
            good = [line for line in lines if len(line) <= link.max_line_bytes]
            if len(good) < len(lines):
                self._put_aside([line for line in lines if len(line) > link.max_line_bytes], link.max_line_bytes)
            if good:
                link.send(good)
        except BaseException:
            run.rewind()
            raise
        run.commit()
        return True

    def _connect(self) -> Link:
        self._link = Link(self._place.host, self._place.port, self._place.token)
        if self._told:
            self._told = ""
            say(f"connected to {self._where()}")
        return self._link

    def _orphan(self) -> tuple[SpooledRun, int] | None:
        now = time.monotonic()
        if self._adopted is None and now >= self._look_at and not self._is_ending:
            self._look_at = now + _ORPHANS_S
            self._adopted = find_orphan(self._place.spool)
        return self._adopted

    def _sleep(self, timeout_s: float) -> None:
        """Wait for a record, for the end, for the connection to break, or so long."""
        sources: list[int] = [self._wakes] if self._link is None else [self._wakes, self._link.socket.fileno()]
        timeout_s = max(0.0, min(timeout_s, self._deadline - time.monotonic()))
        poller = select.poll()  # `select` knows no high numbers
        for source in sources:
            poller.register(source, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(timeout_s * 1000)}
        self._is_idle = False
        if self._wakes in ready:
            os.read(self._wakes, 65536)
        if self._link is not None and self._link.socket.fileno() in ready:
            self._hang_up()  # it has nothing to say now but that it goes

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _put_aside(self, lines: list[bytes], limit: int) -> None:
        """Keep what the receiver will never take, where an operator finds it, and go on."""
        self.refused += len(lines)
        path = os.path.join(self._place.spool, REFUSED)  # noqa: PTH118
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            for line in lines:
                os.write(fd, line + b"\n")
        finally:
            os.close(fd)
        say(f"{len(lines)} records are longer than the {limit} bytes that {self._where()} takes; they are in {path}")

    def _tell(self, exc: Exception) -> None:
        """Say once why nothing is delivered."""
        why = str(exc)[:500] if isinstance(exc, Refused) else str(getattr(exc, "strerror", None) or repr(exc))
        if why != self._told:
            self._told = why
            verb = "does not take what is sent" if isinstance(exc, Refused) else "cannot be reached"
            say(f"{self._where()} {verb}: {why}; records are kept in {self._place.spool}")

    def _where(self) -> str:
        return self._place.host if self._place.port is None else f"{self._place.host}:{self._place.port}"

    def _close(self, *, in_child: bool = False) -> None:
        self._hang_up()
        if not in_child:
            with contextlib.suppress(OSError):
                if not self._own.read():
                    self._own.delete()
        self._own.close()
        if self._adopted is not None:
            self._adopted[0].close()
            os.close(self._adopted[1])
            self._adopted = None
        for fd in (self._owner, self._wakes, self._waker):
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._owner, self._wakes, self._waker = None, -1, -1

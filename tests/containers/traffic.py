"""Requests against the application for as long as the proof lasts, each with an id that is looked for in the store."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

PAUSE_S = 0.03
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that was answered: the application has logged it, or was killed before it could."""

    request_id: str
    status: int
    at: float


class Traffic:
    """A few clients that send one request after the other, and keep on while the application is away."""

    def __init__(self, port: int, prefix: str, paths: Sequence[str], clients: int = 2) -> None:
        self.answers: list[Answer] = []
        self.failures = 0
        self._port = port
        self._ids = (f"{prefix}-{number:06d}" for number in itertools.count())
        self._paths = paths
        self._next = threading.Lock()
        self._end = threading.Event()
        self._clients = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let each client finish the request it is at."""
        self._end.set()
        for client in self._clients:
            client.join(TIMEOUT_S + 5)

    def wait_for_answer(self, timeout_s: float) -> Answer | None:
        """Return the first request that is answered from now on, or None when the time is up."""
        had = len(self.answers)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if len(self.answers) > had:
                return self.answers[had]
            time.sleep(0.05)
        return None

    def _send(self) -> None:
        for turn in itertools.count():
            if self._end.wait(PAUSE_S):
                return
            with self._next:
                request_id = next(self._ids)
            answer = request(self._port, self._paths[turn % len(self._paths)], request_id)
            if answer is None:
                self.failures += 1
                self._end.wait(0.1)
            else:
                self.answers.append(answer)


def request(port: int, path: str, request_id: str = "") -> Answer | None:
    """Send one GET request and return what came of it, or None when it was not answered to the end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path, headers={"X-Request-ID": request_id} if request_id else {})
        answer = connection.getresponse()
        answer.read()
        return Answer(request_id, answer.status, time.monotonic())
    return None

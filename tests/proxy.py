"""
A TCP proxy that breaks connections in the ways that networks do; it knows of HTTP only where a request begins.

What is done to the next requests is said by `faults`, one name for each; the others pass. Names: `lose` (the server has answered, nobody
hears it), `reset` (the same, with a reset), `cut` (half of the answer), `half` (half of the request), `garble` (an answer that
is none), `delay` (the answer comes late), `refuse` (closed before the request is read).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Self

_BLOCK = 1 << 16


class Proxy:
    """
    Listens on a port of its own, on loopback.

    Args:
        port: Where the server is.
        begins: How a request begins that is counted and may be broken.
        delay_s: How late the answer of a delayed request is.
    """

    def __init__(self, port: int, *, begins: bytes = b"POST /_bulk", delay_s: float = 2.0) -> None:
        self.faults: deque[str] = deque()
        self.done: list[str] = []
        self._to = ("127.0.0.1", port)
        self._begins = begins
        self._delay_s = delay_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open = True
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._open = False
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._to, timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        state = {"fault": ""}
        back = threading.Thread(target=self._answers, args=(client, server, state), daemon=True)
        back.start()
        with suppress(OSError):
            while block := client.recv(_BLOCK):
                if block.startswith(self._begins):
                    state["fault"] = self.faults.popleft() if self.faults else ""
                    if state["fault"] in ("half", "refuse"):
                        self.done.append(state["fault"])
                        server.sendall(block[: len(block) // 2] if state["fault"] == "half" else b"")
                        break
                server.sendall(block)
        _close(server)
        _close(client)

    def _answers(self, client: socket.socket, server: socket.socket, state: dict[str, str]) -> None:
        with suppress(OSError):
            while block := server.recv(_BLOCK):
                fault, state["fault"] = state["fault"], ""
                if fault:
                    self.done.append(fault)
                if fault == "delay":
                    time.sleep(self._delay_s)
                if fault == "reset":
                    _reset(client)
                    break
                if fault in ("lose", "cut", "garble"):
                    client.sendall({"lose": b"", "cut": block[: len(block) // 2], "garble": b"\x00what\r\n\r\n"}[fault])
                    break
                client.sendall(block)
        _close(client)
        _close(server)


def _reset(connection: socket.socket) -> None:
    """Close so that the other side gets a reset."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads; until then the connection would stay
    connection.close()


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

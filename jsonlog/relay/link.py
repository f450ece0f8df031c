"""One connection to a receiver: the greeting, lines out, acknowledgements in."""

from __future__ import annotations

import socket

from jsonlog.files.protocol import move_high
from jsonlog.relay.wire import MAX_HELLO_BYTES, VERSION, Frames, Refused, frame, message, proof, read_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONNECT_S = 5.0
_ANSWER_S = 30.0


class Link:
    """
    A connection that has been greeted.

    Args:
        host: A name or an address, or the path of a Unix socket.
        port: None for a Unix socket.
        token: What the receiver may ask for.

    Raises:
        OSError: Nobody is there, or the connection broke.
        Refused: Somebody is there and does not take what we send; says why.
    """

    def __init__(self, host: str, port: int | None, token: str | None) -> None:
        self.socket = _connect(host, port)
        self._frames = Frames(MAX_HELLO_BYTES)
        self._acknowledged = 0
        try:
            self.socket.settimeout(_ANSWER_S)
            self.max_line_bytes = self._greet(token)
        except BaseException:
            self.close()
            raise

    def send(self, lines: list[bytes]) -> None:
        """
        Send lines and wait until all of them are in the receiver's files.

        Raises:
            OSError: The connection broke, or no answer came in time; the receiver may have any first part of them.
            Refused: The receiver says why.
        """
        try:
            self.socket.sendall(b"".join(map(frame, lines)))
        except OSError:
            self._wait_for(2**62)  # it may have said why before it hung up
            raise
        self._wait_for(self._acknowledged + len(lines))

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _greet(self, token: str | None) -> int:
        greeting = self._receive()
        if greeting.get("jsonlog") != VERSION:
            raise Refused(f"what listens there is not a receiver of version {VERSION}: {str(greeting)[:200]}")
        nonce = greeting.get("nonce")
        if nonce and not token:
            raise Refused("it asks for a token, and there is none")
        self.socket.sendall(message(jsonlog=VERSION, **({"proof": proof(token, str(nonce))} if token else {})))
        self._wait_for(0)
        return int(greeting.get("max_line_bytes", 0)) or 2**31

    def _wait_for(self, count: int) -> None:
        while True:
            answer = self._receive()
            if type(answer.get("ack")) is int:
                self._acknowledged = answer["ack"]
                if self._acknowledged >= count:
                    return

    def _receive(self) -> dict[str, Any]:
        while True:
            found = self._frames.take(1)
            if found:
                answer = read_message(found[0])
                if "error" in answer:
                    raise Refused(str(answer["error"])[:1000])
                return answer
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError("the receiver hung up")
            self._frames.feed(data)


def _connect(host: str, port: int | None) -> socket.socket:
    if port is None:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(_CONNECT_S)
        try:
            plain.connect(host)
        except BaseException:
            plain.close()
            raise
    else:
        plain = socket.create_connection((host, port), _CONNECT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # A low number is one that other code may close and use again.
    return socket.socket(fileno=move_high(plain.detach()))

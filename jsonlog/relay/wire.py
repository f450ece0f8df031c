"""
The wire between `jsonlog.SocketHandler` and `jsonlog receive`: bytes in, values out, no socket anywhere.

A frame is a length (4 bytes, big-endian) and so many bytes of JSON. No pickle, in either direction, ever: unpickling what
a socket brings is running whatever the other side likes.

==============  ======================================  =======================================================
who             frame                                   meaning
==============  ======================================  =======================================================
receiver        {"jsonlog":1,"max_line_bytes":n,…}      first; with "nonce" where a token is asked for
sender          {"jsonlog":1}                           with "proof": HMAC-SHA256 of the nonce under the token
receiver        {"ack":0}                               welcome
sender          a line of its spool, as it stands       ends in "run" and "event.sequence", the sender's numbers
receiver        {"ack":n}                               the first n lines of this connection are in its files
receiver        {"error":"why"}                         last; nothing that came after the last ack was kept
==============  ======================================  =======================================================

A line that is sent again, on any connection, is known by the sender's run and number, and acknowledged without being
written. So the lines of a run have to come in the order of their numbers; gaps are allowed.
"""

from __future__ import annotations

import struct

import orjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
MAX_HELLO_BYTES = 4096
_LENGTH = struct.Struct(">L")
_PICKLES = (b"\x80", b"}q", b"(d", b"(i", b"cco")
_OTHERS = {b"GET ": "HTTP", b"POST": "HTTP", b"HEAD": "HTTP", b"PUT ": "HTTP", b"\x16\x03\x01": "TLS"}


class Refused(Exception):
    """The other side does not take what this one sends, and why."""


def frame(data: bytes) -> bytes:
    """Put a length before *data*."""
    return _LENGTH.pack(len(data)) + data


def message(**fields: Any) -> bytes:
    """Make a frame of a small JSON object."""
    return frame(orjson.dumps(fields))


def read_message(data: bytes) -> dict[str, Any]:
    """
    Read a frame that is no line.

    Raises:
        Refused: It is not a JSON object.
    """
    try:
        fields = orjson.loads(data)
    except ValueError:
        fields = None
    if type(fields) is not dict:
        raise Refused(foreign(data) or "not a JSON object")
    return fields


def proof(token: str, nonce: str) -> str:
    """Show that one knows the token without sending it."""
    import hmac  # noqa: PLC0415 (where there is a token)

    return hmac.new(token.encode(), nonce.encode(), "sha256").hexdigest()


def foreign(data: bytes) -> str | None:
    """Say what bytes are that are not JSON, where they are known; *data* may be the beginning alone."""
    if data.startswith(_PICKLES):
        return (
            "this is pickle, as logging.handlers.SocketHandler sends it: unpickling it would run whatever the sender "
            "likes, so it is never read; use jsonlog.SocketHandler"
        )
    return next((f"this is {name}; jsonlog speaks frames of JSON" for head, name in _OTHERS.items() if data.startswith(head)), None)  # fmt: skip


class Frames:
    """
    Cuts what arrives into frames.

    Args:
        max_bytes: Of one frame.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._buffer = bytearray()

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer)

    def peek(self, size: int) -> bytes:
        """Give the first bytes that wait, length included."""
        return bytes(self._buffer[:size])

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer += data

    def take(self, limit: int = 2**31) -> list[bytes]:
        """
        Give the frames that are whole.

        Args:
            limit: Of how many.

        Raises:
            Refused: A frame is longer than allowed. Frames before it are given first.
        """
        buffer, start = self._buffer, 0
        found: list[bytes] = []
        view = memoryview(buffer)
        try:
            while len(found) < limit and len(buffer) - start >= 4:
                (length,) = _LENGTH.unpack_from(buffer, start)
                if length > self.max_bytes:
                    if found:
                        break
                    raise Refused(self._too_long(length))
                if len(buffer) - start - 4 < length:
                    break
                found.append(bytes(view[start + 4 : start + 4 + length]))
                start += 4 + length
        finally:
            view.release()
        del buffer[:start]
        return found

    def _too_long(self, length: int) -> str:
        known = foreign(bytes(self._buffer[:8]))
        return known or f"a frame of {length} bytes is longer than {self.max_bytes}"

"""Where a `SocketHandler` sends its records, and what it was told about the way."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

_MIN_SPOOL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """
    A receiver and the spool on the way to it.

    Args:
        host: A name or an address, or the path of a Unix socket.
        port: None for a Unix socket.
        spool: An absolute path.
        token: What the receiver asks for, if it does.
        max_spool_bytes: Of one process.
    """

    host: str
    port: int | None
    spool: str
    token: str | None = field(repr=False)
    max_spool_bytes: int

    @classmethod
    def checked(cls, host: object, port: object, spool: object, token: object, max_spool_bytes: object) -> Place:
        """
        Check what the user gave.

        Raises:
            ValueError: An argument is of the wrong kind; names it.
        """
        if not isinstance(host, str) or not host:
            raise ValueError(f"SocketHandler: 'host' must be a name, an address or a path, got {host!r}")
        if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
            raise ValueError(f"SocketHandler: 'port' must be 1 to 65535, or None for a Unix socket, got {port!r}")
        if not isinstance(spool, (str, os.PathLike)) or not os.fspath(spool):
            raise ValueError(f"SocketHandler: 'spool' must be the path of a folder, got {spool!r}")
        if token is not None and not isinstance(token, str):
            raise ValueError(f"SocketHandler: 'token' must be a string, got {type(token).__name__}")
        if (
            isinstance(max_spool_bytes, bool)
            or not isinstance(max_spool_bytes, int)
            or max_spool_bytes < _MIN_SPOOL_BYTES
        ):
            raise ValueError(
                f"SocketHandler: 'max_spool_bytes' must be a number of bytes, {_MIN_SPOOL_BYTES} or more, got {max_spool_bytes!r}"
            )
        path = os.path.abspath(os.path.expanduser(os.fspath(spool)))  # noqa: PTH100, PTH111
        return cls(host, port, str(path), token or None, max_spool_bytes)

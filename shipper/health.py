"""
Metrics, health and readiness over HTTP, for those who ask with GET: `/metrics`, `/healthz`, `/readyz`.

Served by the loop that also ships: where it hangs there is no answer, and that is the point of `/healthz`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

from shipper.errors import ConfigError

Page = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""Makes an answer: status, content type, body."""

TEXT = "text/plain; charset=utf-8"
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s\[\]:]*)):([0-9]{1,5})")
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_PATIENCE_S = 5.0
_AT_ONCE = 16


class HealthServer:
    """
    Answers GET requests.

    Args:
        pages: What is served, by path.
    """

    def __init__(self, pages: dict[str, Page]) -> None:
        self._pages = pages
        self._busy = asyncio.Semaphore(_AT_ONCE)
        self._server: asyncio.Server | None = None

    async def start(self, listen: str) -> str:
        """
        Begin to listen.

        Args:
            listen: `host:port`; port 0 takes a free one.

        Returns:
            The URL.

        Raises:
            ConfigError: The address cannot be used.
        """
        host, port = parse_address(listen)
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=8192)
        except (OSError, UnicodeError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise ConfigError(f"--metrics {listen}: cannot listen there: {reason}; give another address") from exc
        taken = self._server.sockets[0].getsockname()[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{taken}"

    async def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with self._busy, asyncio.timeout(_PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.partition(b" ")
                status, kind, body = await self._answer(method, rest.partition(b" ")[0].decode("ascii", "replace"))
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                    "cache-control: no-store\r\nconnection: close\r\n\r\n".encode()
                    + (body if method != b"HEAD" else b"")
                )
                await writer.drain()
        writer.close()

    async def _answer(self, method: bytes, target: str) -> tuple[int, str, bytes]:
        if method not in (b"GET", b"HEAD"):
            return 405, TEXT, b"only GET\n"
        page = self._pages.get(target.partition("?")[0])
        return await page() if page is not None else (404, TEXT, f"there are {', '.join(self._pages)}\n".encode())


def parse_address(listen: str) -> tuple[str, int]:
    """
    Read `host:port`.

    Raises:
        ConfigError: It is something else.
    """
    found = _ADDRESS.fullmatch(listen)
    if found is None or int(found[3]) > 65535:
        raise ConfigError(f"--metrics {listen}: not an address to listen on; write 127.0.0.1:9101 or [::1]:9101")
    return found[1] or found[2] or "127.0.0.1", int(found[3])

"""
The one door to the network.

Every request of the shipper passes here, and every error of the HTTP library is turned into `SinkUnavailable` here. This is
also the only module that knows which library that is. A test's door is a function behind `httpx.MockTransport`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

# Where rich and click are installed httpx brings its own command line along, a quarter of the time in which we start.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("httpx._main", None)
import httpx  # noqa: E402

if _modules["httpx._main"] is None:
    del _modules["httpx._main"]

from shipper.core.model import Request, Response  # noqa: E402
from shipper.errors import ConfigError, SinkUnavailable  # noqa: E402

Compress = Callable[[Iterable[bytes]], tuple[bytes, ...]]
_PASSWORD = re.compile(r"(?<=//)([^:@/]*):.*@")
_USER_AGENT = "jsonlog-shipper"
_COMPRESS_FROM = 1024  # bytes; below it the header costs more than compression saves
_CONNECT_S = 10.0


class Transport:
    """
    Sends requests to one URL.

    Each request is built, compressed, sent and answered in a thread of its own, with a connection of its own: that keeps bodies
    of megabytes out of the event loop, and a request can be cut off without harm to the others.

    Args:
        url: Where to; `http://` or `https://`, with a path prefix or credentials if need be.
        compression: `none`, `gzip` or `zstd`: how bodies are encoded.
        timeout_s: The longest wait for a connection, for each read and write, and for the whole request.
        connections: Requests at once.
        transport: Stands in for the network in tests.

    Raises:
        ConfigError: The URL is not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        compression: str = "none",
        timeout_s: float = 60.0,
        connections: int = 8,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = check_url(url).rstrip("/")
        self._path_given = bool(urlsplit(url).path.strip("/")) or url.endswith("/")
        self._original = url
        self._compression = compression
        self._compress = None if compression == "none" else compressor(compression)
        self._timeout_s = timeout_s
        self._transport = transport
        self._context = httpx.create_ssl_context() if url.startswith("https") else False
        self._idle: list[_Connection] = []  # the one that was used last is used next
        self._threads = ThreadPoolExecutor(connections, "send")

    @property
    def url(self) -> str:
        """The URL without its password, for messages."""
        return hide_password(self._original)

    async def send(self, request: Request | Callable[[], Request]) -> Response:
        """
        Send one request and read the whole answer.

        Args:
            request: The request, or what builds it; that runs in the sender's thread, too.

        Returns:
            Any answer that came, whatever its status.

        Raises:
            SinkUnavailable: No answer came: not reachable, cut off, timed out. Whether the request had an effect is unknown.
        """
        connection = self._idle.pop() if self._idle else _Connection(self._new_client())
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._send, connection, request)
        try:
            async with asyncio.timeout(self._timeout_s):  # of the whole request: the client's own holds for each read
                response = await asyncio.shield(work)
        except BaseException as exc:
            connection.cut()
            work.add_done_callback(connection.close)
            if isinstance(exc, TimeoutError):
                text = f"{self.url}: timed out: no whole answer within {self._timeout_s:g} s"
                raise SinkUnavailable(text) from exc
            raise
        self._idle.append(connection)
        return response

    async def close(self) -> None:
        """Close the connections; a request that is still under way is cut off."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _new_client(self) -> httpx.Client:
        return httpx.Client(
            timeout=httpx.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s)),
            limits=httpx.Limits(max_connections=1),
            headers={"user-agent": _USER_AGENT},
            transport=self._transport,
            follow_redirects=False,
            verify=self._context,
        )

    def _send(self, connection: _Connection, request: Request | Callable[[], Request]) -> Response:
        if not isinstance(request, Request):
            request = request()
        body, headers = _Body(request.parts or (request.body,)), dict(request.headers)
        if self._compress is not None and body.size >= _COMPRESS_FROM:
            body = _Body(self._compress(body.parts))
            headers["content-encoding"] = self._compression
        if body.size:
            headers["content-length"] = str(body.size)
        try:
            answer = connection.client.request(
                request.method,
                self._target(request),
                content=body if body.size else None,
                headers=headers,
                extensions={"trace": connection.trace},
            )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError, OSError, ValueError) as exc:
            raise SinkUnavailable(f"{self.url}: {_explain(exc)}") from exc
        if body.size and not body.sent and 200 <= answer.status_code < 300:
            raise SinkUnavailable(f"{self.url}: HTTP {answer.status_code} came before the request was sent to its end")
        response = Response(
            answer.status_code, answer.content, {name.lower(): value for name, value in answer.headers.items()}
        )
        # The request hangs in reference cycles: let go of its body now, not at the next collection of cycles.
        body.parts = ()
        answer.request.stream = httpx.ByteStream(b"")
        answer.request.__dict__.pop("_content", None)
        return response

    def _target(self, request: Request) -> str:
        return self._url + request.path if request.path else self._original if self._path_given else self._url + "/"


class _Connection:
    """A client with one connection, and the socket under it, by which another thread can end a request."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take httpcore's events: a connection that was made is the last one until the next is."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete", "proxy.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    def close(self, done: asyncio.Future[Response] | None = None) -> None:
        """Close the client, now or when its last request has come to an end."""
        if done is not None and not done.cancelled():
            done.exception()  # nobody else asks for it
        self.client.close()

    def cut(self) -> None:
        """End what the connection is about, at once."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class _Body(httpx.SyncByteStream):
    """A body in pieces that can be let go of, and that knows whether it was asked for to its end."""

    def __init__(self, parts: tuple[bytes, ...]) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))
        self.sent = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts
        self.sent = True


def check_url(url: str) -> str:
    """
    Check that a URL can be sent to.

    Returns:
        The URL.

    Raises:
        ConfigError: It cannot; the message says what is wrong with it.
    """
    example = "give one such as http://localhost:9200"
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as exc:
        why = "" if "@" in url else f" ({exc})"  # which may quote a piece of the password
        raise ConfigError(f"--to {hide_password(url)}: not a usable URL{why}; {example}") from exc
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"--to {hide_password(url)}: the URL must begin with http:// or https://; {example}")
    if not parts.hostname or not port_ok or " " in url:
        raise ConfigError(f"--to {hide_password(url)}: the URL names no host or no usable port; {example}")
    if parts.query or parts.fragment:
        raise ConfigError(f"--to {hide_password(url)}: the URL may have no '?' or '#'; {example}")
    return url


def hide_password(url: str) -> str:
    """Return *url* with its password, if there is one, replaced; also where the URL is not a usable one."""
    return _PASSWORD.sub(r"\1:***@", url)


def compressor(name: str) -> Compress:
    """
    Return the function that compresses the pieces of a body to one stream, again in pieces.

    One stream, since servers read only the first of several. Both libraries release the interpreter's lock while they work.
    """
    if name == "gzip":
        from isal import isal_zlib  # noqa: PLC0415 (only who compresses pays for the import)

        return lambda parts: _squeeze(isal_zlib.compressobj(1, wbits=31), parts)
    import zstandard  # noqa: PLC0415

    return lambda parts: _squeeze(zstandard.ZstdCompressor(level=1).compressobj(), parts)


def _squeeze(stream: Any, parts: Iterable[bytes]) -> tuple[bytes, ...]:
    return (*map(stream.compress, parts), stream.flush())


def _explain(exc: Exception) -> str:
    text = str(exc) or type(exc).__name__
    return f"timed out ({type(exc).__name__})" if isinstance(exc, httpx.TimeoutException) else text

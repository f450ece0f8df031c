"""
The one door to the network.

Every request of the shipper passes here, and every error of the HTTP library is turned into `SinkUnavailable` here. This is
also the only module that knows which library that is. A test's door is a function behind `httpx.MockTransport`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

# Where rich and click are installed httpx brings its own command line along, a quarter of the time in which we start.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("httpx._main", None)
import httpx  # noqa: E402

if _modules["httpx._main"] is None:
    del _modules["httpx._main"]

from shipper.core.hosts import Hosts  # noqa: E402
from shipper.core.model import Request, Response  # noqa: E402
from shipper.credentials import Credentials  # noqa: E402
from shipper.errors import AnswerTooLarge, ConfigError, SinkError, SinkMisconfigured, SinkUnavailable  # noqa: E402
from shipper.urls import hide_password, is_loopback, is_proxy, split_urls, without_user  # noqa: E402

Compress = Callable[[Iterable[bytes]], tuple[bytes, ...]]
_USER_AGENT = "jsonlog-shipper"
_COMPRESS_FROM = 1024  # bytes; below it the header costs more than compression saves
_CONNECT_S = 10.0
_MAX_ANSWER = 64 * 1024 * 1024
_WITH_BODY = ("POST", "PUT", "PATCH")  # some servers want to be told that there is none
_GATEWAY = (502, 503, 504)  # said by, or for, a host that cannot serve now


@dataclass(frozen=True, slots=True)
class Security:
    """
    How the other side is known, and how we are.

    Args:
        credentials: What is said in `Authorization`; None: what the URL holds, if anything.
        context: Verifies certificates, and may hold our own; None: as the system does it.
        proxy: URL of an HTTP proxy; None: what the environment says.
    """

    credentials: Credentials | None = None
    context: ssl.SSLContext | None = None
    proxy: str | None = None


class Transport:
    """
    Sends requests to one URL, or to one of several that lead to the same place.

    Each request is built, compressed, sent and answered in a thread of its own, with a connection of its own: that keeps bodies
    of megabytes out of the event loop, and a request can be cut off without harm to the others. Of several hosts each gets its
    turn; one that fails is left out for a while, and a request that has not reached it goes to the next one at once.

    Args:
        url: Where to; `http://` or `https://`, with a path prefix or credentials if need be; several with commas between them.
        compression: `none`, `gzip` or `zstd`: how bodies are encoded.
        timeout_s: The longest wait for a connection, for each read and write, and for the whole request.
        connections: Requests at once.
        security: Credentials, certificates, proxy.
        transport: Stands in for the network in tests.

    Raises:
        ConfigError: The URL is not usable, or the proxy for it is not.
    """

    def __init__(
        self,
        url: str,
        *,
        compression: str = "none",
        timeout_s: float = 60.0,
        connections: int = 8,
        security: Security = Security(),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        urls = split_urls(url)
        self._hosts = Hosts(urls if security.credentials is None else tuple(map(without_user, urls)))
        self.compression = compression
        self._timeout_s = timeout_s
        self._timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)).as_dict()
        self._transport = transport
        self._security = security
        self._context: ssl.SSLContext | bool = False
        if any(one.startswith("https") for one in self._hosts.urls):
            self._context = security.context or httpx.create_ssl_context()
        self._proxies = {one: None if transport else _proxy_for(one, security.proxy) for one in self._hosts.urls}
        self._idle: dict[str, list[_Connection]] = {}  # the one that was used last is used next
        self._threads = ThreadPoolExecutor(connections, "send")

    @property
    def url(self) -> str:
        """Where to, without passwords, for messages."""
        return ", ".join(map(hide_password, self._hosts.urls))

    @property
    def has_path(self) -> bool:
        """True when the URL itself says where on the host."""
        return any(urlsplit(url).path.strip("/") for url in self._hosts.urls)

    @property
    def is_local(self) -> bool:
        """True when no request leaves this machine."""
        return all(map(is_loopback, self._hosts.urls))

    @property
    def compression(self) -> str:
        """How bodies are encoded; can be changed once it is known what the other side reads."""
        return self._compression

    @compression.setter
    def compression(self, name: str) -> None:
        self._compression = name
        self._compress = None if name == "none" else compressor(name)

    async def send(self, request: Request | Callable[[], Request]) -> Response:
        """
        Send one request and read the whole answer.

        Args:
            request: The request, or what builds it; that runs in the sender's thread, too.

        Returns:
            Any answer that came, whatever its status.

        Raises:
            SinkUnavailable: No answer came: not reachable, cut off, timed out; `sent` tells whether it may have had an effect.
            SinkMisconfigured: The other side is not trusted, or does not trust us.
        """
        credentials = self._security.credentials
        response = await self._send_somewhere(request)
        if response.status == 401 and credentials is not None and await asyncio.to_thread(credentials.renew):
            response = await self._send_somewhere(request)
        return response

    async def close(self) -> None:
        """Close the connections; a request that is still under way is cut off."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _send_somewhere(self, request: Request | Callable[[], Request]) -> Response:
        """Try the hosts in turn until the request has reached one."""
        tried = 0
        while True:
            tried += 1
            url = self._hosts.choose(time.monotonic())
            try:
                response = await self._send_to(url, request)
            except SinkUnavailable as exc:
                self._hosts.failed(url, time.monotonic(), random.random())  # noqa: S311 (jitter is no secret)
                if exc.sent or tried >= len(self._hosts.urls):
                    raise
                continue
            if response.status in _GATEWAY:
                self._hosts.failed(url, time.monotonic(), random.random())  # noqa: S311
            else:
                self._hosts.worked(url)
            return response

    async def _send_to(self, url: str, request: Request | Callable[[], Request]) -> Response:
        idle = self._idle.setdefault(url, [])
        connection = idle.pop() if idle else _Connection(self._new_transport(url), url)
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._send, connection, request)
        try:
            async with asyncio.timeout(self._timeout_s):  # of the whole request: the client's own holds for each read
                response = await asyncio.shield(work)
        except BaseException as exc:
            connection.cut()
            work.add_done_callback(connection.close)
            if isinstance(exc, TimeoutError):
                text = f"{hide_password(url)}: timed out: no whole answer within {self._timeout_s:g} s"
                raise SinkUnavailable(text) from exc
            raise
        idle.append(connection)
        return response

    def _new_transport(self, url: str) -> httpx.BaseTransport:
        """Make what has one connection. Not a client, whose cookies, redirects and hooks take twice the time of the request itself."""
        if self._transport is not None:
            return self._transport
        limits = httpx.Limits(max_connections=1)
        return httpx.HTTPTransport(verify=self._context, limits=limits, proxy=self._proxies[url])

    def _send(self, connection: _Connection, request: Request | Callable[[], Request]) -> Response:
        if not isinstance(request, Request):
            request = request()
        shown = hide_password(connection.url)
        try:
            asked, body = self._build(connection, request)
        except (
            httpx.InvalidURL,
            ValueError,
        ) as exc:  # a setting that HTTP has no room for: UTF-8 in a header, a path that is none
            raise SinkMisconfigured(f"{shown}: no request can be made of the settings: {exc}") from exc
        try:
            with closing(connection.transport.handle_request(asked)) as answer:
                content = _read(answer, shown)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError, OSError, ValueError) as exc:
            raise _failure(exc, shown) from exc
        if body.size and not body.sent and 200 <= answer.status_code < 300:
            raise SinkUnavailable(f"{shown}: HTTP {answer.status_code} came before the request was sent to its end")
        response = Response(answer.status_code, content, {k.lower(): value for k, value in answer.headers.items()})
        body.parts = ()  # the request hangs in reference cycles: let go of its body now, not at the next collection of cycles
        return response

    def _build(self, connection: _Connection, request: Request) -> tuple[httpx.Request, _Body]:
        """Make the request of the HTTP library, and the body that it sends."""
        url = _target(connection.url, request.path)
        headers = {"host": url.netloc.decode(), "user-agent": _USER_AGENT, "accept": "*/*", **dict(request.headers)}
        body = _Body(request.parts or (request.body,))
        if self._compress is not None and body.size >= _COMPRESS_FROM:
            body = _Body(self._compress(body.parts))
            headers["content-encoding"] = self._compression
        if self._compress is not None:
            headers["accept-encoding"] = "gzip"
        if body.size or request.method in _WITH_BODY:
            headers["content-length"] = str(body.size)
        if self._security.credentials is not None:
            headers[self._security.credentials.name] = self._security.credentials.header()
        elif url.userinfo:
            headers["authorization"] = f"Basic {b64encode(f'{url.username}:{url.password}'.encode()).decode()}"
        extensions = {"timeout": self._timeout, "trace": connection.trace}
        return httpx.Request(request.method, url, headers=headers, stream=body, extensions=extensions), body


class _Connection:
    """A transport with one connection, and the socket under it, by which another thread can end a request."""

    def __init__(self, transport: httpx.BaseTransport, url: str) -> None:
        self.transport = transport
        self.url = url
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take httpcore's events: a connection that was made is the last one until the next is."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete", "proxy.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    def close(self, done: asyncio.Future[Response] | None = None) -> None:
        """Close the connection, now or when its last request has come to an end."""
        if done is not None and not done.cancelled():
            done.exception()  # nobody else asks for it
        self.transport.close()

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


@lru_cache(64)  # taking a URL apart takes as long as sending a small request
def _target(url: str, path: str) -> httpx.URL:
    if path:
        return httpx.URL(url.rstrip("/") + path)
    return httpx.URL(url if urlsplit(url).path else url + "/")


def _proxy_for(url: str, chosen: str | None) -> str | None:
    """
    Find the proxy for a URL: the chosen one, else the one that the environment names, as curl does it: `HTTPS_PROXY`, `NO_PROXY`.

    Raises:
        ConfigError: It is none that can be used, as those of SOCKS are.
    """
    proxy, named = chosen, "proxy"
    if not proxy:
        parts, proxies = urlsplit(url), getproxies()
        named = parts.scheme if proxies.get(parts.scheme) else "all"
        proxy, named = proxies.get(named), f"{named}_proxy of the environment"
        if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not is_proxy(proxy):
        hint = "" if chosen else ", or name the hosts that need none in NO_PROXY"
        raise ConfigError(
            f"{named}: {hide_password(proxy)} is no HTTP proxy; give one such as http://localhost:3128{hint}"
        )
    return proxy


def _read(answer: httpx.Response, shown: str) -> bytes:
    """Read an answer up to a bound."""
    parts, size = [], 0
    for part in answer.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER:
            raise AnswerTooLarge(f"{shown}: the answer is larger than {_MAX_ANSWER >> 20} MiB")
    return b"".join(parts)


def _failure(exc: Exception, shown: str) -> SinkError:
    """Map an error of the HTTP library, or below it: is it for an operator, and may the request have had an effect?"""
    text = f"{shown}: {_explain(exc)}"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return SinkMisconfigured(f"{text}; give the certificate of its authority with tls_ca")
    if isinstance(exc, httpx.ConnectError) and "certificate required" in text.lower():
        return SinkMisconfigured(f"{text}; give a client certificate with tls_certificate and tls_key")
    return SinkUnavailable(text, sent=not isinstance(exc, _NOT_SENT))


_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol,
             httpx.InvalidURL)  # fmt: skip


def _explain(exc: Exception) -> str:
    text = str(exc) or type(exc).__name__
    return f"timed out ({type(exc).__name__})" if isinstance(exc, httpx.TimeoutException) else text

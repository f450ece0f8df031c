"""
The one door to the network.

Every request of the shipper passes here, and every error of the HTTP library is turned into `SinkUnavailable` here. This is
also the only module that knows which library that is. A test's door is a function behind `httpx.MockTransport`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import httpx

from shipper.core.model import Request, Response
from shipper.errors import ConfigError, SinkUnavailable

Compress = Callable[[bytes], bytes]
_PASSWORD = re.compile(r"(?<=//)([^:@/]*):.*@")
_USER_AGENT = "jsonlog-shipper"
_COMPRESS_FROM = 1024  # bytes; below it the header costs more than compression saves


class Transport:
    """
    Sends requests to one URL.

    Args:
        url: Where to; `http://` or `https://`, with a path prefix or credentials if need be.
        compression: `none`, `gzip` or `zstd`: how bodies are encoded.
        timeout_s: The longest wait for a connection, and for each read and write.
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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = check_url(url).rstrip("/")
        self._path_given = bool(urlsplit(url).path.strip("/")) or url.endswith("/")
        self._original = url
        self._compression = compression
        self._compress = None if compression == "none" else compressor(compression)
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"user-agent": _USER_AGENT},
            transport=transport,
            follow_redirects=False,
        )

    @property
    def url(self) -> str:
        """The URL without its password, for messages."""
        return hide_password(self._original)

    async def send(self, request: Request) -> Response:
        """
        Send one request and read the whole answer.

        Returns:
            Any answer that came, whatever its status.

        Raises:
            SinkUnavailable: No answer came: not reachable, cut off, timed out. Whether the request had an effect is unknown.
        """
        body, headers = request.body, dict(request.headers)
        if self._compress is not None and len(body) >= _COMPRESS_FROM:
            body = await asyncio.to_thread(self._compress, body)
            headers["content-encoding"] = self._compression
        content = _Body(body)
        if body:
            headers["content-length"] = str(len(body))
        try:
            async with asyncio.timeout(self._timeout_s):  # of the whole request: the client's own holds for each read
                answer = await self._client.request(
                    request.method, self._target(request), content=content if body else None, headers=headers
                )
        except TimeoutError as exc:
            raise SinkUnavailable(f"{self.url}: timed out: no whole answer within {self._timeout_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError, OSError, ValueError) as exc:
            raise SinkUnavailable(f"{self.url}: {_explain(exc)}") from exc
        if body and not content.sent and 200 <= answer.status_code < 300:
            raise SinkUnavailable(f"{self.url}: HTTP {answer.status_code} came before the request was sent to its end")
        response = Response(
            answer.status_code, answer.content, {name.lower(): value for name, value in answer.headers.items()}
        )
        # The request hangs in reference cycles: let go of its body now, not at the next collection of cycles.
        content.data = b""
        answer.request.stream = httpx.ByteStream(b"")
        answer.request.__dict__.pop("_content", None)
        return response

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _target(self, request: Request) -> str:
        return self._url + request.path if request.path else self._original if self._path_given else self._url + "/"


class _Body(httpx.AsyncByteStream):
    """A body that can be let go of, and that knows whether it was asked for to its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sent = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data
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
    """Return the function that compresses a body; both release the interpreter's lock while they work."""
    if name == "gzip":
        from isal import igzip  # noqa: PLC0415 (only who compresses pays for the import)

        return lambda body: igzip.compress(body, 1)
    import zstandard  # noqa: PLC0415

    return lambda body: zstandard.ZstdCompressor(level=1).compress(body)


def _explain(exc: Exception) -> str:
    text = str(exc) or type(exc).__name__
    return f"timed out ({type(exc).__name__})" if isinstance(exc, httpx.TimeoutException) else text

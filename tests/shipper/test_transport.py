"""The door to the network: every failure is one kind of error, no password is shown, bodies arrive as they were."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.model import Request, Response
from shipper.errors import ConfigError, SinkUnavailable
from shipper.transport import Transport, compressor
from shipper.urls import check_url, hide_password, split_urls
from tests.fakes import until

PASSWORD = "s3cret"


def send(
    handler: Callable[[httpx.Request], httpx.Response], request: Request, url: str = "http://h", **more: Any
) -> Response:
    async def go() -> Response:
        transport = Transport(url, transport=httpx.MockTransport(handler), **more)
        try:
            return await transport.send(request)
        finally:
            await transport.close()

    return asyncio.run(go())


def subclasses(of: type) -> list[type]:
    return [of, *(found for sub in of.__subclasses__() for found in subclasses(sub))]


ERRORS = [e for e in subclasses(httpx.HTTPError) if e is not httpx.HTTPStatusError]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_every_error_of_the_library_means_unavailable(error: type[httpx.HTTPError]) -> None:
    """Whatever httpx raises is `SinkUnavailable` and names the URL without its password."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise error("why not")

    with pytest.raises(SinkUnavailable) as caught:
        send(fail, Request("GET", "/"), f"http://user:{PASSWORD}@h")
    assert "http://user:***@h" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("error", [OSError("x"), httpx.InvalidURL("x"), ValueError("x"), httpx.StreamClosed()])
def test_other_errors_do_not_escape(error: Exception) -> None:
    """Errors outside the library's own tree are mapped, too."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(SinkUnavailable):
        send(fail, Request("GET", "/"))


def serve_once(answer: bytes | None) -> int:
    """A server for one connection that reads a little, answers with bytes, and closes; returns its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        with server, server.accept()[0] as connection:
            connection.settimeout(5)
            connection.recv(100)
            if answer is not None:
                connection.sendall(answer)

    threading.Thread(target=work, daemon=True).start()
    return int(server.getsockname()[1])


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_real_connections_that_break(answer: bytes | None) -> None:
    """A connection that is closed, cut short or garbled is no answer."""

    async def go() -> None:
        transport = Transport(f"http://127.0.0.1:{serve_once(answer)}", timeout_s=5)
        try:
            with pytest.raises(SinkUnavailable):
                await transport.send(Request("POST", "/", b"x" * 10))
        finally:
            await transport.close()

    asyncio.run(go())


def test_a_success_that_comes_before_the_body_was_sent_is_none() -> None:
    """Whoever answers 200 after the first bytes and closes has not read the records, and cannot have stored them."""

    async def go() -> None:
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        transport = Transport(f"http://127.0.0.1:{serve_once(answer)}", timeout_s=5)
        try:
            with pytest.raises(SinkUnavailable):
                await transport.send(Request("POST", "/", b"x" * 50_000_000))
        finally:
            await transport.close()

    asyncio.run(go())


def test_an_answer_that_drips_is_not_waited_for_for_ever() -> None:
    """The time of a request is that of the whole request, not of each read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                with contextlib.suppress(OSError):
                    while not over.wait(0.05):
                        connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()

        async def go() -> None:
            transport = Transport(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.5)
            try:
                with pytest.raises(SinkUnavailable, match="no whole answer within"):
                    await transport.send(Request("GET", "/"))
            finally:
                await transport.close()

        asyncio.run(go())
        over.set()
        thread.join()


def test_a_silent_server_times_out() -> None:
    """Without an answer in time there is none, and the message says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        async def go() -> None:
            transport = Transport(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.2)
            try:
                with pytest.raises(SinkUnavailable, match="timed out"):
                    await transport.send(Request("GET", "/"))
            finally:
                await transport.close()

        asyncio.run(go())


@pytest.mark.parametrize(
    "url",
    ["", "localhost:9200", "ftp://h", "http://", "http://:80", "http://h:port", "http://h:99999", "http://h:0", "http://h/?q=1",
     "http://h/#x", "http://a b", "http://[::1", "//h", "http://h:-1"],
)  # fmt: skip
def test_unusable_urls(url: str) -> None:
    """Each is a ConfigError that shows the URL and an example."""
    with pytest.raises(ConfigError, match="http://localhost:9200") as caught:
        check_url(url)
    assert f"--to {url}" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{PASSWORD}@[::1",
        f"http://u:{PASSWORD}/x@h",
        f"ftp://u:{PASSWORD}@h",
        f"http://u:{PASSWORD}@h:port",
        f"http://u:{PASSWORD}@h?x",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    """Also what is said about a broken URL hides the password in it."""
    with pytest.raises(ConfigError) as caught:
        check_url(url)
    assert PASSWORD not in str(caught.value)


def test_good_urls() -> None:
    """Hosts, ports, prefixes, addresses and credentials pass as they are."""
    for url in ("http://h", "https://h:9200/", "http://127.0.0.1:1/a/b", "http://[::1]:9200", "http://u:p@h"):
        assert check_url(url) == url
    assert split_urls("http://u:a,b@h, http://v:c,d@i/x,") == ("http://u:a,b@h", "http://v:c,d@i/x")
    assert split_urls("http://h:1,https://u:a@i") == ("http://h:1", "https://u:a@i")
    assert hide_password("http://u:p@h:1/x") == "http://u:***@h:1/x"
    assert hide_password("http://u@h") == "http://u@h"


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [("http://h", "", "/"), ("http://h/", "", "/"), ("http://h/in", "", "/in"), ("http://h/in/", "", "/in/"),
     ("http://h", "/_bulk", "/_bulk"), ("http://h/es/", "/_bulk?a=b", "/es/_bulk?a=b")],
)  # fmt: skip
def test_paths(url: str, path: str, expected: str) -> None:
    """A prefix in the URL stays, and an endpoint's own path is taken as it was given."""
    seen: list[str] = []
    send(lambda r: seen.append(r.url.raw_path.decode()) or httpx.Response(200), Request("POST", path), url)
    assert seen == [expected]


@given(st.binary(min_size=1024, max_size=5000))
def test_compressed_bodies_can_be_read(body: bytes) -> None:
    """What gzip and zstd make of a body is the body again for another implementation."""
    assert gzip.decompress(b"".join(compressor("gzip")((body[:9], body[9:])))) == body
    assert (
        zstandard.ZstdDecompressor().decompressobj().decompress(b"".join(compressor("zstd")((body[:9], body[9:]))))
        == body
    )


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_compression_is_declared(name: str) -> None:
    """A compressed body says so in its header; a small one is sent as it is."""
    seen: list[httpx.Request] = []
    bodies: list[bytes] = []
    handler = lambda r: seen.append(r) or bodies.append(r.content) or httpx.Response(200)  # noqa: E731
    send(handler, Request("POST", "/", b"x" * 2000), compression=name)
    send(handler, Request("POST", "/", b"x"), compression=name)
    assert seen[0].headers["content-encoding"] == name
    assert int(seen[0].headers["content-length"]) < 200
    assert "content-encoding" not in seen[1].headers
    assert bodies[1] == b"x"


def test_credentials_are_sent_and_redirects_are_not_followed() -> None:
    """User and password of the URL become basic auth; a 302 is an answer like any other."""
    seen: list[httpx.Request] = []
    handler = lambda r: seen.append(r) or httpx.Response(302, headers={"Location": "http://other/"})  # noqa: E731
    assert send(handler, Request("GET", "/"), f"http://u:{PASSWORD}@h").status == 302
    assert len(seen) == 1
    assert seen[0].headers["authorization"].startswith("Basic ")


def holders(body: bytes) -> list[str]:
    return [
        type(o).__name__ + repr(o)[:80] for o in gc.get_referrers(body) if type(o).__name__ not in ("frame", "cell")
    ]


def test_a_body_is_let_go_of_with_its_answer() -> None:
    """After the answer nothing holds the request's body, even without the collector of cycles."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            with server.accept()[0] as connection:
                received = b""
                while received.count(b"\0") < 3_000_000:
                    received += connection.recv(1 << 20)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        threading.Thread(target=work, daemon=True).start()

        async def go() -> list[str]:
            transport = Transport(f"http://127.0.0.1:{server.getsockname()[1]}")
            body = bytes(3_000_000)
            gc.collect()
            gc.disable()
            try:
                await transport.send(Request("POST", "/", body))
                await until(lambda: not holders(body), "the sender's thread to come to its end")
                return holders(body)
            finally:
                gc.enable()
                await transport.close()

        assert asyncio.run(go()) == []

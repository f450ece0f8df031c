"""How the door is opened: credentials, certificates, proxies, several hosts; what is wrong is said before anything is sent."""

from __future__ import annotations

import asyncio
import base64
import http.server
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.access import open_transport
from shipper.config import Settings
from shipper.core.model import Request, Response
from shipper.errors import ConfigError, SinkMisconfigured, SinkUnavailable


class Server:
    """A real HTTP server that says what it was asked, and may want a header."""

    def __init__(self, *, context: ssl.SSLContext | None = None, token: str = "", status: int = 200) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.token, self.status = token, status
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.seen.append((self.command, self.path, headers))
                good = not outer.token or headers.get("authorization") == outer.token
                self.send_response(outer.status if good else 401)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serve(**more: Any) -> Iterator[Server]:
    server = Server(**more)
    try:
        yield server
    finally:
        server.close()


def ask(settings: Settings, times: int = 1) -> list[Response]:
    async def go() -> list[Response]:
        transport = open_transport(settings)
        try:
            return [await transport.send(Request("GET", "/x")) for _ in range(times)]
        finally:
            await transport.close()

    return asyncio.run(go())


BASIC = base64.b64encode(b"me:p:w").decode()


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"user": "me", "password": "p:w"}, f"Basic {BASIC}"), ({"api_key": "id:key"}, f"ApiKey {base64.b64encode(b'id:key').decode()}"),
     ({"api_key": "aWQ6a2V5"}, "ApiKey aWQ6a2V5"), ({"bearer_token": "t"}, "Bearer t")],
)  # fmt: skip
def test_credentials_of_each_kind(given: dict[str, str], expected: str) -> None:
    """User and password, an API key in both of its forms, a token: each becomes the header that stores read."""
    with serve(token=expected) as server:
        (response,) = ask(Settings(to=f"http://127.0.0.1:{server.port}", **given))
    assert response.status == 200


def test_credentials_beat_those_of_the_url() -> None:
    """What is set counts, also where the URL holds a user."""
    with serve(token="Bearer t") as server:
        (response,) = ask(Settings(to=f"http://a:b@127.0.0.1:{server.port}", bearer_token="t"))
    assert response.status == 200


def test_a_file_is_read_again_when_it_is_not_accepted(tmp_path: Path) -> None:
    """A token that was replaced is used as soon as the old one is refused, and nothing fails."""
    file = tmp_path / "token"
    file.write_text("old\n")
    with serve(token="Bearer old") as server:

        async def go() -> list[int]:
            transport = open_transport(Settings(to=f"http://127.0.0.1:{server.port}", bearer_token_file=file))
            try:
                first = await transport.send(Request("GET", "/"))
                server.token = "Bearer new"
                refused = await transport.send(Request("GET", "/"))
                file.write_text("new\n")
                renewed = await transport.send(Request("GET", "/"))
                return [first.status, refused.status, renewed.status]
            finally:
                await transport.close()

        assert asyncio.run(go()) == [200, 401, 200]
        assert len(server.seen) == 4, "asked once more only where something new stands in the file"


@pytest.mark.parametrize(
    ("given", "message"),
    [({"user": "u", "api_key": "k"}, "user and api_key"), ({"password": "p"}, "give the name with user"),
     ({"api_key": "k", "api_key_file": Path("/k")}, "api_key and api_key_file"), ({"bearer_token_file": Path("/none")}, "cannot read /none"),
     ({"tls_key": Path("/k")}, "tls_key: it needs tls_certificate"), ({"tls_ca": Path("/none")}, "tls_ca /none"),
     ({"tls_certificate": Path("/none")}, "tls_certificate /none")],
)  # fmt: skip
def test_what_does_not_fit_is_said_by_name(given: dict[str, Any], message: str) -> None:
    """Missing files and settings that exclude each other end the start with their names."""
    with pytest.raises(ConfigError, match=message):
        open_transport(Settings(to="https://127.0.0.1:1", **given))


def test_secrets_are_not_shown() -> None:
    """The settings do not show a password, key or token when they are printed."""
    for given in ({"password": "s3cret"}, {"api_key": "s3cret"}, {"bearer_token": "s3cret"}):
        assert "s3cret" not in repr(Settings(**given))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate for 127.0.0.1, and a client's."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        (folder / "extra").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", f"{name}.pem", "-days", "2",
                "-extfile", "extra")  # fmt: skip
    return folder


def context(folder: Path, *, ask_for_a_client: bool = False) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.pem", folder / "server.key")
    if ask_for_a_client:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(folder / "ca.pem")
    return made


def test_certificates_are_verified(certificates: Path) -> None:
    """An unknown authority is an operator's matter, said with the setting that mends it; with it the request passes."""
    with serve(context=context(certificates)) as server:
        url = f"https://127.0.0.1:{server.port}"
        with pytest.raises(SinkMisconfigured, match="tls_ca"):
            ask(Settings(to=url))
        assert not server.seen
        assert ask(Settings(to=url, tls_ca=certificates / "ca.pem"))[0].status == 200
        assert ask(Settings(to=url, tls_verify=False))[0].status == 200


def test_a_name_that_does_not_fit_is_refused(certificates: Path) -> None:
    """A certificate for another name is refused, too."""
    with serve(context=context(certificates)) as server, pytest.raises(SinkMisconfigured):
        ask(Settings(to=f"https://localhost:{server.port}", tls_ca=certificates / "ca.pem"))


def test_a_client_certificate(certificates: Path) -> None:
    """A store that asks for a certificate gets ours; without one nothing is sent."""
    with serve(context=context(certificates, ask_for_a_client=True)) as server:
        base = {"to": f"https://127.0.0.1:{server.port}", "tls_ca": certificates / "ca.pem"}
        with pytest.raises((SinkUnavailable, SinkMisconfigured)):
            ask(Settings(**base))
        assert not server.seen
        both = {"tls_certificate": certificates / "client.pem", "tls_key": certificates / "client.key"}
        assert ask(Settings(**base, **both))[0].status == 200


def test_a_proxy() -> None:
    """With a proxy the request goes to it, with the whole URL of the store."""
    with serve() as proxy:
        ask(Settings(to="http://store.invalid:9200/es", proxy=f"http://127.0.0.1:{proxy.port}"))
        assert [path for _, path, _ in proxy.seen] == ["http://store.invalid:9200/es/x"]


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names is used, but not for hosts it excludes."""
    with serve() as proxy, serve() as store:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        ask(Settings(to="http://store.invalid:9200/es"))
        assert [path for _, path, _ in proxy.seen] == ["http://store.invalid:9200/es/x"]
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        ask(Settings(to=f"http://127.0.0.1:{store.port}"))
        assert (len(proxy.seen), len(store.seen)) == (1, 1)


@pytest.mark.parametrize(
    "proxy", ["socks5://u:secret@x:1", "ftp://u:secret@x", "http://u:secret@[::1", "http://u:secret@x:99999"]
)
def test_a_proxy_that_is_none_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """Who cannot send through a proxy says so, also of one that the environment names, where SOCKS is not rare."""
    with pytest.raises(ConfigError, match=r"proxy: .*no HTTP proxy") as caught:
        open_transport(Settings(proxy=proxy), "http://store.invalid")
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match=r"all_proxy of the environment: .*NO_PROXY") as named:
        open_transport(Settings(), "http://store.invalid")
    assert "secret" not in f"{caught.value}{named.value}"
    monkeypatch.setenv("NO_PROXY", "store.invalid")
    open_transport(Settings(), "http://store.invalid")


@pytest.mark.parametrize("given", [{"bearer_token": "t\xf6k"}, {"api_key": "k\n\xe9y"}])
def test_what_no_header_can_hold_is_for_the_operator(given: dict[str, str]) -> None:
    """Credentials outside of ASCII end no shipper: nothing is sent, and what is wrong is said."""
    with serve() as server, pytest.raises(SinkMisconfigured, match="no request can be made"):
        ask(Settings(to=f"http://127.0.0.1:{server.port}", **given))


def test_several_hosts_share_the_work() -> None:
    """Requests are spread evenly; one host that is gone costs none of them."""
    with serve() as a, serve() as b:
        gone = Server()
        gone.close()
        urls = ",".join(f"http://127.0.0.1:{port}/es" for port in (a.port, b.port, gone.port))
        assert {response.status for response in ask(Settings(to=urls), times=20)} == {200}
        spread = Counter({"a": len(a.seen), "b": len(b.seen)})
        assert abs(spread["a"] - spread["b"]) <= 3
        assert sum(spread.values()) == 20
        assert {path for _, path, _ in a.seen} == {"/es/x"}


def test_a_host_that_cannot_serve_is_left_out() -> None:
    """A 503 is an answer, but the next request goes to the other host."""
    with serve(status=503) as ill, serve() as well:
        urls = f"http://127.0.0.1:{ill.port},http://127.0.0.1:{well.port}"
        statuses = [response.status for response in ask(Settings(to=urls), times=40)]
    assert 1 <= statuses.count(503) <= 10, "each failure doubles the time for which it is left out"


def test_whether_a_request_may_have_had_an_effect() -> None:
    """A connection that was refused, or a name that nobody knows, carried nothing; one that broke later may have."""
    gone = Server()
    gone.close()
    for url in (f"http://127.0.0.1:{gone.port}", "http://name.invalid:9200"):
        with pytest.raises(SinkUnavailable) as caught:
            ask(Settings(to=url))
        assert not caught.value.sent, url

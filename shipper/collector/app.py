"""The collector's HTTP side: what docs/design.md section 3 promises, on top of a :class:`Store`.

There is no authentication, so it keeps to loopback unless told otherwise, and trusts no web page but its own: a request must
name it by an address or a local name (which stops DNS rebinding) and may not come from another origin.
Everything that takes time runs in threads: one body at a time is written, a few queries are read.
"""

import contextlib
import ipaddress
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shipper.collector.inflate import INFLATE, MAX_BODY_BYTES, TooLargeError
from shipper.collector.query import Condition, QueryError, all_of, between, levels_in, parse_query, parse_time
from shipper.collector.records import BodyError, parse_runs
from shipper.collector.search import histogram, search
from shipper.collector.sql import SqlError, run_sql
from shipper.collector.store import CollectorError, QueryTimeout, Store, Stored, StoreUnavailable

__all__ = ["CollectorError", "create_app", "serve"]

MAX_LIMIT = 1_000

_PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::[0-9]{1,5})?")
# Whose fault it is, as a status.
_STATUS: Mapping[type[Exception], int] = {
    TooLargeError: 413,
    BodyError: 400,
    QueryError: 400,
    SqlError: 400,
    QueryTimeout: 400,
    StoreUnavailable: 503,
}

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    store: Store, *, names: frozenset[str] = frozenset(), started: Callable[[], None] | None = None
) -> Starlette:
    """Make the ASGI application.

    Args:
        store: Where records go and are found; the caller closes it.
        names: Host names with a dot by which the collector may be addressed; addresses and names without one always may.
        started: Called once when the server that runs the application is ready.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if started:
            started()
        yield

    endpoints = _Endpoints(store)
    routes = [
        Route("/", endpoints.ingest, methods=["POST"]),
        Route("/api/records", endpoints.ingest, methods=["POST"]),
        Route("/api/search", endpoints.search),
        Route("/api/histogram", endpoints.histogram),
        Route("/api/sql", endpoints.sql),
        Route("/healthz", _healthz),
        *(Route(path, _page_file(*file)) for path, file in _PAGE_FILES.items()),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Guard, names=names)],
        exception_handlers={HTTPException: _http_error, **dict.fromkeys(_STATUS, _known_error)},
        lifespan=lifespan,
    )


def serve(listen: str, data: Path) -> None:
    """Run the collector until SIGTERM or SIGINT, from the main thread; returns after a graceful end.

    Prints one line to standard output once it is ready, with the port it got.

    Args:
        listen: Address and port, ``127.0.0.1:8089`` or ``[::1]:8089``; port 0 takes a free one.
        data: The data directory; made where it is missing.

    Raises:
        CollectorError: The address or the directory cannot be used.
    """
    host, port = _address(listen)
    listener = _listener(listen, host, port)
    with contextlib.closing(listener), contextlib.closing(Store(data)) as store:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        if not _is_loopback(listener.getsockname()[0]):
            sys.stderr.write(f"warning: {url} can be reached from other machines, and there is no authentication\n")
            sys.stderr.flush()

        def started() -> None:
            sys.stdout.write(f"collector listening on {url} (data in {data})\n")
            sys.stdout.flush()

        config = uvicorn.Config(
            create_app(store, names=frozenset({host.lower()}), started=started),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=15,
        )
        with _stopping_is_success():
            uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _stopping_is_success() -> Iterator[None]:
    """Uvicorn ends gracefully on a signal, then raises it again for whoever had handled it before: let that be us."""

    def stop(number: int, frame: object) -> None:  # noqa: ARG001  (the signature is the signal module's)
        raise SystemExit(0)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except SystemExit as exc:
        if exc.code:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _address(listen: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s\[\]:]*)):([0-9]{1,5})", listen)
    if match is None or int(match[3]) > 65535:
        raise CollectorError(f"{listen!r} is not an address to listen on: write 127.0.0.1:8089 or [::1]:8089")
    return match[1] or match[2] or "127.0.0.1", int(match[3])


def _listener(listen: str, host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as exc:
        # For what has a number of the system create_server puts the address into the text once more.
        number = exc.errno if isinstance(exc, OSError) and (exc.errno or 0) > 0 else None
        reason = os.strerror(number) if number else exc
        raise CollectorError(
            f"cannot listen on {listen}: {reason}; stop what uses it or give another --listen"
        ) from exc


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


class _Guard:
    """Turn away requests that another web page may have made, and put the security headers on every answer."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in _SECURITY.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        refusal = self.refusal(Headers(scope=scope))
        await (refusal or self.app)(scope, receive, send_guarded)

    def refusal(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self.is_ours(host):
            return _error(400, f"Host {host[:100]!r} is not this collector: use its address, or localhost")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return _error(403, f"requests from {origin[:100]} are refused: there is no authentication here")
        return None

    def is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        name = (match[1] or match[2]).lower() if match else ""
        # A name without a dot is known on this network only: no foreign DNS can point it here.
        return bool(name) and ("." not in name or name in self.names or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Endpoints:
    """The requests that need the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.writers = anyio.CapacityLimiter(4)
        self.readers = anyio.CapacityLimiter(4)
        self.queries = anyio.CapacityLimiter(2)

    async def ingest(self, request: Request) -> Response:
        header = request.headers.get("shipper-lines")
        runs = None if header is None else parse_runs(header)
        inflate = INFLATE.get(request.headers.get("content-encoding", "identity").strip().lower())
        if inflate is None:
            return _error(
                415, "Content-Encoding: only gzip, zstd and identity are read", {"Accept-Encoding": "gzip, zstd"}
            )
        packed = await _read(request)

        def add() -> Stored:
            return self.store.add(inflate(packed), runs)

        stored = await anyio.to_thread.run_sync(add, limiter=self.writers)
        return _json({"stored": stored.stored, "duplicates": stored.duplicates})

    async def search(self, request: Request) -> Response:
        condition, start, end = _asked(request)
        limit = _limit(request.query_params.get("limit", "50"))
        condition = all_of(condition, between(start, end))
        found = await anyio.to_thread.run_sync(search, self.store, condition, limit, limiter=self.readers)
        records = ",".join(_with_id(id_, text) for id_, text in found.records)
        return Response(f'{{"total":{found.total},"records":[{records}]}}', media_type="application/json")

    async def histogram(self, request: Request) -> Response:
        counted = await anyio.to_thread.run_sync(histogram, self.store, *_asked(request), limiter=self.readers)
        buckets = [
            {"time": _rfc3339(at), "count": sum(levels.values()), "levels": levels} for at, levels in counted.buckets
        ]
        return _json({"interval_ms": counted.interval_ms, "buckets": buckets})

    async def sql(self, request: Request) -> Response:
        query = request.query_params.get("q", "")
        if not query.strip():
            return _error(400, "q: a SELECT is missing, for example SELECT level, count(*) FROM records GROUP BY level")
        answer = await anyio.to_thread.run_sync(run_sql, self.store, query, limiter=self.queries)
        return Response(answer, media_type="application/json")


async def _healthz(_: Request) -> Response:
    return _json({"status": "ok"})


def _page_file(name: str, media_type: str) -> Endpoint:
    content = (_PAGE / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, headers={"Content-Type": media_type})

    return answer


async def _read(request: Request) -> bytes:
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise TooLargeError
            pieces.append(piece)
    except ClientDisconnect as exc:
        raise HTTPException(400, "the request ended before its body did") from exc
    return b"".join(pieces)


def _asked(request: Request) -> tuple[Condition, datetime | None, datetime | None]:
    """What search and histogram have in common: the condition of ``q`` and ``level``, and the bounds in time."""
    now = datetime.now(UTC)
    start, end = (_time(request, name, now) for name in ("from", "to"))
    if start and end and start >= end:
        raise QueryError("from: must be before to")
    # Levels may be repeated (level=ERROR&level=WARNING) or listed (level=ERROR,WARNING).
    levels = [level.strip() for value in request.query_params.getlist("level") for level in value.split(",") if value]
    try:
        return all_of(parse_query(request.query_params.get("q", ""), now), levels_in(levels)), start, end
    except QueryError as exc:
        raise QueryError(f"q: {exc}") from exc


def _time(request: Request, name: str, now: datetime) -> datetime | None:
    text = request.query_params.get(name)
    try:
        return parse_time(text, now) if text else None
    except QueryError as exc:
        raise QueryError(f"{name}: {exc}") from exc


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(f"limit: {text[:20]!r} is not a number from 1 to {MAX_LIMIT}")
    return limit


def _with_id(id_: str, text: str) -> str:
    """A record's text as it is, with its id put in last, so that it wins over an ``_id`` of the record's own."""
    inner = text.rstrip()[:-1].rstrip()
    return f'{inner}{"" if inner.endswith("{") else ","}"_id":{orjson.dumps(id_).decode()}}}'


def _rfc3339(milliseconds: int) -> str:
    time = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps({"error": message}), status, headers, "application/json")


async def _known_error(_: Request, exc: Exception) -> Response:
    status = next(status for kind, status in _STATUS.items() if isinstance(exc, kind))
    return _error(status, str(exc), {"Retry-After": "1"} if status == 503 else None)


async def _http_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return _error(exc.status_code, exc.detail, exc.headers)

"""An endpoint that keeps what it is sent, and a folder in which `shipper` processes run."""

from __future__ import annotations

import http.server
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.fakes import Program, Store, header_ids, start


class Endpoint(http.server.ThreadingHTTPServer):
    """An HTTP endpoint in this process that keeps what it is sent, by id."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.records: dict[str, bytes] = {}
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).split(b"\n")
        if self.server.status == 200:
            self.server.records.update(zip(header_ids(self.headers["shipper-lines"]), body, strict=False))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


class Shipper:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.programs: list[Program] = []

    def run(self, *arguments: str, **more: object) -> Program:
        program = start(self.folder / f"out{len(self.programs)}", *arguments, cwd=self.folder, **more)  # type: ignore[arg-type]
        self.programs.append(program)
        return program


@dataclass
class Keyed(Store):
    """A store that knows nothing but keys: what comes under a new one is kept, as often as it comes."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    taken: list[bytes] = field(default_factory=list)
    repeated: int = 0
    most: int = 10_000  # lines in one request
    never: int = 0  # a request with a record whose number this divides is refused; 0: none is
    _lock: Any = field(default_factory=threading.Lock)

    def take(self, request: httpx.Request) -> httpx.Response:
        key, texts = request.headers["idempotency-key"], request.content.split(b"\n")[:-1]
        if len(texts) > self.most:
            return httpx.Response(413)
        if self.never and any(json.loads(text).get("n", 1) % self.never == 0 for text in texts):
            return httpx.Response(400)
        with self._lock:
            if key in self.bodies:
                assert self.bodies[key] == request.content, "one key for two bodies"
                self.repeated += 1
            else:
                self.bodies[key] = request.content
                self.taken += texts
        return httpx.Response(200, json={})

    @property
    def numbers(self) -> list[int]:
        records = [json.loads(text) for text in list(self.taken)]
        return sorted(record["n"] for record in records if "n" in record)

    @property
    def records(self) -> dict[str, bytes]:
        return {str(number): text for number, text in enumerate(list(self.taken))}

"""An endpoint that keeps what it is sent, and a folder in which `shipper` processes run."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

from tests.fakes import Program, header_ids, start


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

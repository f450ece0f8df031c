"""Small HTTP servers in place of what cannot run here: Kibana, and stores that refuse or have plugins that ours lack."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


@contextmanager
def serving(answer):
    """Serve `answer(method, path, headers, body) -> (status, JSON or text)` on the loopback address; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, said = answer(self.command, self.path, self.headers, body)
            data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = _serve

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Kibana:
    """Imports saved objects as Kibana and OpenSearch Dashboards do, as far as their documentation says how.

    A request without the product's own header is refused, and so is an object of an unknown type, one with a stamp that is
    newer than the product's version, and one that refers to what is neither there nor in the import.
    """

    TYPES = {
        "kbn": {"index-pattern", "search", "lens", "dashboard"},
        "osd": {"index-pattern", "search", "visualization", "dashboard"},
    }

    def __init__(self, product: str, version: str) -> None:
        self.product = product
        self.version = tuple(map(int, version.split(".")))
        self.objects: dict[tuple[str, str], Any] = {}

    def __call__(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        if (method, path) != ("POST", "/api/saved_objects/_import?overwrite=true"):
            return 404, {"statusCode": 404, "error": "Not Found"}
        if f"{self.product}-xsrf" not in headers:
            return 400, {"statusCode": 400, "message": f"Request must contain a {self.product}-xsrf header."}
        objects = [json.loads(line) for line in self._file(headers, body).splitlines() if line.strip()]
        there = set(self.objects) | {(it["type"], it["id"]) for it in objects}
        errors = [error for it in objects if (error := self._wrong(it, there))]
        good = [it for it in objects if not self._wrong(it, there)]
        self.objects |= {(it["type"], it["id"]): it for it in good}
        return 200, {"success": not errors, "successCount": len(good), **({"errors": errors} if errors else {})}

    def _file(self, headers: Any, body: bytes) -> str:
        kind, _, boundary = headers["content-type"].partition("; boundary=")
        assert kind == "multipart/form-data"
        start, part, end = body.split(b"--" + boundary.encode())
        assert (start, end) == (b"", b"--\r\n")
        head, _, content = part.partition(b"\r\n\r\n")
        assert b'name="file"' in head
        assert b".ndjson" in head
        return content.decode().removesuffix("\r\n")

    def _wrong(self, it: Any, there: set[tuple[str, str]]) -> Any:
        stamps = [
            it.get("coreMigrationVersion"),
            it.get("typeMigrationVersion"),
            *it.get("migrationVersion", {}).values(),
        ]
        if it["type"] not in self.TYPES[self.product]:
            error = {"type": "unsupported_type"}
        elif any(tuple(map(int, stamp.split("."))) > self.version for stamp in stamps if stamp):
            error = {"type": "unknown", "message": "the document belongs to a more recent version"}
        elif any((one["type"], one["id"]) not in there for one in it["references"]):
            error = {"type": "missing_references"}
        else:
            return None
        return {"id": it["id"], "type": it["type"], "error": error}

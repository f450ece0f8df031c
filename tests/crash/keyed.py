"""
An endpoint, in a process of its own, that knows requests by `Idempotency-Key` alone and is as unkind as one may be.

It stores a request and does not say so, says that it is busy, and takes no more than some lines at once. `GET /state` tells how often
it has each record, and which keys came with more than one body.
"""

from __future__ import annotations

import gzip
import http.server
import json
import random
import sys
import threading
from collections import Counter
from typing import Any

MOST = 60
KINDS = ("well",) * 12 + ("busy", "silent", "silent", "deaf")


class Keyed(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.conflicts: list[str] = []
        self.repeated = 0
        self.reached: dict[str, int] = {}  # the line after the last one, by the key of a file
        self.early: list[str] = []  # runs of lines that came before what stands before them
        self.kind = True
        self.random = random.Random(seed)
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Somebody who was killed does not hear the answer."""

    def take(self, key: str, body: bytes, lines: str) -> str:
        """Store a request, or not; return what is to be said of it."""
        with self.lock:
            mood = "well" if self.kind else self.random.choice(KINDS)
            if mood not in ("busy", "deaf"):
                if key not in self.bodies:
                    self.note_order(lines)
                before = self.bodies.setdefault(key, body)
                self.repeated += before is not body
                if before != body:
                    self.conflicts.append(key)
            return mood

    def note_order(self, lines: str) -> None:
        for run in lines.split(", "):
            file, _, rest = run.rpartition(":")
            first, count = int(rest.partition("+")[0], 16), int(rest.partition("+")[2])
            if first < self.reached.get(file, 0):
                self.early.append(run)
            self.reached[file] = first + count

    def state(self) -> dict[str, Any]:
        with self.lock:
            texts = [text for body in self.bodies.values() for text in body.split(b"\n")[:-1]]
            numbers = Counter(json.loads(text).get("n") for text in texts)
            return {
                "numbers": sorted(numbers.items(), key=str), "conflicts": self.conflicts, "repeated": self.repeated,
                "requests": len(self.bodies), "early": self.early,
            }  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    server: Keyed
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        if body.count(b"\n") > MOST:
            self.say(413)
        elif body.count(b"\n") > 1 and b"refuse me" in body:
            self.say(400)
        elif b"refuse me" in body:
            self.say(422)
        else:
            mood = self.server.take(self.headers["idempotency-key"], body, self.headers["shipper-lines"])
            if mood in ("silent", "deaf"):
                self.close_connection = True
            else:
                self.say(503 if mood == "busy" else 200)

    def do_GET(self) -> None:
        if self.path == "/state":
            self.server.kind = True
        elif self.path == "/unkind":
            self.server.kind = False
        self.say(200, json.dumps(self.server.state()).encode() if self.path == "/state" else b"")

    def say(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


if __name__ == "__main__":
    endpoint = Keyed(int(sys.argv[1]))
    print(endpoint.server_address[1], flush=True)
    endpoint.serve_forever(0.02)

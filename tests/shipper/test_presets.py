"""Each kind of endpoint through the real program, against servers that follow the documentation of the real ones."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import fakes
from tests.core.test_shapes import READERS
from tests.fakes import append

TIME = "2026-11-22T05:02:17.220Z"


class Receiver:
    """A server that checks what a receiver would, is busy at first as its documentation says, and keeps what it takes."""

    def __init__(
        self,
        path: str,
        header: tuple[str, str],
        busy: tuple[int, Any],
        done: tuple[int, Any],
        read: Callable[[bytes], list[Any]],
    ):
        self.records: list[Any] = []
        self.keys: list[str] = []
        self.wrong: list[str] = []
        self.turn = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
                outer.turn += 1
                if self.path != path or self.headers[header[0]] != header[1]:
                    outer.wrong.append(f"{self.path} {dict(self.headers)}")
                    return self.say(403, {})
                outer.keys.append(self.headers["idempotency-key"])
                if outer.turn == 1:
                    return self.say(*busy)
                outer.records += read(body)
                return self.say(*done)

            def do_GET(self) -> None:
                self.say(405, {})

            def say(self, status: int, answer: Any) -> None:
                text = b"" if status == 204 else json.dumps(answer).encode()
                self.send_response(status)
                if status != 204:
                    self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def read_otlp(body: bytes) -> list[Any]:
    groups = json.loads(body)["resourceLogs"]
    records = [record for group in groups for scope in group["scopeLogs"] for record in scope["logRecords"]]
    return [{"message": record["body"]["stringValue"]} for record in records]


def lines_of(name: str) -> Callable[[bytes], list[Any]]:
    return lambda body: [json.loads(line) for line in READERS[name](body)]


VICTORIA = "/insert/jsonline?_stream_fields=service.name,service.environment,host.name&_msg_field=message&_time_field=@timestamp"
PRESETS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "loki": ({"http_headers": {"X-Scope-OrgID": "me"}},
             ("/loki/api/v1/push", ("X-Scope-OrgID", "me"), (429, {}), (204, {}), lines_of("loki"))),
    "splunk": ({"bearer_token": "t"}, ("/services/collector/event", ("Authorization", "Splunk t"),
                                       (503, {"text": "Server is busy", "code": 9}), (200, {"text": "Success", "code": 0}), lines_of("splunk"))),
    "datadog": ({"api_key": "k"}, ("/api/v2/logs", ("DD-API-KEY", "k"), (429, {}), (202, {}), lines_of("datadog"))),
    "otlp": ({"bearer_token": "t"}, ("/v1/logs", ("Authorization", "Bearer t"), (503, {}), (200, {}), read_otlp)),
    "victorialogs": ({}, (VICTORIA, ("Content-Type", "application/stream+json"), (502, {}), (200, {}), lines_of("victorialogs"))),
    "json_array": ({"user": "u", "password": "p"}, ("/", ("Authorization", "Basic dTpw"), (500, {}), (201, {}), lines_of("json_array"))),
    "json_each": ({"http_path": "/in?x=1"}, ("/in?x=1", ("Content-Type", "application/json"), (429, {}), (200, {}), lines_of("json_each"))),
}  # fmt: skip


@pytest.fixture(params=list(PRESETS))
def preset(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any], Receiver]]:
    settings, facts = PRESETS[request.param]
    receiver = Receiver(*facts)
    yield request.param, settings, receiver
    receiver.close()


def test_a_receiver_gets_every_record(tmp_path: Path, preset: tuple[str, dict[str, Any], Receiver]) -> None:
    """Path, credentials and body are what the receiver reads; when it was busy it gets the same request again, with the same key."""
    name, settings, receiver = preset
    (tmp_path / "logs").mkdir()
    records = [{"@timestamp": TIME, "message": f"m{n}", "service": {"name": "s"}} for n in range(20)]
    append(tmp_path / "logs" / "app.jsonl", b"".join(json.dumps(record).encode() + b"\n" for record in records))
    config = tmp_path / "shipper.yaml"
    config.write_text(json.dumps({"sink": name, "compression": "none" if name == "json_each" else "gzip", **settings}))
    program = fakes.start(
        tmp_path / "shipper.log",
        "run",
        "--once",
        "--config",
        str(config),
        "--path",
        str(tmp_path / "logs"),
        "--to",
        receiver.url,
    )
    assert program.wait() == 0, program.said
    assert not receiver.wrong
    assert sorted(record["message"] for record in receiver.records) == sorted(f"m{n}" for n in range(20))
    assert receiver.keys[0] in receiver.keys[1:]
    assert len(set(receiver.keys)) == len(receiver.keys) - 1

"""The embedded collector in the place of a store that is stopped, killed and started again."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests import fakes
from tests.fakes import Program
from tests.servers import free_port

_ROWS = 10_000  # of one answer


class Collector:
    """
    `shipper collect` on a port of its own, with what the kill runs ask of a store.

    Args:
        folder: For its data and its output.
    """

    kind = "collector"

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.process: Program | None = None
        self.restart()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def restart(self) -> None:
        self.process = fakes.start(
            self._folder / "collector.log", "collect", "--listen", f"127.0.0.1:{self._port}", "--data",
            str(self._folder / "data"),
        )  # fmt: skip
        fakes.wait_for(self._is_up, "the collector", timeout_s=60)

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.process.terminate()
            process.wait()

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; what only other stores know is answered 404."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if answer.status == 200 else None

    def numbers(self) -> list[tuple[str, int]]:
        """Run (of foreign lines "foreign") and number of each record."""
        found: list[tuple[str, int]] = []
        while True:
            query = (
                "SELECT coalesce(run, 'foreign') AS run, coalesce(sequence, CAST(record->>'n' AS BIGINT)) AS number "
                f"FROM records ORDER BY run, number, id LIMIT {_ROWS} OFFSET {len(found)}"
            )
            status, answer = self.call("GET", f"/api/sql?q={quote(query)}")
            assert status == 200
            found += [(run, number) for run, number in answer["rows"]]
            if len(answer["rows"]) < _ROWS:
                return found

    def _is_up(self) -> bool:
        try:
            return self.call("GET", "/healthz")[0] == 200
        except OSError:
            time.sleep(0.05)
            return False

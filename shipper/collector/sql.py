"""A user's SQL, run where it can do no harm: in a process of its own that can be killed. The outside of the fence.

DuckDB can be told to leave files, network and settings alone, and is (see ``sandbox``). A process on top of that, since time
and memory are only surely limited for something that can be killed, and since a crash must not take the collector along.
It costs about a quarter of a second for each query.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shipper.collector.store import Store

_SANDBOX = Path(__file__).with_name("sandbox.py")


class SqlError(ValueError):
    """The query was refused, failed, or took too much; one readable line. The asker's fault."""


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """What one query may use: seconds, memory in MB, rows and bytes of its answer, characters of its text."""

    timeout_s: float = 10
    memory_mb: int = 512
    max_rows: int = 10_000
    max_bytes: int = 16 * 2**20
    max_length: int = 20_000


DEFAULT_LIMITS = SqlLimits()


def run_sql(store: Store, query: str, limits: SqlLimits = DEFAULT_LIMITS) -> bytes:
    """Answer one SELECT on the view ``records``.

    Args:
        store: Whose records.
        query: The SQL.
        limits: What it may use.

    Returns:
        JSON: ``{"columns": […], "rows": [[…]], "truncated": true or false}``.

    Raises:
        SqlError: The query was refused, failed, or took too much.
    """
    if len(query) > limits.max_length:
        raise SqlError(f"the query has {len(query)} characters, at most {limits.max_length} are read")
    with tempfile.TemporaryDirectory(dir=store.data / "tmp") as folder:
        request = {
            "view": store.export(Path(folder)),
            "query": query,
            "max_rows": limits.max_rows,
            "max_bytes": limits.max_bytes,
            "memory_mb": limits.memory_mb,
            "cpu_s": int(limits.timeout_s * 3) + 2,
        }
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(_SANDBOX)],
                input=json.dumps(request).encode(),
                capture_output=True,
                env={},
                cwd=folder,
                timeout=limits.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise SqlError(f"the query took longer than {limits.timeout_s:g} s and was stopped") from exc
    if done.returncode != 0:
        raise SqlError("the query used more memory or processor time than it may, and was stopped")
    if done.stdout.startswith(b'{"error": '):
        raise SqlError(json.loads(done.stdout)["error"])
    return done.stdout

"""What an index mode of Elasticsearch saves: the same records of real processes in each, merged, on a real node.

`python -m benchmarks.index_mode [--records 1000000]` needs what `tests/servers` needs, and some gigabytes in the folder for
temporary files. It prints a table in Markdown; the ids are stored, the source is kept to the letter in both modes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shipper.commands.setup import Options, setup
from shipper.config import Settings
from tests import servers
from tests.e2e.corpus import PROCESSES

MODES = ("standard", "logsdb")
JAVA_OPTIONS = ("-Xms1g", "-Xmx1g")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index_mode", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as scratch, servers.start("elasticsearch", java_options=JAVA_OPTIONS) as server:
        folder = Path(scratch)
        lines_bytes = write(folder, records)
        print(f"{records:,} records, {lines_bytes / 1e6:.1f} MB of lines\n")
        print("| mode | MB in the index | bytes a record | of the lines | sent in |")
        print("|---|---|---|---|---|")
        for mode in MODES:
            began = time.monotonic()
            size_bytes, count = store(server, folder, mode)
            assert count == records, (mode, count)
            share, seconds = size_bytes / lines_bytes, time.monotonic() - began
            print(
                f"| `{mode}` | {size_bytes / 1e6:.1f} | {size_bytes / count:.0f} | {share:.0%} | {seconds:.0f} s |",
                flush=True,
            )


def write(folder: Path, records: int) -> int:
    """Let the processes of the test corpus log, all in our own profile; return the bytes of their files."""
    names = [name for name, spec in PROCESSES.items() if "profile" not in spec]
    for number, name in enumerate(names):
        count = records // len(names) + (number < records % len(names))
        command = [sys.executable, "-P", "-m", "tests.e2e.corpus", str(folder), name, str(count), "size"]
        subprocess.run(command, check=True, env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""})
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


def store(server: servers.Server, folder: Path, mode: str) -> tuple[int, int]:
    """Ship the files into streams of one mode; return the bytes and the records there, and delete them."""
    text, code = setup(Settings(to=server.url), Options(index_mode=mode))
    assert code == 0, text
    command = [sys.executable, "-P", "-m", "shipper", "run", "--once", "--to", server.url, "--path", str(folder)]
    with tempfile.TemporaryDirectory() as state:
        subprocess.run([*command, "--state", state], check=True, stderr=subprocess.DEVNULL)
    streams = "logs-*.jsonlog-size"
    for path in (f"/{streams}/_refresh", f"/{streams}/_forcemerge?max_num_segments=1", f"/{streams}/_refresh"):
        status, answer = server.call("POST", path)
        assert status == 200, answer
    time.sleep(2)  # segments that were merged away are deleted a moment later
    status, stats = server.call("GET", f"/{streams}/_stats/store,docs")
    assert status == 200, stats
    found = stats["_all"]["primaries"]
    server.call("DELETE", f"/_data_stream/{streams}")
    return found["store"]["size_in_bytes"], found["docs"]["count"]


if __name__ == "__main__":
    main()

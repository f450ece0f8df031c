"""What becomes of memory after a backlog."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import asyncio
from shipper import memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

async def main():
    held = 0
    task = asyncio.create_task(memory.give_back_when_calm(lambda: held))
    for _ in range(2):  # it happens after each backlog, not only after the first one
        held = 1 << 30
        buffers = [bytearray(b"x") * (512 * 1024) for _ in range(110)]  # less than is kept in any case
        del buffers
        await asyncio.sleep(5 * memory._CALM_S)
        kept = resident()
        held = 0
        await asyncio.sleep(5 * memory._CALM_S)
        print(kept, resident())
    task.cancel()

memory._CALM_S = 0.05
memory.use_one_arena()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_kept_in_a_backlog_and_given_back_after_it() -> None:
    """Buffers that are free stay ours while there is more to do: to ask for them anew is dear. Later they are the system's again."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    for line in done.stdout.splitlines():
        kept, left = map(int, line.split())
        assert kept > 60
        assert left < 45

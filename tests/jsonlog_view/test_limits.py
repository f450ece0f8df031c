import json
import os
import re
import resource
import subprocess
import sys
import time
import zlib

from jsonlog.view.follow import Follower
from jsonlog.view.paths import Search
from jsonlog.view.readers import Handles
from jsonlog.view.source import Sieve, Source
from tests.jsonlog_view.support import environment, line, part_name, run, show

MEASURED = """
import sys
from jsonlog.cli import main
code = main(["view", *sys.argv[1:]])
sys.stderr.write(open("/proc/self/status").read())
sys.exit(code)
"""


def peak_mb(*arguments) -> tuple[float, int]:
    """Run the command; give its peak memory and the number of lines that it printed."""
    command = [
        sys.executable,
        "-P",
        "-c",
        MEASURED,
        *map(str, arguments),
    ]  # rusage would count the memory of this process
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        lines = sum(piece.count(b"\n") for piece in iter(lambda: process.stdout.read(1 << 20), b""))
        status = process.stderr.read().decode()
    assert process.returncode == 0
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024, lines


def test_ten_thousand_files_with_256_descriptors(tmp_path):
    """10,000 short-lived processes can be viewed with 256 descriptors, in order, and within 100 MB."""
    for number in range(10_000):
        stamps = (f"2026-11-22T05:{minute:02d}:{number % 60:02d}.{number % 1000:03d}Z" for minute in (number % 50, 59))
        (tmp_path / part_name(number)).write_bytes(b"".join(line(i, stamp) for i, stamp in enumerate(stamps)))
    done = run("-o", "json", tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    assert (done.returncode, done.stderr) == (0, b"")
    stamps = [json.loads(one)["@timestamp"] for one in done.stdout.splitlines()]
    assert stamps == sorted(stamps)
    assert len(stamps) == 20_000
    assert peak_mb("-o", "json", tmp_path)[0] < 100


def test_slow_rounds_do_not_go_on_for_ever(tmp_path):
    """Where each look at the files takes long, `-f` is done with what was there after a round that is no shorter."""

    class Slow(Source):
        rounds = 0

        def fill(self, block):
            Slow.rounds += 1
            time.sleep(0.6)
            return super().fill(block)

    (tmp_path / part_name(1)).write_bytes(line(0))
    search = Search([str(tmp_path)], waiting=True)
    (found,) = search.find()
    follower = Follower(search, None, [Slow(found.rank, [found], Handles(), Sieve(), follow=True)])
    assert [one for batch in follower.catch_up() for one in batch] == [line(0)[:-1]]
    assert Slow.rounds < 10


def test_memory_does_not_grow_with_the_files(tmp_path):
    """Sixteen files of 4 MB, one of them a bomb of 60 MB in gzip, plain text without times: never more than 60 MB."""
    block = b"".join(line(i, message="m" * 500) for i in range(50))
    for number in range(16):
        (tmp_path / part_name(number)).write_bytes(block * (4_000_000 // len(block)))
    (tmp_path / "text.jsonl").write_bytes(b"no time at all\n" * 300_000)
    pack = zlib.compressobj(wbits=31)
    (tmp_path / "bomb.jsonl.gz").write_bytes(b"".join(map(pack.compress, [b"x" * 99 + b"\n"] * 600_000)) + pack.flush())
    memory, lines = peak_mb("-o", "json", tmp_path)
    assert memory < 60
    assert lines == 16 * 50 * (4_000_000 // len(block)) + 300_000 + 600_000


def test_it_imports_orjson_and_the_standard_library_alone():
    """`jsonlog view` works with the base install."""
    program = (
        "import sys; before = set(sys.modules); import jsonlog.cli, json; "
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, check=True, env=environment(), timeout=30
    )
    assert json.loads(done.stdout) == ["jsonlog", "orjson"]


def test_a_named_pipe_is_read(tmp_path):
    """A path that is a pipe is read like stdin, not like a file with offsets."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen(["sh", "-c", f"cat > {path}"], stdin=subprocess.PIPE) as writer:
        writer.stdin.write(line(0))
        writer.stdin.close()
        assert show("-o", "json", path).encode() == line(0)

"""One running node: start, wait until it answers, stop, kill, start again on the same port with the same data.

What a node leaves behind (data, log) lies in a folder of its own under `.cache/servers/run`, under a lock that its starter
holds. A starter that was killed cannot clean up; the next one sees that the lock is free and does.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import http.client
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers._prepare import CACHE, Missing, find_java, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

HOST = "127.0.0.1"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
PORT_TRIES = 5
KEEP_LOGS_S = 86_400.0
# A node lives for seconds: the first compiler is enough, and the second one would take the processors from the tests.
JAVA_OPTIONS = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
ALWAYS = ("-XX:+ExitOnOutOfMemoryError", "--enable-native-access=ALL-UNNAMED", "-Dend.with.stdin=true")


class DidNotStart(RuntimeError):
    """The node ended, or did not answer in time; the text names its log and shows the end of it."""


class Server:
    """A node on a port of the loopback address; made by `start`, and its own context manager."""

    def __init__(self, kind: str, port: int, run: _RunFolder, command: Sequence[str | Path], data: Path) -> None:
        self.kind = kind
        self.port = port
        self.data = data
        self.log = run.path / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._run = run
        self._owner = os.getpid()
        # The name is asked for when the node answers: another program may have been given the port.
        self._name = secrets.token_hex(8)
        self._command = [*command, f"node.name={self._name}", f"path.data={data}", f"http.port={port}"]

    @property
    def url(self) -> str:
        """Where the node answers, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send one request and return its status and the parsed answer.

        Args:
            body: a dict goes as JSON, a list as NDJSON, bytes or str as they are.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, *_encode(body))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text.decode()

    def stop(self) -> None:
        """End the node with SIGTERM and wait for it; the data stays for `restart`."""
        self._end(kill=False)

    def kill(self) -> None:
        """End the node with SIGKILL, as a crash would; `restart` finds the data as it was left."""
        self._end(kill=True)

    def restart(self) -> None:
        """Start again with the same data on the same port; a node that still runs is stopped first."""
        self._end(kill=False)
        self._start()

    def close(self) -> None:
        """Stop the node for good and remove its log and its data (not a data folder that was given to `start`)."""
        if os.getpid() != self._owner:  # a forked child that ends must not take the node along
            return
        self._end(kill=False)
        self._run.remove()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            # Its own session: Ctrl-C at the terminal is for the program that uses the node, which then stops it.
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_up(self.process)
        except BaseException:
            self._end(kill=True)
            raise

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_up():
            code = process.poll()
            if code is not None:
                raise DidNotStart(f"{self.kind} ended with code {code}; {self._end_of_log()}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"{self.kind} did not answer within {START_TIMEOUT_S:.0f} s; {self._end_of_log()}")
            time.sleep(0.1)

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, about = self.call("GET", "/")
            if status != 200 or about["name"] != self._name:
                return False
            status, health = self.call("GET", "/_cluster/health?wait_for_status=yellow&timeout=5s")
            return status == 200 and not health["timed_out"]
        return False

    def _end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n  ".join([f"the end of {self.log}:", *lines[-15:]])

    def _end(self, *, kill: bool) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            if process.stdin:
                process.stdin.close()


def start(
    kind: str,
    *,
    port: int = 0,
    data: Path | None = None,
    settings: Mapping[str, str] | None = None,
    java_options: Sequence[str] = JAVA_OPTIONS,
) -> Server:
    """Start a node and return it once it answers and is at least yellow. It ends with this process at the latest.

    Args:
        kind: "elasticsearch" or "opensearch".
        port: 0 picks a free one.
        data: folder to keep the data in; by default one that `close` removes.
        settings: further settings of the server, such as {"http.max_content_length": "1mb"}.
        java_options: for a benchmark that wants a larger heap or the second compiler.

    Raises:
        Missing: the machine lacks a part, or a part could not be made.
        DidNotStart: the node ended or did not answer; the text names its log.
    """
    home = prepare(kind)
    for attempts_left in reversed(range(PORT_TRIES)):
        run = _RunFolder()
        server = Server(
            kind, port or free_port(), run, _command(kind, home, run, java_options, settings), data or run.data
        )
        try:
            server._start()
        except DidNotStart:
            taken = "Address already in use" in server.log.read_text(errors="replace")
            run.release()  # the log stays
            if port or not attempts_left or not taken:
                raise
        except BaseException:
            run.remove()
            raise
        else:
            atexit.register(server.close)
            return server
    raise AssertionError("unreachable")


def free_port() -> int:
    """Pick a free port below those that the kernel hands to outgoing connections.

    A client that keeps trying to reach a stopped node would otherwise be given the node's own port now and then, and
    connect to itself; the node could not take the port back.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768
    low, high = (20_000, first) if first > 21_000 else (1_100, max(first, 1_200))
    while True:
        port = random.SystemRandom().randrange(low, high)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


class _RunFolder:
    """A folder for one node's log and data, under a lock that dies with this process."""

    def __init__(self) -> None:
        base = CACHE / "run"
        base.mkdir(parents=True, exist_ok=True)
        _sweep(base)
        self.path = base / f"{os.getpid()}-{secrets.token_hex(4)}"
        self.path.mkdir()
        self.data = self.path / "data"
        self._lock: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def release(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        self.release()
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sweep(base: Path) -> None:
    """Remove what killed processes left: data at once, logs after a day."""
    for folder in base.iterdir():
        with contextlib.suppress(OSError):
            age_s = time.time() - folder.stat().st_mtime
            if age_s < START_TIMEOUT_S:  # its owner may stand between making and locking it
                continue
            with _open_folder(folder) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder if age_s > KEEP_LOGS_S else folder / "data", ignore_errors=True)


def _command(
    kind: str, home: Path, run: _RunFolder, java_options: Sequence[str], settings: Mapping[str, str] | None
) -> list[str | Path]:
    java = find_java()
    if java is None:
        raise Missing(f"cannot run {kind}: its Java is gone")
    options = [*ALWAYS, *java_options, f"-Djava.io.tmpdir={run.path}"]
    given = [f"{key}={value}" for key, value in {"path.logs": run.path / "logs", **(settings or {})}.items()]
    return [java / "bin" / "java", *options, *_ENTRY[kind](home, run.path), *given]


def _elasticsearch_entry(home: Path, run: Path) -> list[str | Path]:
    """Class path, main class and home. The index mode `logsdb` and `best_compression` need a libzstd of the system."""
    native = run / "native"
    native.mkdir()
    for found in (*Path("/usr/lib").glob("*/libzstd.so.1"), *Path("/").glob("usr/lib64/libzstd.so.1")):
        (native / "libzstd.so").symlink_to(found)
        break
    options = [f"-Des.nativelibs.path={native}", "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false"]
    return [*options, "-cp", f"{home / 'main'}:{home / 'lib'}/*", "ElasticsearchServer", home / "home"]


def _opensearch_entry(home: Path, run: Path) -> list[str | Path]:
    return ["-cp", f"{home / 'main'}:{home / 'lib'}/*", "OpenSearchServer", home / "home"]


_ENTRY = {"elasticsearch": _elasticsearch_entry, "opensearch": _opensearch_entry}


def _encode(body: Any) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    if isinstance(body, dict):
        return json.dumps(body).encode(), {"Content-Type": "application/json"}
    if isinstance(body, list):
        lines = "".join(json.dumps(item) + "\n" for item in body)
        return lines.encode(), {"Content-Type": "application/x-ndjson"}
    return (body if isinstance(body, bytes) else body.encode()), {"Content-Type": "application/json"}

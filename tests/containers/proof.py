"""The proof: bring docker-compose.yml up, stop and kill each container while requests go on, and settle the accounts."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import secrets
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests import servers
from tests.containers import accounting, engine, images
from tests.containers.engine import CACHE, ROOT, Engine
from tests.containers.traffic import Answer, Traffic, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = "jsonlog-shipper-proof"
IMAGE = "jsonlog-shipper:proof"
FILES = ("docker-compose.yml", "tests/containers/compose.override.yml")
SERVICES = ("app", "shipper", "elasticsearch")
# What a shop is asked, with answers of every kind: exceptions with causes, warnings, a slow one.
PATHS = (
    "/",
    "/search?q=lamp",
    "/order?item=book&user=ann",
    "/order?card=slow&user=bob",
    "/order?card=broken",
    "/order?item=boat",
    "/report?seconds=0.05",
    "/nowhere",
)
# How long each may take to stop by itself: the grace periods of docker-compose.yml.
GRACE_S = {"app": 15, "shipper": 30, "elasticsearch": 60}
DOWN_S = 2.0
UP_TIMEOUT_S = 90.0
FOUND_TIMEOUT_S = 60.0


class Disproved(AssertionError):
    """A claim of the proof does not hold; the text says which."""


def prove(say: Callable[[str], None] = print) -> None:
    """Run the whole proof and clean up whatever comes of it.

    Raises:
        Failed: the container engine failed, or a part is missing.
        Disproved: a record was lost or doubled, or a container did not behave.
    """
    with _alone():
        found = engine.find()
        tell = _with_time(say)
        tell(f"engine: {found.name}")
        base = images.base_image(found)
        tell(f"base image: {base}")
        images.project_image(found, base, IMAGE)
        tell("built the Dockerfile")
        server = images.server_image(found, base)
        tell(f"Elasticsearch's place is taken by {server}; Kibana is left out")
        stack = Stack(found, server)
        stack.down()
        try:
            _prove_on(stack, tell)
        except BaseException:
            say(stack.logs())
            raise
        finally:
            stack.down()
            tell("containers, networks and volumes are removed")


def _prove_on(stack: Stack, tell: Callable[[str], None]) -> None:
    stack.up()
    tell("docker-compose.yml is up")
    stack.wait_until_answers("app")
    kills: list[accounting.Kill] = []
    with Traffic(stack.app_port, secrets.token_hex(4), PATHS) as traffic:
        _next_request_is_found(stack, traffic)
        tell("a request was served, and its access record found in the store")
        for service in SERVICES:
            for how in ("stop", "kill"):
                tell(_round(stack, traffic, service, how, kills))
    _end_in_order(stack, tell)
    records = stack.records()
    account = accounting.settle(records, stack.counted(), traffic.answers, kills)
    tell(
        f"{account.counted} log calls counted by the application, {account.records} records of {account.runs} writers in the "
        f"store: every (run, event.sequence) once, every writer from 0 without a gap"
    )
    tell(
        f"{account.requests} requests answered, {traffic.failures} not (their container was away): each answered one found once, "
        f"but {account.unlogged} that were answered in the instant before a SIGKILL"
    )
    if account.wrong:
        raise Disproved("\n".join(account.wrong))


def _round(stack: Stack, traffic: Traffic, service: str, how: str, kills: list[accounting.Kill]) -> str:
    """Take one container away for a moment and wait until a request of afterwards is found in the store."""
    began = time.monotonic()
    code = stack.end(service, how)
    ended = time.monotonic()
    if how == "kill" and service == "app":
        kills.append(accounting.Kill(began, ended))
    if how == "stop" and service != "elasticsearch" and code != 0:
        raise Disproved(f"{service} ended with code {code} after SIGTERM")
    time.sleep(DOWN_S)
    stack.engine("start", stack.container(service))
    stack.wait_until_answers(service)
    _next_request_is_found(stack, traffic)
    took = time.monotonic()
    return f"{service} {how}: away after {ended - began:.1f} s with code {code}, new requests found after {took - ended:.1f} s"


def _end_in_order(stack: Stack, tell: Callable[[str], None]) -> None:
    """End the application, then the shipper, as compose does; what was logged to the last must have been sent by then."""
    for service in ("app", "shipper"):
        began = time.monotonic()
        code = stack.end(service, "stop")
        tell(f"{service} ended with code {code} after {time.monotonic() - began:.1f} s")
        if code != 0:
            raise Disproved(f"{service} ended with code {code} after SIGTERM")
    left = stack.log_files()
    if left:
        raise Disproved(f"the shipper ended and left log files behind: {left}")
    tell("the shipper has deleted every log file: all of it is acknowledged")


def _next_request_is_found(stack: Stack, traffic: Traffic) -> None:
    answer = traffic.wait_for_answer(UP_TIMEOUT_S)
    if answer is None:
        raise Disproved("the application answers no more")
    deadline = time.monotonic() + FOUND_TIMEOUT_S
    while not stack.has(answer):
        if time.monotonic() > deadline:
            raise Disproved(
                f"the record of request {answer.request_id} is not in the store after {FOUND_TIMEOUT_S:.0f} s"
            )
        time.sleep(0.3)


class Stack:
    """The services of the compose files under a project name of their own, on free ports."""

    def __init__(self, found: Engine, server_image: str) -> None:
        self.engine = found
        self.app_port = servers.free_port()
        self.store_port = servers.free_port()
        self._environ = {
            "TAG": IMAGE.partition(":")[2],
            "SERVER_IMAGE": server_image,
            "APP_PORT": str(self.app_port),
            "ELASTICSEARCH_PORT": str(self.store_port),
            # Not started, but the port must be no one's.
            "KIBANA_PORT": str(servers.free_port()),
        }

    def up(self) -> None:
        """Start what the compose files say, with images that are there already."""
        self._compose("up", "--detach", "--no-build")

    def down(self) -> None:
        """Remove containers, networks and volumes, also those of a run that could not."""
        self._compose("down", "--volumes", "--timeout", "1")

    def container(self, service: str) -> str:
        """The container's name: Docker and podman join the parts differently."""
        label = f"--filter=label=com.docker.compose.project={PROJECT}"
        listed = self.engine("ps", "--all", label, "--format={{.Names}}").split()
        return next(name for name in listed if service in name.removeprefix(PROJECT))

    def end(self, service: str, how: str) -> int:
        """Send SIGTERM and wait, or send SIGKILL; return the exit code."""
        name = self.container(service)
        if how == "kill":
            self.engine("kill", "--signal=KILL", name)
        else:
            grace_s = GRACE_S[service]
            self.engine("stop", "-t", str(grace_s), name, timeout_s=grace_s + 30)
        return int(self.engine.inspect(name)["State"]["ExitCode"])

    def wait_until_answers(self, service: str) -> None:
        """Wait for a service that can be asked; the shipper shows by its work."""
        ask = {"app": self._app_answers, "elasticsearch": self._store_answers}.get(service)
        deadline = time.monotonic() + UP_TIMEOUT_S
        while ask is not None and not ask():
            if time.monotonic() > deadline:
                raise Disproved(f"{service} does not answer after {UP_TIMEOUT_S:.0f} s")
            time.sleep(0.3)

    def has(self, answer: Answer) -> bool:
        """Say whether the store finds the access record of a request."""
        query = {"query": {"term": {"extra.request_id": answer.request_id}}}
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, found = self._ask("GET", "/logs-*/_search", query)
            return status == 200 and found["hits"]["total"]["value"] > 0
        return False

    def records(self) -> list[accounting.Stored]:
        """Read everything that is stored."""
        self._ask("POST", "/logs-*/_refresh")
        body = {"size": 5000, "sort": ["_doc"], "_source": ["run", "event.sequence", "log.logger", "extra.request_id"]}
        _, page = self._ask("POST", "/logs-*/_search?scroll=1m", body)
        records = []
        while page["hits"]["hits"]:
            records += [_stored(hit["_source"]) for hit in page["hits"]["hits"]]
            _, page = self._ask("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        return records

    def log_files(self) -> list[str]:
        """List the log files that are left in the volume."""
        return self._in_logs("import pathlib; print(*pathlib.Path('/logs').glob('*.jsonl'))").split()

    def counted(self) -> int:
        """The log calls that the application counted, in files that survive a SIGKILL."""
        return int(
            self._in_logs("import pathlib, shipper.demo.tally as t; print(t.total(pathlib.Path('/logs/tally')))")
        )

    def logs(self) -> str:
        """The end of what each container printed, for a proof that failed."""
        shown = []
        for service in SERVICES:
            with contextlib.suppress(StopIteration):
                command = [self.engine.name, "logs", "--tail=40", self.container(service)]
                said = subprocess.run(
                    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False
                )
                shown.append(f"--- {service}\n{said.stdout.decode(errors='replace')}")
        return "\n".join(shown)

    def _in_logs(self, program: str) -> str:
        mount = f"--volume={PROJECT}_logs:/logs"
        return self.engine("run", "--rm", "--network=none", mount, IMAGE, "python3", "-c", program)

    def _app_answers(self) -> bool:
        answer = request(self.app_port, "/healthz")
        return answer is not None and answer.status == 200

    def _store_answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=5s")[0] == 200
        return False

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.store_port, timeout=30)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def _compose(self, *arguments: str) -> None:
        files = [f"--file={ROOT / name}" for name in FILES]
        command = [*self.engine.compose, f"--project-name={PROJECT}", *files, *arguments]
        engine.run(command, environ=self._environ, timeout_s=180)


def _stored(source: dict[str, Any]) -> accounting.Stored:
    extra = source.get("extra", {})
    return accounting.Stored(
        source["run"], source["event"]["sequence"], source["log"]["logger"], extra.get("request_id")
    )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two proofs at once would take each other's containers down."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _with_time(say: Callable[[str], None]) -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: say(f"{time.monotonic() - began:6.1f} s  {text}")

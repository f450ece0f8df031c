"""The servers that other tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import servers
from tests.servers.fixtures import require

ROOT = Path(__file__).parents[2]


def test_store_answers_with_its_name_and_version(store):
    """GET / tells which of the two it is: the shipper decides by it."""
    status, about = store.call("GET", "/")

    assert status == 200
    assert about["version"].get("distribution", "elasticsearch") == store.kind
    assert about["version"]["number"][0].isdigit()


def test_data_stream_takes_an_id_once(store, unique_service):
    """A second _bulk create with the same id is answered 409: what the shipper's exactly-once rests on."""
    stream = f"logs-{unique_service}.jsonlog-default"
    template = {"index_patterns": [f"logs-{unique_service}.*"], "data_stream": {}, "priority": 500}
    assert store.call("PUT", f"/_index_template/{unique_service}", template)[0] == 200
    assert store.call("PUT", f"/_data_stream/{stream}")[0] == 200
    record = {"@timestamp": "2025-01-01T00:00:00.000Z", "message": "once"}
    bulk = [{"create": {"_id": "a-0"}}, record, {"create": {"_id": "a-1"}}, record]

    first = store.call("POST", f"/{stream}/_bulk?refresh=true", bulk)[1]
    second = store.call("POST", f"/{stream}/_bulk?refresh=true", bulk)[1]

    assert [item["create"]["status"] for item in first["items"]] == [201, 201]
    assert [item["create"]["status"] for item in second["items"]] == [409, 409]
    assert store.call("GET", f"/{stream}/_count")[1]["count"] == 2
    _, listed = store.call("GET", f"/_data_stream/{stream}")
    assert [found["name"] for found in listed["data_streams"]] == [stream]


def test_empty_store_has_seen_nothing(empty_store):
    """A test that is about templates does not find those of another test."""
    assert empty_store.call("GET", "/_data_stream")[1]["data_streams"] == []
    assert empty_store.call("GET", "/_index_template/jsonlog*")[1]["index_templates"] == []


@pytest.mark.server
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", servers.KINDS)
def test_restart_keeps_data_and_port(kind):
    """After a crash and after a stop the node is back at the same address with what it had acknowledged."""
    require(servers.available(kind))
    with servers.start(kind, settings={"cluster.name": "named-by-a-test"}) as server:
        assert server.call("GET", "/")[1]["cluster_name"] == "named-by-a-test"
        assert server.call("PUT", "/kept/_create/1", {"n": 1})[0] == 201
        port = server.port
        server.kill()
        server.restart()
        assert server.call("PUT", "/kept/_create/2", {"n": 2})[0] == 201
        server.stop()
        server.restart()
        assert server.port == port
        assert [server.call("GET", f"/kept/_doc/{n}")[1]["_source"]["n"] for n in (1, 2)] == [1, 2]
        folder = server.log.parent
    assert not folder.exists(), "nothing may be left behind"


@pytest.mark.server
@pytest.mark.timeout(300)
def test_node_ends_with_a_starter_that_is_killed():
    """A test run that is killed leaves no node behind: the end of the pipe tells the node."""
    require(servers.available("opensearch"))
    program = (
        "import time; from tests import servers; s = servers.start('opensearch');"
        " print(s.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        node = int(starter.stdout.readline())
        assert _alive(node)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while _alive(node) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(node)


@pytest.mark.server
@pytest.mark.timeout(300)
def test_wrong_setting_is_reported_with_the_log():
    """A node that does not come up is reported with the name and the end of its log."""
    require(servers.available("opensearch"))
    with pytest.raises(
        servers.DidNotStart, match=r"(?s)opensearch ended with code 1; the end of .*server\.log:.*no\.such\.setting"
    ):
        servers.start("opensearch", settings={"no.such.setting": "1"})


def test_missing_java_is_named(tmp_path):
    """Without a Java in JAVA_HOME, on the PATH or in the usual folders the reason says so."""
    reason = servers.available("opensearch", environ={"PATH": ""}, java_folders=[f"{tmp_path}/*"], cache=tmp_path)

    assert reason == "no Java >= 21 found (JAVA_HOME, java on the PATH, or the system's JVM folder)"


def test_old_java_is_passed_over(tmp_path):
    """A Java counts by the version it reports itself, not by the name of its folder."""
    for name, version in (("jdk-99", "17.0.2"), ("other", "21.0.1")):
        home = tmp_path / name / "bin"
        home.mkdir(parents=True)
        (home / "java").write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        (home / "java").chmod(0o755)

    assert servers.find_java(environ={}, folders=[f"{tmp_path}/*"]) == tmp_path / "other"
    assert servers.find_java(environ={"JAVA_HOME": str(tmp_path / "jdk-99")}, folders=[]) is None


def test_missing_maven_is_named(tmp_path):
    """With a Java but without Maven the reason names Maven."""
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("#!/bin/sh\necho 'openjdk version \"25\"' >&2\n")
    (home / "bin" / "java").chmod(0o755)

    reason = servers.available("elasticsearch", environ={"PATH": "", "JAVA_HOME": str(home)}, cache=tmp_path)

    assert reason == "Maven (mvn) is not on the PATH"


def test_command_line_names_what_is_missing_in_one_line(tmp_path):
    """`make demo STORE=opensearch` on a machine without Java ends with exit code 2 and one line."""
    environ = {"PATH": str(tmp_path), "SERVERS_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.servers", "demo", "--store", "opensearch"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("cannot run opensearch: ")
    assert done.stderr.count("\n") == 1


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

"""The demo is the whole path with real processes, and its accounting has to close."""

import os
import re
import signal
import subprocess
import sys

import pytest

DEMO = [sys.executable, "-P", "-m", "shipper", "demo", "--requests", "120"]


def run_demo(*arguments):
    done = subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def figure(output, name):
    return int(re.search(rf"{name}\s+(\d+)", output)[1])


def check_accounting(output):
    made = figure(output, "log calls made")
    assert made > 200
    assert figure(output, "records stored") == made
    assert figure(output, "stored twice") == 0
    assert figure(output, "lost") == 0


def test_demo_ships_every_log_call_to_the_embedded_collector_once():
    """With a killed worker on the way, the application's own count equals what the collector stores, nothing twice."""
    output = run_demo()
    check_accounting(output)
    assert figure(output, "CardError") > 0
    assert "killed with SIGKILL" in output
    assert re.search(r"GET /search 200\s+[\d.]+", output)


@pytest.mark.server
def test_demo_ships_every_log_call_to_a_real_store_once(store):
    """The same against a real Elasticsearch and a real OpenSearch."""
    output = run_demo("--to", store.url)
    check_accounting(output)
    assert figure(output, "CardError") > 0


def test_demo_serves_the_page_until_it_is_told_to_end():
    """`--serve` stays up, prints the page's address, and a signal ends it and all of its processes."""
    with subprocess.Popen([*DEMO, "--serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if "press Ctrl-C" in line:
                break
        address = re.search(r"http://127\.0\.0\.1:\d+$", lines[-2].strip())[0]
        import httpx

        assert "<html" in httpx.get(address).text
        os.kill(demo.pid, signal.SIGINT)
        assert demo.wait(40) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)


def test_demo_names_a_store_that_does_not_answer():
    """A wrong address is one sentence and exit code 2, before anything is started."""
    done = subprocess.run([*DEMO, "--to", "http://127.0.0.1:9"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("shipper: --to http://127.0.0.1:9: ")
    assert len(done.stderr.splitlines()) == 1

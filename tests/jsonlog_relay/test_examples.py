"""The examples of docs/relay.md run as they stand, and every option stands in that page."""

import argparse
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jsonlog
from jsonlog.relay import receive_options
from tests.jsonlog_relay.running import Receiver, check_senders, records

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/relay.md").read_text()


def example(name, cwd, *arguments):
    command = [sys.executable, "-P", ROOT / "examples" / name, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done


def test_queue_thread(tmp_path):
    """All records in the file with their request and task, the error on the console, with its traceback."""
    done = example("queue_thread.py", tmp_path)
    found = records(tmp_path / "logs")
    assert sorted(r["extra"]["request"] for r in found if r["message"] == "charging") == [0, 1, 2, 3, 4]
    (failed,) = [record for record in found if record["log"]["level"] == "ERROR"]
    assert (failed["exc"]["type"], failed["extra"], failed["service"]["name"]) == (
        "TimeoutError",
        {"request": 3},
        "shop",
    )
    if sys.version_info >= (3, 12):
        assert failed["process"]["task"] == {"name": "request-3"}
    assert done.stderr.startswith("ERROR    shop.pay charge 3 failed\nTraceback (most recent call last):\n")
    check_senders(found)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_queue_process(tmp_path, method):
    """Every record of every process, written by one; a text of the errors beside."""
    example("queue_process.py", tmp_path, method)
    found = records(tmp_path / "logs")
    assert len(found) == 2 + 3 * 10
    assert sorted(map(len, check_senders(found).values())) == [2, 10, 10, 10]
    assert {r["process"]["name"] for r in found if r["log"]["level"] == "ERROR"} == {f"worker-{n}" for n in range(3)}
    assert len({r["run"] for r in found}) == 1
    text = (tmp_path / "errors.txt").read_text()
    assert text.count("MainThread: item 0\nTraceback (most recent call last):\n") == 3


def test_socket(tmp_path):
    """What the sender's processes logged is in the receiver's file, and the spool is empty."""
    receiver = Receiver(tmp_path / "logs").start()
    example("socket_sender.py", tmp_path, str(receiver.port))
    receiver.stop()
    found = records(tmp_path / "logs")
    expected = [f"worker {n}, item {i}" for n in range(3) for i in range(100)]
    assert sorted(r["message"] for r in found) == sorted([*expected, "starting", "done"])
    assert len(check_senders(found)) == 4
    assert list((tmp_path / "spool").iterdir()) == []


def test_every_option_is_documented():
    """Each argument of the three classes and of the command stands in the page."""
    parser = argparse.ArgumentParser()
    receive_options.add_arguments(parser)
    names = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    for cls in (jsonlog.QueueHandler, jsonlog.QueueListener, jsonlog.SocketHandler):
        names += [name for name in inspect.signature(cls).parameters if name != "level"]
    for name in set(names) - {"--help"}:
        assert f"`{name}`" in PAGE or f"`{name} " in PAGE, name


@pytest.mark.parametrize("number", range(len(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))))
def test_every_block_of_the_page_runs(tmp_path, number):
    """Each block of Python runs by itself, as somebody who reads would type it."""
    block = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[number]
    (tmp_path / "block.py").write_text(block)
    subprocess.run([sys.executable, "-P", "block.py"], cwd=tmp_path, check=True, timeout=60)
    assert records(tmp_path / "logs") or "SocketHandler" in block

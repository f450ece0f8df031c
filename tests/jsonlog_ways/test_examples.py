"""The examples run as their head says, and log what their way promises. Servers have tests of their own."""

import re
from collections import Counter

import pytest

from tests.jsonlog_ways.support import EXAMPLES, by_message, logged, run


def test_one_call(tmp_path):
    """Files, a console, and a record for the exception that nobody caught in a thread."""
    done = run(EXAMPLES / "one_call.py", cwd=tmp_path)
    found = by_message(tmp_path / "logs")
    assert set(found) == {"charged", "the order failed", "uncaught exception in thread night-shift"}
    assert found["the order failed"]["exc"]["type"] == "ValueError"
    assert "charged  amount=12.5" in done.stderr
    run(EXAMPLES / "one_call.py", cwd=tmp_path, env={"JSONLOG_LEVEL": "debug", "JSONLOG_DIRECTORY": "more"})
    assert "DEBUG" in {record["log"]["level"] for record in logged(tmp_path / "more")}


def test_dictconfig(tmp_path):
    """Each handler gets what its logger and level let through: four views of the same six records."""
    done = run(EXAMPLES / "dictconfig.py", cwd=tmp_path)
    everything, payments, errors = (logged(tmp_path / "logs" / name) for name in ("all", "payments", "errors"))
    assert [record["message"] for record in payments] == ["asking the bank", "the bank is slow", "charge 17 failed"]
    assert [record["message"] for record in everything] == ["open for business"] + [r["message"] for r in payments]
    assert [record["message"] for record in errors] == ["charge 17 failed"]
    assert errors[0]["exc"]["traceback"] == payments[2]["exc"]["traceback"] == everything[3]["exc"]["traceback"]
    assert [one["type"] for one in errors[0]["exc"]["chain"]] == ["TimeoutError"]
    assert len({record["run"] for records in (everything, payments, errors) for record in records}) == 3
    assert done.stderr.startswith(
        "WARNING  shop.pay        the bank is slow\nERROR    shop.pay        charge 17 failed\nTrace"
    )


@pytest.mark.parametrize("order", ["json first", "text first", "text alone", "two texts"])
def test_the_text_of_an_exception_is_the_consoles_own(tmp_path, order):
    """What a text handler prints of an exception is byte for byte the same with ours before it, behind it, or not there."""
    program = """
        import logging, sys, jsonlog
        class Loud(logging.Formatter):
            def formatException(self, exc_info): return super().formatException(exc_info).upper()
        def text(formatter):
            handler = logging.StreamHandler(sys.stdout); handler.setFormatter(formatter("%(message)s")); return handler
        ours, plain, loud = jsonlog.ProcessFileHandler("logs"), text(logging.Formatter), text(Loud)
        handlers = {"json first": [ours, plain], "text first": [plain, ours], "text alone": [plain], "two texts": [loud, ours]}
        log = logging.getLogger("x"); log.handlers = handlers[sys.argv[1]]; log.propagate = False
        def fail(): return 1 / 0
        try: fail()
        except ZeroDivisionError: log.exception("failed", stack_info=True)
    """
    shown = run(program, order, cwd=tmp_path).stdout
    if order == "two texts":
        assert 'FILE "<STRING>", LINE' in shown
    else:
        assert shown == run(program, "text alone", cwd=tmp_path).stdout
    for record in logged(tmp_path / "logs") if order != "text alone" else []:
        assert record["exc"]["traceback"].startswith('Traceback (most recent call last):\n  File "<string>", line')
        assert record["message"] == "failed"
        assert record["stack"].startswith("Stack (most")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes(tmp_path, method):
    """Process, Pool and ProcessPoolExecutor under each start method: every item once, a file for each process."""
    done = run(EXAMPLES / "processes.py", method, cwd=tmp_path)
    assert done.stdout.split() == ["385", str(sum(n * n for n in range(11, 21)))]
    records = logged(tmp_path / "logs")
    items = [record["message"] for record in records if record["message"].startswith("item")]
    assert sorted(items) == sorted(f"item {number}" for number in range(21))
    by_run = {record["run"]: record["process"]["pid"] for record in records}
    assert len(by_run) == len(set(by_run.values()))
    children = {r["process"]["name"] for r in records if r["message"].startswith("item")}
    assert "MainProcess" not in children
    assert len(children) >= 3
    own = [record for record in records if record["log"]["logger"] == "multiprocessing"]
    ended = {record["process"]["name"] for record in own if record["message"].startswith("process exiting")}
    assert len(ended) >= (5 if method == "fork" else 3), ended  # started otherwise, the executor's were not told
    # log_to_stderr: the text of multiprocessing, in the parent and in its children, besides the records.
    assert re.search(r"\[INFO/MainProcess\] process shutting down", done.stderr)
    assert re.search(r"\[INFO/\S*Process-1\] child process calling self.run\(\)", done.stderr)


def test_subprocesses(tmp_path):
    """Five programs, three deep, one of them killed: each has a file of its own, and all share the run's id."""
    done = run(EXAMPLES / "subprocesses.py", cwd=tmp_path)
    assert "a step of load failed" in done.stderr
    records = logged(tmp_path / "logs")
    assert len({record["run"] for record in records}) == 5
    assert {record["extra"]["run_id"] for record in records} == {"r-17"}
    assert Counter(record["service"]["name"] for record in records) == {"scheduler": 3, "task": 2, "step": 2}
    codes = sorted(record["extra"]["exit_code"] for record in records if record["message"] == "task ended")
    assert codes == [0, 1]

"""The examples run as their head says, and log what their way promises. Servers have tests of their own."""

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

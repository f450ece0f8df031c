"""A `multiprocessing.Queue` and a listener process: everything arrives, and nobody hangs when somebody dies."""

import signal
import textwrap
import time
from pathlib import Path

import pytest

from tests.jsonlog_relay.running import check_senders, records, run

HEAD = """
import logging, logging.handlers, multiprocessing, os, signal, sys, threading, time
import jsonlog

def listen(queue, directory, slow=0.0):
    files = jsonlog.ProcessFileHandler(directory)
    console = logging.FileHandler(directory + ".txt")
    console.setFormatter(logging.Formatter("%(processName)s %(levelname)s %(message)s %(user)s", defaults={"user": "-"}))
    console.setLevel("ERROR")
    class Slow(logging.Handler):
        def emit(self, record): time.sleep(slow)
    jsonlog.QueueListener(queue, files, console, *([Slow()] if slow else [])).run()

def begin(queue, **options):
    handler = jsonlog.QueueHandler(queue, **options)
    log = logging.getLogger("sender"); log.setLevel("INFO"); log.propagate = False
    log.handlers[:] = [handler]
    return log

class Thing:
    def __init__(self): self.lock = threading.Lock()
    def __str__(self): return "a thing"
    __repr__ = __str__

def work(queue, number, count):
    log = begin(queue)
    threading.current_thread().name = f"worker-{number}"
    for i in range(count): log.info("%d %d", number, i)
    with jsonlog.bind(request="r1"):
        try: raise ValueError("declined")
        except ValueError: log.exception("failed %s", Thing(), extra={"thing": Thing(), "user": "ann"}, stack_info=True)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_records_of_many_processes_come_to_one_listener(tmp_path, method):
    """4 senders of every kind; also what cannot be pickled; a text handler beside the file prints exception and stack."""
    body = f"""
    if __name__ == "__main__":
        context = multiprocessing.get_context("{method}")
        queue = context.Queue(1000)
        listener = context.Process(target=listen, args=(queue, sys.argv[1])); listener.start()
        senders = [context.Process(target=work, args=(queue, n, 300), name=f"sender-{{n}}") for n in range(4)]
        for one in senders: one.start()
        work(queue, 9, 300)
        for one in senders: one.join(); assert one.exitcode == 0
        logging.getLogger("sender").handlers[0].drain(time.monotonic() + 60)
        queue.put(None)
        listener.join(60)
        assert listener.exitcode == 0
    """
    run(tmp_path, HEAD + textwrap.dedent(body))
    found = records(tmp_path / "logs")
    senders = check_senders(found)
    assert sorted(map(len, senders.values())) == [301] * 5
    failed = [record for record in found if record["log"]["level"] == "ERROR"]
    assert {record["process"]["name"] for record in failed} == {"MainProcess", *(f"sender-{n}" for n in range(4))}
    assert len({record["process"]["entity_id"] for record in found}) == 5
    for record in failed:
        assert record["message"] == "failed a thing"
        assert record["exc"]["type"] == "ValueError"
        assert record["stack"].startswith("Stack (most recent call last):")
        assert record["extra"] == {"request": "r1", "thing": "a thing", "user": "ann"}
        assert record["process"]["thread"]["name"].startswith("worker-")
    text = (tmp_path / "logs.txt").read_text()
    assert "sender-3 ERROR failed a thing ann\nTraceback (most recent call last):\n" in text
    assert text.count("ValueError: declined\nStack (most recent call last):\n") == 5


def test_a_listener_in_the_parents_thread_takes_the_records_of_children(tmp_path):
    """The other classic: workers send to a thread of the main process; the standard handler may send, too."""
    body = """
    def standard(queue):
        log = logging.getLogger("standard"); log.setLevel("INFO"); log.addHandler(logging.handlers.QueueHandler(queue))
        try: 1 / 0
        except ZeroDivisionError: log.exception("failed", extra={"user": "ann"})
    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        listener = jsonlog.QueueListener(queue, jsonlog.ProcessFileHandler(sys.argv[1]))
        listener.start()
        children = [context.Process(target=work, args=(queue, 1, 10)), context.Process(target=standard, args=(queue,))]
        for one in children: one.start()
        for one in children: one.join()
        listener.stop()
    """
    run(tmp_path, HEAD + textwrap.dedent(body))
    found = records(tmp_path / "logs")
    (standard,) = [record for record in found if record["log"]["logger"] == "standard"]
    assert standard["message"] == "failed"
    assert standard["exc"]["traceback"].startswith("Traceback (most recent call last):\n")
    assert standard["extra"] == {"user": "ann"}
    check_senders([record for record in found if record is not standard])
    assert len(found) == 12


def test_a_child_of_os_fork_reaches_the_listener_too(tmp_path):
    """As under gunicorn with preload: multiprocessing does not know of such a fork, and its queue would keep everything."""
    body = """
    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        listener = context.Process(target=listen, args=(queue, sys.argv[1])); listener.start()
        log = begin(queue)
        log.info("before")
        for number in range(5):
            pid = os.fork()
            if pid == 0:
                for i in range(20): log.info("child %d %d", number, i)
                logging.getLogger("sender").handlers[0].drain(time.monotonic() + 30)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        queue.put(None)
        listener.join(60)
    """
    run(tmp_path, HEAD + textwrap.dedent(body))
    found = records(tmp_path / "logs")
    assert sorted(r["message"] for r in found) == sorted(
        ["before", *(f"child {n} {i}" for n in range(5) for i in range(20))]
    )
    assert len(check_senders(found)) == 6


def test_sigterm_lets_the_listener_finish_and_ctrl_c_is_the_senders_business(tmp_path):
    """A slow listener gets SIGINT, then SIGTERM: what is in the queue is written before it ends with 0."""
    body = """
    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        listener = context.Process(target=listen, args=(queue, sys.argv[1], 0.005)); listener.start()
        log = begin(queue)
        log.info("first")
        while not any(name.endswith(".jsonl") for name in os.listdir(sys.argv[1]) if os.path.isdir(sys.argv[1])): time.sleep(0.05)
        for number in range(200): log.info("n %d", number)
        log.handlers[0].drain(time.monotonic() + 30)
        os.kill(listener.pid, signal.SIGINT)
        os.kill(listener.pid, signal.SIGTERM)
        listener.join(60)
        assert listener.exitcode == 0, listener.exitcode
    """
    body = body.replace(
        "while not any(", "while not os.path.isdir(sys.argv[1]): time.sleep(0.05)\n        while not any("
    )
    run(tmp_path, HEAD + textwrap.dedent(body))
    assert [r["message"] for r in records(tmp_path / "logs")] == ["first", *(f"n {n}" for n in range(200))]


def test_the_listener_ends_when_its_parent_was_killed(tmp_path):
    """No orphan stays behind, and what the parent had handed over is in the file."""
    body = """
    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        listener = context.Process(target=listen, args=(queue, sys.argv[1])); listener.start()
        log = begin(queue)
        for number in range(100): log.info("n %d", number)
        log.handlers[0].drain(time.monotonic() + 60)
        print(listener.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run(tmp_path, HEAD + textwrap.dedent(body), code=-signal.SIGKILL)
    listener, deadline = int(done.stdout), time.monotonic() + 30
    while _lives(listener):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [r["message"] for r in records(tmp_path / "logs")] == [f"n {n}" for n in range(100)]


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_dead_listener_makes_nobody_hang(tmp_path):
    """It is killed: senders go on, wait once, count what they drop, and end; each loss is said."""
    body = """
    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue(50)
        listener = context.Process(target=listen, args=(queue, sys.argv[1])); listener.start()
        log = begin(queue, patience_s=0.5)
        log.info("first", extra={"pad": "x" * 100_000})
        log.handlers[0].drain(time.monotonic() + 60)
        time.sleep(1)
        os.kill(listener.pid, signal.SIGKILL); listener.join()
        start = time.monotonic()
        for number in range(300): log.info("n %d", number, extra={"pad": "x" * 100_000})
        print(log.handlers[0].dropped, flush=True)
    """
    done = run(tmp_path, HEAD + textwrap.dedent(body))
    dropped = int(done.stdout)
    assert dropped == 250
    assert "records are dropped until there is room" in done.stderr
    assert "nobody reads the queue" in done.stderr
    assert "250 records were dropped" in done.stderr


def test_a_terminated_sender_loses_nothing_of_what_it_logged(tmp_path):
    """`Process.terminate`, which is SIGTERM, on a sender: it still ends by that signal, and its queue is handed over."""
    body = """
    def endless(queue, ready):
        log = begin(queue)
        for i in range(2000): log.info("n %d", i)
        ready.set()
        time.sleep(100)
    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue, ready = context.Queue(), context.Event()
        listener = context.Process(target=listen, args=(queue, sys.argv[1])); listener.start()
        sender = context.Process(target=endless, args=(queue, ready)); sender.start()
        ready.wait()
        sender.terminate(); sender.join(60)
        assert sender.exitcode == -signal.SIGTERM, sender.exitcode
        queue.put(None)
        listener.join(60)
    """
    run(tmp_path, HEAD + textwrap.dedent(body))
    assert [r["message"] for r in records(tmp_path / "logs")] == [f"n {n}" for n in range(2000)]


def test_what_cannot_be_unpickled_costs_itself_alone(tmp_path):
    """A foreign sender puts an object of a class that the listener has not got: it is said, and the next record is read."""
    body = """
    import types
    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        listener = context.Process(target=listen, args=(queue, sys.argv[1])); listener.start()
        module = types.ModuleType("only_here"); sys.modules["only_here"] = module
        class Value: pass
        Value.__module__, Value.__qualname__ = "only_here", "Value"; module.Value = Value
        record = logging.makeLogRecord({"msg": "bad", "value": Value()})
        queue.put(record)
        begin(queue).info("good")
        queue.put(None)
        listener.join(60)
        assert listener.exitcode == 0
    """
    done = run(tmp_path, HEAD + textwrap.dedent(body))
    assert [r["message"] for r in records(tmp_path / "logs")] == ["good"]
    assert "No module named 'only_here'" in done.stderr


def test_children_that_nobody_joined_are_read_until_they_end(tmp_path):
    """The parent's main code is over while its children still log to its thread: Python waits for them, and so does it."""
    body = """
    def late(queue):
        log = begin(queue)
        for i in range(50): log.info("n %d", i); time.sleep(0.02)
    if __name__ == "__main__":
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        listener = jsonlog.QueueListener(queue, jsonlog.ProcessFileHandler(sys.argv[1]))
        listener.start()
        context.Process(target=late, args=(queue,)).start()
    """
    run(tmp_path, HEAD + textwrap.dedent(body))
    assert [r["message"] for r in records(tmp_path / "logs")] == [f"n {n}" for n in range(50)]

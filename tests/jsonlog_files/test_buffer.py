"""Buffered mode: what waits, for how long, and what becomes of it when the process ends, forks or is killed."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jsonlog import ProcessFileHandler
from tests.jsonlog.support import make
from tests.jsonlog_files.reading import check_gap_free, command, messages, read_runs, run_program

BUFFERED = {"buffer_bytes": 1_000_000, "flush_interval_s": 60}


def kept(directory):
    """All messages in the order of the files; every run is gap-free."""
    runs = read_runs(directory)
    check_gap_free(runs)
    return messages(runs)


def test_records_wait_until_there_are_enough(tmp_path):
    """Nothing is written until the buffer has its size; then all of it is, in order."""
    handler = ProcessFileHandler(tmp_path, buffer_bytes=5000, flush_interval_s=60)
    handler.handle(make("0"))
    assert list(tmp_path.iterdir()) == []
    for number in range(1, 20):
        handler.handle(make(str(number)))
    written = kept(tmp_path)
    assert 5 < len(written) < 20
    handler.close()
    assert kept(tmp_path) == [str(number) for number in range(20)]


def test_an_idle_process_does_not_keep_its_last_records(tmp_path):
    """Without another record, a thread writes what has waited for long enough; it ends when nothing waits."""
    handler = ProcessFileHandler(tmp_path, buffer_bytes=1_000_000, flush_interval_s=0.1)
    for number in range(2):
        handler.handle(make(str(number)))
        deadline = time.monotonic() + 20
        while len(kept(tmp_path)) <= number:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        while handler._writer._run._is_ticking:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    handler.close()


@pytest.mark.parametrize("options", [{}, BUFFERED], ids=["direct", "buffered"])
def test_what_another_program_adds_costs_no_record(tmp_path, options):
    """Its bytes are not taken for the beginning of what is written next."""
    handler = ProcessFileHandler(tmp_path, **options)
    for text in ("0", "1"):
        handler.handle(make(text))
        handler.flush()
        with open(handler.path, "ab") as file:
            file.write(b'{"message":"not ours"}\n')
    path = Path(handler.path)
    handler.close()
    assert [json.loads(line)["message"] for line in path.read_bytes().splitlines()] == [
        "0",
        "not ours",
        "1",
        "not ours",
    ]


def test_an_error_is_written_at_once_with_all_before_it(tmp_path):
    """`flush_level`, by default ERROR, decides what does not wait."""
    handler = ProcessFileHandler(tmp_path, **BUFFERED)
    handler.handle(make("before"))
    handler.handle(make("failed", levelno=logging.ERROR))
    assert kept(tmp_path) == ["before", "failed"]
    handler.close()
    handler = ProcessFileHandler(tmp_path / "b", **BUFFERED, flush_level="WARNING")
    handler.handle(make("warned", levelno=logging.WARNING))
    assert kept(tmp_path / "b") == ["warned"]
    handler.close()


def test_flush_and_close(tmp_path):
    """`flush` writes what waits; after `close` nothing waits any more."""
    handler = ProcessFileHandler(tmp_path, **BUFFERED)
    handler.handle(make("a"))
    handler.flush()
    assert kept(tmp_path) == ["a"]
    handler.handle(make("b"))
    handler.close()
    handler.handle(make("c"))
    assert kept(tmp_path) == ["a", "b", "c"]
    handler.close()


def test_the_end_of_a_process_loses_nothing(tmp_path):
    """What waits is written at exit; what comes from hooks and finalizers that run later is written at once."""
    body = """
    import atexit
    class Late:
        def __del__(self): log.info("finalizer")
    keep = Late()
    log.info("main")
    atexit.register(log.info, "hook")
    """
    run_program(tmp_path, body, handler=BUFFERED)
    assert kept(tmp_path) == ["main", "hook", "finalizer"]


def test_a_hook_that_ends_the_process(tmp_path):
    """Hooks that were there before jsonlog run after its own: one that cuts the end short costs nothing that waited."""
    program = (
        "import atexit, logging, os, sys; atexit.register(os._exit, 0); import jsonlog\nlog = logging.getLogger()\n"
        "log.addHandler(jsonlog.ProcessFileHandler(sys.argv[1], buffer_bytes=10000, flush_interval_s=60))\nlog.warning('main')"
    )
    subprocess.run([*command(tmp_path, "")[:3], program, str(tmp_path)], check=True, timeout=60)
    assert kept(tmp_path) == ["main"]


def test_a_hook_that_was_there_before_jsonlog(tmp_path):
    """It runs after the buffer was given up, and its record is there."""
    program = (
        "import atexit; atexit.register(lambda: log.warning('late'))\nimport logging, jsonlog, sys\nlog = logging.getLogger()\n"
        "log.addHandler(jsonlog.ProcessFileHandler(sys.argv[1], buffer_bytes=10000, flush_interval_s=60))\nlog.warning('main')"
    )
    subprocess.run([*command(tmp_path, "")[:3], program, str(tmp_path)], check=True, timeout=60)
    assert kept(tmp_path) == ["main", "late"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_end_of_a_multiprocessing_child_loses_nothing(tmp_path, method):
    """Such a child runs no atexit hooks before Python 3.13."""
    child = multiprocessing.get_context(method).Process(target=work, args=(str(tmp_path),))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert kept(tmp_path) == [str(number) for number in range(20)]


def work(directory):
    log = logging.getLogger("tests.child")  # lives to the end: a handler that is dropped writes what waits
    log.addHandler(ProcessFileHandler(directory, **BUFFERED))
    log.setLevel("INFO")
    for number in range(20):
        log.info("%d", number)


def test_a_pool_that_inherits_the_handler(tmp_path):
    """Workers forked from a process with a buffer write their own records, and none of their parent's."""
    run_program(
        tmp_path,
        """
        import multiprocessing
        def work(n): log.info("worker %d", n)
        log.info("parent")
        with multiprocessing.get_context("fork").Pool(3) as pool:
            pool.map(work, range(50))
            pool.close()
            pool.join()
        """,
        handler=BUFFERED,
    )
    assert sorted(kept(tmp_path)) == sorted(["parent", *(f"worker {n}" for n in range(50))])


@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.PyDLL(None).fork()"])
def test_a_forked_child_discards_what_it_inherited(tmp_path, fork):
    """What waits at a fork is the parent's alone, also where no hook runs."""
    run_program(
        tmp_path,
        f"""
        import ctypes
        log.info("before")
        time.sleep(0.2)  # a thread that is running may leave a child that no hook knows of with the interpreter's own lock
        pid = {fork}
        if pid == 0:
            log.info("child")
            handler.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        log.info("after")
        """,
        handler=BUFFERED,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert sorted(messages({run: found}) for run, found in runs.items()) == [["before", "after"], ["child"]]


def test_what_a_kill_costs(tmp_path):
    """SIGKILL costs what waits and nothing before it: no half line in the middle, no gap."""
    body = 'number = 0\nwhile True:\n    log.info("%d", number); number += 1\n    os.write(1, b"%d\\n" % number)'
    with subprocess.Popen(
        command(tmp_path, body, buffer_bytes=10_000, flush_interval_s=0.2), stdout=subprocess.PIPE
    ) as process:
        for _ in range(2000):
            process.stdout.readline()
        process.kill()
        said = 2000 + process.stdout.read().count(b"\n")
    runs = read_runs(tmp_path, torn_allowed=True)
    check_gap_free(runs)
    (records,) = runs.values()
    assert said - 100 < len(records) <= said + 1  # 10,000 bytes are some 25 records


def test_a_signal_that_ends_the_process_by_default_costs_what_waits(tmp_path):
    """SIGTERM without a handler runs nothing of Python: documented, and so it is."""
    run_program(
        tmp_path, 'log.info("x"); os.kill(os.getpid(), signal.SIGTERM)', handler=BUFFERED, returncode=-signal.SIGTERM
    )
    assert list(tmp_path.iterdir()) == []


def test_multiprocessing_is_not_imported(tmp_path):
    """A process that does not use it does not pay for it."""
    done = run_program(tmp_path, 'log.info("x"); print("multiprocessing" in sys.modules)', handler=BUFFERED)
    assert done.stdout == "False\n"


def test_where_no_thread_can_be_started_nothing_waits(tmp_path, monkeypatch):
    """Without a thread to write it in time, a record is written at once."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    handler = ProcessFileHandler(tmp_path, **BUFFERED)
    handler.handle(make("at once"))
    assert kept(tmp_path) == ["at once"]
    handler.close()


def test_a_record_of_a_signal_handler_is_flushed_for_its_level(tmp_path):
    """An error that is logged in the middle of another call is written at the end of that call."""
    run_program(
        tmp_path,
        """
        real = handler._writer._run.__class__.keep
        def keep(self, line, **more):
            if b"outer" in line: signal.raise_signal(signal.SIGUSR1)
            real(self, line, **more)
        handler._writer._run.__class__.keep = keep
        signal.signal(signal.SIGUSR1, lambda *_: log.error("inner"))
        log.info("outer")
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        handler=BUFFERED,
        returncode=-signal.SIGKILL,
    )
    assert kept(tmp_path) == ["outer", "inner"]


def test_a_dropped_handler_writes_what_waits(tmp_path):
    """Nobody closed it, nothing refers to it any more."""
    handler = ProcessFileHandler(tmp_path, **BUFFERED)
    handler.handle(make("x"))
    del handler
    assert kept(tmp_path) == ["x"]
    (path,) = tmp_path.iterdir()
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert str(path) not in held

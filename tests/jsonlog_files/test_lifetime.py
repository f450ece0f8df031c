"""Handlers that are made, dropped, closed, daemonised and left to an interpreter that goes down."""

import gc
import logging
import os
import subprocess
import sys
import time

import pytest

from jsonlog import ProcessFileHandler
from jsonlog.files.protocol import is_alive
from tests.jsonlog.support import make
from tests.jsonlog_files.reading import check_gap_free, command, messages, read_runs, run_program


def open_files(directory):
    """The descriptors of this process that lead into a directory."""
    found = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    return [path for path in found if path.startswith(str(directory))]


@pytest.mark.parametrize("options", [{}, {"buffer_bytes": 100}, {"hard_max_bytes": 1 << 30}, {"fsync": 60}])
def test_a_dropped_handler_releases_its_file(tmp_path, options):
    """Nobody closed it, but nothing refers to it any more: no descriptor and no lock stay, without the collector's help."""
    gc.disable()
    try:
        handler = ProcessFileHandler(tmp_path, **options)
        handler.handle(make("x"))
        handler.flush()
        path = handler.path
        assert is_alive(path)
        del handler
        assert open_files(tmp_path) == []
        assert not is_alive(path)
    finally:
        gc.enable()
    assert messages(read_runs(tmp_path)) == ["x"]


def test_many_handlers_one_after_the_other(tmp_path):
    """Made, used and dropped: descriptors do not pile up."""
    for _ in range(300):
        ProcessFileHandler(tmp_path).handle(make("x"))
    assert open_files(tmp_path) == []
    assert len(messages(read_runs(tmp_path))) == 300


def test_rotation_by_age(tmp_path):
    """A part is left some time after it was opened, at the next record; an idle process does not rotate."""
    handler = ProcessFileHandler(tmp_path, max_age_s=0.3)
    for number in range(2):
        handler.handle(make(str(number)))
    first = handler.path
    time.sleep(0.4)
    assert len(list(tmp_path.iterdir())) == 1
    handler.handle(make("2"))
    assert handler.path != first
    assert not is_alive(first)
    handler.close()
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert messages(runs) == ["0", "1", "2"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("attempt", range(3))
def test_daemon_threads_at_exit(tmp_path, attempt):
    """Threads that log to the very end are frozen somewhere in a log call; a finalizer that logs afterwards does not hang."""
    run_program(
        tmp_path,
        f"""
        class Late:
            log = log
            def __del__(self): self.log.info("finalizer")
        sys.modules["late"] = module = type(sys)("late")  # __main__ lives as long as the frozen threads in it
        module.late = Late()
        del module
        def work():
            while True: log.info("thread", extra={{"pad": "x" * {200_000 if attempt else 200}}})
        for _ in range(4): threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        """,
        timeout=30,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert messages(runs).count("finalizer") == 1


def test_a_lock_that_a_frozen_thread_holds(tmp_path):
    """While the interpreter goes down, a lock that nobody will ever release is waited for for a second, and then taken over."""
    run_program(
        tmp_path,
        """
        class Late:
            log = log
            def __del__(self): self.log.info("finalizer")
        sys.modules["late"] = module = type(sys)("late")  # __main__ lives as long as the frozen threads in it
        module.late = Late()
        del module
        log.info("main")
        ready = threading.Event()
        def hold():
            handler._writer._run.lock.acquire()
            ready.set()
            time.sleep(1000)
        logging.Handler.close(handler)  # or `close` would wait for the lock
        logging._handlerList.clear()
        handler._write = handler._writer.write_late
        threading.Thread(target=hold, daemon=True).start()
        ready.wait()
        """,
        timeout=30,
    )
    assert messages(read_runs(tmp_path)) == ["main", "finalizer"]


def test_a_daemon(tmp_path):
    """Double fork, `closerange` of everything, standard streams on /dev/null: the daemon's records are there, and nowhere else."""
    run_program(
        tmp_path / "logs",
        """
        log.info("before")
        if os.fork(): os.wait(); os._exit(0)
        os.setsid()
        if os.fork(): os._exit(0)
        os.closerange(0, 65536)
        for _ in range(3): os.open(os.devnull, os.O_RDWR)
        victims = [os.open(f"{sys.argv[1]}/../victim{n}", os.O_RDWR | os.O_CREAT) for n in range(30)]
        for number in range(50): log.info("daemon %d", number)
        handler.close()
        os.rename(f"{sys.argv[1]}/../victim0", f"{sys.argv[1]}/../done")
        os._exit(0)
        """,
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "done").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    runs = read_runs(tmp_path / "logs")
    check_gap_free(runs)
    assert sorted(messages(runs)) == sorted(["before", *(f"daemon {n}" for n in range(50))])
    assert all(path.read_bytes() == b"" for path in tmp_path.glob("victim*"))


def test_a_daemon_that_closes_everything_behind_an_open_part(tmp_path):
    """Everything is closed and the numbers are reused at once, up to the handler's own: no record lands in a stranger's file."""
    done = run_program(
        tmp_path / "logs",
        """
        log.info("before")
        own = handler._writer._run.parts.current.fd
        os.closerange(3, 65536)
        victim = os.open(f"{sys.argv[1]}/../victim", os.O_RDWR | os.O_CREAT)
        os.dup2(victim, own)
        time.sleep(1.1)
        for number in range(10): log.info("after %d", number)
        handler.close()
        os.fstat(own)
        """,
    )
    assert (tmp_path / "victim").read_bytes() == b""
    runs = read_runs(tmp_path / "logs")
    check_gap_free(runs)
    assert messages(runs) == ["before", *(f"after {n}" for n in range(10))]
    assert done.stderr.count("was closed by other code") == 1


def test_a_hookless_fork_while_another_thread_writes(tmp_path):
    """As uWSGI forks: no hook runs, and the lock's holder does not exist in the child."""
    run_program(
        tmp_path,
        """
        import ctypes
        log.info("parent")
        held = threading.Event()
        def hold():  # and does nothing: one that runs may leave the child with the interpreter's own lock
            handler._writer._run.lock.acquire()
            held.set()
            time.sleep(1000)
        threading.Thread(target=hold, daemon=True).start()
        held.wait(); time.sleep(0.05)
        for number in range(20):
            pid = ctypes.PyDLL(None).fork()
            if pid == 0:
                for i in range(3): log.info("child %d %d", number, i)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        os._exit(0)
        """,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert sorted(len(records) for records in runs.values()) == [1] + [3] * 20


def test_a_signal_handler_that_raises_anything_is_heard(tmp_path):
    """An exception out of a signal handler is the application's, also where it looks like one that the handler knows."""
    run_program(
        tmp_path,
        """
        class Alarm(RuntimeError): pass
        heard = made = 0
        def on(*_):
            global made
            made += 1
            raise Alarm
        signal.signal(signal.SIGALRM, on)
        for number in range(3000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00001 + number % 30 * 0.000003)
                log.info("%d", number)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                heard += 1
        assert made > 50, made
        # The handler's own `except Exception` is a promise to the application, so what comes while a record is formatted or
        # written by this handler may be told on stderr instead.
        assert heard > 0
        """,
    )
    check_gap_free(read_runs(tmp_path))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters return records from Python 3.12 on")
def test_a_filter_that_returns_another_record(tmp_path):
    """The record it returns is the one that is written, and what `handle` answers."""
    handler = ProcessFileHandler(tmp_path)
    other = make("other")
    handler.addFilter(lambda record: other if record.msg == "given" else record.msg != "no")
    assert handler.handle(make("given")) is other
    assert not handler.handle(make("no"))
    handler.close()
    assert messages(read_runs(tmp_path)) == ["other"]


def test_writers_of_one_process_do_not_share(tmp_path):
    """Two handlers on one logger: each has its own run and numbers, in one directory."""
    run_program(
        tmp_path,
        """
        other = jsonlog.ProcessFileHandler(sys.argv[1], service="other", buffer_bytes=1000)
        log.addHandler(other)
        for number in range(100): log.info("%d", number)
        if os.fork() == 0:
            log.info("child"); other.flush(); os._exit(0)
        os.wait()
        """,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert sorted(len(records) for records in runs.values()) == [1, 1, 100, 100]


def test_what_is_running_is_locked_and_what_has_ended_is_not(tmp_path):
    """Also when a writer is killed: its part is finished as soon as it is gone."""
    body = 'log.info("x"); print("ready", flush=True); time.sleep(100)'
    with subprocess.Popen(command(tmp_path, body), stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (path,) = tmp_path.iterdir()
        assert is_alive(str(path))
        process.kill()
    assert not is_alive(str(path))


def test_logging_can_lock_a_handler_without_a_lock(tmp_path):
    """`acquire`, `release`, `flush` and `createLock` of logging do nothing here, and `logging.shutdown` works."""
    handler = ProcessFileHandler(tmp_path)
    handler.acquire()
    handler.release()
    handler.handle(make("x"))
    logging.shutdown([lambda: handler])
    handler.handle(make("y"))
    assert messages(read_runs(tmp_path)) == ["x", "y"]
    handler.close()

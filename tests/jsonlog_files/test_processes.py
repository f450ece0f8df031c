"""The handler under fork, kill, signals and full disks, with real processes: nothing mixed, lost, twice, or hanging."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from tests.jsonlog_files.reading import check_gap_free, messages, read_runs

HEAD = """
import logging, os, signal, sys, threading
import jsonlog
handler = jsonlog.ProcessFileHandler(sys.argv[1])
log = logging.getLogger("torture")
log.addHandler(handler); log.setLevel("INFO"); log.propagate = False
"""


def run_program(directory, body, *, timeout=60, **options):
    """Run HEAD and *body* as a process of its own; returns what it printed."""
    program = HEAD + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(directory)],
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_children_forked_while_threads_log_neither_hang_nor_mix_nor_lose(tmp_path):
    """400 children of a process in which 4 threads log all the time: each logs 3 records and exits, all of them whole."""
    run_program(
        tmp_path,
        """
        stop = threading.Event()
        def work(name):
            number = 0
            while not stop.is_set():
                log.info("parent %s %d", name, number); number += 1
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads: thread.start()
        waiting = []
        for number in range(400):
            pid = os.fork()
            if pid == 0:
                for i in range(3): log.info("child %d %d", number, i)
                os._exit(0)
            waiting.append(pid)
            if len(waiting) > 8:
                assert os.waitpid(waiting.pop(0), 0)[1] == 0
        for pid in waiting: assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        """,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    found = messages(runs)
    assert len(found) == len(set(found))
    assert {f"child {n} {i}" for n in range(400) for i in range(3)} <= set(found)
    assert len(runs) == 401


def test_a_fork_inside_the_formatting_of_a_record_gives_the_child_a_file_of_its_own(tmp_path):
    """A value whose `__str__` forks: parent and child both finish the record they were in, each in its own run."""
    run_program(
        tmp_path,
        """
        class Forks:
            def __str__(self):
                self.pid = os.fork()
                return "child" if self.pid == 0 else "parent"
        value = Forks()
        log.info("before")
        log.info("in %s", value)
        if value.pid == 0: os._exit(0)
        os.waitpid(value.pid, 0)
        """,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert sorted(messages(runs)) == ["before", "in child", "in parent"]
    assert len(runs) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_write_their_own_files(tmp_path, method):
    """Children of every start method that are configured by the same call log to files of their own."""
    context = multiprocessing.get_context(method)
    children = [context.Process(target=_child, args=(str(tmp_path), number)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert len(runs) == 4
    assert sorted(messages(runs)) == sorted(f"{n} {i}" for n in range(4) for i in range(50))


def _child(directory, number):
    import logging

    import jsonlog

    log = logging.getLogger(f"child{number}")
    log.addHandler(jsonlog.ProcessFileHandler(directory))
    log.setLevel("INFO")
    log.propagate = False
    for i in range(50):
        log.info("%d %d", number, i)


def test_a_record_logged_inside_a_signal_handler_takes_no_number_twice(tmp_path):
    """A timer fires every 400 µs and logs, in the middle of 20,000 calls: no gap, no number twice, no hang."""
    run_program(
        tmp_path,
        """
        import itertools
        count = itertools.count()  # a tick may come in the middle of a tick
        def tick(*_): log.info("tick %d", next(count))
        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.0004, 0.0004)
        for number in range(20000): log.info("main %d", number)
        signal.setitimer(signal.ITIMER_REAL, 0)
        """,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    found = messages(runs)
    assert len(found) == len(set(found))
    assert sum(message.startswith("main") for message in found) == 20000
    ticks = sum(message.startswith("tick") for message in found)
    assert ticks > 100
    assert {f"tick {n}" for n in range(ticks)} <= set(found)


def test_an_exception_in_the_middle_of_a_write_leaves_no_gap_and_no_number_twice(tmp_path):
    """A signal handler that raises at random moments: every call that returned is there, numbers stay gap-free."""
    done = run_program(
        tmp_path,
        """
        class Interrupt(BaseException): pass
        def tick(*_): raise Interrupt
        signal.signal(signal.SIGALRM, tick)
        log.info("the file is open now")
        returned, raised, number = [], 0, 0
        # A fast machine goes on until there were enough: how many signals meet a call is a matter of speed.
        while number < 20000 or (raised <= 100 and number < 400000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 50 * 0.000003)
                log.info("main %d", number)
                signal.setitimer(signal.ITIMER_REAL, 0)
                returned.append(number)
            except Interrupt:
                raised += 1
            number += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(raised, *returned)
        """,
    )
    raised, *returned = map(int, done.stdout.split())
    assert raised > 100
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    found = messages(runs)
    assert len(found) == len(set(found))
    there = set(found)
    missing = [number for number in returned if f"main {number}" not in there]
    assert not missing, (len(found), len(returned), missing[:20], done.stderr[:2000])


def test_sigkill_loses_no_record_whose_call_returned(tmp_path):
    """Killed 25 times at random moments: what the process had said it logged is in the file, at most one line is torn."""
    program = HEAD + textwrap.dedent(
        """
        number = 0
        while True:
            log.info("n %d", number, extra={"pad": "x" * (number % 3000)})
            os.write(1, b"%d\\n" % number)
            number += 1
        """
    )
    chance = random.Random(5)
    for attempt in range(25):
        directory = tmp_path / str(attempt)
        with subprocess.Popen([sys.executable, "-P", "-c", program, str(directory)], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"0\n"
            threading.Timer(chance.random() * 0.05, process.kill).start()
            said = [int(line) for line in process.stdout.read().split(b"\n")[:-1] if line]
        runs = read_runs(directory, torn_allowed=True)
        check_gap_free(runs)
        assert {f"n {n}" for n in said} <= set(messages(runs))


def test_many_processes_write_at_once_without_mixing(tmp_path):
    """8 processes, 5,000 records, rotated every 200 kB: every number of every run is there exactly once."""
    body = """
    log.removeHandler(handler); log.addHandler(jsonlog.ProcessFileHandler(sys.argv[1], max_bytes=200_000))
    for number in range(5000): log.info("n %d", number, extra={"pad": "x" * (number % 200)})
    """
    program = HEAD + textwrap.dedent(body)
    processes = [subprocess.Popen([sys.executable, "-P", "-c", program, str(tmp_path)]) for _ in range(8)]
    assert [process.wait(60) for process in processes] == [0] * 8
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert [len(records) for records in runs.values()] == [5000] * 8
    assert len(list(tmp_path.iterdir())) > 8 * 5


def test_a_cleaner_that_follows_the_protocol_never_takes_a_file_from_its_writer(tmp_path):
    """3,000 files are created and written while a cleaner deletes every file whose lock is free: no record is lost to it."""
    program = HEAD + textwrap.dedent(
        """
        for number in range(3000):
            handler.close()
            log.info("n %d", number)
            os.write(1, os.path.basename(handler.path).encode() + b"\\n")
            assert os.fstat(handler._writer._run.parts.current.fd).st_nlink == 1, "the file was deleted under its writer"
        """
    )
    with subprocess.Popen([sys.executable, "-P", "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        deleted = 0
        while process.poll() is None:
            deleted += _clean(tmp_path)
        reader.join()
    assert process.returncode == 0
    deleted += _clean(tmp_path)
    assert deleted == 3000
    assert list(tmp_path.iterdir()) == []


def _clean(directory):
    from jsonlog.files.protocol import writer_alive

    deleted = 0
    for path in directory.glob("*.jsonl"):
        fd = os.open(path, os.O_RDONLY)
        try:
            if not writer_alive(fd):
                path.unlink()
                deleted += 1
        finally:
            os.close(fd)
    return deleted


def test_a_full_disk_costs_numbers_and_never_half_a_line(tmp_path):
    """On a full file system records go to stderr, each lost one leaves a gap, and when there is room again writing goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode
    ):
        if os.environ.get("SHIPPER_REQUIRE_PARTS"):
            pytest.fail("a small tmpfs cannot be mounted here")
        pytest.skip("a small tmpfs cannot be mounted here (root is needed)")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 100_000)
        done = run_program(
            disk,
            """
            for number in range(600): log.info("n %d", number, extra={"pad": "x" * 300})
            os.unlink(os.path.join(sys.argv[1], "ballast"))
            for number in range(600, 650): log.info("n %d", number)
            """,
        )
        runs = read_runs(disk)
        (records,) = runs.values()
    finally:
        subprocess.run(["umount", disk], check=True)
    numbers = [record["event"]["sequence"] for record in records]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 649
    assert [r["message"] for r in records] == [f"n {n}" for n in numbers]
    lost = set(range(650)) - set(numbers)
    assert lost
    assert all(number < 600 for number in lost)
    said = done.stderr.splitlines()
    assert sum("cannot write to" in line and "No space left" in line for line in said) == 1
    assert sum(f"{len(lost)} records" in line for line in said) == 1
    assert sum(line.startswith("{") for line in said) == len(lost)


def test_a_deleted_file_is_noticed_and_a_new_part_opened(tmp_path):
    """Somebody deletes the file under its writer: within about a second a new part is opened, and it is said."""
    done = run_program(
        tmp_path,
        """
        import time
        log.info("first")
        os.unlink(handler.path)
        old = handler.path
        deadline = time.monotonic() + 10
        while handler.path == old and time.monotonic() < deadline: log.info("more")
        log.info("last")
        """,
    )
    runs = read_runs(tmp_path)
    assert messages(runs)[-1] == "last"
    assert "was deleted while it was written" in done.stderr


def test_a_descriptor_taken_by_another_file_is_left_alone(tmp_path):
    """After `closerange` and a reuse of the number, no log line lands in the file that got it."""
    run_program(
        tmp_path / "logs",
        """
        import time
        log.info("first")
        taken = handler._writer._run.parts.current.fd
        os.close(taken)
        victim = os.open(sys.argv[1] + "/../victim", os.O_WRONLY | os.O_CREAT)
        os.dup2(victim, taken)
        handler._writer._run.parts.look_at = 0  # the look that is due once a second
        log.info("second")
        os.write(taken, b"still mine")
        """,
    )
    assert (tmp_path / "victim").read_bytes() == b"still mine"
    assert sorted(messages(read_runs(tmp_path / "logs"))) == ["first", "second"]


def test_code_that_closes_low_descriptors_costs_nothing(tmp_path):
    """A daemon closes 3 to 255 and opens a file and a socket: no record goes there, none is lost, not even within a second."""
    run_program(
        tmp_path / "logs",
        """
        import socket
        log.info("first")
        os.closerange(3, 256)
        victim = open(sys.argv[1] + "/../victim", "wb", buffering=0)
        pair = socket.socketpair()
        for number in range(100): log.info("n %d", number)
        if os.fork() == 0: os._exit(0)
        os.wait()
        handler.close()
        victim.write(b"still mine")
        pair[0].send(b"still open"); assert pair[1].recv(100) == b"still open"
        """,
    )
    assert (tmp_path / "victim").read_bytes() == b"still mine"
    runs = read_runs(tmp_path / "logs")
    check_gap_free(runs)
    assert messages(runs) == ["first", *(f"n {n}" for n in range(100))]


def test_a_closed_descriptor_costs_no_record(tmp_path):
    """Everything is closed behind the handler's back: the next record goes to a new part, and it is said."""
    done = run_program(
        tmp_path,
        """
        log.info("first")
        os.closerange(3, 65536)
        for number in range(10): log.info("n %d", number)
        """,
    )
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert messages(runs) == ["first", *(f"n {n}" for n in range(10))]
    assert "was closed by other code" in done.stderr
    assert '"message"' not in done.stderr


def test_without_a_directory_to_write_to_the_application_goes_on(tmp_path):
    """The directory disappears: it is made again; where it cannot be, records go to stderr and nothing is raised."""
    directory = tmp_path / "logs"
    done = run_program(
        directory,
        """
        import shutil
        log.info("first")
        handler.close()
        shutil.rmtree(sys.argv[1])
        log.info("second")
        handler.close()
        shutil.rmtree(sys.argv[1])
        open(sys.argv[1], "w").close()
        log.info("third")
        """,
    )
    assert directory.is_file()
    assert '"message":"third"' in done.stderr
    assert done.stderr.count("cannot write to") == 1


def test_subprocesses_inherit_neither_descriptor_nor_lock(tmp_path):
    """A program that outlives the writer does not keep the part locked."""
    done = run_program(
        tmp_path,
        """
        import subprocess
        log.info("first")
        child = subprocess.Popen(["sleep", "30"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(child.pid)
        """,
    )
    try:
        (path,) = tmp_path.glob("*.jsonl")
        fd = os.open(path, os.O_RDONLY)
        from jsonlog.files.protocol import writer_alive

        assert not writer_alive(fd)
        os.close(fd)
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)

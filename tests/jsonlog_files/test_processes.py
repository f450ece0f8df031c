"""The handler under fork, kill, signals and full disks, with real processes: nothing mixed, lost, twice, or hanging."""

import multiprocessing
import os
import signal

import pytest

from tests.jsonlog_files.reading import check_gap_free, messages, read_runs, run_program


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

"""Whether this is still the process, or a child of it."""

import ctypes
import mmap
import os
import sys

import pytest

from jsonlog import Logger
from jsonlog.files.here import mark


def fork(work, how=os.fork):
    """Fork, do *work* in the child, and give what it answered."""
    reader, writer = os.pipe()
    pid = how()
    if pid == 0:
        try:
            os.write(writer, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, "rb") as file:
        return file.read().decode()


class Deaf(mmap.mmap):
    """Memory of an emulator that takes all advice and heeds none."""

    def madvise(self, *_):
        pass


class Old(mmap.mmap):
    """Memory of a kernel that knows no such advice."""

    def madvise(self, *_):
        raise OSError


@pytest.mark.parametrize("how", [os.fork, lambda: ctypes.PyDLL(None).fork()], ids=["fork", "hookless"])
@pytest.mark.parametrize("kind", [mmap.mmap, Deaf, Old])
def test_a_child_is_told_from_its_parent(monkeypatch, kind, how):
    """However it was forked, and whatever the kernel can do; so is a child of the child."""
    monkeypatch.setattr(mmap, "mmap", kind)
    here = mark()
    assert here[0]
    assert fork(lambda: bool(here[0]), how) == "False"
    assert fork(lambda: bool(mark()[0]), how) == "True"
    assert fork(lambda: fork(lambda: bool(here[0]), how), how) == "'False'"
    assert here[0]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the pid is asked for")
def test_the_usual_way_asks_nobody(monkeypatch):
    """On Linux the pid is not asked for: that is a call to the kernel."""
    here = mark()
    monkeypatch.setattr(os, "getpid", lambda: pytest.fail("asked"))
    assert here[0]


@pytest.mark.parametrize("how", [os.fork, lambda: ctypes.PyDLL(None).fork()], ids=["fork", "hookless"])
def test_a_logger_knows_the_process_it_is_in(how):
    """The pid of a record is that of the process that made it, in a child from its first record on."""

    def pids():
        seen = []
        logger = Logger("tests.here", 1)
        logger.handle = lambda record: seen.append(record.process)
        logger.info("one")
        logger.info("two")
        return seen

    assert pids() == [os.getpid()] * 2
    assert fork(lambda: pids() == [os.getpid()] * 2, how) == "True"
    assert pids() == [os.getpid()] * 2

"""When writing fails: the application goes on, nothing is torn, what is lost is told, and the handler recovers by itself."""

import errno
import io
import logging
import os
import resource
import shutil
import subprocess
import sys

import pytest

from jsonlog import JsonFormatter, ProcessFileHandler
from tests.jsonlog.support import make
from tests.jsonlog_files.reading import check_gap_free, messages, read_runs, run_program, small_disk

MODES = {"unbuffered": {}, "buffered": {"buffer_bytes": 1, "flush_interval_s": 60}}


def look(handler):
    """Let the look that is due once a second be due now."""
    handler._writer._run.parts.look_at = 0.0


def numbers(directory):
    return [record["event"]["sequence"] for records in read_runs(directory).values() for record in records]


class Failing:
    """Replaces `os.write`: the first calls fail with an error, some bytes of the data being written first."""

    def __init__(self, monkeypatch, code, *, times=1, written=0):
        self.code, self.times, self.written, self.real = code, times, written, os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd, data):
        if self.times == 0:
            return self.real(fd, data)
        if self.written:
            written, self.written = self.written, 0
            return self.real(fd, data[:written])
        self.times -= 1
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("written", [0, 7, 100])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room(tmp_path, monkeypatch, capsys, code, written, mode):
    """The record goes to stderr and uses up its number; the file ends in a whole record; the next one is written."""
    handler = ProcessFileHandler(tmp_path, **MODES[mode])
    handler.handle(make("0"))
    Failing(monkeypatch, code, written=written)
    handler.handle(make("1"))
    assert read_runs(tmp_path)
    handler.handle(make("2"))
    handler.close()
    assert numbers(tmp_path) == [0, 2]
    err = capsys.readouterr().err
    assert err.count('"message":"1"') == 1
    assert '"event":{"sequence":1}}' in err
    assert os.strerror(code) in err
    assert "can write again; 1 records" in err
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("written", [0, 7, 100])
@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.ESTALE, errno.EFBIG])
def test_a_file_that_cannot_be_written_is_left_for_another(tmp_path, monkeypatch, capsys, code, written, mode):
    """What is wrong with one file need not be with the next: the record is there, whole, under its number."""
    handler = ProcessFileHandler(tmp_path, **MODES[mode])
    handler.handle(make("0"))
    Failing(monkeypatch, code, written=written)
    handler.handle(make("1"))
    handler.handle(make("2"))
    handler.close()
    assert numbers(tmp_path) == [0, 1, 2]
    err = capsys.readouterr().err
    assert os.strerror(code) in err
    assert '"message"' not in err
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_is_broken_does_not_fill_with_empty_files(tmp_path, monkeypatch, capsys, mode):
    """Where every write fails, one new part is tried and not one for each record."""
    handler = ProcessFileHandler(tmp_path, **MODES[mode])
    handler.handle(make("0"))
    Failing(monkeypatch, errno.EIO, times=100)
    for number in range(1, 30):
        handler.handle(make(str(number)))
    err = capsys.readouterr().err
    assert err.count('"message"') == 29
    assert err.count("cannot write to") == 2
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.undo()
    handler.handle(make("30"))
    assert "29 records" in capsys.readouterr().err
    handler.close()
    assert numbers(tmp_path) == [0, 30]


def test_a_batch_is_lost_only_as_far_as_it_does_not_fit(tmp_path, monkeypatch, capsys):
    """Of a buffer the whole records that fit are kept, the others go to stderr, each on a line."""
    handler = ProcessFileHandler(tmp_path, buffer_bytes=1_000_000, flush_interval_s=60)
    for number in range(10):
        handler.handle(make(str(number)))
    size = len(handler._writer._run._buffer[0])
    Failing(monkeypatch, errno.ENOSPC, written=size * 4 + 9)
    handler.flush()
    handler.handle(make("10"))
    handler.close()
    assert numbers(tmp_path) == [0, 1, 2, 3, 10]
    err = capsys.readouterr().err
    assert [f'"message":"{n}"' in err for n in range(10)] == [False] * 4 + [True] * 6
    assert "6 records before this one" in err


def test_a_file_that_cannot_be_cut_is_left(tmp_path, monkeypatch, capsys):
    """Half a record that stays at the end of a file is followed by nothing: the next one stands in a new part."""

    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    handler = ProcessFileHandler(tmp_path)
    handler.handle(make("0"))
    monkeypatch.setattr(os, "ftruncate", refuse)
    Failing(monkeypatch, errno.ENOSPC, written=7)
    handler.handle(make("1"))
    handler.handle(make("2"))
    handler.close()
    runs = read_runs(tmp_path, torn_allowed=True)
    assert sorted(messages(runs)) == ["0", "2"]
    assert sorted(path.read_bytes().endswith(b"\n") for path in tmp_path.iterdir()) == [False, True]
    assert '"message":"1"' in capsys.readouterr().err


def test_a_limit_of_file_size(tmp_path):
    """Under `ulimit -f` a part that is full is left for the next; a record that is too large by itself goes to stderr."""
    resource_limit = f"""
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({20_000}, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))
    for number in range(100): log.info("n %d", number, extra={{"pad": "x" * 700}})
    log.info("large", extra={{"pad": "x" * 30000}})
    log.info("last")
    """
    done = run_program(tmp_path, resource_limit)
    runs = read_runs(tmp_path)
    assert messages(runs) == [*(f"n {n}" for n in range(100)), "last"]
    assert numbers(tmp_path) == [*range(100), 101]
    assert done.stderr.count('"message":"large"') == 1
    assert len(list(tmp_path.iterdir())) > 4


def test_a_file_system_that_turns_read_only(tmp_path):
    """Remounted read-only under the writer, and writable again: records go to stderr meanwhile, and nothing is raised."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        # A mount turns read-only only when nothing is open for writing.
        done = run_program(
            disk,
            """
            import subprocess
            remount = lambda how: subprocess.run(["mount", "-o", "remount," + how, sys.argv[1]], check=True)
            log.info("0"); handler.close()
            remount("ro")
            log.info("1"); log.info("2")
            remount("rw")
            log.info("3"); handler.close()
            """,
        )
        assert messages(read_runs(disk)) == ["0", "3"]
        assert numbers(disk) == [0, 3]
    assert done.stderr.count("Read-only file system") == 1
    assert [f'"message":"{n}"' in done.stderr for n in range(4)] == [False, True, True, False]
    assert "can write again; 2 records" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_directory_that_may_not_be_written_any_more(open_path):
    """The open part is written on, a rotation is put off, and it is made up for later."""
    directory = open_path / "logs"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    body = """
    os.setgid(65534); os.setuid(65534)
    for number in range(10): log.info("%d", number)
    os.chmod(sys.argv[1], 0o555)
    for number in range(10, 20): log.info("%d", number)
    os.chmod(sys.argv[1], 0o755)
    for number in range(20, 40): log.info("%d", number)
    """
    done = run_program(directory, body, handler={"max_bytes": 2500})
    runs = read_runs(directory)
    check_gap_free(runs)
    assert messages(runs) == [str(n) for n in range(40)]
    assert "cannot rotate" in done.stderr
    assert '"message"' not in done.stderr


WHATS = {
    "deleted": (os.unlink, "was deleted while it was written"),
    "renamed": (lambda path: os.rename(path, path + ".1"), "was renamed while it was written"),
    "replaced": (lambda path: (os.rename(path, path + ".1"), shutil.copy(path + ".1", path)), "was renamed"),
    "cut": (lambda path: os.truncate(path, 0), "was cut while it was written"),
    "moved with its directory": (lambda path: os.rename(os.path.dirname(path), os.path.dirname(path) + ".1"), "renamed"),
    "deleted with its directory": (lambda path: shutil.rmtree(os.path.dirname(path)), "was deleted"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "text"), WHATS.values(), ids=WHATS)
def test_what_others_do_to_a_file_is_noticed(tmp_path, capsys, act, text):
    """Within a second a new part is opened, loudly; what comes then stands in it from its first line."""
    handler = ProcessFileHandler(tmp_path / "logs")
    handler.handle(make("0"))
    old = handler.path
    act(old)
    look(handler)
    handler.handle(make("1"))
    assert handler.path != old
    assert text in capsys.readouterr().err
    with open(handler.path) as file:
        assert '"message":"1"' in file.readline()
    handler.close()


def test_a_renamed_file_that_cannot_be_replaced_is_written_on(tmp_path, capsys):
    """The descriptor still leads to it: a record is worth more than its place."""
    handler = ProcessFileHandler(tmp_path / "logs")
    handler.handle(make("0"))
    os.rename(tmp_path / "logs", tmp_path / "moved")
    (tmp_path / "logs").write_text("in the way")
    look(handler)
    handler.handle(make("1"))
    handler.close()
    assert messages(read_runs(tmp_path / "moved")) == ["0", "1"]
    assert "is written on" in capsys.readouterr().err


def test_errors_that_were_asked_for(tmp_path, capsys):
    """With `raise_errors` the call raises, beside the record going to stderr; when it can be written again it does not."""
    handler = ProcessFileHandler(tmp_path / "logs", raise_errors=True)
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "logs").write_text("in the way")
    log = logging.Logger("tests.raising")  # noqa: LOG001 (not to be shared)
    log.addHandler(handler)
    for _ in range(2):
        with pytest.raises(OSError, match="File exists"):
            log.info("lost")
    assert capsys.readouterr().err.count('"message":"lost"') == 2
    os.unlink(tmp_path / "logs")
    log.info("kept")
    handler.close()
    assert numbers(tmp_path / "logs") == [2]


def test_errors_of_a_formatter_that_were_asked_for(tmp_path):
    """What a formatter of the user's raises is raised, too."""

    class Broken(JsonFormatter):
        def format_bytes(self, record):
            raise ZeroDivisionError

    handler = ProcessFileHandler(tmp_path, raise_errors=True)
    handler.setFormatter(Broken())
    with pytest.raises(ZeroDivisionError):
        handler.handle(make())


GONE = {"none": lambda: None, "closed": lambda: (stream := io.StringIO(), stream.close())[0]}


class Raising(io.StringIO):
    def write(self, text):
        raise OSError("broken pipe")


@pytest.mark.parametrize("stderr", [*GONE.values(), Raising], ids=[*GONE, "raising"])
def test_stderr_that_is_gone(tmp_path, monkeypatch, stderr):
    """A record that cannot be written, and a formatter that fails, where there is nobody to tell: nothing is raised."""

    class Broken(JsonFormatter):
        def format_bytes(self, record):
            raise ValueError("no")

    handler = ProcessFileHandler(tmp_path / "logs")
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "logs").write_text("in the way")
    monkeypatch.setattr(sys, "stderr", stderr())
    handler.handle(make("lost"))
    handler.setFormatter(Broken())
    handler.handle(make("lost"))
    os.unlink(tmp_path / "logs")
    handler.setFormatter(JsonFormatter())
    handler.handle(make("kept"))
    handler.close()
    assert messages(read_runs(tmp_path / "logs")) == ["kept"]


@pytest.mark.parametrize("mode", MODES)
def test_a_stderr_that_is_logged(tmp_path, mode):
    """Celery and others send stderr to logging: what is said of a loss is lost, too, but does not go round for ever."""
    run_program(
        tmp_path / "logs",
        """
        import shutil
        class Logged:
            def write(self, text):
                if text.strip(): log.error("stderr: %s", text.strip())
            def flush(self): pass
        log.info("first")
        handler.close()
        shutil.rmtree(sys.argv[1]); open(sys.argv[1], "w").close()
        sys.stderr = Logged()
        for number in range(3): log.info("lost %d", number)
        handler.flush()
        os.unlink(sys.argv[1])
        for number in range(3): log.info("kept %d", number)
        handler.close()
        sys.stderr = sys.__stderr__
        """,
        handler=MODES[mode],
        timeout=30,
    )
    found = messages(read_runs(tmp_path / "logs"))
    assert [message for message in found if message.startswith("kept")] == ["kept 0", "kept 1", "kept 2"]
    assert any("can write again" in message for message in found)


def test_a_dead_end_is_told_at_the_end(tmp_path, capsys):
    """A handler that never could write again says at `close` how many records it lost."""
    handler = ProcessFileHandler(tmp_path / "logs")
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "logs").write_text("in the way")
    for _ in range(3):
        handler.handle(make())
    handler.close()
    assert "3 records could not be written and went to stderr" in capsys.readouterr().err


def test_no_descriptor_left(tmp_path):
    """Where all descriptors are in use, records go to stderr, and to a file when one is free again."""
    done = run_program(
        tmp_path,
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        hogs = []
        try:
            while True: hogs.append(os.open("/dev/null", os.O_RDONLY))
        except OSError: pass
        log.info("lost")
        os.close(hogs.pop()); os.close(hogs.pop())
        log.info("kept")
        """,
    )
    assert messages(read_runs(tmp_path)) == ["kept"]
    assert "Too many open files" in done.stderr
    assert '"message":"lost"' in done.stderr


@pytest.mark.skipif(shutil.which("chattr") is None, reason="chattr is not installed")
def test_a_file_that_only_grows(tmp_path):
    """An append-only file (chattr +a) is written like any other."""
    handler = ProcessFileHandler(tmp_path)
    handler.handle(make("0"))
    path = handler.path
    if subprocess.run(["chattr", "+a", path], capture_output=True).returncode:
        handler.close()
        pytest.skip("this file system knows no append-only files")
    try:
        handler.handle(make("1"))
        handler.close()
    finally:
        subprocess.run(["chattr", "-a", path], check=True)
    assert numbers(tmp_path) == [0, 1]

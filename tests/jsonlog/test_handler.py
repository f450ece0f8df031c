"""`ProcessFileHandler` with real processes: what was logged is in the files, whatever happens to its writers."""

import contextlib
import json
import logging
import logging.config
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

from jsonlog import JsonFormatter, ProcessFileHandler
from tests.jsonlog.support import LINE, ROOT, make


def runs(directory, *, killed=False):
    """
    The records of each run in the order of the parts; every line is valid, and the numbers have no gap.

    Only who was *killed* may leave half a line at the end: the system ends a write there that spans two of its pages.
    """
    found = {}
    for name in sorted(os.listdir(directory), key=lambda entry: (len(entry), entry)):
        data = (directory / name).read_bytes()
        assert killed or data == b"" or data.endswith(b"\n"), f"{name} ends in half a line"
        for line in data.split(b"\n")[:-1]:
            record = json.loads(line)
            same = found.setdefault(record["run"], [])
            if len(same) < 20:  # the schema takes its time
                errors = [error.message for error in LINE.iter_errors(record)]
                assert not errors, errors
            same.append(record)
    for records in found.values():
        assert [record["event"]["sequence"] for record in records] == list(range(len(records)))
    return found


def messages(directory):
    return sorted([record["message"] for record in records] for records in runs(directory).values())


@contextlib.contextmanager
def logger(directory, **options):
    """A logger with a handler of its own."""
    handler = ProcessFileHandler(directory, **options)
    result = logging.Logger("tests.handler", logging.DEBUG)  # noqa: LOG001 (not to be shared)
    result.addHandler(handler)
    try:
        yield result
    finally:
        handler.close()


def python(code, *args, **options):
    return subprocess.run([sys.executable, "-W", "error", "-c", code, *map(str, args)], cwd=ROOT, **options)


SETUP = """
import logging, logging.config, os, sys
from jsonlog import JsonFormatter, ProcessFileHandler
handler = ProcessFileHandler(sys.argv[1], service="s")
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(handler)
"""


def test_the_whole_way(tmp_path):
    """A log call is a line that follows the schema, with run and number."""
    with logger(tmp_path / "logs", service="shop") as log:
        log.info("hello %s", "x", extra={"order": 17})
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            log.exception("failed")
    (records,) = runs(tmp_path / "logs").values()
    assert [record["message"] for record in records] == ["hello x", "failed"]
    assert records[1]["exc"]["type"] == "ZeroDivisionError"
    assert records[0]["extra"] == {"order": 17}
    assert records[0]["process"]["pid"] == os.getpid()


def test_dictconfig_twice(tmp_path):
    """Configuring again closes the old handler's part; the new one is a new run, and nothing is lost or doubled."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"class": "jsonlog.JsonFormatter"}},
        "handlers": {"json": {"class": "jsonlog.ProcessFileHandler", "directory": str(tmp_path), "formatter": "json"}},
        "loggers": {"tests.twice": {"level": "INFO", "handlers": ["json"]}},
    }
    log = logging.getLogger("tests.twice")
    for number in range(2):
        logging.config.dictConfig(config)
        log.info("%d", number)
    for handler in log.handlers:
        handler.close()
    log.handlers.clear()
    assert messages(tmp_path) == [["0"], ["1"]]


def test_two_handlers_in_one_process(tmp_path):
    """Each handler is a writer of its own, also in the same directory."""
    with logger(tmp_path, service="a") as one, logger(tmp_path, service="b") as two:
        one.info("1")
        two.info("2")
        one.info("1")
    assert messages(tmp_path) == [["1", "1"], ["2"]]


def test_emit_after_close(tmp_path):
    """A record after `close` (a daemon thread, an atexit hook) is not lost."""
    handler = ProcessFileHandler(tmp_path)
    handler.handle(make("before"))
    handler.close()
    handler.handle(make("after"))
    handler.close()
    assert messages(tmp_path) == [["before", "after"]]


def test_records_at_exit(tmp_path):
    """Records from atexit hooks and finalizers, after `logging.shutdown`, are in the file."""
    python(
        SETUP
        + """
import atexit
class Late:
    def __del__(self): log.info("finalizer")
atexit.register(log.info, "atexit")
keep = Late()
log.info("main")
""",
        tmp_path,
        check=True,
    )
    assert messages(tmp_path) == [["main", "atexit", "finalizer"]]


@pytest.mark.parametrize("count", [1, 1000])
def test_sigkill_loses_nothing_whose_call_returned(tmp_path, count):
    """What a killed process had logged is in its file, and the file ends in a whole line."""
    done = python(SETUP + f"for n in range({count}): log.info('%d', n)\nos.kill(os.getpid(), 9)", tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert messages(tmp_path) == [[str(n) for n in range(count)]]


def test_sigkill_of_writers_in_full_flight(tmp_path):
    """Writers killed while they write leave lines without gaps, and all that they said they had written."""
    code = SETUP + "n = 0\nwhile True:\n    log.info('%d', n)\n    n += 1\n    print(n, flush=True)"
    spawn = [sys.executable, "-c", code, str(tmp_path)]
    writers = [subprocess.Popen(spawn, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = []
    for writer in writers:
        for _ in range(300):
            writer.stdout.readline()
    for writer in writers:
        writer.kill()
        rest = writer.stdout.read().split("\n")
        said.append(int(rest[-2]) if len(rest) > 1 else 300)
        writer.stdout.close()
        writer.wait()
    kept = sorted(len(records) for records in runs(tmp_path, killed=True).values())
    assert all(there - noted in (0, 1) for there, noted in zip(kept, sorted(said), strict=True))


def test_fork_while_threads_log(tmp_path):
    """Children forked in the middle of other threads' log calls log at once, into files of their own."""
    python(
        SETUP
        + """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
stop = threading.Event()
def work():
    while not stop.is_set(): log.info("parent")
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for n in range(40):
    pid = os.fork()
    if pid == 0:
        for k in range(3): log.info("child %d", n)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
""",
        tmp_path,
        check=True,
        timeout=100,
    )
    found = messages(tmp_path)
    assert sorted(m for m in found if m[0] != "parent") == sorted([f"child {n}"] * 3 for n in range(40))
    assert sum(m[0] == "parent" for m in found) == 1


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(tmp_path, method):
    """Children of every start method that set up logging write files of their own."""
    context = multiprocessing.get_context(method)
    children = [context.Process(target=_child, args=(str(tmp_path), number)) for number in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert messages(tmp_path) == [[str(number)] * 2 for number in range(3)]


def _child(directory, number):
    with logger(directory) as log:
        log.info("%d", number)
        log.info("%d", number)


def test_rotation_by_size(tmp_path):
    """Parts are left at their size; the run goes on without a gap."""
    with logger(tmp_path, max_bytes=5000) as log:
        for number in range(100):
            log.info("%d", number)
    assert messages(tmp_path) == [[str(number) for number in range(100)]]
    sizes = [os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path)]
    assert len(sizes) > 5
    assert max(sizes) < 6000


def test_a_signal_handler_that_logs(tmp_path):
    """Signals that log, arriving at any moment of a log call, neither hang the process nor lose or tear a record."""
    done = python(
        SETUP
        + """
import signal
count = 0
def on(*_):
    global count
    count += 1
    log.info("signal")
signal.signal(signal.SIGALRM, on)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
n = 0
while count < 200:
    log.info("main")
    n += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(n, count)
""",
        tmp_path,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    made = [int(word) for word in done.stdout.split()]
    (records,) = runs(tmp_path).values()
    kinds = [record["message"] for record in records]
    assert [kinds.count("main"), kinds.count("signal")] == made


def test_a_value_that_logs_while_it_is_formatted(tmp_path):
    """A `__str__` that logs gets its own record, before the one it is part of."""
    with logger(tmp_path) as log:

        class Talks:
            def __str__(self):
                log.info("inner")
                return "value"

        log.info("outer %s", Talks())
    assert messages(tmp_path) == [["inner", "outer value"]]


def test_a_lock_of_the_application_cannot_deadlock(tmp_path):
    """Formatting takes no lock: a `__str__` that waits for another thread that logs does not hang."""
    with logger(tmp_path) as log:
        logged = threading.Event()

        class Waits:
            def __str__(self):
                assert logged.wait(30)
                return "waited"

        first = threading.Thread(target=log.info, args=("%s", Waits()))
        first.start()
        log.info("second")
        logged.set()
        first.join()
    assert messages(tmp_path) == [["second", "waited"]]


def test_filters(tmp_path):
    """A filter may refuse a record; from 3.12 on it may return another."""
    handler = ProcessFileHandler(tmp_path)
    handler.addFilter(lambda record: record.msg != "no")
    assert not handler.handle(make("no"))
    assert handler.handle(make("yes"))
    other = make("other")
    handler.addFilter(lambda _: other)
    handler.handle(make("given"))
    handler.close()
    assert messages(tmp_path) == [["yes", "other" if sys.version_info >= (3, 12) else "given"]]


def test_errors_go_to_handle_error(tmp_path):
    """What goes wrong in a formatter of the user's goes to `handleError`, not into the application."""

    class Broken(JsonFormatter):
        def format_bytes(self, record):
            raise ValueError("no")

    handler = ProcessFileHandler(tmp_path)
    handler.setFormatter(Broken())
    seen = []
    handler.handleError = seen.append
    record = make()
    handler.handle(record)
    assert seen == [record]


def test_the_service_of_the_formatter_names_the_file(tmp_path):
    """A handler without a service takes its formatter's; its own wins; without either it is `app`."""
    for options, formatter, expected in (
        ({}, JsonFormatter(service="shop"), "shop-"),
        ({"service": "mine"}, JsonFormatter(service="shop"), "mine-"),
        ({}, JsonFormatter(), "app-"),
        ({}, None, "app-"),
    ):
        handler = ProcessFileHandler(tmp_path, **options)
        handler.setFormatter(formatter)
        handler.handle(make())
        assert os.path.basename(handler.path).startswith(expected)
        handler.close()


REFUSED = {
    "directory": {"directory": ""},
    "bytes": {"directory": b"x"},
    "number": {"directory": 5},
    "service": {"service": 5},
    "max_bytes": {"max_bytes": -1},
    "boolean": {"max_bytes": True},
    "mode": {"mode": "640"},
    "null": {"directory": "a\0b"},
    "age": {"max_age_s": -1},
    "age nan": {"max_age_s": float("nan")},
    "fsync": {"fsync": "always"},
    "fsync 0": {"fsync": 0},
    "fsync True": {"fsync": True},
    "fsync and buffer": {"fsync": "record", "buffer_bytes": 10},
    "buffer": {"buffer_bytes": 1.5},
    "interval": {"flush_interval_s": 0, "buffer_bytes": 10},
    "flush level": {"flush_level": "LOUD"},
    "group": {"group": "no such group"},
    "group -1": {"group": -1},
    "group type": {"group": 1.5},
    "directory mode": {"directory_mode": 0o77777},
    "no bounds": {"without_shipper": True},
    "flag": {"without_shipper": "yes", "max_total_bytes": 10},
    "total without the flag": {"max_total_bytes": 10},
    "total age without the flag": {"max_total_age_s": 10},
    "total": {"max_total_bytes": -10, "without_shipper": True},
    "total age": {"max_total_age_s": "1d", "without_shipper": True},
    "hard": {"hard_max_bytes": 1.5},
    "hard without a shipper": {"hard_max_bytes": 10, "without_shipper": True, "max_total_bytes": 10},
    "part too large": {"max_bytes": 60, "without_shipper": True, "max_total_bytes": 100},
    "part never left": {"max_bytes": 0, "hard_max_bytes": 100},
    "raise": {"raise_errors": 1},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_wrong_arguments(tmp_path, options):
    """Each wrong argument is a ValueError that names it."""
    with pytest.raises(ValueError, match=f"'{next(iter(options))}'"):
        ProcessFileHandler(**{"directory": tmp_path, **options})


def test_another_formatter_is_refused(tmp_path):
    """A formatter of text would break the files."""
    with pytest.raises(ValueError, match=r"needs a jsonlog\.JsonFormatter"):
        ProcessFileHandler(tmp_path).setFormatter(logging.Formatter())


def test_a_relative_directory_stays_where_it_was(tmp_path, monkeypatch):
    """The directory is made absolute at construction: a `chdir` does not move the logs."""
    monkeypatch.chdir(tmp_path)
    handler = ProcessFileHandler("logs")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    handler.handle(make("here"))
    handler.close()
    assert messages(tmp_path / "logs") == [["here"]]


def test_no_descriptor_reaches_a_child_program(tmp_path):
    """A program that the application starts does not keep the part locked."""
    with logger(tmp_path) as log:
        log.info("x")
        out = python(
            "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')])",
            capture_output=True,
            text=True,
            check=True,
            close_fds=False,
        )
    assert str(tmp_path) not in out.stdout

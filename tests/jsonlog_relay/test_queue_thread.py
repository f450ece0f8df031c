"""A queue and a thread in one process: nothing of a record is lost on the way, and nothing hangs."""

import importlib.util
import json
import logging
import logging.handlers
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request

import pytest

import jsonlog
from tests.jsonlog_relay.running import check_senders, records, run


@pytest.fixture
def log(tmp_path):
    """A logger of its own, the folder it may write to, and a way to give it handlers that are closed afterwards."""
    logger = logging.Logger("shop.pay", logging.DEBUG)  # noqa: LOG001 (outside the tree, so that no test sees another's)
    yield logger
    for handler in logger.handlers:
        handler.close()


class Unpicklable:
    def __init__(self):
        self.lock = threading.Lock()

    def __str__(self):
        return "a thing"

    __repr__ = __str__


def ours(tmp_path, **options):
    handler = jsonlog.ProcessFileHandler(tmp_path / "logs")
    handler.setFormatter(jsonlog.JsonFormatter(**options))
    return handler


def log_everything(logger):
    with jsonlog.bind(request="r1", **{"trace.id": "no"}):
        try:
            try:
                raise TimeoutError("bank")
            except TimeoutError as exc:
                raise ValueError("declined") from exc
        except ValueError:
            logger.exception("charge %s failed", 17, extra={"user": "ann", "thing": Unpicklable()}, stack_info=True)


def without_writer(record):
    return {name: value for name, value in record.items() if name not in ("run", "event", "sender")}


@pytest.mark.parametrize("given", [queue.Queue, queue.SimpleQueue, lambda: None])
def test_a_record_through_a_queue_is_the_record_without_one(tmp_path, log, given):
    """Both ways write the same fields: exception, stack, extra, bound context, names of thread and process, entity_id."""
    direct = jsonlog.ProcessFileHandler(tmp_path / "direct")
    files = ours(tmp_path, service="shop")
    direct.setFormatter(files.formatter)
    log.addHandler(direct)
    log.addHandler(jsonlog.QueueHandler(given(), handlers=[files]))
    worker = threading.Thread(target=log_everything, args=(log,), name="worker-1")
    worker.start()
    worker.join()
    log.handlers[1].close()
    (one,), (other,) = records(tmp_path / "direct"), records(tmp_path / "logs")
    assert without_writer(other) == without_writer(one)
    assert other["exc"]["type"] == "ValueError"
    assert other["process"]["thread"]["name"] == "worker-1"
    assert other["process"]["entity_id"]
    assert other["extra"] == {"request": "r1", "trace.id": "no", "user": "ann", "thing": "a thing"}
    assert other["sender"]["sequence"] == 0
    assert other["sender"]["run"] != other["run"]


def test_handlers_that_are_not_ours_stand_beside_and_get_the_whole_record(tmp_path, log):
    """A text handler prints the exception as ever; levels are heeded; a filter sees arguments and exception."""
    seen = []

    class Spy(logging.Handler):
        def emit(self, record):
            seen.append(
                (record.getMessage(), record.args, record.exc_info[0] if record.exc_info else None, record.user)
            )

    console = logging.FileHandler(tmp_path / "console")
    console.setLevel(logging.WARNING)
    console.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(jsonlog.QueueHandler(handlers=[ours(tmp_path), console, Spy()]))
    log.info("quiet %d", 1, extra={"user": "ann"})
    mutable = [1]
    try:
        raise KeyError("x")
    except KeyError:
        log.exception("loud %s", mutable, extra={"user": "bob"})
    mutable.append(2)
    log.handlers[0].close()
    console.close()
    text = (tmp_path / "console").read_text()
    assert text.startswith("ERROR loud [1]\nTraceback (most recent call last):\n")
    assert text.endswith("KeyError: 'x'\n")
    assert "quiet" not in text
    assert [record["message"] for record in records(tmp_path / "logs")] == ["quiet 1", "loud [1]"]
    assert seen == [("quiet 1", (1,), None, "ann"), ("loud [1]", ([1, 2],), KeyError, "bob")]


def test_a_handler_that_pickles_can_pickle_the_record(tmp_path, log):
    """The standard `SocketHandler` behind our queue: what travels with the record is plain."""
    pickled = []

    class Pickles(logging.handlers.SocketHandler):
        def emit(self, record):
            pickled.append(pickle.loads(self.makePickle(record)[4:]))

    log.addHandler(jsonlog.QueueHandler(handlers=[ours(tmp_path), Pickles("127.0.0.1", 1)]))
    try:
        raise ValueError("declined")
    except ValueError:
        log.exception("charge %d failed", 17, extra={"user": "ann"})
    log.handlers[0].close()
    assert pickled[0]["msg"] == "charge 17 failed"
    assert "ValueError: declined" in pickled[0]["exc_text"]
    (line,) = records(tmp_path / "logs")
    copied = jsonlog.JsonFormatter(service="shop").format(logging.makeLogRecord(pickled[0]))
    assert json.loads(copied)["exc"] == line["exc"]


def test_a_handler_below_whose_level_a_record_is_gets_it_only_where_that_was_asked_for(tmp_path, log):
    """`respect_handler_level=False` is the standard listener's way."""
    files = ours(tmp_path)
    files.setLevel(logging.ERROR)
    log.addHandler(jsonlog.QueueHandler(handlers=[files], respect_handler_level=False))
    log.info("anyway")
    log.handlers[0].close()
    assert [record["message"] for record in records(tmp_path / "logs")] == ["anyway"]


def test_a_handler_that_raises_costs_neither_the_others_nor_the_listener(tmp_path, log, capsys):
    """A filter at the listener that fails: the other handler gets every record, also the following ones."""
    broken = logging.Handler()
    broken.addFilter(lambda _: 1 / 0)
    broken.handleError = lambda _: print("told", file=sys.stderr)
    log.addHandler(jsonlog.QueueHandler(handlers=[broken, ours(tmp_path)]))
    for number in range(3):
        log.info("n %d", number)
    log.handlers[0].close()
    assert [record["message"] for record in records(tmp_path / "logs")] == ["n 0", "n 1", "n 2"]
    assert capsys.readouterr().err.count("told") == 3


def test_garbage_in_the_queue_does_not_end_the_listener(tmp_path, log, capsys):
    """What is no record is said, counted and passed over."""
    given = queue.Queue()
    listener = jsonlog.QueueListener(given, ours(tmp_path))
    listener.start()
    given.put("garbage")
    log.addHandler(jsonlog.QueueHandler(given))
    log.info("after")
    listener.stop()
    assert listener.failed == 1
    assert "no LogRecord" in capsys.readouterr().err
    assert [record["message"] for record in records(tmp_path / "logs")] == ["after"]


def test_many_threads_arrive_once_each_in_the_order_of_their_numbers(tmp_path, log):
    """8 threads, 1,000 records each, a queue of 10: all there, and the file's order is the sender's order."""
    log.addHandler(jsonlog.QueueHandler(handlers=[ours(tmp_path)], capacity=10, patience_s=60))
    threads = [threading.Thread(target=lambda n=n: [log.info("%d %d", n, i) for i in range(1000)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.handlers[0].close()
    found = records(tmp_path / "logs")
    assert sorted(record["message"] for record in found) == sorted(f"{n} {i}" for n in range(8) for i in range(1000))
    assert [record["sender"]["sequence"] for record in found] == list(range(8000))


def test_a_full_queue_waits_then_drops_counts_and_says_so(tmp_path, log, capsys):
    """A handler that stands still: what has no room is counted, leaves a gap, and is told on stderr and in the log."""
    gate = threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record):
            gate.wait()

    handler = jsonlog.QueueHandler(handlers=[Stuck(), ours(tmp_path)], capacity=5, patience_s=0.2)
    log.addHandler(handler)
    start = time.monotonic()
    for number in range(20):
        log.info("n %d", number)
    assert 0.2 <= time.monotonic() - start < 2, "it waits once, not for each record"
    dropped = handler.dropped
    assert dropped == 14  # one is with the handler that stands still, five are in the queue
    gate.set()
    handler.listener.drain(time.monotonic() + 10)
    log.info("after")
    handler.close()
    found = records(tmp_path / "logs")
    assert [r["message"] for r in found] == [
        *(f"n {n}" for n in range(6)),
        "after",
        "14 records were dropped: the queue was full",
    ]
    assert [r["sender"]["sequence"] for r in found] == [*range(6), 20, 21]
    assert found[-1]["extra"] == {"dropped": 14}
    said = capsys.readouterr().err
    assert "records are dropped until there is room" in said
    assert "14 records were dropped" in said


def test_a_record_after_close_is_handed_on_at_once(tmp_path, log):
    """`logging.shutdown` is not the end: a daemon thread or an atexit hook that logs later loses nothing."""
    handler = jsonlog.QueueHandler(handlers=[ours(tmp_path)])
    log.addHandler(handler)
    log.info("before")
    handler.close()
    log.info("after")
    assert [record["message"] for record in records(tmp_path / "logs")] == ["before", "after"]


def test_the_standard_handler_with_our_formatter_sends_everything(tmp_path, log):
    """`logging.handlers.QueueHandler` keeps only the text of its formatter: with ours, that is the whole record."""
    given = queue.Queue()
    sending = logging.handlers.QueueHandler(given)
    sending.setFormatter(jsonlog.JsonFormatter())
    direct = jsonlog.ProcessFileHandler(tmp_path / "direct")
    console = logging.FileHandler(tmp_path / "console")
    listener = jsonlog.QueueListener(given, ours(tmp_path), console)
    log.addHandler(direct)
    log.addHandler(sending)
    log_everything(log)
    listener.start()
    listener.stop()
    (one,), (other,) = records(tmp_path / "direct"), records(tmp_path / "logs")
    assert without_writer(other) == without_writer(one)
    assert (tmp_path / "console").read_text().startswith("charge 17 failed\nTraceback (most recent call last):\n")
    for handler in (direct, console):
        handler.close()


def test_what_the_standard_handler_glues_together_is_taken_apart(tmp_path, log):
    """Without our formatter at the sender, traceback and stack are apart again, and a text handler prints what it would."""
    given, reference = queue.Queue(), queue.Queue()
    for one in (given, reference):
        log.addHandler(logging.handlers.QueueHandler(one))
    try:
        raise ExceptionGroup("many", [ValueError("a"), KeyError("b")])
    except ExceptionGroup:
        log.exception("two of them")
    try:
        raise ValueError("declined")
    except ValueError:
        log.exception("charge failed", extra={"user": "ann"}, stack_info=True)
    log.info("Traceback: none")
    listener = jsonlog.QueueListener(given, ours(tmp_path), logging.FileHandler(tmp_path / "console"))
    listener.start()
    listener.stop()
    standard = logging.handlers.QueueListener(reference, logging.FileHandler(tmp_path / "standard"))
    standard.start()
    standard.stop()
    for handler in (*listener.handlers, *standard.handlers):
        handler.close()
    assert (tmp_path / "console").read_text() == (tmp_path / "standard").read_text()
    group, single, plain = records(tmp_path / "logs")
    assert group["message"] == "two of them"
    assert group["exc"]["traceback"].startswith("  + Exception Group Traceback (most recent call last):\n")
    assert single["message"] == "charge failed"
    assert single["exc"]["traceback"].startswith("Traceback (most recent call last):\n")
    assert single["exc"]["traceback"].rstrip().endswith("ValueError: declined")
    assert single["stack"].startswith("Stack (most recent call last):\n")
    assert single["extra"] == {"user": "ann"}
    assert plain["message"] == "Traceback: none"


def test_nobody_forges_a_record_by_logging_what_looks_like_one(tmp_path, log):
    """A text that looks like a line of ours but tells another time and thread stays a message."""
    given = queue.Queue()
    log.addHandler(logging.handlers.QueueHandler(given))
    forged = jsonlog.JsonFormatter().format(logging.makeLogRecord({"msg": "root logged in", "name": "auth"}))
    log.info(forged)
    listener = jsonlog.QueueListener(given, ours(tmp_path))
    listener.start()
    listener.stop()
    (record,) = records(tmp_path / "logs")
    assert record["message"] == forged
    assert record["log"]["logger"] == "shop.pay"


def test_the_standard_listener_takes_our_records(tmp_path, log):
    """`jsonlog.QueueHandler` with `logging.handlers.QueueListener`: the file is complete all the same."""
    given = queue.Queue()
    listener = logging.handlers.QueueListener(given, ours(tmp_path, service="shop"))
    log.addHandler(jsonlog.QueueHandler(given))
    listener.start()
    log_everything(log)
    listener.stop()
    (record,) = records(tmp_path / "logs")
    assert record["exc"]["chain"][0]["type"] == "TimeoutError"
    assert record["extra"]["request"] == "r1"
    assert record["service"] == {"name": "shop"}


def test_the_formatter_at_the_listener_adds_what_the_sender_has_not_and_redacts(tmp_path, log):
    """Service, labels and static fields are filled in, secrets taken out, the sender's numbers kept."""
    given = queue.Queue()
    sending = jsonlog.QueueHandler(given)
    sending.setFormatter(jsonlog.JsonFormatter(labels={"team": "a"}))
    options = {"service": "shop", "labels": {"team": "b", "cell": "c"}, "static": {"region": "eu", "user": "?"},
               "redact": {"keys": ["password"], "patterns": [r"4\d{15}"]}}  # fmt: skip
    listener = jsonlog.QueueListener(given, ours(tmp_path, **options))
    log.addHandler(sending)
    log.info("card 4111111111111111", extra={"password": "x", "user": "ann"})
    listener.start()
    listener.stop()
    (record,) = records(tmp_path / "logs")
    assert record["service"] == {"name": "shop"}
    assert record["labels"] == {"team": "a", "cell": "c"}
    assert record["extra"]["region"] == "eu"
    assert record["extra"]["user"] == "ann"
    assert record["extra"]["password"] != "x"
    assert "4111" not in record["message"]
    assert record["sender"]["sequence"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs a 'queue'"),
        ({"queue": 5}, "'queue' must have put_nowait, got 5"),
        ({"handlers": "json"}, "'handlers' must be a list"),
        ({"handlers": [5]}, "'handlers' must be handlers or their names, got int"),
        ({"handlers": ["a"], "capacity": 0}, "'capacity' must be a number of records, 1 or more, got 0"),
        ({"handlers": ["a"], "patience_s": -1}, "'patience_s' must be seconds, 0 to 3600, got -1"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(options, words):
    """Every argument is checked at construction."""
    with pytest.raises(ValueError, match=words):
        jsonlog.QueueHandler(**options)


def test_a_foreign_formatter_is_refused(log):
    """A text formatter belongs to a handler of the listener."""
    with pytest.raises(ValueError, match=r"needs a jsonlog\.JsonFormatter, not Formatter"):
        jsonlog.QueueHandler(queue.Queue()).setFormatter(logging.Formatter())


DICT = """
import logging, logging.config, os, sys, threading
CONFIG = {
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"json": {"()": "jsonlog.JsonFormatter", "service": "shop"}, "text": {"format": "%(message)s"}},
    "handlers": {
        "console": {"class": "logging.FileHandler", "filename": sys.argv[1] + ".txt", "formatter": "text", "level": "WARNING"},
        "queue": {"()": "jsonlog.QueueHandler", "handlers": ["zfiles", "console"]},
        "zfiles": {"class": "jsonlog.ProcessFileHandler", "directory": sys.argv[1], "formatter": "json"},
    },
    "root": {"level": "INFO", "handlers": ["queue"]},
}
logging.config.dictConfig(CONFIG)
log = logging.getLogger("shop")
"""


def test_one_recipe_for_dictconfig_on_every_python(tmp_path):
    """Handlers are named, whichever of them comes first; what is logged last of all is there when the process has ended."""
    run(tmp_path, DICT + "log.info('one'); log.warning('two'); sys.exit(0)")
    assert [record["message"] for record in records(tmp_path / "logs")] == ["one", "two"]
    assert {record["service"]["name"] for record in records(tmp_path / "logs")} == {"shop"}
    assert (tmp_path / "logs.txt").read_text() == "two\n"


def test_a_name_that_no_handler_has_is_said(tmp_path):
    """A misspelt handler is an error that names it."""
    done = run(tmp_path, DICT.replace('"zfiles", "console"', '"zfile"') + "log.info('one')")
    assert "'handlers' names 'zfile'" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`class` with `handlers` is new in Python 3.12")
def test_the_way_of_python_3_12_works_too(tmp_path):
    """`class: jsonlog.QueueHandler` with `handlers`: the listener is started by the application, as documented there."""
    config = DICT.replace('"()": "jsonlog.QueueHandler"', '"class": "jsonlog.QueueHandler"')
    body = """
    handler = logging.getLogger().handlers[0]
    handler.listener.start()
    log.info("one")
    pid = os.fork()
    log.info("two of %s", "child" if pid == 0 else "parent")
    handler.listener.stop()
    if pid: assert os.waitpid(pid, 0)[1] == 0
    """
    run(tmp_path, config + textwrap.dedent(body))
    found = records(tmp_path / "logs")
    assert sorted(record["message"] for record in found) == ["one", "two of child", "two of parent"]


@pytest.mark.parametrize("pair", ["own", "ours", "standard sender"])
def test_a_forked_child_gets_a_queue_and_a_thread_of_its_own(tmp_path, pair):
    """
    As under gunicorn with preload: forked while 3 threads log, each child logs 20 records and ends by itself.

    Nothing of the parent's is written by a child, nothing of a child's is left in its queue, nobody hangs.
    """
    make = {
        "own": "handler = jsonlog.QueueHandler(handlers=[files])",
        "ours": "q = queue.Queue(); jsonlog_listener = jsonlog.QueueListener(q, files); jsonlog_listener.start(); handler = jsonlog.QueueHandler(q)",
        "standard sender": "q = queue.Queue(); jsonlog_listener = jsonlog.QueueListener(q, files); jsonlog_listener.start(); handler = logging.handlers.QueueHandler(q)",
    }[pair]
    body = f"""
    import logging, logging.handlers, os, queue, sys, threading
    import jsonlog
    files = jsonlog.ProcessFileHandler(sys.argv[1])
    {make}
    log = logging.getLogger("fork"); log.setLevel("INFO"); log.addHandler(handler)
    stop = threading.Event()
    def work(name):
        number = 0
        while not stop.is_set():
            log.info("parent %s %d", name, number); number += 1
            if number % 10 == 0: stop.wait(0.01)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads: thread.start()
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            for i in range(20): log.info("child %d %d", number, i)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    for thread in threads: thread.join()
    """
    # A child that ends with sys.exit runs the rest of the program's threads' cleanup: only its own are left in it.
    run(tmp_path, body, timeout=100)
    found = records(tmp_path / "logs")
    texts = [record["message"] for record in found]
    assert len(texts) == len(set(texts))
    assert {text for text in texts if text.startswith("child")} == {
        f"child {n} {i}" for n in range(8) for i in range(20)
    }
    if pair != "standard sender":
        assert len(check_senders(found)) == 9


def test_a_fork_of_which_python_knows_nothing_is_noticed(tmp_path):
    """C code forks without running hooks, in a process without threads: the child's first record finds it out."""
    body = DICT + textwrap.dedent("""
    import ctypes, time
    libc = ctypes.PyDLL(None)
    log.info("before")
    logging.shutdown()
    pid = libc.fork()
    log.info("in %s", "child" if pid == 0 else "parent")
    logging.shutdown()
    if pid == 0: os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    """)
    run(tmp_path, body)
    found = records(tmp_path / "logs")
    assert sorted(record["message"] for record in found) == ["before", "in child", "in parent"]
    assert sorted(map(len, check_senders(found).values())) == [1, 2]


def test_a_signal_handler_that_logs_neither_hangs_nor_doubles_a_number(tmp_path):
    """A timer fires every 400 µs and logs, in the middle of 10,000 calls."""
    body = DICT + textwrap.dedent("""
    import itertools, signal
    count = itertools.count()
    def tick(*_): log.info("tick %d", next(count))
    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.0004, 0.0004)
    for number in range(10000): log.info("main %d", number)
    signal.setitimer(signal.ITIMER_REAL, 0)
    """)
    run(tmp_path, body)
    found = records(tmp_path / "logs")
    check_senders(found)
    texts = [record["message"] for record in found]
    ticks = sum(text.startswith("tick") for text in texts)
    assert ticks > 100
    assert sorted(texts) == sorted([*(f"main {n}" for n in range(10000)), *(f"tick {n}" for n in range(ticks))])


SLOW = DICT + textwrap.dedent("""
import time, jsonlog
class Slow(logging.Handler):
    def emit(self, record): time.sleep(0.002)
slow = Slow()
handler = logging.getLogger().handlers[0]
log.info("first")
handler.listener.handlers += (slow,)
for number in range(200): log.info("n %d", number)
""")


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise RuntimeError", "logging.shutdown(); os._exit(0)"])
def test_what_is_in_the_queue_is_written_before_the_process_ends(tmp_path, end):
    """Whatever way a program ends that runs its exit hooks, or that shuts logging down."""
    code = {"sys.exit(3)": 3, "raise RuntimeError": 1}.get(end, 0)
    run(tmp_path, SLOW + end, code=code)
    assert [r["message"] for r in records(tmp_path / "logs")] == ["first", *(f"n {n}" for n in range(200))]


def test_a_listener_that_nobody_stopped_is_read_to_its_end(tmp_path):
    """A queue and a listener of the application's own: the program ends without `stop`, and nothing is lost."""
    body = """
    import logging, queue, sys, time, jsonlog
    class Slow(logging.Handler):
        def emit(self, record): time.sleep(0.002)
    given = queue.Queue()
    listener = jsonlog.QueueListener(given, Slow(), jsonlog.ProcessFileHandler(sys.argv[1]))
    listener.start()
    log = logging.getLogger("x"); log.setLevel("INFO"); log.addHandler(jsonlog.QueueHandler(given))
    for number in range(200): log.info("n %d", number)
    """
    run(tmp_path, body)
    assert [r["message"] for r in records(tmp_path / "logs")] == [f"n {n}" for n in range(200)]


def test_sigterm_still_ends_the_process_and_costs_nothing_that_was_queued(tmp_path):
    """A plain `kill`: the process ends by SIGTERM as without us, with its queue written."""
    program = tmp_path / "program.py"
    # In short sleeps: a signal that comes just before the interpreter begins to sleep does not cut that sleep short.
    program.write_text(SLOW + "print('logged', flush=True)\nwhile True: time.sleep(0.05)")
    with subprocess.Popen([sys.executable, "-P", program, str(tmp_path / "logs")], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"logged\n"
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
    assert [r["message"] for r in records(tmp_path / "logs")] == ["first", *(f"n {n}" for n in range(200))]


def test_an_application_that_handles_sigterm_keeps_its_handler(tmp_path):
    """Nothing is installed over a handler that is there."""
    body = "import signal\nhow = lambda *_: None\nsignal.signal(signal.SIGTERM, how)\n" + DICT
    run(tmp_path, body + "log.info('x'); assert signal.getsignal(signal.SIGTERM) is how")


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed")
def test_gunicorn_with_preload(tmp_path):
    """The application is loaded, and has logged, before the workers are forked: each of them has a queue that works."""
    (tmp_path / "app.py").write_text(
        DICT.replace("sys.argv[1]", repr(str(tmp_path / "logs")))
        + textwrap.dedent("""
    log.info("loaded")
    def app(environ, start_response):
        log.info("asked", extra={"path": environ["PATH_INFO"]})
        start_response("200 OK", [("Content-Length", "0")])
        return []
    """)
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        "-m",
        "gunicorn",
        "--preload",
        "--workers",
        "2",
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "error",
        "app:app",
    ]
    with subprocess.Popen([sys.executable, *command], cwd=tmp_path) as server:
        try:
            number, deadline = 0, time.monotonic() + 60
            while number < 40:
                assert time.monotonic() < deadline
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=10).close()
                except OSError:
                    time.sleep(0.1)
                else:
                    number += 1
        finally:
            server.terminate()
        assert server.wait(60) == 0
    found = records(tmp_path / "logs")
    assert sorted(r["extra"]["path"] for r in found if r["message"] == "asked") == sorted(f"/{n}" for n in range(40))
    assert [r["process"]["pid"] for r in found if r["message"] == "loaded"] == [server.pid]
    assert {r["process"]["pid"] for r in found if r["message"] == "asked"}.isdisjoint({server.pid})


def test_importing_jsonlog_brings_no_queue():
    """The names are there, and what they need is imported when they are first used."""
    code = "import sys, jsonlog; assert not {'queue', 'socket', 'multiprocessing', 'logging.handlers'} & set(sys.modules); jsonlog.QueueHandler"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=os.getcwd())

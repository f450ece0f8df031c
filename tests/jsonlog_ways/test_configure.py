"""`jsonlog.configure`: one call for files and a console, twice without harm, the root logger alone, the environment wins."""

import concurrent.futures
import logging
import multiprocessing
import os
import pty
import subprocess
import sys
from functools import partial

import pytest

import jsonlog
from tests.jsonlog_ways.support import by_message, environment, logged, run


@pytest.fixture(autouse=True)
def _root(monkeypatch, tmp_path):
    """Each test gets the root logger as it was, and an environment without our variables."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    for name in [name for name in os.environ if name.startswith("JSONLOG_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    root.setLevel(level)


def ours():
    """The handlers of `configure`, without those that pytest adds."""
    kinds = jsonlog.ProcessFileHandler, jsonlog.ConsoleHandler
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, kinds)]


def test_one_call_gives_files_and_a_readable_console(tmp_path):
    """A program of two lines has its record in ./logs and a readable line on stderr, without colours in a pipe."""
    done = run(
        """
        import jsonlog, logging
        jsonlog.configure(service="shop", version="1.4.2")
        logging.getLogger("shop.pay").info("order %d placed", 17, extra={"user": "ann"})
        logging.getLogger("shop.pay").debug("not shown")
        try: 1 / 0
        except ZeroDivisionError: logging.exception("failed")
        """,
        cwd=tmp_path,
    )
    found = by_message(tmp_path / "logs")
    assert set(found) == {"order 17 placed", "failed"}
    assert found["failed"]["exc"]["type"] == "ZeroDivisionError"
    assert found["failed"]["service"] == {"name": "shop", "version": "1.4.2"}
    first, *rest = done.stderr.splitlines()
    assert "INFO  shop.pay  order 17 placed  user=ann" in first
    assert rest[1] == "    Traceback (most recent call last):"
    assert "\x1b" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_the_console_is_coloured_on_a_terminal_alone(tmp_path, variables, coloured):
    """On a terminal the console has colours, unless NO_COLOR or TERM=dumb says otherwise."""
    main, other = pty.openpty()
    program = "import jsonlog, logging; jsonlog.configure(); logging.warning('careful')"
    subprocess.run(
        [sys.executable, "-P", "-c", program],
        stderr=other, cwd=tmp_path, env=environment(**{"TERM": "xterm"} | variables), check=True, timeout=30,
    )  # fmt: skip
    os.close(other)
    text = os.read(main, 10_000).decode()
    os.close(main)
    assert "careful" in text
    assert ("\x1b[33mWARN" in text) is coloured


def test_twice_with_the_same_arguments_is_once(tmp_path):
    """The same call again leaves the file alone: one run, each record once, in file and console."""
    done = run(
        """
        import jsonlog, logging
        for _ in range(3):
            jsonlog.configure("shop", "logs", "INFO")
            logging.info("hello")
        """,
        cwd=tmp_path,
    )
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert [record["message"] for record in logged(tmp_path / "logs")] == ["hello"] * 3
    assert done.stderr.count("hello") == 3


def test_another_call_takes_the_place_of_the_first(tmp_path):
    """A call with other arguments moves to them; the handlers of the first are closed and gone."""
    jsonlog.configure(directory="first", console=False)
    log = logging.getLogger("tests.another")
    log.warning("one")
    (first,) = ours()
    jsonlog.configure(directory="second", console=True, level="ERROR")
    log.warning("not shown")
    log.error("two")
    assert [record["message"] for record in logged("first")] == ["one"]
    assert [record["message"] for record in logged("second")] == ["two"]
    assert first.path is None
    assert len(ours()) == 2


def test_nothing_but_root_is_touched(tmp_path):
    """Other loggers, other handlers of the root logger, hooks and signals stay as they were."""
    other, mine = logging.getLogger("tests.other"), logging.NullHandler()
    other.addHandler(mine)
    logging.getLogger().addHandler(mine)
    try:
        handlers = list(logging.getLogger().handlers)
        before = (
            sys.excepthook,
            {
                name: (one.level, list(one.handlers), one.propagate, one.disabled)
                for name, one in logging.Logger.manager.loggerDict.items()
                if isinstance(one, logging.Logger)
            },
            dict(os.environ),
        )
        jsonlog.configure(console=True)
        after = (
            sys.excepthook,
            {
                name: (one.level, list(one.handlers), one.propagate, one.disabled)
                for name, one in logging.Logger.manager.loggerDict.items()
                if isinstance(one, logging.Logger)
            },
            dict(os.environ),
        )
        assert before == after
        assert logging.getLogger().handlers == handlers + ours()
        assert len(ours()) == 2
    finally:
        other.removeHandler(mine)


def test_no_second_console_where_there_is_one(tmp_path):
    """After `basicConfig` the records are on stderr already: the files are added, no console unless asked for."""
    program = """
        import jsonlog, logging, sys
        logging.basicConfig(level="INFO", format="plain %(message)s")
        jsonlog.configure(console=True if len(sys.argv) > 1 else None)
        logging.info("hello")
    """
    assert run(program, cwd=tmp_path).stderr == "plain hello\n"
    assert run(program, "both", cwd=tmp_path).stderr.count("hello") == 2
    assert len(logged(tmp_path / "logs")) == 2


def test_the_environment_wins(tmp_path):
    """Each variable wins over the argument of its name."""
    done = run(
        """
        import jsonlog, logging
        jsonlog.configure(service="code", directory="code", level="ERROR", console=True, environment="code")
        logging.debug("hello")
        """,
        cwd=tmp_path,
        env={
            "JSONLOG_SERVICE": "shop", "JSONLOG_DIRECTORY": "elsewhere", "JSONLOG_LEVEL": "debug",
            "JSONLOG_CONSOLE": "off", "JSONLOG_ENVIRONMENT": "prod",
        },
    )  # fmt: skip
    (record,) = logged(tmp_path / "elsewhere")
    assert record["service"] == {"name": "shop", "environment": "prod"}
    assert next((tmp_path / "elsewhere").iterdir()).name.startswith("shop-")
    assert done.stderr == ""
    assert not (tmp_path / "code").exists()


WRONG = {
    "level": ({"level": "LOUD"}, "configure: 'level' must be"),
    "level kind": ({"level": True}, "configure: 'level' must be"),
    "console": ({"console": "maybe"}, "configure: 'console' must be true or false"),
    "directory": ({"directory": ""}, "configure: 'directory' must be a path"),
    "directory kind": ({"directory": 5}, "configure: 'directory' must be a path"),
    "service": ({"service": 5}, "'service'"),
    "formatter": ({"colour": True}, "'colour'"),
    "handler": ({"handler": {"max_bits": 5}}, "'max_bits'"),
    "handler value": ({"handler": {"max_bytes": -1}}, "'max_bytes'"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_changes_nothing(options, message):
    """A wrong argument is a ValueError that names it, and the root logger stays as it was."""
    jsonlog.configure(console=False)
    before = list(logging.getLogger().handlers)
    with pytest.raises(ValueError, match=message):
        jsonlog.configure(**options)
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(("variable", "value"), [("JSONLOG_LEVEL", "loud"), ("JSONLOG_CONSOLE", "maybe")])
def test_a_wrong_variable_is_named(monkeypatch, variable, value):
    """An operator who mistypes is told which variable it was, and what it held."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable} must be .*'{value}'"):
        jsonlog.configure()


def test_levels_by_name_and_number():
    """A level may be a name in any case, one of the application's own, a number, or a number as text."""
    logging.addLevelName(25, "Notice")
    for level, number in (("warning", 30), ("Notice", 25), (15, 15), ("15", 15), (None, 20)):
        jsonlog.configure(level=level, console=False)
        assert logging.getLogger().level == number


def test_what_is_redacted_in_the_files_is_redacted_on_the_console(tmp_path):
    """Options of the formatter hold for both, and the handler takes options of its own."""
    done = run(
        """
        import jsonlog, logging
        jsonlog.configure(redact={"keys": ["password"]}, handler={"max_bytes": 100})
        logging.info("hello", extra={"password": "hunter2"})
        logging.info("again")
        """,
        cwd=tmp_path,
    )
    assert "hunter2" not in done.stderr
    assert "password=[redacted]" in done.stderr.replace('"', "")
    assert by_message(tmp_path / "logs")["hello"]["extra"] == {"password": "[redacted]"}
    assert len(list((tmp_path / "logs").iterdir())) == 2


def test_the_console_survives_a_stderr_that_is_gone(tmp_path):
    """With `sys.stderr` None, or closed, a log call neither raises nor loses the record in the file."""
    run(
        """
        import jsonlog, logging, sys
        jsonlog.configure()
        kept, sys.stderr = sys.stderr, None
        logging.info("without")
        sys.stderr = open("closed", "w"); sys.stderr.close()
        logging.info("closed")
        """,
        cwd=tmp_path,
    )
    assert set(by_message(tmp_path / "logs")) == {"without", "closed"}


def test_the_console_does_not_hang_forked_children(tmp_path):
    """300 children forked while threads show records on the console: none waits for a lock of the parent's buffer."""
    run(
        """
        import jsonlog, logging, os, threading
        jsonlog.configure(console=True)
        stop = threading.Event()
        def work():
            while not stop.is_set(): logging.info("parent " + "x" * 2000)
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for number in range(300):
            pid = os.fork()
            if pid == 0:
                logging.info("child %d", number)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        """,
        cwd=tmp_path,
    )
    assert sum(record["message"].startswith("child") for record in logged(tmp_path / "logs")) == 300


def _work(number):
    logging.getLogger("pool").info("task %d", number)
    return os.getpid()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_it_is_an_initializer_of_pools(tmp_path, method, kind):
    """Under each start method the workers of both pools log to files of their own, with the bare function as initializer."""
    context = multiprocessing.get_context(method)
    configure = partial(jsonlog.configure, directory=str(tmp_path / "logs"), console=False)
    if kind == "Pool":
        with context.Pool(2, jsonlog.configure, ("shop", str(tmp_path / "logs"), "INFO", False)) as pool:
            pids = set(pool.map(_work, range(20), chunksize=1))
            pool.close()
            pool.join()
    else:
        with concurrent.futures.ProcessPoolExecutor(2, context, initializer=configure) as pool:
            pids = set(pool.map(_work, range(20)))
    found = by_message(tmp_path / "logs")
    assert set(found) == {f"task {number}" for number in range(20)}
    assert {record["process"]["pid"] for record in found.values()} == pids


def test_names_are_imported_when_they_are_asked_for(tmp_path):
    """`import jsonlog` brings neither hooks nor console; `jsonlog.configure` is the function, whatever was imported before."""
    done = run(
        """
        import sys, jsonlog
        print([name for name in sys.modules if name in ("jsonlog.root", "jsonlog.hooks", "jsonlog.console", "jsonlog.view")])
        import jsonlog.root
        print(jsonlog.configure.__name__, set(jsonlog.__all__) <= set(dir(jsonlog)))
        from jsonlog import *
        print(all(callable(globals()[name]) for name in jsonlog.__all__))
        try: jsonlog.nothing
        except AttributeError as exc: print(exc)
        """,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines() == [
        "[]",
        "configure True",
        "True",
        "module 'jsonlog' has no attribute 'nothing'",
    ]

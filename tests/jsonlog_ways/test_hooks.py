"""The hooks, in processes of their own: each trouble is one record with `exc`, and everything else happens as without them."""

import pytest

from tests.jsonlog_ways.support import by_message, facts, logged, run

HEAD = """
import gc, json, logging, os, signal, sys, threading, time, warnings
import jsonlog
jsonlog.configure(directory="logs", console=False)
jsonlog.install_hooks()
"""


def program(body, tmp_path, **options):
    import textwrap

    return run(HEAD + textwrap.dedent(body), cwd=tmp_path, **options)


def test_an_uncaught_exception_is_a_record_and_still_a_traceback(tmp_path):
    """The main thread's exception: a CRITICAL record at the line that raised, exit code 1, the traceback on stderr."""
    done = program(
        """
        def charge(): raise ValueError("declined")
        charge()
        """,
        tmp_path,
        expect=1,
    )
    (record,) = logged(tmp_path / "logs")
    assert (record["log"]["level"], record["message"]) == ("CRITICAL", "uncaught exception")
    assert record["log"]["origin"]["function"] == "charge"
    assert (record["exc"]["type"], record["exc"]["message"]) == ("ValueError", "declined")
    assert "in charge" in record["exc"]["traceback"]
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.count("ValueError: declined") == 1


def test_what_was_there_is_called(tmp_path):
    """Hooks of the application's own, put there before, are called after the record is written."""
    done = run(
        """
        import json, sys, threading, warnings, jsonlog
        def say(kind):
            def hook(*args):
                import os
                size = sum(os.path.getsize(f"logs/{name}") for name in os.listdir("logs"))
                print(json.dumps({"kind": kind, "written": size}), flush=True)
            return hook
        sys.excepthook, threading.excepthook, sys.unraisablehook = say("main"), say("thread"), say("unraisable")
        warnings.showwarning = say("warning")
        jsonlog.configure(directory="logs", console=False)
        jsonlog.install_hooks()
        def fail(): raise ValueError("in thread")
        thread = threading.Thread(target=fail, name="worker"); thread.start(); thread.join()
        class Odd:
            def __del__(self): raise KeyError("gone")
        Odd()
        warnings.warn("old", DeprecationWarning)
        warnings.warn("careful")
        raise RuntimeError("main")
        """,
        cwd=tmp_path,
        expect=1,
    )
    told = facts(done.stdout)
    assert [one["kind"] for one in told] == ["thread", "unraisable", "warning", "warning", "main"]
    sizes = [one["written"] for one in told]
    assert sizes[0] > 0
    assert sizes == sorted(set(sizes))
    assert done.stderr == ""
    assert [record["exc"]["type"] for record in logged(tmp_path / "logs")] == [
        "ValueError", "KeyError", "DeprecationWarning", "UserWarning", "RuntimeError",
    ]  # fmt: skip


def test_threads(tmp_path):
    """An exception in a thread is an ERROR record of that thread; SystemExit in one is nothing."""
    done = program(
        """
        def fail(error): raise error
        for number, error in enumerate((ValueError("x"), SystemExit(3), KeyboardInterrupt())):
            thread = threading.Thread(target=fail, args=(error,), name=f"worker-{number}"); thread.start(); thread.join()
        """,
        tmp_path,
    )
    (record,) = logged(tmp_path / "logs")
    assert record["message"] == "uncaught exception in thread worker-0"
    assert record["process"]["thread"]["name"] == "worker-0"
    assert record["log"]["level"] == "ERROR"
    assert record["exc"]["type"] == "ValueError"
    assert "Exception in thread worker-0" in done.stderr


def test_unraisable(tmp_path):
    """What the interpreter can only report is an ERROR record that names the object, and keeps nothing alive."""
    done = program(
        """
        class Odd:
            def __del__(self): raise KeyError("gone")
        class Shy:
            def __del__(self): raise OSError("shy")
            def __repr__(self): raise ValueError("no")
        Odd(); Shy()
        gc.collect()
        print(sum(isinstance(one, (Odd, Shy)) for one in gc.get_objects()))
        """,
        tmp_path,
    )
    first, second = logged(tmp_path / "logs")
    assert first["message"].lower().startswith("exception ignored")  # in the words of each Python
    assert "Odd.__del__" in first["message"]
    assert (first["exc"]["type"], second["exc"]["type"]) == ("KeyError", "OSError")
    assert done.stdout == "0\n"
    assert "Exception ignored in" in done.stderr


def test_warnings(tmp_path):
    """A warning is a record of `py.warnings` at the line that warned, and still on stderr; a caller's file is left to it."""
    done = program(
        """
        import io
        warnings.warn("old ways", FutureWarning)
        file = io.StringIO()
        warnings.showwarning("to a file", UserWarning, "x.py", 1, file)
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("caught")
        print(len(caught), file.getvalue().count("to a file"))
        """,
        tmp_path,
    )
    (record,) = logged(tmp_path / "logs")
    assert (record["log"]["logger"], record["log"]["level"]) == ("py.warnings", "WARNING")
    assert record["message"] == "old ways"
    assert record["exc"]["type"] == "FutureWarning"
    assert record["log"]["origin"]["file"]["line"] > 5
    assert done.stdout == "1 1\n"
    assert "FutureWarning: old ways" in done.stderr


@pytest.mark.parametrize("order", ["before", "after"])
def test_warnings_that_logging_captures_too_are_one_record(tmp_path, order):
    """With `logging.captureWarnings(True)`, before or after, a warning is still one record."""
    capture = "logging.captureWarnings(True)"
    run(
        f"""
import logging, warnings, jsonlog
jsonlog.configure(directory="logs", console=False)
{capture if order == "before" else ""}
jsonlog.install_hooks()
{capture if order == "after" else ""}
warnings.warn("careful")
""",
        cwd=tmp_path,
    )
    assert len(logged(tmp_path / "logs")) == 1


def test_a_handler_that_warns_does_not_go_round_in_circles(tmp_path):
    """A warning out of the logging of a warning is shown, not logged again."""
    done = program(
        """
        class Noisy(logging.Handler):
            def emit(self, record): warnings.warn("from the handler")
        warnings.simplefilter("always")
        logging.getLogger().addHandler(Noisy())
        warnings.warn("first")
        """,
        tmp_path,
    )
    assert set(by_message(tmp_path / "logs")) == {"first"}
    assert done.stderr.count("UserWarning: from the handler") == 1


LOOP = """
import asyncio
async def fail(): raise ValueError("nobody waits")
async def main():
    loop = asyncio.get_running_loop()
    {handler}
    task = asyncio.create_task(fail(), name="lonely"); await asyncio.sleep(0.01); del task; gc.collect()
    loop.call_soon(lambda: 1 / 0); await asyncio.sleep(0.01)
asyncio.run(main())
"""
HANDLERS = {
    "none": "",
    "own": "loop.set_exception_handler(lambda loop, context: print(json.dumps({'seen': context['message'][:10]})))",
    "calls the default": "loop.set_exception_handler(lambda loop, context: loop.default_exception_handler(context))",
    "raises": "loop.set_exception_handler(lambda loop, context: 1 / [][0])",
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_asyncio_loops(tmp_path, handler):
    """A task nobody waits for and a failing callback are a record each, whatever handler the loop has; that is called too."""
    done = program(LOOP.format(handler=handler), tmp_path)
    found = [record for record in logged(tmp_path / "logs") if record["exc"]["type"] != "IndexError"]
    assert [record["exc"]["type"] for record in found] == ["ValueError", "ZeroDivisionError"]
    assert {(record["log"]["logger"], record["log"]["level"]) for record in found} == {("asyncio", "ERROR")}
    assert "in fail" in found[0]["exc"]["traceback"]
    assert len(facts(done.stdout)) == (2 if "seen" in handler else 0)


def test_keyboard_interrupt_and_exit_are_no_errors(tmp_path):
    """Ctrl-C ends the process by SIGINT with its traceback, `sys.exit` with its code; neither is a record."""
    done = program("logging.info('before'); os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", tmp_path, expect=-2)
    assert "KeyboardInterrupt" in done.stderr
    program("sys.exit(7)", tmp_path, expect=7)
    assert set(by_message(tmp_path / "logs")) == {"before"}


def test_sigterm_ends_the_process_as_ever(tmp_path):
    """No signal handler is installed: SIGTERM kills by SIGTERM, and what was logged is there."""
    program(
        """
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        logging.info("before")
        os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)
        """,
        tmp_path,
        expect=-15,
    )
    assert set(by_message(tmp_path / "logs")) == {"before"}


def test_uninstalled_hooks_are_gone(tmp_path):
    """After `uninstall_hooks` everything is as before; ours under somebody else's hook only passes on."""
    done = program(
        """
        jsonlog.install_hooks()  # a second time
        jsonlog.uninstall_hooks()
        import asyncio
        assert sys.excepthook is sys.__excepthook__
        assert threading.excepthook is threading.__excepthook__
        assert sys.unraisablehook is sys.__unraisablehook__
        assert asyncio.BaseEventLoop.call_exception_handler.__module__ == "asyncio.base_events"
        jsonlog.install_hooks("exceptions")
        before = sys.excepthook
        def theirs(*args): before(*args)
        sys.excepthook = theirs
        jsonlog.uninstall_hooks()
        assert sys.excepthook is theirs
        raise ValueError("once")
        """,
        tmp_path,
        expect=1,
    )
    assert logged(tmp_path / "logs") == []
    assert done.stderr.count("ValueError: once") == 1


def test_twice_is_once(tmp_path):
    """Installed twice, and by `configure(hooks=True)`, an exception is one record."""
    program(
        "jsonlog.install_hooks(); jsonlog.configure(console=False, hooks=True); raise ValueError", tmp_path, expect=1
    )
    assert len(logged(tmp_path / "logs")) == 1


def test_some_of_them(tmp_path):
    """Hooks can be chosen by name; a name that is none is refused, and the choice is shown."""
    done = run(
        """
        import jsonlog, sys, threading, warnings
        show = warnings.showwarning
        jsonlog.install_hooks("threads")
        assert sys.excepthook is sys.__excepthook__ and warnings.showwarning is show and "asyncio" not in sys.modules
        assert threading.excepthook is not threading.__excepthook__
        try: jsonlog.install_hooks("signals")
        except ValueError as exc: print(exc)
        """,
        cwd=tmp_path,
    )
    assert done.stdout == "install_hooks: 'signals' is none of exceptions, threads, asyncio, unraisable, warnings\n"


def test_a_program_that_never_configured_prints_nothing_twice(tmp_path):
    """Without handlers nothing is logged, and the last resort of logging does not print a second traceback."""
    done = run("import jsonlog; jsonlog.install_hooks(); 1 / 0", cwd=tmp_path, expect=1)
    assert done.stderr.count("ZeroDivisionError") == 1


def test_a_dictconfig_that_disables_loggers_does_not_silence_them(tmp_path):
    """The default of `dictConfig` disables every logger it does not name; an uncaught exception is a record all the same."""
    program(
        """
        import logging.config
        def fail(): raise KeyError("early")
        thread = threading.Thread(target=fail); thread.start(); thread.join()
        logging.config.dictConfig({
            "version": 1,
            "handlers": {"json": {"class": "jsonlog.ProcessFileHandler", "directory": "logs"}},
            "root": {"level": "INFO", "handlers": ["json"]},
        })
        raise ValueError("late")
        """,
        tmp_path,
        expect=1,
    )
    assert [record["exc"]["message"] for record in logged(tmp_path / "logs")] == ["'early'", "late"]


def test_forked_children_keep_them(tmp_path):
    """A child inherits the hooks and writes to a file of its own."""
    program(
        """
        if os.fork() == 0: raise ValueError("child")
        os.wait()
        """,
        tmp_path,
    )
    (record,) = logged(tmp_path / "logs")
    assert record["exc"]["message"] == "child"

"""`jsonlog.Logger`: fields by name, and the same records as the stock logger makes."""

import asyncio
import logging
import subprocess
import sys
import threading

import pytest

import jsonlog
from jsonlog import JsonFormatter
from tests.jsonlog.support import ROOT, check, is_direct


class Keep(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


def pair():
    """A stock logger and one of ours, each with a handler that keeps the records."""
    made = []
    for kind in (logging.Logger, jsonlog.Logger):
        logger = kind("shop")
        logger.addHandler(Keep())
        made.append(logger)
    return made


def record_of(logger):
    return logger.handlers[0].records.pop()


CHANGING = ("created", "msecs", "relativeCreated")


def compare(*calls):
    """Both loggers make the same record of each call."""
    stock, ours = pair()
    for call in calls:
        records = []
        for logger in (stock, ours):
            call(logger)
            records.append(record_of(logger))
        one, two = records
        assert type(two) is logging.LogRecord
        assert list(one.__dict__) == list(two.__dict__)
        for name, value in one.__dict__.items():
            if name not in CHANGING:
                assert two.__dict__[name] == value, name
        assert 0 <= two.created - one.created < 5
        assert 0 <= two.msecs < 1000
        assert two.msecs == int(two.msecs)
        assert abs(two.created % 1 * 1000 - two.msecs) <= 1
        assert abs((two.relativeCreated - one.relativeCreated) - (two.created - one.created) * 1000) < 10


def test_the_same_records_as_the_stock_logger():
    """Every attribute, in the same order, for every kind of call; also file, line and function of the call."""

    def deeper(logger):
        logger.info("deep", stacklevel=2)

    error = ValueError("v")

    def far(logger):
        logger.info("too deep", stacklevel=10_000)

    compare(
        lambda log: log.debug("x"),
        lambda log: log.info("hello %s", "x"),
        lambda log: log.warning("%(a)s", {"a": 1}),
        lambda log: log.error("x", extra={"order": 17}),
        lambda log: log.critical("x"),
        lambda log: log.fatal("x"),
        lambda log: log.log(35, "x"),
        lambda log: log.info("x", exc_info=error),
        lambda log: log.info("x", exc_info=(None, None, None)),
        lambda log: log.info("x", exc_info=False),
        lambda log: log.info(msg="by name"),
        lambda log: log.info("x", stack_info=True),
        lambda log: logging.LoggerAdapter(log, {"a": 1}).info("x"),
        lambda log: log._log(5, "custom", (1,)),
        deeper,
        far,
    )


def test_an_exception_being_handled():
    """`exception()` and `exc_info=True` take the exception that is being handled."""
    _, ours = pair()
    error = ValueError("v")
    try:
        raise error
    except ValueError:
        ours.exception("failed")
        first = record_of(ours)
        ours.info("x", exc_info=True)
    assert first.exc_info[1] is record_of(ours).exc_info[1] is error
    ours.exception("x", exc_info=None)
    assert record_of(ours).exc_info is None


def test_fields_by_name_and_in_extra():
    """Keywords and `extra=` are fields; a keyword wins."""
    _, ours = pair()
    ours.info("placed %d", 5, order=17, amount=1.5, extra={"order": 1, "user": "u"})
    result = check(JsonFormatter(), record_of(ours))
    assert result["message"] == "placed 5"
    assert result["extra"] == {"order": 17, "user": "u", "amount": 1.5}


ANY_NAMES = {
    "name": 1, "msg": 2, "args": 3, "levelname": 4, "filename": 5, "message": 6, "asctime": 7, "created": 8, "level": 9,
    "self": 10, "exc_text": 11, "taskName": 12, "process": 13, "": 14, "jsonlog_extra": 15,
}  # fmt: skip


def test_any_name_is_a_field():
    """Names that a record has itself raise KeyError in the stock logger; here they are fields like others."""
    stock, ours = pair()
    with pytest.raises(KeyError):
        stock.info("x", extra={"name": 1})
    for call in (lambda: ours.info("x", extra=ANY_NAMES), lambda: ours.info("x", **ANY_NAMES)):
        call()
        record = record_of(ours)
        result = check(JsonFormatter(), record)
        assert result["extra"] == {("_" if name == "" else name): value for name, value in ANY_NAMES.items()}
        assert (record.name, record.msg, record.levelname) == ("shop", "x", "INFO")


def test_disabled_levels_make_no_record():
    """What is below the level costs nothing and makes nothing; a wrong level is a TypeError, as in the stock logger."""
    _, ours = pair()
    ours.setLevel(logging.ERROR)
    ours.info("x", order=1)
    ours.log(5, "x")
    assert ours.handlers[0].records == []
    with pytest.raises(TypeError):
        ours.log("INFO", "x")


def test_a_record_factory_is_honoured():
    """With a factory of the application's the record is the factory's, with the fields on it."""
    _, ours = pair()
    before = logging.getLogRecordFactory()

    class Own(logging.LogRecord):
        pass

    logging.setLogRecordFactory(Own)
    try:
        ours.info("x %s", 1, order=17)
    finally:
        logging.setLogRecordFactory(before)
    record = record_of(ours)
    assert type(record) is Own
    assert (record.getMessage(), record.order, record.funcName) == ("x 1", 17, "test_a_record_factory_is_honoured")


@pytest.mark.parametrize("flag", ["logThreads", "logProcesses", "logMultiprocessing"])
def test_logging_flags_are_honoured(monkeypatch, flag):
    """What `logging` is told to leave out is left out."""
    monkeypatch.setattr(logging, flag, False)
    compare(lambda log: log.info("x"))


def test_threads_and_tasks():
    """The names of thread and task are those of the stock logger."""
    failed = []

    def work():
        try:
            compare(lambda log: log.info("x"))
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()

    async def main():
        compare(lambda log: log.info("x"))

    asyncio.run(main())
    assert failed == []


def test_install_logger():
    """New loggers and the plain ones that there are take fields; other classes and the root stay as they are."""
    code = """
import logging
class Own(logging.Logger): pass
before, deep = logging.getLogger("before"), logging.getLogger("a.b.c")
logging.setLoggerClass(Own)
own = logging.getLogger("own")
import jsonlog
jsonlog.install_logger()
jsonlog.install_logger()
after = logging.getLogger("after")
assert [type(log) for log in (before, deep, after, own)] == [jsonlog.Logger] * 3 + [Own]
assert type(logging.getLogger()) is logging.RootLogger
seen = []
class Keep(logging.Handler):
    def emit(self, record): seen.append(record)
logging.getLogger().addHandler(Keep())
before.warning("x", order=17)
assert seen[0].order == 17 and seen[0].funcName == "<module>", seen[0].__dict__
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_our_records_take_the_direct_way():
    """The formatter knows the shape of these records, with fields and without."""
    _, ours = pair()
    formatter = JsonFormatter()
    for fields in ({}, {"order": 17}):
        for _ in range(2):
            ours.info("x", **fields)
            record = record_of(ours)
            formatter.format_bytes(record)
            assert is_direct(formatter, record)

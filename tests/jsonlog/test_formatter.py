"""`JsonFormatter` as a whole: the exact bytes, any record whatever, and how `logging` uses it."""

import enum
import io
import json
import logging
import logging.config
import logging.handlers
import math
import os
import queue
import random
import subprocess
import sys
import threading
import time
from decimal import Decimal

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jsonlog
from jsonlog import JsonFormatter
from jsonlog.record.build import OWN_ATTRIBUTES
from tests.jsonlog.support import NOW_FIELDS, ROOT, check, fields, is_direct, make, parse

OPTIONS = {"service": "shop", "version": "1.4.2", "environment": "prod", "host": "web-1"}
PROCESS = {
    "process": 7, "processName": "MainProcess", "thread": 140735340871680, "threadName": "MainThread", "taskName": None,
}  # fmt: skip
HEAD = (
    b'{"@timestamp":"2026-11-22T05:02:17.220Z","msecs":220,"log":{"level":"INFO","logger":"shop.pay","origin":'
    b'{"file":{"name":"pay.py","line":12},"function":"charge"}},"message":'
)
TAIL = (
    b',"service":{"name":"shop","version":"1.4.2","environment":"prod"},"host":{"name":"web-1"},'
    b'"process":{"pid":7,"name":"MainProcess","thread":{"id":140735340871680,"name":"MainThread"}},'
    b'"ecs":{"version":"9.0.0"}'
)


class Named(Exception):
    pass


Named.__module__ = "shop.errors"


def golden(**change):
    return make("charge %d failed", 17, **{**PROCESS, **change})


GOLDEN = {
    "simple": ({}, {}, HEAD + b'"charge 17 failed"' + TAIL + b"}"),
    "extras": (
        {"extra": {"order": 17, "amount": 12.5, "user": "ü", "ok": True, "none": None}},
        {},
        HEAD
        + b'"charge 17 failed"'
        + TAIL
        + ',"extra":{"order":17,"amount":12.5,"user":"ü","ok":true,"none":null}}'.encode(),
    ),
    "exception": (
        {"exc_info": Named("declined")},
        {},
        HEAD + b'"charge 17 failed","exc":{"type":"Named","module":"shop.errors","message":"declined",'
        b'"traceback":"shop.errors.Named: declined\\n","fingerprint":"1:9d801e1d8eef3f90"}' + TAIL + b"}",
    ),
    "task": (
        {"taskName": "Task-7"},
        {},
        HEAD
        + b'"charge 17 failed"'
        + TAIL.replace(b'"MainThread"}}', b'"MainThread"},"task":{"name":"Task-7"}}')
        + b"}",
    ),
    "labels, tags, static fields and a mark": (
        {"extra": {"x": math.nan}},
        {"labels": {"team": "pay"}, "tags": ["nightly"], "static": {"region": "eu"}, "node": "n1"},
        HEAD
        + b'"charge 17 failed"'
        + TAIL.replace(b'"prod"}', b'"prod","node":{"name":"n1"}}').replace(
            b',"ecs"', b',"labels":{"team":"pay"},"ecs"'
        )
        + b',"tags":["nightly","jsonlog.value"],"extra":{"region":"eu","x":"NaN"}}',
    ),
    "microseconds and the number of the level": (
        {},
        {"precision": "us", "level_number": True},
        HEAD.replace(b".220Z", b".220000Z").replace(b'"INFO",', b'"INFO","level_number":20,')
        + b'"charge 17 failed"'
        + TAIL
        + b"}",
    ),
    "ECS": (
        {"exc_info": Named("declined"), "stack_info": "Stack", "taskName": "T", "extra": {"order": 17}},
        {"profile": "ecs"},
        HEAD.replace(b'"msecs":220,', b"")
        + b'"charge 17 failed"'
        + TAIL
        + b',"extra":{"order":17},"error":{"type":"Named","message":"declined",'
        b'"stack_trace":"shop.errors.Named: declined\\n"},"jsonlog":{"module":"shop.errors",'
        b'"fingerprint":"1:9d801e1d8eef3f90","stack":"Stack","task":"T"}}',
    ),
    "fields moved, dropped and ordered": (
        {"extra": {"order": 17}},
        {
            "rename": {"message": "msg", "log.level": "level", "host": None, "process.thread": None},
            "order": ["level", "msg"],
        },
        (
            b'{"level":"INFO","msg":"charge 17 failed","@timestamp":"2026-11-22T05:02:17.220Z","msecs":220,'
            b'"log":{"logger":"shop.pay","origin":{"file":{"name":"pay.py","line":12},"function":"charge"}},'
            b'"service":{"name":"shop","version":"1.4.2","environment":"prod"},'
            b'"process":{"pid":7,"name":"MainProcess"},"ecs":{"version":"9.0.0"},"extra":{"order":17}}'
        ),
    ),
    "extras under another key": (
        {"extra": {"order": 17}},
        {"extra_key": "fields"},
        HEAD + b'"charge 17 failed"' + TAIL + b',"fields":{"order":17}}',
    ),
    "extras at the top": (
        {"extra": {"order": 17, "log.level": 1, "run": 2}},
        {"extra_key": None},
        HEAD + b'"charge 17 failed"' + TAIL + b',"order":17,"extra":{"log.level":1,"run":2},"tags":["jsonlog.key"]}',
    ),
}


@pytest.mark.parametrize(("change", "options", "expected"), GOLDEN.values(), ids=GOLDEN)
def test_exact_bytes(change, options, expected):
    """The common records, byte for byte; a second time from what was learned the first time."""
    formatter = JsonFormatter(**{**OPTIONS, **options})
    for _ in range(3):
        record = golden(**change)
        assert formatter.format_bytes(record) == expected
        assert formatter.format(record) == expected.decode()


@pytest.mark.parametrize("name", ["simple", "extras", "exception", "task", "labels, tags, static fields and a mark"])
def test_the_common_records_follow_the_schema(name):
    """What the golden bytes hold is valid by the schema."""
    change, options, _ = GOLDEN[name]
    check(JsonFormatter(**{**OPTIONS, **options}), golden(**change))


# Any record whatever -------------------------------------------------------------------------------------------------


class Broken:
    def __init__(self, error):
        self.error = error

    def __str__(self):
        raise self.error

    __repr__ = __str__


class Odd(str):
    __slots__ = ()

    def __str__(self):
        return "odd"


class Color(enum.Enum):
    RED = float("nan")


TEXT = st.text(st.characters(codec=None, categories=None), max_size=40) | st.sampled_from(
    [
        "",
        " ",
        ".",
        "a.b",
        "..",
        "\ud800",
        "\x00",
        "\n",
        "\r\n",
        "\u2028",
        '"',
        "\\",
        "%s",
        "null",
        '":',
        "message",
        "run",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXT,
    st.binary(max_size=20),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.complex_numbers(),
    st.builds(Broken, st.sampled_from([ValueError("x"), MemoryError(), RecursionError(), KeyError("\ud800")])),
    st.builds(Odd, st.just("x")),
    st.sampled_from([Color.RED, Color, len, ..., NotImplemented, object, ValueError("v"), orjson.Fragment(b"{bad")]),
)
KEYS = TEXT | st.one_of(
    st.integers(),
    st.none(),
    st.booleans(),
    st.floats(),
    st.tuples(st.integers()),
    st.just(Odd("k")),
    st.binary(max_size=3),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5),
        st.tuples(inner, inner),
        st.lists(st.integers(), max_size=3).map(frozenset),
    ),
    max_leaves=15,
)
EXCEPTIONS = st.recursive(
    st.builds(lambda kind, arg: kind(arg), st.sampled_from([ValueError, KeyError, OSError, SyntaxError]), SCALARS),
    lambda inner: st.one_of(
        st.builds(lambda a, b: _linked(a, b, "__cause__"), inner, inner),
        st.builds(lambda a, b: _linked(a, b, "__context__"), inner, inner),
        st.builds(lambda members: ExceptionGroup("g", members), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


def _linked(exc, other, how):
    setattr(exc, how, other)
    return exc


ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "msg": VALUES,
        "args": VALUES,
        "levelname": SCALARS,
        "levelno": SCALARS,
        "name": SCALARS,
        "filename": SCALARS,
        "lineno": SCALARS,
        "funcName": SCALARS,
        "created": SCALARS,
        "msecs": SCALARS,
        "process": SCALARS,
        "processName": SCALARS,
        "thread": SCALARS,
        "threadName": SCALARS,
        "taskName": SCALARS,
        "exc_info": SCALARS | EXCEPTIONS | EXCEPTIONS.map(lambda exc: (type(exc), exc, None)),
        "exc_text": SCALARS,
        "stack_info": SCALARS,
        "message": SCALARS,
        "asctime": SCALARS,
    },
)
SHARED = [
    JsonFormatter(**OPTIONS),
    JsonFormatter(**OPTIONS, max_line_bytes=4096),
    JsonFormatter(max_text=16, max_items=2, max_depth=1, static={"region": "eu"}),
    JsonFormatter(redact={"keys": ["a"], "patterns": ["email", "card", "bearer", "[0-9]{3}"]}),
]
ANY_RECORD = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=300)


@ANY_RECORD
@given(ATTRIBUTES, st.dictionaries(KEYS, VALUES, max_size=6), st.sets(st.sampled_from(OWN_ATTRIBUTES), max_size=3))
def test_any_record_gives_one_valid_line(attributes, extra, missing):
    """Whatever a record holds or lacks, it gives exactly one valid line within its bound, and is left as it was."""
    record = make()
    record.__dict__.update({key: value for key, value in extra.items() if key not in OWN_ATTRIBUTES})
    record.__dict__.update(attributes)
    for name in missing:
        record.__dict__.pop(name, None)
    for formatter in SHARED:
        for _ in range(2):
            check(formatter, record)
            assert len(formatter.format_bytes(record)) <= formatter._bounds.line


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
WAYS = [
    JsonFormatter(**OPTIONS, labels={"a": "b"}, tags=["t"]),
    JsonFormatter(static={"region": "eu", "x": 1}, extra_key="fields"),
    JsonFormatter(redact={"keys": ["secret"], "paths": ["extra.a.b"], "patterns": ["email", "card"]}, max_text=50),
]


@ANY_RECORD
@given(
    TEXT,
    st.dictionaries(TEXT | st.sampled_from(["x", "region", "secret", "a", "b"]), PLAIN, max_size=6),
    st.none() | EXCEPTIONS,
    st.none() | TEXT,
    st.floats(0, 2e10) | st.floats(-1e9, 1e9),
    st.dictionaries(st.sampled_from(["x", "user"]), PLAIN, max_size=2),
)
def test_both_ways_give_the_same_bytes(message, extra, exc, task, created, bound):
    """A record that is written directly has the very bytes that the careful way gives it."""
    extra = {key: value for key, value in extra.items() if key not in OWN_ATTRIBUTES}
    record = make(message, extra=extra, exc_info=exc, taskName=task, created=created)
    record.msecs = float(int((created - int(created)) * 1000))
    for formatter in WAYS:
        with jsonlog.bind(**bound):
            formatter.format_bytes(record)
            direct = formatter.format_bytes(record)
            assert formatter._carefully(record) == direct


FEW = st.dictionaries(
    st.sampled_from(["x", "y", "region", "a.b", "a", "name"]), PLAIN | st.integers(0, 5) | st.just("text"), max_size=3
)


def test_a_field_that_is_named_as_an_attribute_of_the_record():
    """What `jsonlog.Logger` keeps apart is the user's field, however often, not the attribute."""
    formatter = JsonFormatter()
    for _ in range(3):
        assert check(formatter, make(jsonlog_extra={"name": "mine"}))["extra"] == {"name": "mine"}


@settings(ANY_RECORD, max_examples=100)
@given(
    st.lists(
        st.tuples(
            FEW,
            st.sets(st.sampled_from(["message", "asctime"])),
            st.sets(st.sampled_from(["pathname", "module", "levelno", "relativeCreated", "args"]), max_size=2),
            FEW,
        ),
        min_size=2,
        max_size=6,
    )
)
def test_what_was_learned_from_one_record_is_never_said_of_another(records):
    """
    Records of one call, whose extras, bound fields and missing attributes change from one to the next.

    Each is what a formatter says that has seen no other. The order of the extras may be that of an earlier record.
    """
    shared = [JsonFormatter(**OPTIONS), JsonFormatter(**OPTIONS, static={"region": "eu"})]
    for extra, left, missing, bound in records:
        record = make(extra={name: value for name, value in extra.items() if name != "name"})
        record.__dict__.update(dict.fromkeys(sorted(left), "left"))
        if "name" in extra:
            record.__dict__["jsonlog_extra"] = {"name": extra["name"]}
        for name in missing:
            del record.__dict__[name]
        for formatter, options in zip(shared, [{}, {"static": {"region": "eu"}}], strict=True):
            with jsonlog.bind(**bound):
                expected = check(JsonFormatter(**OPTIONS, **options), record)
                assert check(formatter, record) == expected
                assert check(formatter, record) == expected


def test_the_usual_record_is_written_directly():
    """The fast way is really taken, by the records that it is made for."""
    formatter = JsonFormatter(**OPTIONS)
    exc = ValueError("x")
    for record in (
        make("hello %s", "x"),
        make(extra={"http.status": 200, "http.method": "GET"}),
        make(extra={"a": 1, "b": "x", "c": [1, {"d": None}], "e": (1, 2), "null": "null"}),
        make(exc_info=(type(exc), exc, None)),
        make(**({"taskName": "Task-1"} if "taskName" in OWN_ATTRIBUTES else {})),
        make(message="set by another formatter", asctime="too", extra={"a": 1}),
        make(message="set by another formatter"),
        make(extra={"user": {"name": "x", "message": "y"}}),
        make(thread=None, threadName=None, processName=None),  # logging was told to leave them out
    ):
        for _ in range(2):
            check(formatter, record)
        assert is_direct(formatter, record)
        with jsonlog.bind(request="r-17"):
            assert is_direct(formatter, record)


@pytest.mark.parametrize("key", ["created", "msg", "levelname", "process", "thread"])
def test_a_record_without_one_of_its_own_attributes(key):
    """`makeLogRecord` and unpickled records may lack anything."""
    record = make(extra={"x": 1})
    del record.__dict__[key]
    assert check(JsonFormatter(), record)["extra"] == {"x": 1}


def test_an_empty_record():
    """A record without a single attribute is still a valid line."""
    record = make()
    record.__dict__.clear()
    result = check(JsonFormatter(), record)
    assert result["log"] == {"level": "NOTSET", "logger": "root"}
    assert result["message"] == ""


@pytest.mark.parametrize(
    "value",
    [None, "x", (), (b"{}",), (b"{}", None), ("{}", None), (b"garbage", None), (b'{"a":1}\n{"b":2}', "x"), (b"[1]", None), (b'{"a":NaN}', None), (b"\xff", None)],
)  # fmt: skip
def test_an_attribute_that_looks_like_a_line_of_ours(value):
    """Somebody else's `jsonlog_sent` is neither written as it is, nor does it cost the record."""
    for options in ({}, {"service": "shop"}):
        result = check(JsonFormatter(**options), make("kept %s", 1, extra={"order": 17, "jsonlog_sent": value}))
        assert result["message"] == "kept 1"
        assert result["extra"] == {"order": 17}


def test_attributes_of_other_versions_of_python_do_not_leak():
    """`taskName` of a record from 3.12 is no extra on 3.11, and its absence is none on 3.13."""
    result = fields(taskName="Task-9")
    assert "extra" not in result
    assert result["process"]["task"] == {"name": "Task-9"}


ARGUMENTS = {
    "too many": (
        ("plain", 1, 2),
        "plain",
        ["1", "2"],
        "TypeError: not all arguments converted during string formatting",
    ),
    "too few": (("%s %s", 1), "%s %s", ["1"], "TypeError: not enough arguments for format string"),
    "wrong kind": (("%d", "x"), "%d", ["'x'"], "TypeError: %d format: a real number is required, not str"),
    "bad template": (("50%!", 1), "50%!", ["1"], "ValueError: unsupported format character '!' (0x21) at index 3"),
    "missing name": (("%(a)s", {"b": 1}), "%(a)s", ["{'b': 1}"], "KeyError: 'a'"),
    "argument that raises": (
        ("%s", Broken(ValueError("no"))),
        "%s",
        ["<Broken: repr() raised ValueError>"],
        "ValueError: no",
    ),
}


@pytest.mark.parametrize(("call", "message", "args", "error"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_that_do_not_fit(call, message, args, error):
    """The template is the message, the arguments and the error are kept, and the mark says so."""
    result = fields(call[0], *call[1:])
    assert result["message"] == message
    assert result["extra"]["args"] == args
    assert "jsonlog.args" in result["tags"]
    assert result["extra"]["args_error"] == error


def test_kept_arguments_do_not_replace_the_users_fields():
    """Fields named `args_error` are the user's; ours gets another name."""
    result = fields("%s %s", 1, extra={"args_error": "mine"})
    assert result["extra"]["args_error"] == "mine"
    assert result["extra"]["args_error~2"].startswith("TypeError")


@pytest.mark.parametrize(
    ("msg", "expected"),
    [
        (5, "5"),
        (None, "None"),
        (["a"], "['a']"),
        (ValueError("v"), "v"),
        ({"a": 1}, "{'a': 1}"),
        (b"x", "b'x'"),
        (Odd("x"), "odd"),
        (Odd("%s"), "odd"),
    ],
)
def test_messages_that_are_no_strings(msg, expected):
    """The message is what `str()` says of it."""
    assert fields(msg)["message"] == expected


def test_a_message_of_a_class_of_its_own_takes_arguments():
    """The arguments are applied to `str()` of the message, as the standard library does it, also the second time."""
    formatter = JsonFormatter()

    class Template(str):
        __slots__ = ()

        def __str__(self):
            return "template %s"

    class Same:
        def __str__(self):
            return Odd("a subclass")

    class Rest(str):
        __slots__ = ()

        def __rmod__(self, other):
            return ["not a text"]

    for _ in range(3):
        assert check(formatter, make(Template("real %s"), "a"))["message"] == "template a"
        assert check(formatter, make("%s", Same()))["message"] == "a subclass"
        record = make("%s")
        record.args = Rest("x")
        assert isinstance(check(formatter, record)["message"], str)


def test_percent_signs_without_arguments_stay():
    """A message without arguments is taken as it is."""
    assert fields("100 % %s %(x)d")["message"] == "100 % %s %(x)d"


def test_a_subclass_of_logrecord_makes_its_own_message():
    """`getMessage` of a subclass is honoured, and may fail."""

    class Brace(logging.LogRecord):
        def getMessage(self):
            return str(self.msg).format(*self.args)

    formatter = JsonFormatter()
    record = Brace("n", 20, "p.py", 1, "{} and {}", ("a", "b"), None)
    for _ in range(3):
        assert check(formatter, record)["message"] == "a and b"

    class Loud(logging.LogRecord):
        def getMessage(self):
            return super().getMessage().upper()

    for _ in range(3):
        assert check(formatter, Loud("n", 20, "p.py", 1, "%s", ("a",), None, "f"))["message"] == "A"
    record = Brace("n", 20, "p.py", 1, "{} and {}", ("a",), None)
    assert check(formatter, record)["tags"] == ["jsonlog.args"]


# How logging uses it -------------------------------------------------------------------------------------------------


def test_text_formats_as_stdlib_expects():
    """In any handler `format` gives a string without a newline and without a number."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(**OPTIONS))
    handler.handle(make("a\nb\u2028c\x85d"))
    text = stream.getvalue()
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert "run" not in json.loads(text)
    assert json.loads(text)["message"] == "a\nb\u2028c\x85d"


REFUSED = {
    "format": ({"format": "%(message)s"}, "format string"),
    "fmt": ({"fmt": "%(message)s"}, "format string"),
    "datefmt": ({"datefmt": "%H"}, "date format"),
    "style": ({"style": "x"}, "'style'"),
    "unknown": ({"servce": "x"}, "'servce'; did you mean 'service'?"),
    "service": ({"service": 5}, "'service'"),
    "blank service": ({"service": " "}, "'service'"),
    "host": ({"host": b"x"}, "'host'"),
    "labels": ({"labels": {"a": 1}}, "'labels'"),
    "label within a label": ({"labels": {"a": "x", "a.b": "y"}}, "'labels'"),
    "label that no store takes": ({"labels": {"a.": "x"}}, "'labels'"),
    "long label": ({"labels": {"a": "x" * 2000}}, "'labels'"),
    "tags": ({"tags": "abc"}, "'tags'"),
    "a tag of ours": ({"tags": ["jsonlog.cut"]}, "'tags'"),
    "static": ({"static": [1]}, "'static'"),
    "defaults": ({"defaults": {1: 2}}, "'defaults'"),
    "context": ({"context": "x"}, "'context'"),
    "trace": ({"trace": 1}, "'trace'"),
    "profile": ({"profile": "gelf"}, "'profile'"),
    "precision": ({"precision": "s"}, "'precision'"),
    "level_number": ({"level_number": "yes"}, "'level_number'"),
    "extra_key": ({"extra_key": "log"}, "'extra_key'"),
    "rename unknown": (
        {"rename": {"mesage": "m"}},
        "'mesage', which is no field of the record; did you mean 'message'?",
    ),
    "rename onto another": ({"rename": {"message": "log"}}, "'rename' moves 'message' to 'log'"),
    "rename onto the number": ({"rename": {"message": "run"}}, "'rename' moves 'message' to 'run'"),
    "rename two to one": ({"rename": {"message": "m", "stack": "m"}}, "more than one field to 'm'"),
    "rename without time": ({"rename": {"@timestamp": None}}, "'@timestamp'"),
    "rename to nothing": ({"rename": {"message": ""}}, "'rename'"),
    "rename to a lone surrogate": ({"rename": {"message": "\ud800"}}, "'rename'"),
    "order": ({"order": ["run"]}, "'order'"),
    "order twice": ({"order": ["message", "message"]}, "'order'"),
    "redact": ({"redact": ["password"]}, "'redact'"),
    "redact kind": ({"redact": {"key": []}}, "'redact'"),
    "redact key": ({"redact": {"keys": "password"}}, "'redact'"),
    "redact pattern": ({"redact": {"patterns": ["emails"]}}, "no pattern 'emails'"),
    "redact regex": ({"redact": {"patterns": ["("]}}, "'('"),
    "redact regex that finds nothing": ({"redact": {"patterns": ["x*"]}}, "'x*'"),
    "redact path that leads nowhere": ({"redact": {"paths": ["user.email"]}}, "'user.email'"),
    "redact path": ({"redact": {"paths": ["a..b"]}}, "'a..b'"),
    "max_text": ({"max_text": 0}, "'max_text'"),
    "max_items": ({"max_items": True}, "'max_items'"),
    "max_depth": ({"max_depth": 101}, "'max_depth'"),
    "max_line_bytes": ({"max_line_bytes": 100}, "'max_line_bytes'"),
    "labels beyond the line": (
        {"labels": {f"l{n}": "x" * 1000 for n in range(5)}, "max_line_bytes": 4096},
        "more than an eighth of 'max_line_bytes'",
    ),
}


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED)
def test_wrong_options_are_refused_at_construction(options, says):
    """Each wrong option is a ValueError that names it."""
    with pytest.raises(ValueError) as caught:
        JsonFormatter(**options)
    assert says in str(caught.value)


@pytest.mark.parametrize("form", ["class", "()"])
@pytest.mark.parametrize("key", ["format", "datefmt"])
def test_dictconfig_reports_a_format_string(form, key):
    """dictConfig swallows some TypeErrors and builds the formatter without the option; a ValueError it cannot."""
    config = {"version": 1, "formatters": {"json": {form: "jsonlog.JsonFormatter", key: "%(asctime)s"}}}
    with pytest.raises(ValueError) as caught:
        logging.config.dictConfig(config)
    assert "JsonFormatter takes no" in str(caught.value.__cause__)


def configured(formatter):
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "service_name": "from cfg",
            "formatters": {"json": formatter},
            "handlers": {"test": {"class": "logging.NullHandler", "formatter": "json"}},
            "loggers": {"tests.configured": {"handlers": ["test"]}},
        }
    )
    logger = logging.getLogger("tests.configured")
    (handler,) = logger.handlers
    logger.removeHandler(handler)
    return check(handler.formatter, make())


def test_dictconfig_forms(monkeypatch):
    """`class:` with the environment, `()` with options, `cfg://`, `ext://` and attributes with `.` all work."""
    monkeypatch.setenv("JSONLOG_SERVICE", "from env")
    assert configured({"class": "jsonlog.JsonFormatter"})["service"] == {"name": "from env"}
    assert configured({"class": "jsonlog.JsonFormatter", "style": "{", "validate": True})["service"]
    assert configured({"()": "jsonlog.JsonFormatter", "service": "cfg://service_name"})["service"]["name"] == "from cfg"
    assert configured({"()": "jsonlog.JsonFormatter", "host": "ext://os.sep"})["host"] == {"name": os.sep}
    assert configured({"()": JsonFormatter, "service": "s", ".": {"note": 1}})["service"] == {"name": "s"}
    given = configured({"()": "jsonlog.JsonFormatter", "defaults": {"a": 1}, "static": {"b": 2}})
    assert given["extra"] == {"a": 1, "b": 2}


def test_dictconfig_defaults_with_class():
    """From 3.12 on `class:` passes `defaults`, which become static fields; 3.11 drops them before we see them."""
    expected = {"a": 1} if sys.version_info >= (3, 12) else None
    assert configured({"class": "jsonlog.JsonFormatter", "defaults": {"a": 1}}).get("extra") == expected


def test_fileconfig(tmp_path):
    """An ini file without a format works; one with a format is refused with the reason."""
    ini = "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=json\n[logger_root]\nhandlers=h\n[handler_h]\nclass=NullHandler\nargs=()\nformatter=json\n[formatter_json]\nclass=jsonlog.JsonFormatter\n"
    path = tmp_path / "log.ini"
    path.write_text(ini)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logging.config.fileConfig(path, disable_existing_loggers=False)
        assert isinstance(root.handlers[0].formatter, JsonFormatter)
        path.write_text(f"{ini}format=%(message)s\n")
        with pytest.raises(ValueError, match="takes no format string"):
            logging.config.fileConfig(path, disable_existing_loggers=False)
    finally:
        root.handlers[:], root.level = before, level


def test_methods_of_logging_formatter():
    """`formatTime` gives the timestamp whatever `datefmt` and `converter` say; `usesTime` is true."""
    formatter = JsonFormatter()
    formatter.converter = None
    assert formatter.formatTime(make(), "%H") == NOW_FIELDS["@timestamp"]
    assert formatter.usesTime()


def test_records_through_a_queue_keep_their_fields():
    """A record that `QueueHandler` prepared still names its process, and its text stands in the message."""
    channel = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(channel)
    handler.handle(make("hello %s", "x", extra={"a": 1}))
    result = check(JsonFormatter(), channel.get())
    assert result["message"] == "hello x"
    assert result["extra"] == {"a": 1}
    assert result["process"]["pid"] == 7


def test_sixteen_threads_share_one_formatter():
    """Threads that learn, repeat and fail at the same time never see each other's pieces."""
    formatter = JsonFormatter(**OPTIONS)
    wrong = []

    def work(seed):
        chance = random.Random(seed)
        for number in range(400):
            line = chance.randrange(50)
            value = chance.choice([seed, math.nan, "x" * seed, Decimal(seed), [seed], {"": seed}])
            record = make(
                "%d %d", seed, number, lineno=line, threadName=f"t{seed}", extra={"seed": seed, "value": value}
            )
            record.created = 1_795_323_737 + chance.randrange(3) + 0.25
            record.msecs = 250.0
            got = parse(formatter.format_bytes(record))
            facts = (got["message"], got["log"]["origin"]["file"]["line"], got["process"]["thread"]["name"])
            if facts != (f"{seed} {number}", line, f"t{seed}") or got["extra"]["seed"] != seed:
                wrong.append(got)
            if got["@timestamp"] != f"2026-11-22T05:02:{int(record.created) - 1_795_323_720:02d}.250Z":
                wrong.append(got)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_is_another_process():
    """`process.entity_id` is the same for all records of a process and new in a child, also for cached pieces."""
    code = """
import json, logging, os, sys
from jsonlog import JsonFormatter
f = JsonFormatter()
def say():
    r = logging.LogRecord("n", 20, "p.py", 1, "m", (), None)
    return json.loads(f.format(r))["process"]
a, b = say(), say()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, json.dumps([say(), os.getpid()]).encode())
    os._exit(0)
os.wait()
c, pid = json.loads(os.read(read, 10000))
assert a == b and a["pid"] == os.getpid() and c["pid"] == pid, (a, b, c)
assert a["entity_id"] != c["entity_id"] and len(c["entity_id"]) == 16
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT)


def test_logging_that_was_told_to_leave_things_out():
    """Without `logProcesses` and `logThreads` the pid is this process's and the rest is absent."""
    result = fields(process=None, processName=None, thread=None, threadName=None)
    assert result["process"]["pid"] == os.getpid()
    assert "thread" not in result["process"]


def test_a_stack_almost_used_up():
    """With only a few frames left the record is reduced, not lost."""
    formatter = JsonFormatter()

    def down(levels, record):
        if levels:
            return down(levels - 1, record)
        return formatter.format_bytes(record)

    used = 0
    frame = sys._getframe()
    while frame:
        used, frame = used + 1, frame.f_back
    for left in range(12, 60, 2):
        data = down(sys.getrecursionlimit() - used - left, make(extra={"x": object()}))
        assert parse(data)["message"] == "hello"


def test_import_brings_nothing_but_orjson_and_the_standard_library():
    """An application that imports jsonlog pays for orjson and a few modules of the standard library."""
    code = """
import sys
before = set(sys.modules)
import jsonlog
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"jsonlog", "orjson"}))
print(sorted(new & {"typing", "secrets", "hashlib", "urllib", "difflib", "decimal", "ipaddress"}))
"""
    out = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}, *{sys.path!r}]\n{code}"], check=True, capture_output=True, text=True)  # fmt: skip
    foreign, dear = out.stdout.splitlines()
    assert foreign == "[]"
    assert set(json.loads(dear.replace("'", '"'))) <= ({"typing"} if sys.version_info >= (3, 14) else set())


def test_without_what_windows_does_not_have(tmp_path):
    """
    Where the modules and functions that only Unix has are missing, records are formatted, and written to `.nolock` parts.

    Not Windows itself: its file system and its clock are not tried here.
    """
    code = """
import json, logging, os, pathlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "pwd", "grp", "resource", "termios", "syslog"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
for name in ("fcntl", "pwd", "grp", "resource"):
    sys.modules.pop(name, None)
for name in ("fork", "register_at_fork", "fchmod", "fchown", "uname", "getuid", "geteuid", "getgid", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "O_NONBLOCK"):
    if hasattr(os, name):
        delattr(os, name)
os.environ["COMPUTERNAME"] = "WEB-1"
import jsonlog
record = logging.LogRecord("n", 20, "C:\\app\\pay.py", 1, "%d items", ("three",), (ValueError, ValueError("x"), None))
fields = json.loads(jsonlog.JsonFormatter().format(record))
assert fields["host"] == {"name": "WEB-1"}, fields
assert fields["tags"] == ["jsonlog.args"] and fields["exc"]["type"] == "ValueError", fields
handler = jsonlog.ProcessFileHandler(sys.argv[1], service="shop")
log = jsonlog.Logger("shop")
log.addHandler(handler)
for number in range(3):
    log.warning("hello %s", number, order=number)
handler.close()
(part,) = pathlib.Path(sys.argv[1]).glob("*.jsonl")
assert ".nolock." in part.name, part
lines = [json.loads(line) for line in part.read_bytes().splitlines()]
assert [(line["message"], line["extra"], line["event"]["sequence"]) for line in lines] == [
    (f"hello {n}", {"order": n}, n) for n in range(3)
], lines
assert "fcntl" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, cwd=ROOT)


def test_import_time():
    """A process that imports jsonlog takes at most 1.3 times as long as one that imports logging and orjson."""

    def once(what):
        program = f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}\nimport {what}"
        start = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", program], check=True)
        return time.perf_counter() - start

    ours = base = float("inf")
    for _ in range(60):  # other work on the machine can only make it look slower than it is
        ours, base = min(ours, once("jsonlog")), min(base, once("logging, orjson"))
        if ours <= 1.3 * base:
            return
    pytest.fail(f"import jsonlog takes {ours / base:.2f} times as long")

"""Bound fields, providers and trace ids."""

import asyncio
import contextvars
import logging
import subprocess
import sys
import threading
import types

import pytest

import jsonlog
from jsonlog import JsonFormatter
from jsonlog.record.context import bound
from tests.jsonlog.support import ROOT, check, fields, make


@pytest.fixture(autouse=True)
def _fresh():
    jsonlog.clear()
    yield
    jsonlog.clear()


def extra(formatter=None, **given):
    return check(formatter or JsonFormatter(), make(extra=given)).get("extra", {})


def test_bind_and_leave():
    """Fields are there within the block, nested binds add to them, and leaving restores what was before."""
    with jsonlog.bind(order=17, user="a"):
        assert extra() == {"order": 17, "user": "a"}
        with jsonlog.bind(user="b", step=1):
            assert extra() == {"order": 17, "user": "b", "step": 1}
        assert extra() == {"order": 17, "user": "a"}
    assert extra() == {}


def test_tokens_unbind_and_clear():
    """A token resets its own fields once; `unbind` takes names away, `clear` everything."""
    token = jsonlog.bind(a=1, b=2)
    jsonlog.bind(c=3)
    token.reset()
    assert extra() == {"c": 3}
    jsonlog.bind(a=4)
    token.reset()
    assert extra() == {"c": 3, "a": 4}
    jsonlog.unbind("c", "never bound")
    assert extra() == {"a": 4}
    jsonlog.clear()
    assert extra() == {}
    jsonlog.unbind("a")
    jsonlog.clear()


def test_the_nearest_to_the_call_wins():
    """A log call's own field beats a bound one, that beats a provider's, and that a static one."""
    formatter = JsonFormatter(static={"a": "static", "b": "static", "c": "static", "d": "static"},
                              context=lambda: {"b": "provided", "c": "provided", "d": "provided"})  # fmt: skip
    with jsonlog.bind(c="bound", d="bound"):
        assert extra(formatter, d="own") == {"a": "static", "b": "provided", "c": "bound", "d": "own"}


def test_leaving_in_another_context_never_raises():
    """A token may be reset anywhere: it takes away what it bound there, and touches nothing else."""
    token = jsonlog.bind(a=1)
    contextvars.Context().run(token.reset)
    block = jsonlog.bind(b=2)
    context = contextvars.copy_context()
    context.run(jsonlog.bind, c=3)
    context.run(block.__exit__, None, None, None)
    assert context.run(bound.get) == {"a": 1, "c": 3}


def test_a_generator_that_is_finalized_elsewhere():
    """A `with` block in an asynchronous generator may be left by another task."""

    async def numbers():
        with jsonlog.bind(inside=True):
            yield 1
            yield 2

    async def main():
        source = numbers()
        await asyncio.create_task(anext_of(source))
        await source.aclose()
        return extra()

    async def anext_of(source):
        return await anext(source)

    assert asyncio.run(main()) == {}


def test_threads_and_tasks():
    """A thread starts empty, a copied context brings its fields along, and tasks do not see each other's."""
    seen = {}
    with jsonlog.bind(request=1):
        context = contextvars.copy_context()
        threads = [
            threading.Thread(target=lambda: seen.update(bare=extra())),
            threading.Thread(target=context.run, args=(lambda: seen.update(copied=extra()),)),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert seen == {"bare": {}, "copied": {"request": 1}}

    async def one(number, gate):
        with jsonlog.bind(task=number):
            await gate.wait()
            return extra()

    async def main():
        gate = asyncio.Event()
        tasks = [asyncio.create_task(one(number, gate)) for number in range(5)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks), extra()

    assert asyncio.run(main()) == ([{"task": number} for number in range(5)], {})


def test_bound_values_may_be_anything():
    """A bound value that raises costs itself."""

    class Bad:
        def __str__(self):
            raise ValueError

    with jsonlog.bind(bad=Bad(), name="n"):
        assert extra() == {"bad": "<Bad: ValueError while it was read>", "name": "n"}


def test_providers():
    """Each provider is asked at each record; ids go to their fields; one that fails costs its own fields."""
    calls = []

    def fine():
        calls.append(1)
        return {"n": len(calls), "trace.id": "abc", "span.id": "d" * 200, "transaction.id": 5}

    def fails():
        raise ValueError("no")

    formatter = JsonFormatter(context=[fine, fails, lambda: None, lambda: 7])
    result = check(formatter, make())
    assert result["extra"] == {"n": 1}
    assert result["trace"] == {"id": "abc"}
    assert result["span"]["id"].startswith("ddd")
    assert "transaction" not in result
    assert result["tags"] == ["jsonlog.cut", "jsonlog.value"]
    assert check(JsonFormatter(context=lambda: {"a": 1}), make())["extra"] == {"a": 1}


def test_without_opentelemetry_nothing_is_imported():
    """Its ids are read only where the application has imported it."""
    code = "import sys, jsonlog, logging; jsonlog.JsonFormatter().format(logging.makeLogRecord({})); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert out.stdout == "[]\n"


def span(valid=True, error=None):
    context = types.SimpleNamespace(
        trace_id=0x4BF92F3577B34DA6A3CE929D0E0E4736, span_id=0xF067AA0BA902B7, is_valid=valid
    )

    def current():
        if error:
            raise error
        return types.SimpleNamespace(get_span_context=lambda: context)

    return types.SimpleNamespace(get_current_span=current)


def test_ids_of_a_current_span(monkeypatch):
    """With a valid span the record has its ids, in hexadecimal and full length; otherwise it has none."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", span())
    formatter = JsonFormatter()
    for _ in range(2):
        result = check(formatter, make(taskName="T"))
        assert result["trace"] == {"id": "4bf92f3577b34da6a3ce929d0e0e4736"}
        assert result["span"] == {"id": "00f067aa0ba902b7"}
        assert result["process"]["task"] == {"name": "T"}
    assert "trace" not in check(JsonFormatter(trace=False), make())
    for module in (span(valid=False), span(error=ValueError("no")), types.SimpleNamespace()):
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
        assert "trace" not in check(formatter, make())


def test_real_opentelemetry():
    """With the real library, the ids are those of the span that is current."""
    trace = pytest.importorskip("opentelemetry.trace", reason="opentelemetry is not installed")
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    assert "trace" not in fields()
    with sdk.TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as current:
        result = fields()
        assert result["trace"]["id"] == trace.format_trace_id(current.get_span_context().trace_id)
        assert result["span"]["id"] == trace.format_span_id(current.get_span_context().span_id)


# The hook of a subclass ----------------------------------------------------------------------------------------------


def edited(change, **options):
    class Edited(JsonFormatter):
        def edit(self, record, fields):
            change(record, fields)

    return Edited(**options)


def test_a_hook_sees_and_changes_the_record():
    """`edit` gets the LogRecord and the fields, and what it changes is written."""

    def change(record, fields):
        fields["message"] = f"{record.name}: {fields['message']}"
        fields.setdefault("extra", {})["added"] = 1
        del fields["msecs"]

    result = edited(change).format(make())
    assert '"message":"shop.pay: hello"' in result
    assert '"extra":{"added":1}' in result
    assert "msecs" not in result


def test_a_hook_that_fails_costs_its_changes():
    """What a failing hook had changed by then is thrown away, and the record is marked."""

    def change(record, fields):
        fields.clear()
        raise ValueError("no")

    result = check(edited(change), make())
    assert result["message"] == "hello"
    assert result["tags"] == ["jsonlog.value"]


def test_a_hook_may_leave_anything():
    """Whatever it puts in, the line is valid, is not empty and has room for run and number."""

    def change(record, fields):
        fields.clear()
        fields.update(
            {"run": 1, "event": {"sequence": 5}, "": float("nan"), 5: object, "tags": "x", "deep": [[[]]] * 3}
        )

    handler_line = edited(change).format_bytes(make())
    assert handler_line.startswith(b'{"_":"NaN","5":"builtins.object"')
    assert b'"run~2":1' in handler_line
    assert b'"event~2":{"sequence":5}' in handler_line
    assert len(edited(lambda record, fields: fields.clear()).format_bytes(make())) > 2


def test_an_interrupt_in_a_hook_passes():
    """KeyboardInterrupt out of a hook reaches the application."""

    def change(record, fields):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edited(change).format(make())


def test_logging_within_a_provider():
    """A provider that logs itself does not go round in circles for ever."""
    logger = logging.Logger("x")  # noqa: LOG001
    handler = logging.NullHandler()
    logger.addHandler(handler)
    formatter = JsonFormatter(context=lambda: logger.info("inner") or {"a": 1})
    handler.setFormatter(formatter)
    assert check(formatter, make())["extra"] == {"a": 1}

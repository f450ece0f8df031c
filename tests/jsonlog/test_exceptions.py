"""Tracebacks against the standard library's own, and everything an exception can do to a formatter."""

import re
import sys
import traceback

import pytest

from jsonlog import JsonFormatter
from jsonlog.record import exceptions
from jsonlog.record.text import Bounds
from tests.jsonlog.support import check, fields, make

CARETS = re.compile(r"^[ |]*[~^]+$")


def raised(function):
    """The exception that *function* raises."""
    try:
        function()
    except BaseException as exc:
        return exc
    raise AssertionError("nothing was raised")


def described(exc, **options):
    result = fields(exc_info=(type(exc), exc, exc.__traceback__), options=options)
    return result["exc"]


def standard(exc):
    """What the standard library prints, without the caret lines."""
    lines = "".join(traceback.format_exception(exc)).split("\n")[:-1]
    kept = [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if not CARETS.match(line) or "SyntaxError: " in below
    ]
    return "".join(f"{line}\n" for line in kept)


class Custom(Exception):
    pass


class Outer:
    class Inner(ValueError):
        pass


class Silent(Exception):
    def __str__(self):
        return ""


def boom():
    raise ValueError("boom")


def with_cause():
    try:
        boom()
    except ValueError as exc:
        raise Custom("outer") from exc


def with_context():
    try:
        boom()
    except ValueError:
        raise Custom("outer")  # noqa: B904 (the context is what is wanted)


def suppressed():
    try:
        boom()
    except ValueError:
        raise Custom("outer") from None


def long_chain():
    try:
        with_cause()
    except Custom:
        with_context()


def with_notes():
    exc = ValueError("noted")
    exc.add_note("first\nsecond line")
    exc.add_note("")
    exc.add_note("third")
    raise exc


def recursion(depth=40):
    if depth:
        recursion(depth - 1)
    raise ValueError("deep")


def mutual(depth=10):
    def other(rest):
        mutual(rest)

    if depth:
        other(depth - 1)
    raise ValueError("mutual")


def group():
    raise ExceptionGroup("some failed", [raised(with_cause), raised(with_notes), TypeError("bare")])


def nested_group():
    inner = raised(group)
    try:
        raise ExceptionGroup("inner only", [KeyError("k")])
    except ExceptionGroup as exc:
        raise ExceptionGroup("outer", [inner, exc, raised(long_chain)]) from inner


def group_in_group_last():
    raise ExceptionGroup("a", [ValueError(1), ExceptionGroup("b", [TypeError(2), ExceptionGroup("c", [KeyError(3)])])])


def wide_group():
    raise ExceptionGroup("wide", [ValueError(n) for n in range(20)])


def wide_by_one():
    raise ExceptionGroup("wide", [ValueError(n) for n in range(16)])


def deep_group():
    exc = ExceptionGroup("innermost", [ValueError("x")])
    for level in range(14):
        exc = ExceptionGroup(f"level {level}", [exc])
    raise exc


def base_group():
    raise BaseExceptionGroup("base", [KeyboardInterrupt("stop"), ValueError("v")])


def syntax():
    compile("def f(:\n", "mod.py", "exec")


def syntax_in_file():
    compile("x = 1\nfor for\n", __file__, "exec")


def group_of_syntax():
    raise ExceptionGroup("s", [raised(syntax)])


def no_text():
    raise Silent


def inner_class():
    raise Outer.Inner("in")


def many_lines():
    raise ValueError("first\nsecond\n\nlast")


def unicode_error():
    raise ValueError("ü 𝄞 \u2028 end")


def evaluated():
    eval("1 / 0", {})


CASES = [
    boom, with_cause, with_context, suppressed, long_chain, with_notes, recursion, mutual, group, nested_group,
    group_in_group_last, wide_group, wide_by_one, deep_group, base_group, syntax, syntax_in_file, group_of_syntax,
    no_text, inner_class, many_lines, unicode_error, evaluated,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_text_is_the_standard_librarys_without_carets(case):
    """`exc.traceback` is, line by line, what the interpreter prints, apart from the caret lines."""
    exc = raised(case)
    assert described(exc)["traceback"] == standard(exc)


def test_an_exception_that_was_never_raised():
    """Without frames there is no header, as in the standard library."""
    exc = ValueError("never raised")
    assert described(exc)["traceback"] == standard(exc) == "ValueError: never raised\n"


def test_the_frames_where_it_was_caught_are_not_lost():
    """Frames come from the exception's own traceback, also when the tuple on the record has another."""
    exc = raised(boom)
    field = fields(exc_info=(type(exc), exc, None))["exc"]
    assert "in boom" in field["traceback"]


def test_type_module_and_message():
    """The class by its qualified name and module, the message by `str()`."""
    field = described(raised(inner_class))
    assert (field["type"], field["module"], field["message"]) == ("Outer.Inner", __name__, "in")


def test_the_chain_is_flat_and_in_the_order_of_nearness():
    """Causes, contexts and members stand in one list, with how each hangs on the one before."""
    chain = described(raised(long_chain))["chain"]
    assert [(entry["relation"], entry["type"]) for entry in chain] == [
        ("context", "ValueError"),
        ("context", "Custom"),
        ("cause", "ValueError"),
    ]
    chain = described(raised(group))["chain"]
    assert [(entry["relation"], entry["type"], entry["message"]) for entry in chain] == [
        ("member", "Custom", "outer"),
        ("member", "ValueError", "noted"),
        ("member", "TypeError", "bare"),
        ("cause", "ValueError", "boom"),
    ]


def test_a_suppressed_context_is_neither_in_the_text_nor_in_the_chain():
    """`raise … from None` hides what was being handled."""
    field = described(raised(suppressed))
    assert "boom" not in field["traceback"]
    assert "chain" not in field


def test_notes_stand_in_their_own_field_too():
    """Every note is one entry."""
    assert described(raised(with_notes))["notes"] == ["first\nsecond line", "", "third"]


@pytest.mark.parametrize("notes", ["text", 5, {"a": 1}, [1, None], ("t",), []])
def test_notes_of_any_kind(notes):
    """`__notes__` may be anything; the record is valid."""
    exc = ValueError("x")
    exc.__notes__ = notes
    field = described(exc)
    assert field["message"] == "x"
    assert bool(field.get("notes")) == bool(notes)


def circular():
    one, two = ValueError("one"), TypeError("two")
    one.__cause__, two.__cause__ = two, one
    raise one


def test_a_circle_of_causes_ends():
    """Exceptions that cause each other are each shown once."""
    field = described(raised(circular))
    assert [entry["type"] for entry in field["chain"]] == ["TypeError"]
    assert field["traceback"].count("ValueError: one") == 1
    assert field["traceback"].count("TypeError: two") == 1


def test_a_thousand_causes_are_bounded():
    """A chain of any length gives a bounded text and a bounded list."""
    exc = ValueError("0")
    for number in range(1000):
        new = ValueError(str(number))
        new.__cause__, exc = exc, new
    field = described(exc)
    assert len(field["chain"]) == 32
    assert field["traceback"].endswith("ValueError: 999\n")
    assert len(field["traceback"]) < 10_000


def test_a_group_that_holds_groups_many_times_over_is_bounded():
    """Members are counted over all groups together, so that ten levels of fifteen do not take for ever."""
    exc = ValueError("leaf")
    for _ in range(10):
        exc = ExceptionGroup("g", [exc] * 15)
    field = described(exc)
    assert len(field["traceback"]) < 256 * 1024 + 100


def test_a_very_deep_traceback_keeps_both_ends():
    """Frames that do not repeat are left out in the middle and counted; the innermost one stays."""
    names = "\n".join(f"def f{n}(): f{n + 1}()" for n in range(950))
    scope = {}
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        exec(f"{names}\ndef f950(): raise ValueError('bottom')", scope)
        text = described(raised(scope["f0"]))["traceback"]
    finally:
        sys.setrecursionlimit(limit)
    assert "frames left out]" in text
    assert "in f0\n" in text
    assert text.endswith("in f950\nValueError: bottom\n")


def test_recursion_of_a_thousand_frames_is_folded():
    """A RecursionError shows its frame three times and counts the rest."""

    def endless():
        endless()

    text = described(raised(endless))["traceback"]
    assert text.count("in endless\n") == 3
    assert re.search(r"\[Previous line repeated \d+ more times\]", text)


@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError])
def test_an_exception_whose_str_raises(error):
    """The exception is named, and the message says what its `str()` did."""

    class Bad(Exception):
        def __str__(self):
            raise error("no")

    exc = raised(lambda: (_ for _ in ()).throw(Bad()))
    result = fields(exc_info=exc)
    assert result["exc"]["message"] == f"<Bad: str() raised {error.__name__}>"
    assert result["exc"]["type"].endswith("Bad")
    assert result["tags"] == ["jsonlog.value"]


def test_an_interrupt_in_the_str_of_an_exception_passes():
    """KeyboardInterrupt is never swallowed."""

    class Bad(Exception):
        def __str__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        JsonFormatter().format(make(exc_info=Bad()))


def test_an_exception_class_that_breaks_its_description():
    """A metaclass or a property that raises costs the description, not the record."""

    class Meta(type):
        def __getattribute__(cls, name):
            if name == "__qualname__":
                raise ValueError("no")
            return super().__getattribute__(name)

    class Bad(Exception, metaclass=Meta):
        pass

    field = described(Bad("x"))
    assert field["type"] == "Bad"
    assert "could not be described" in field["traceback"]


class Endless:
    """Answers whatever it is asked with itself."""

    def __getattr__(self, name):
        return self


@pytest.mark.parametrize("name", ["__traceback__", "__cause__", "__context__", "__suppress_context__"])
@pytest.mark.parametrize("value", [Endless(), 5, None])
def test_an_exception_that_has_an_attribute_of_its_own_where_the_interpreter_looks(name, value):
    """What the interpreter itself reads is told: no attribute of a subclass makes it endless, or loses it."""
    kind = type("Own", (Exception,), {name: property(lambda _: value)})

    def fail():
        raise kind("told") from KeyError("behind")

    exc = raised(fail)
    result = fields(exc_info=exc)["exc"]
    assert result["message"] == "told"
    assert "in fail" in result["traceback"]
    assert [item["relation"] for item in result["chain"]] == ["cause"]


def test_a_syntax_error_with_nonsense_in_it():
    """Attributes of a SyntaxError may be anything."""
    exc = SyntaxError("bad")
    exc.lineno, exc.offset, exc.text, exc.filename = "x", object(), 7, ["f"]
    assert described(exc)["type"] == "SyntaxError"


def test_lone_surrogates_everywhere():
    """Message, notes, file names and function names may hold lone surrogates."""
    exc = ValueError("\ud800")
    exc.add_note("\ud801")
    field = described(exc)
    assert field["message"] == "\\ud800"
    assert field["notes"] == ["\\ud801"]
    assert field["traceback"] == "ValueError: \\ud800\n\\ud801\n"


def test_exc_info_of_every_kind():
    """True, an exception, a tuple; and what holds none gives no field."""
    exc = raised(boom)
    for info in (exc, (type(exc), exc, exc.__traceback__), [exc], "text"):
        result = fields(exc_info=info)
        assert ("exc" in result) == (not isinstance(info, (list, str)))
    for info in (None, False, (None, None, None), (), 0, ""):
        assert "exc" not in fields(exc_info=info)
    try:
        boom()
    except ValueError:
        assert fields(exc_info=True)["exc"]["message"] == "boom"
    assert "exc" not in fields(exc_info=True)


def test_an_exception_that_says_it_is_false():
    """`exc_info` is looked at, not asked whether it is true."""

    class Falsy(Exception):
        def __bool__(self):
            return False

        def __len__(self):
            return 0

    assert fields(exc_info=Falsy("x"))["exc"]["message"] == "x"


def test_cached_text_of_another_formatter_is_not_ours():
    """`exc_text` is used only where there is no exception, and is never set."""
    exc = raised(boom)
    record = make(exc_info=(type(exc), exc, exc.__traceback__), exc_text="somebody else's")
    assert "somebody" not in check(JsonFormatter(), record)["exc"]["traceback"]
    assert fields(exc_text="kept text")["exc"] == {"traceback": "kept text"}
    assert fields(exc_text="kept text", exc_info=(None, None, None))["exc"] == {"traceback": "kept text"}
    assert "exc" not in fields(exc_text="")


def test_stack_stands_apart():
    """`stack_info` is the field `stack` and has nothing to do with `exc`."""
    result = fields(stack_info="Stack (most recent call last):\n  File …")
    assert result["stack"] == "Stack (most recent call last):\n  File …"
    assert "exc" not in result
    assert "stack" not in fields(stack_info="")
    assert fields(stack_info=7)["stack"] == "7"


def test_local_variables_never_show():
    """The value of a local appears nowhere in the record."""

    def secret():
        password = "hunter" + "2"
        raise ValueError(len(password))

    assert "hunter2" not in JsonFormatter().format(make(exc_info=raised(secret)))


def test_did_you_mean_is_left_out():
    """The suggestion of a NameError would run user code, so it is not made."""

    class Watch:
        def __dir__(self):
            raise AssertionError("user code ran")

    exc = raised(lambda: Watch().colour)
    text = described(exc)["traceback"]
    assert "Did you mean" not in text
    assert text.endswith("has no attribute 'colour'\n")


def test_source_is_read_from_disk_once(tmp_path):
    """A file is read at its first traceback; one that is missing is looked for once."""
    path = tmp_path / "gone.py"
    path.write_text("def f():\n    raise ValueError('x')\n")
    scope = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    assert "raise ValueError('x')" in described(raised(scope["f"]))["traceback"]
    path.unlink()
    assert "raise ValueError('x')" in described(raised(scope["f"]))["traceback"]
    missing = {}
    exec(compile("def f():\n    raise ValueError('y')\n", str(tmp_path / "never.py"), "exec"), missing)
    described(raised(missing["f"]))
    opened = []

    def watch(event, args):
        if event == "open":
            opened.append(args[0])

    sys.addaudithook(watch)
    described(raised(missing["f"]))
    seen, opened[:] = list(opened), []
    assert not [name for name in seen if "never.py" in str(name)]


def test_a_loader_that_raises_costs_the_source_line():
    """`linecache` asks loaders; one that fails costs one line of text."""

    class Loader:
        def get_source(self, name):
            raise RuntimeError("no")

    scope = {"__name__": "loaded", "__loader__": Loader()}
    exec(compile("def f():\n    raise ValueError('z')\n", "<loaded one>", "exec"), scope)
    text = described(raised(scope["f"]))["traceback"]
    assert 'File "<loaded one>", line 2, in f\nValueError: z\n' in text


def test_a_long_traceback_keeps_its_end():
    """A text over the bound loses its middle: the header and the innermost frames with the message stay."""
    field = described(raised(long_chain), max_text=400)
    assert field["traceback"].startswith("Traceback (most recent call last)")
    assert "… [cut: " in field["traceback"]
    assert field["traceback"].endswith("Custom: outer\n")


def test_formatters_methods_are_usable():
    """`formatException` and `formatStack` give the text of the fields."""
    formatter = JsonFormatter()
    exc = raised(boom)
    assert formatter.formatException((type(exc), exc, exc.__traceback__)) == standard(exc).removesuffix("\n")
    assert formatter.formatStack("stack") == "stack"
    assert exceptions.find_exception((None, None, None)) is None
    assert exceptions.format_traceback(exc, Bounds(), set()).startswith("Traceback")

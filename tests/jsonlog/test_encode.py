"""Hostile values one by one: what exactly stands in the record for each, and which mark."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import io
import ipaddress
import logging
import math
import pathlib
import sys
import time
import types
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import attrs
import orjson
import pydantic
import pytest

from jsonlog import JsonFormatter
from tests.jsonlog.support import check, fields, make, one

VALUE, KEY, CUT = "jsonlog.value", "jsonlog.key", "jsonlog.cut"


class Raises:
    def __init__(self, error=ValueError):
        self.error = error

    def __str__(self):
        raise self.error("no")

    __repr__ = __format__ = __str__

    def __hash__(self):
        raise self.error("no")


class Plain:
    def __str__(self):
        return "plain"


class StrReturnsSubclass:
    def __str__(self):
        return Text("sub")


class StrReturnsNumber:
    def __str__(self):
        return 7  # noqa: PLE0307 (that is the point)


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "overridden"


class Whole(int):
    def __repr__(self):
        raise ValueError("no")


class Real(float):
    pass


class Liar:
    @property
    def __class__(self):
        return dict

    def __str__(self):
        return "liar"


class RaisingClass:
    @property
    def __class__(self):
        raise ValueError("no")

    def __str__(self):
        return "shy"


class RaisingDict:
    def __getattribute__(self, name):
        raise ValueError("no")

    def __str__(self):
        return "closed"


class Items(dict):
    def items(self):
        return [("seen", 1)]


class BadItems(dict):
    def items(self):
        raise KeyError("no")


class BadList(list):
    def __iter__(self):
        raise RuntimeError("no")


class Half(list):
    def __iter__(self):
        return iter(["overridden"])


class Look(Mapping):
    def __init__(self, **kw):
        self.kw = kw

    def __getitem__(self, key):
        return self.kw[key]

    def __iter__(self):
        return iter(self.kw)

    def __len__(self):
        return len(self.kw)


class Row(Sequence):
    def __init__(self, *items):
        self.data = items

    def __getitem__(self, index):
        return self.data[index]

    def __len__(self):
        return len(self.data)


class Endless(Sequence):
    def __getitem__(self, index):
        return index

    def __len__(self):
        return 10**9


class Color(enum.Enum):
    RED = "red"


class NotANumber(enum.Enum):
    NAN = math.nan


class BadEnum(enum.Enum):
    A = 1

    @property
    def value(self):
        raise ValueError("no")


class Level(enum.IntEnum):
    HIGH = 3


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: int
    _secret: str = "hidden"
    y: Any = None


@dataclasses.dataclass
class Unset:
    x: int = dataclasses.field(init=False)


class Pair(NamedTuple):
    left: int
    right: str


@attrs.define
class Attrs:
    a: int
    _b: int = 2


class Model(pydantic.BaseModel):
    a: int
    when: dt.date = dt.date(2026, 1, 2)


class Lazy:
    """As Django's lazy translation strings: text is made when it is asked for."""

    def __str__(self):
        return "übersetzt"


class Request:
    """As a web framework's request: nothing that JSON knows, and a repr that says it all."""

    def __repr__(self):
        return "<Request: GET '/'>"


def generator():
    yield 1


def circular():
    value = {"a": [1]}
    value["a"].append(value)
    return value


def nested(depth, kind=list):
    value = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


UTC = dt.UTC
EAST = dt.timezone(dt.timedelta(hours=2))
HOSTILE = {
    # plain values pass unchanged and unmarked
    "None": (None, None, []),
    "True": (True, True, []),
    "integer": (17, 17, []),
    "beyond 53 bits": (2**53 + 1, 2**53 + 1, []),
    "largest long": (2**63 - 1, 2**63 - 1, []),
    "smallest long": (-(2**63), -(2**63), []),
    "float": (12.5, 12.5, []),
    "text": ("ü\u2028\x00\x1f\x7f\n", "ü\u2028\x00\x1f\x7f\n", []),
    "mapping": ({"a": {"b": [1, None]}}, {"a": {"b": [1, None]}}, []),
    "tuple": ((1, 2), [1, 2], []),
    # numbers that JSON or a store has no form for
    "NaN": (math.nan, "NaN", [VALUE]),
    "Infinity": (math.inf, "Infinity", [VALUE]),
    "-Infinity": (-math.inf, "-Infinity", [VALUE]),
    "nested NaN": ({"a": [math.nan]}, {"a": ["NaN"]}, [VALUE]),
    "one beyond long": (2**63, "9223372036854775808", [VALUE]),
    "one below long": (-(2**63) - 1, "-9223372036854775809", [VALUE]),
    "10**30": (10**30, "1" + "0" * 30, [VALUE]),
    "10**5000": (10**5000, "<int of 16610 bits>", [VALUE]),
    "-(10**5000)": (-(10**5000), "<int of 16610 bits>", [VALUE]),
    "int subclass": (Whole(5), 5, []),
    "large int subclass": (Whole(2**70), str(2**70), [VALUE]),
    "float subclass": (Real(1.5), 1.5, []),
    "NaN of a subclass": (Real("nan"), "NaN", [VALUE]),
    "Decimal": (decimal.Decimal("1.10"), 1.1, []),
    "long Decimal": (decimal.Decimal("0.1234567890123456789"), "0.1234567890123456789", [VALUE]),
    "huge Decimal": (decimal.Decimal("1E+400"), "1E+400", [VALUE]),
    "Decimal NaN": (decimal.Decimal("NaN"), "NaN", [VALUE]),
    "Decimal sNaN": (decimal.Decimal("sNaN"), "NaN", [VALUE]),
    "Decimal Infinity": (decimal.Decimal("-Infinity"), "-Infinity", [VALUE]),
    "Fraction": (fractions.Fraction(1, 3), "1/3", [VALUE]),
    "complex": (1 + 2j, "(1+2j)", [VALUE]),
    # text
    "lone surrogate": ("a\ud800b", "a\\ud800b", [VALUE]),
    "lone surrogate in a list": (["\udfff"], ["\\udfff"], [VALUE]),
    "str subclass": (Text("real"), "overridden", []),
    "bytes": (b"ab\xff", "ab\\xff", []),
    "bytearray": (bytearray(b"ab"), "ab", []),
    "memoryview": (memoryview(b"ab"), "ab", []),
    "lazy text": (Lazy(), "übersetzt", [VALUE]),
    # times
    "aware datetime": (dt.datetime(2026, 1, 2, 3, 4, 5, 678, UTC), "2026-01-02T03:04:05.000678+00:00", []),
    "datetime elsewhere": (dt.datetime(2026, 1, 2, 3, 4, tzinfo=EAST), "2026-01-02T03:04:00+02:00", []),
    "naive datetime": (dt.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00", []),
    "date": (dt.date(2026, 1, 2), "2026-01-02", []),
    "time": (dt.time(3, 4), "03:04:00", []),
    "timedelta": (dt.timedelta(minutes=1, milliseconds=5), 60.005, []),
    # usual kinds
    "UUID": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", []),
    "Enum": (Color.RED, "red", []),
    "Enum holding NaN": (NotANumber.NAN, "NaN", [VALUE]),
    "Enum whose value raises": (BadEnum.A, "<BadEnum: ValueError while it was read>", [VALUE]),
    "IntEnum": (Level.HIGH, 3, []),
    "Flag": (Flags.A | Flags.B, 3, []),
    "Path": (pathlib.PurePosixPath("/a/b"), "/a/b", []),
    "IPv4": (ipaddress.ip_address("10.0.0.1"), "10.0.0.1", []),
    "network": (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8", []),
    "dataclass": (Point(1, y=[2]), {"x": 1, "y": [2]}, []),
    "dataclass with an unset field": (Unset(), "<Unset: AttributeError while it was read>", [VALUE]),
    "attrs": (Attrs(1), {"a": 1}, []),
    "pydantic": (Model(a=1), {"a": 1, "when": "2026-01-02"}, []),
    "named tuple": (Pair(1, "r"), {"left": 1, "right": "r"}, []),
    "set of one": ({1}, [1], []),
    "frozenset": (frozenset(["a"]), ["a"], []),
    "deque": (collections.deque([1, 2]), [1, 2], []),
    "range": (range(3), [0, 1, 2], []),
    "OrderedDict": (collections.OrderedDict(a=1), {"a": 1}, []),
    "defaultdict": (collections.defaultdict(list, a=[1]), {"a": [1]}, []),
    "ChainMap": (collections.ChainMap({"a": 1}, {"b": 2}), {"b": 2, "a": 1}, []),
    "mappingproxy": (types.MappingProxyType({"a": 1}), {"a": 1}, []),
    "dict keys": ({"a": 1}.keys(), ["a"], []),
    "dict values": ({"a": 1}.values(), [1], []),
    "exception": (ValueError("bad"), "ValueError: bad", []),
    "exception group": (ExceptionGroup("g", [ValueError("a")]), "ExceptionGroup: g (1 sub-exception)", []),
    "class": (Point, f"{__name__}.Point", []),
    "function": (generator, "generator", []),
    "method": ("".join, "str.join", []),
    "module": (math, str(math), [VALUE]),
    "object": (Plain(), "plain", [VALUE]),
    "request": (Request(), "<Request: GET '/'>", [VALUE]),
    # containers that override or look alike
    "dict subclass with its own items": (Items(hidden=1), {"seen": 1}, []),
    "list subclass with its own iterator": (Half([1]), ["overridden"], []),
    "Mapping look-alike": (Look(a=1), {"a": 1}, []),
    "Sequence look-alike": (Row(1, 2), [1, 2], []),
    "items that raise": (BadItems(a=1), "<BadItems: KeyError while it was read>", [VALUE]),
    "iterator that raises": (BadList([1]), "<BadList: RuntimeError while it was read>", [VALUE]),
    "circular": (circular(), {"a": ["1", "<circular dict>"]}, [VALUE]),
    # objects that raise or lie
    "str that raises": (Raises(), "<Raises: ValueError while it was read>", [VALUE]),
    "str that raises MemoryError": (Raises(MemoryError), "<Raises: MemoryError while it was read>", [VALUE]),
    "str that raises RecursionError": (Raises(RecursionError), "<Raises: RecursionError while it was read>", [VALUE]),
    "str that returns a subclass": (StrReturnsSubclass(), "sub", [VALUE]),
    "str that returns a number": (StrReturnsNumber(), "<StrReturnsNumber: TypeError while it was read>", [VALUE]),
    "lies about its class": (Liar(), "liar", [VALUE]),
    "class that raises": (RaisingClass(), "shy", [VALUE]),
    "attributes that raise": (RaisingDict(), "closed", [VALUE]),
    # keys
    "integer keys": ({1: "a"}, {"1": "a"}, [KEY]),
    "tuple key": ({(1, 2): "a"}, {"(1, 2)": "a"}, [KEY]),
    "None key": ({None: "a"}, {"None": "a"}, [KEY]),
    "Enum key": ({Color.RED: "a"}, {"red": "a"}, [KEY]),
    "bytes key": ({b"k": "a"}, {"k": "a"}, [KEY]),
    "key that clashes": ({1: "a", "1": "b"}, {"1": "a", "1~2": "b"}, [KEY]),
    "empty key": ({"": 1}, {"_": 1}, [KEY]),
    "blank key": ({" \t": 1}, {"_": 1}, [KEY]),
    "leading dot": ({".a": 1}, {"_.a": 1}, [KEY]),
    "trailing dot": ({"a.": 1}, {"a._": 1}, [KEY]),
    "two dots": ({"a..b": 1}, {"a._.b": 1}, [KEY]),
    "only dots": ({"..": 1}, {"_._._": 1}, [KEY]),
    "blank between dots": ({"a. .b": 1}, {"a._.b": 1}, [KEY]),
    "dotted key beside its own parent": ({"a.b": 1, "a": {"b": 2}}, {"a": {"b": 2}, "a_b": 1}, [KEY]),
    "dotted keys beside each other": ({"a.b": 1, "a.c": 2, "ab": 3}, {"a.b": 1, "a.c": 2, "ab": 3}, []),
    "dotted key": ({"a.b": 1}, {"a.b": 1}, []),
    "surrogate key": ({"k\ud800": 1}, {"k\\ud800": 1}, [KEY, VALUE]),
    "NUL key": ({"a\x00": 1}, {"a\x00": 1}, []),
    "empty mapping": ({}, {}, []),
    "orjson.Fragment": (orjson.Fragment(b"{bad"), "orjson.Fragment", [VALUE]),
}


@pytest.mark.parametrize(("value", "expected", "tags"), HOSTILE.values(), ids=HOSTILE)
def test_a_value_becomes_exactly_this(value, expected, tags):
    """Each kind of value has one form in the record, and a mark if and only if that form is not the value itself."""
    got, marks = one(value)
    if type(value) is orjson.Fragment:  # its text is an address
        assert isinstance(got, str)
        assert expected in got
    else:
        assert got == expected
        assert type(got) is type(expected)
    assert marks == tags


def test_a_fragment_deep_inside_is_not_passed_on_unchecked():
    """orjson writes a Fragment as it is; one that is not ours is text, wherever it stands."""
    got, marks = one({"a": [1, (orjson.Fragment(b'{"a":1,"a":2}'),)]})
    assert isinstance(got["a"][1][0], str)
    assert marks == [VALUE]


def test_generators_are_not_consumed():
    """A generator is named, and still yields all that it had."""
    value = generator()
    got, marks = one(value)
    assert got.startswith("<generator object generator")
    assert marks == [VALUE]
    assert list(value) == [1]


def test_iterators_are_not_consumed():
    """An iterator stays where it was."""
    value = iter([1, 2])
    one(value)
    assert list(value) == [1, 2]


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("depth", [100, 300, 5000])
def test_deep_values_are_cut(kind, depth):
    """However deep a value is, the record keeps its first levels and says that it was cut."""
    got, marks = one(nested(depth, kind))
    assert marks == [CUT]
    for _ in range(16):
        got = got[0] if kind is list else got["a"]
    assert got == f"[cut: {kind.__name__} deeper than 16 levels]"


def test_a_million_items_are_cut():
    """Of a list of a million the first thousand stay; the size it had stands beside numbers, and at the end of texts."""
    result = fields(extra={"x": list(range(10**6)), "y": ["a"] * 10**6, "z": [[1] * 2000]})
    assert result["extra"] == {
        "x": list(range(1000)),
        "x~cut": "[cut: 1000000 items]",
        "y": ["a"] * 1000 + ["[cut: 1000000 items]"],
        "z": [[1] * 1000],
        "z~cut": "[cut: 2000 items]",
    }
    assert result["tags"] == [CUT]


def test_lists_of_mixed_kinds_are_texts():
    """OpenSearch refuses a record in which a list, with those in it, holds numbers and texts; so all are texts, marked."""
    assert one([1, "a", None, True]) == (["1", "a", None, "true"], [VALUE])
    assert one([1, 2.5, None]) == ([1, 2.5, None], [])
    assert one([True, 1]) == (["true", "1"], [VALUE])
    assert one([1.5, math.nan]) == (["1.5", "NaN"], [VALUE])
    assert one({"a": [{"b": ["x", 1]}]}) == ({"a": [{"b": ["x", "1"]}]}, [VALUE])
    assert one([[1, [2]], ("a",)]) == ([["1", ["2"]], ["a"]], [VALUE])
    assert one([[1], [True, [None]]]) == ([["1"], ["true", [None]]], [VALUE])
    assert one([[1], [2.5, [None]]]) == ([[1], [2.5, [None]]], [])


def test_a_million_keys_are_cut():
    """Of a mapping of many keys the first thousand stay, with the size it had."""
    got, marks = one({str(n): n for n in range(10**5)})
    assert len(got) == 1001
    assert got["…"] == "[cut: 100000 items]"
    assert marks == [CUT]


def test_a_sequence_that_claims_a_length_is_read_no_further_than_needed():
    """The length is only reported; no more items are asked for than are kept."""
    result = fields(extra={"x": Endless()})
    assert result["extra"] == {"x": list(range(1000)), "x~cut": "[cut: 1000000000 items]"}
    assert result["tags"] == [CUT]


def test_a_hundred_megabytes_of_text_are_cut_quickly():
    """A string is cut before it is encoded, on a character boundary, with the size it had."""
    value = "ü" * 10**8
    start = time.process_time()
    got, marks = one(value)
    assert time.process_time() - start < 2
    assert got == "ü" * (256 * 1024) + "… [cut: 100000000 characters]"
    assert marks == [CUT]


def test_a_hundred_megabytes_of_bytes_are_cut_quickly():
    """Bytes are cut before they are decoded."""
    start = time.process_time()
    got, marks = one(b"x" * 10**8)
    assert time.process_time() - start < 2
    assert got == "x" * (256 * 1024) + "… [cut: 100000000 bytes]"
    assert marks == [CUT]


def test_a_wide_and_deep_value_takes_bounded_time():
    """A structure that would expand to billions of values is cut by their number."""
    value = ["x"]
    for _ in range(14):
        value = [value] * 1000
    start = time.process_time()
    got, marks = one(value)
    assert time.process_time() - start < 5
    assert got
    assert CUT in marks


def test_a_dict_that_changes_while_it_is_read():
    """A value whose text changes the mapping it stands in costs nothing of the rest."""
    shared = {"first": 1, "last": 2}

    class Changes:
        def __str__(self):
            shared[f"new{len(shared)}"] = 1
            return "changes"

    shared["middle"] = Changes()
    got, _ = one(shared)
    assert got == {"first": 1, "last": 2, "middle": "changes"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["msg", "args", "extra", "key"])
def test_interrupts_are_never_swallowed(error, where):
    """KeyboardInterrupt and SystemExit out of user code reach the application."""
    bad = Raises(error)
    key = type("Key", (), {"__str__": bad.__class__.__str__, "error": error})()
    record = {
        "msg": make(bad),
        "args": make("%s", bad),
        "extra": make(extra={"x": bad}),
        "key": make(extra={"x": {key: 1}}),
    }[where]
    with pytest.raises(error):
        JsonFormatter().format(record)


def test_an_interrupt_in_an_enum_is_not_swallowed():
    """orjson would read `value` itself and crash on what it raises; it never gets the chance."""

    class Bad(enum.Enum):
        A = 1

        @property
        def value(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one(Bad.A)


def test_extra_keys_are_repaired_at_the_top_level():
    """Keys of `extra` itself get the same treatment as any others."""
    result = fields(extra={"": 1, "_": 2, "a.": 3, "x\ud800": 4, "ok": 5})
    assert result["extra"] == {"_": 1, "_~2": 2, "a._": 3, "x\\ud800": 4, "ok": 5}
    assert result["tags"] == [KEY, VALUE]


def test_keys_that_are_no_strings_on_the_record_itself():
    """`record.__dict__` may hold any key; they are named and kept."""
    record = make()
    record.__dict__[5] = "five"
    record.__dict__[("a",)] = "tuple"
    result = check(JsonFormatter(), record)
    assert result["extra"] == {"5": "five", "('a',)": "tuple"}
    assert result["tags"] == [KEY]


def test_long_keys_are_cut_and_stay_apart():
    """Two keys that differ only beyond the bound are still two."""
    got, marks = one({"k" * 300 + "a": 1, "k" * 300 + "b": 2})
    assert sorted(got.values()) == [1, 2]
    assert all(len(key) < 300 for key in got)
    assert CUT in marks


def test_bounds_are_options():
    """Characters, items and depth can be set, and hold on the fast path as well."""
    small = {"max_text": 16, "max_items": 2, "max_depth": 1}
    assert one("x" * 17, **small) == ("x" * 16 + "… [cut: 17 characters]", [CUT])
    assert one(["a", "b", "c"], **small) == (["a", "b", "[cut: 3 items]"], [CUT])
    formatter = JsonFormatter(**small)
    for _ in range(3):
        assert check(formatter, make("y" * 17))["message"] == "y" * 16 + "… [cut: 17 characters]"
    assert one([[1]], **small) == (["[cut: list deeper than 1 levels]"], [CUT])
    result = fields(extra={"a": 1, "b": 2, "c": 3}, options=small)
    assert result["extra"] == {"a": 1, "b": 2, "…": "[cut: 3 items]"}


def test_a_very_large_line_keeps_what_matters():
    """When the line is over its bound, the message, the exception and its innermost frames outlive bulky extras."""
    try:
        raise ValueError("innermost")
    except ValueError as exc:
        info = (type(exc), exc, exc.__traceback__)
    result = fields(
        "m" * 100_000, extra={f"k{n}": "v" * 1000 for n in range(900)}, exc_info=info, options={"max_line_bytes": 4096}
    )
    assert result["tags"] == [CUT]
    assert result["exc"]["type"] == "ValueError"
    assert result["exc"]["traceback"].endswith("ValueError: innermost\n")
    assert result["message"].startswith("mmmm")
    assert result["extra"]["k0"] == "v" * 102 + "… [cut: 1000 characters]"
    assert len(result["message"]) > 102


@pytest.mark.parametrize("text", ["ü", "\x00", "\ud800", "𝄞", "\\"])
def test_no_line_is_over_its_bound(text):
    """Whatever the characters need as JSON, the finished line keeps `max_line_bytes`."""
    big = text * 50_000
    try:
        try:
            raise KeyError(big)
        except KeyError as exc:
            raise ValueError(big) from exc
    except ValueError as exc:
        exc.add_note(big)
        record = make(big, extra={big[:500]: big, "y": [big] * 20}, exc_info=exc, stack_info=big, threadName=big)
    formatter = JsonFormatter(max_line_bytes=8192)
    assert len(formatter.format_bytes(record)) <= 8192
    check(formatter, record)


def test_log_records_as_values():
    """A LogRecord as a value is text, not a walk through its attributes."""
    got, _ = one(logging.makeLogRecord({"msg": "inner"}))
    assert got.startswith("<LogRecord")


def test_numpy_values():
    """numpy's scalars and small arrays are numbers and lists; a large one is cut."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    assert one(numpy.float64(1.5)) == (1.5, [])
    assert one(numpy.int64(7)) == (7, [])
    assert one(numpy.float32("nan")) == ("NaN", [VALUE])
    assert one(numpy.bool_(True)) == (True, [])
    assert one(numpy.array([[1, 2], [3, 4]])) == ([[1, 2], [3, 4]], [])
    assert one(numpy.datetime64("2026-01-02T03:04:05"))[0] == "2026-01-02T03:04:05"
    got, marks = one(numpy.zeros(10**6))
    assert isinstance(got, str)
    assert marks == [VALUE]


def test_pandas_values():
    """A data frame is bounded text, a timestamp its ISO form, a missing value marked."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    got, marks = one(pandas.DataFrame({"a": [1]}))
    assert "a" in got
    assert marks == [VALUE]
    assert one(pandas.Timestamp("2026-01-02T03:04:05")) == ("2026-01-02T03:04:05", [])
    assert one(pandas.NaT)[0] == "NaT"


def test_a_real_django_request():
    """A Django request, the most logged object that JSON cannot take, stands as its repr."""
    django = pytest.importorskip("django", reason="Django is not installed")
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIRequest
    from django.utils.translation import gettext_lazy

    if not settings.configured:
        settings.configure(USE_I18N=False)
        django.setup()
    request = WSGIRequest({"REQUEST_METHOD": "GET", "PATH_INFO": "/pay", "wsgi.input": io.BytesIO()})
    assert one(request) == ("<WSGIRequest: GET '/pay'>", [VALUE])
    assert one(gettext_lazy("hello"))[0] == "hello"


def test_recursion_limit_is_not_reached_by_reading_values():
    """Reading a value deep in the application's own stack costs at most that value."""

    def down(levels):
        if levels:
            return down(levels - 1)
        return fields(extra={"x": nested(12), "y": Plain(), "z": 1})

    used = 0
    frame = sys._getframe()
    while frame:
        used, frame = used + 1, frame.f_back
    result = down(sys.getrecursionlimit() - used - 150)
    assert result["message"] == "hello"
    assert result["extra"]["z"] == 1

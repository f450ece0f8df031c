"""Fingerprints: the same error has the same, on every version of Python; another error has another."""

import sys
import types

import pytest

from jsonlog.record.exceptions import describe
from jsonlog.record.frames import in_app
from jsonlog.record.text import Bounds

SOURCE = """
class Pay:
    def charge(self, n):
        return [self.check(k) for k in range(n)]
    def check(self, k):
        return [(lambda: {k: fail(k) for k in range(2)})() for _ in range(1)]

def fail(k):
    raise ValueError(f"no {k}")

def run():
    try:
        Pay().charge(3)
    except ValueError as exc:
        raise RuntimeError("outer") from exc

def recursive(n):
    return recursive(n - 1) if n else fail(n)

def other():
    fail(1)
"""


def module(source=SOURCE, name="shop.pay", filename="/app/shop/pay.py"):
    result = types.ModuleType(name)
    exec(compile(source, filename, "exec"), result.__dict__)
    return result


def print_of(function, *args):
    try:
        function(*args)
    except BaseException as exc:
        exc.__traceback__ = exc.__traceback__.tb_next  # this function's own frame
        return describe(exc, Bounds(), set())["fingerprint"]
    raise AssertionError


def test_the_same_on_every_version_of_python():
    """The fingerprints of these errors are these, on 3.11 with its frames for comprehensions and later without."""
    pay = module()
    assert print_of(pay.run) == "1:5cc2958dd8d330b5"
    assert print_of(pay.other) == "1:98454c7884c054f1"


def test_what_does_not_count():
    """Neither line numbers, nor the path, nor the message, nor how deep a recursion went."""
    one = module()
    moved = module("\n\n\n" + SOURCE.replace("no {k}", "never {k}"), filename="/srv/release-2/shop/pay.py")
    assert print_of(one.run) == print_of(moved.run)
    assert print_of(one.recursive, 3) == print_of(one.recursive, 30)


def test_where_a_recursion_ended_does_not_count():
    """Functions that call each other without end give the same, wherever the last of the frames lies."""
    pay = module(
        "import sys\n"
        "def even(n):\n    return odd(n - 1) if n else fail()\n"
        "def odd(n):\n    return even(n - 1) if n else fail()\n"
        "def fail():\n    raise ValueError\n"
        "def run(n):\n"
        "    before = sys.getrecursionlimit()\n"
        "    sys.setrecursionlimit(5000)\n"
        "    try:\n        even(n)\n"
        "    finally:\n        sys.setrecursionlimit(before)\n"
    )
    assert len({print_of(pay.run, n) for n in (10, 1001, 1002, 1003)}) == 1


def test_a_renamed_exception_of_the_standard_library():
    """`re.error` is `re.PatternError` from Python 3.13 on."""
    assert print_of(module("import re\ndef run(): re.compile('(')").run) == "1:8aa4526b769e3c6c"


def test_what_counts():
    """The type, the functions on the way, the module, and the causes."""
    prints = [
        print_of(module().run),
        print_of(module().other),
        print_of(module(SOURCE.replace("ValueError", "KeyError")).other),
        print_of(module(name="shop.ship").other),
        print_of(module(SOURCE.replace("def fail", "def fails").replace("fail(", "fails(")).other),
        print_of(module(SOURCE.replace(" from exc", " from None")).run),
    ]
    assert len(set(prints)) == len(prints)


def test_frames_of_libraries_count_only_when_there_are_no_others():
    """An error that an application gets out of a library is the application's; one in a library alone is told apart."""
    library = "def call(f): f()\ndef parse(f=None): raise ValueError\ndef scan(f=None): raise ValueError"
    path = "/usr/lib/python3/site-packages/lib/x.py"
    lib = module(library, "lib.x", path)
    moved = module(library.replace("def call(f): f()", "def call(f): inner(f)\ndef inner(f): f()"), "lib.x", path)
    pay = module()
    assert print_of(lib.call, pay.other) == print_of(moved.call, pay.other) == print_of(pay.other)
    assert print_of(lib.parse) != print_of(lib.scan)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("/app/shop/pay.py", True),
        ("<string>", True),
        ("<frozen importlib._bootstrap>", False),
        (types.__file__, False),
        ("/venv/lib/python3.11/site-packages/lib/x.py", False),
        ("/usr/lib/python3/dist-packages/lib/x.py", False),
        ("C:\\venv\\Lib\\site-packages\\lib\\x.py", False),
    ],
)
def test_whose_file_it_is(filename, expected):
    """The standard library, frozen modules and installed packages are not the application's."""
    assert in_app(filename) is expected


def test_main_goes_by_the_name_of_its_spec():
    """`python -m shop.job` gives the same as importing it."""
    imported = module(name="shop.job")
    started = module(name="__main__")
    started.__spec__ = types.SimpleNamespace(name="shop.job")
    assert print_of(imported.other) == print_of(started.other)
    assert print_of(module(name="__main__").other) != print_of(imported.other)


def test_only_the_text_gives_none():
    """Where only `exc_text` is left there is no fingerprint."""
    from tests.jsonlog.support import fields

    assert "fingerprint" not in fields(exc_text="Traceback …")["exc"]


def test_the_version_stands_before_the_colon():
    """So that a later recipe can be told apart."""
    number, digits = print_of(module().other).split(":")
    assert number == "1"
    assert len(digits) == 16
    assert int(digits, 16) >= 0
    assert sys.version_info >= (3, 11)

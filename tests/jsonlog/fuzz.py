"""
Fuzzing of the formatter: bytes become a record, and the record has to give one valid line.

    python -m tests.jsonlog.fuzz -max_total_time=3600 corpus/

With atheris it is guided by the coverage of `jsonlog`, takes libFuzzer's arguments and runs until it is stopped; without,
it draws random bytes for as many seconds as `-max_total_time` says. The test suite runs both for a short time. A long run
is an hour; what it keeps in `corpus/` is where the next one goes on from. An input that breaks a line is written to
`crash-…`: give its bytes to `FOUND` in test_fuzz.py.
"""

import datetime as dt
import decimal
import enum
import importlib
import os
import random
import struct
import sys
import time
import uuid

try:
    import atheris
except ImportError:
    atheris = None
else:
    if __name__ == "__main__":  # before anything else imports it
        with atheris.instrument_imports(include=["jsonlog"]):
            importlib.import_module("jsonlog")

from jsonlog import JsonFormatter
from tests.jsonlog.support import check, make, parse

ATTRIBUTES = [
    "msg", "args", "levelname", "levelno", "name", "filename", "lineno", "funcName", "created", "msecs", "process",
    "processName", "thread", "threadName", "taskName", "exc_info", "exc_text", "stack_info", "message", "asctime",
    "pathname", "module", "relativeCreated", "jsonlog_extra",
]  # fmt: skip
FORMATTERS = [
    JsonFormatter(service="shop"),
    JsonFormatter(max_text=16, max_items=3, max_depth=2, max_line_bytes=4096, static={"a": 1}),
    JsonFormatter(redact={"keys": ["a", "password"], "paths": ["*.b.c"], "patterns": ["email", "card", "bearer"]}),
]
OTHER_SHAPES = [JsonFormatter(profile="ecs", precision="us"), JsonFormatter(extra_key=None, order=["message"])]


class Raises:
    def __init__(self, kind):
        self.kind = kind

    def __str__(self):
        raise self.kind("\ud800 no")

    __repr__ = __str__


class Color(enum.Enum):
    RED = "red"


class Bytes:
    """Reads values off a piece of bytes; at its end everything is zero."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece + bytes(count - len(piece))

    def below(self, limit):
        return self.take(1)[0] % limit

    def text(self):
        return self.take(self.below(32)).decode(("utf-8", "latin-1", "utf-16-le")[self.below(3)], "surrogatepass" if self.below(2) else "replace")  # fmt: skip

    def safe_text(self):
        try:
            return self.text()
        except UnicodeDecodeError:
            return "\udcff%s %(a)s"

    def scalar(self):
        kinds = [
            lambda: None,
            lambda: True,
            lambda: int.from_bytes(self.take(self.below(12)), "big", signed=True),
            lambda: struct.unpack("d", self.take(8))[0],
            self.safe_text,
            lambda: self.take(self.below(16)),
            lambda: Raises((ValueError, MemoryError, RecursionError, KeyError)[self.below(4)]),
            lambda: Color.RED,
            lambda: uuid.UUID(bytes=self.take(16)),
            lambda: dt.datetime(1 + self.below(250) * 40, 1, 1, tzinfo=dt.UTC),
            lambda: decimal.Decimal(int.from_bytes(self.take(4), "big")).scaleb(self.below(250) - 125),
            lambda: object,
        ]
        return kinds[self.below(len(kinds))]()

    def value(self, depth=0):
        kind = self.below(6) if depth < 20 else 0
        if kind == 1:
            return [self.value(depth + 1) for _ in range(self.below(5))]
        if kind == 2:
            return {self.key(): self.value(depth + 1) for _ in range(self.below(5))}
        if kind == 3:
            return (self.value(depth + 1), self.value(depth + 1))
        if kind == 4:
            return self.exception(depth)
        return self.scalar()

    def key(self):
        key = self.scalar()
        return key if isinstance(key, (str, int, float, bytes, type(None))) else "a"

    def exception(self, depth=0):
        kind = (ValueError, KeyError, SyntaxError, OSError, UnicodeError)[self.below(5)]
        exc = kind(self.scalar())
        link = self.below(8) if depth < 10 else 0
        if link == 1:
            exc.__cause__ = self.exception(depth + 1)
        elif link == 2:
            exc.__context__ = self.exception(depth + 1)
        elif link == 3:
            return ExceptionGroup("g", [exc, self.exception(depth + 1)])
        elif link == 4:
            exc.__notes__ = self.value(depth + 1)
        return exc


def one_record(data: bytes) -> None:
    """Make a record of *data* and check what becomes of it."""
    source = Bytes(data)
    record = make(source.safe_text(), *(source.value() for _ in range(source.below(3))))
    for _ in range(source.below(6)):
        record.__dict__[source.safe_text()] = source.value()
    for _ in range(source.below(6)):
        name = ATTRIBUTES[source.below(len(ATTRIBUTES))]
        if source.below(8) == 0:
            record.__dict__.pop(name, None)
        else:
            record.__dict__[name] = source.value()
    for formatter in FORMATTERS:
        check(formatter, record)
        check(formatter, record)
    for formatter in OTHER_SHAPES:
        parse(formatter.format_bytes(record))


def run(seconds: float, seed: int) -> int:
    """Draw records for some seconds and return how many there were."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = chance.randbytes(chance.randrange(1, 600))
        try:
            one_record(data)
        except BaseException:
            print(f"seed {seed}, record {count}: {data!r}", file=sys.stderr)
            raise
        count += 1
    return count


def main() -> None:
    if atheris is None:
        seconds = next((float(arg.partition("=")[2]) for arg in sys.argv if arg.startswith("-max_total_time=")), 60)
        print(run(seconds, int.from_bytes(os.urandom(4), "big")), "records")
        return
    atheris.Setup(sys.argv, one_record)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Reading a record's attributes: the time, the message, the extras."""

import logging
import math
import time

import pytest

from jsonlog import JsonFormatter
from jsonlog.record.build import OWN_ATTRIBUTES, STANDARD_ATTRIBUTES, format_time, read_extra, split_time
from tests.jsonlog.support import check, fields, make

# created, msecs, the text with microseconds, the marks.
TIMES = {
    "as it comes": (1_795_323_737.22, 220.0, "2026-11-22T05:02:17.220000Z"),
    "microseconds": (1_795_323_737.220123, 220.0, "2026-11-22T05:02:17.220123Z"),
    "a double just below the millisecond": (1_795_323_737.2199998, 220.0, "2026-11-22T05:02:17.220000Z"),
    "msecs just below created": (1_795_323_737.2199998, 219.0, "2026-11-22T05:02:17.219999Z"),
    "stale msecs": (1_795_323_737.22, 700.0, "2026-11-22T05:02:17.220000Z"),
    "no msecs": (1_795_323_737.22, None, "2026-11-22T05:02:17.220000Z"),
    "msecs of nonsense": (1_795_323_737.22, "x", "2026-11-22T05:02:17.220000Z"),
    "msecs beyond a second": (1_795_323_737.22, 1220.0, "2026-11-22T05:02:17.220000Z"),
    "the last microsecond": (1_795_323_737.9999995, 999.0, "2026-11-22T05:02:17.999999Z"),
    "the epoch": (0.0, 0.0, "1970-01-01T00:00:00.000000Z"),
    "whole number": (1_795_323_737, 0.0, "2026-11-22T05:02:17.000000Z"),
    "before 1970": (-1.5, 500.0, "1969-12-31T23:59:58.500000Z"),
    "just before 1970": (-1e-9, 0.0, "1969-12-31T23:59:59.999999Z"),
    "the year 1": (-62_135_596_800.0, 0.0, "0001-01-01T00:00:00.000000Z"),
    "the year 9999": (253_402_300_799.0, 0.0, "9999-12-31T23:59:59.000000Z"),
}


@pytest.mark.parametrize(("created", "msecs", "expected"), TIMES.values(), ids=TIMES)
def test_times(created, msecs, expected):
    """The time is `created`, exact to the microsecond that a double can tell; `msecs` is always its first three decimals."""
    result = fields(created=created, msecs=msecs, options={"precision": "us"})
    assert result["@timestamp"] == expected
    assert result["msecs"] == int(expected[20:23])
    formatter = JsonFormatter()
    for _ in range(3):
        result = check(formatter, make(created=created, msecs=msecs))
        assert result["@timestamp"] == f"{expected[:23]}Z"
        assert result["msecs"] == int(expected[20:23])
        assert "tags" not in result


@pytest.mark.parametrize(
    "created", [math.nan, math.inf, -math.inf, 1e300, 253_402_300_800.0, -1e12, "now", None, 10**400]
)
def test_times_that_no_calendar_has(created):
    """They are replaced by now, and marked."""
    before = time.time()
    tags = set()
    seconds, micros = split_time({"created": created, "msecs": 0.0}, tags)
    assert before - 0.001 <= seconds + micros / 1e6 <= time.time() + 0.001
    assert tags == {"jsonlog.value"}
    assert fields(created=created)["tags"] == ["jsonlog.value"]


def test_format_time():
    """Three decimals are cut from six, not rounded."""
    assert format_time(0, 999_999, decimals=3) == "1970-01-01T00:00:00.999Z"
    assert format_time(0, 999_999, decimals=6) == "1970-01-01T00:00:00.999999Z"


def test_extras_are_what_no_version_of_python_sets():
    """The attributes of this Python are known, and those of others are in the union."""
    assert set(OWN_ATTRIBUTES) <= STANDARD_ATTRIBUTES
    assert {"taskName", "message", "asctime", "exc_text"} <= STANDARD_ATTRIBUTES
    record = logging.makeLogRecord({"order": 17, "taskName": "t", "message": "m", "asctime": "a"})
    assert read_extra(record.__dict__) == {"order": 17}


def test_names_are_bounded_and_marked():
    """Names of loggers, threads and functions are cut to what the stores index."""
    result = fields(name="n" * 2000, threadName="t" * 2000, funcName="\ud800")
    assert result["log"]["logger"] == "n" * 1024
    assert result["process"]["thread"]["name"] == "t" * 1024
    assert result["log"]["origin"]["function"] == "\\ud800"
    assert result["tags"] == ["jsonlog.cut", "jsonlog.value"]


def test_nonsense_in_the_attributes():
    """Line numbers, pids and thread ids that are none are left out; a level without a name still has one."""
    result = fields(lineno="x", process=-5, thread=2**70, levelname="", filename=None, funcName=None, name=None)
    assert result["log"] == {"level": "NOTSET", "logger": "root"}
    assert result["process"]["pid"] > 0
    assert "id" not in result["process"]["thread"]

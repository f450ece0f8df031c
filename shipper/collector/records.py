r"""What a request body holds: its lines, their ids, and the columns one can search. Pure: bytes in, values out.

A body is split at ``\n`` and nowhere else (U+2028 and its like stand raw inside JSON strings), a ``\r`` before it is dropped.
Blank lines are skipped, yet count, because ids are line numbers.

Every id is a *source* and a *number*, so what was seen before is kept as ranges of numbers, not as a set of strings:

=============================  ======================  =========================
where the id comes from        source                  id
=============================  ======================  =========================
an item of ``Shipper-Lines``   the key and a hyphen    source + number in hex
``run`` and ``event.sequence``  the run and a colon     source + number in decimal
neither                        random, for this body   source + number in hex
=============================  ======================  =========================

A record is taken as it is: a field of another type than ours becomes text in its column, a time that is missing or absurd is
replaced by the time of arrival, and what no column can hold still stands in the record itself.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

import orjson

MAX_ID_BYTES = 512
MAX_NUMBER = 2**63 - 1
# A clock that is wrong by an hour is a clock; one outside 1970 to 2099 is an accident that would spoil every time axis.
EARLIEST_MS = 0
LATEST_MS = 4_102_444_800_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_ITEM = re.compile(r"([^\s,]+):([0-9A-Fa-f]{1,16})\+([1-9][0-9]{0,9})")
# In JSON text: a pair of surrogate escapes, a lone one (group 1), or any other escape, so that an escaped backslash is passed over.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

Path = tuple[str, ...]


def _paths(*names: str) -> tuple[Path, ...]:
    return tuple(path for name in names for path in dict.fromkeys((tuple(name.split(".")), (name,))))


# Our own names first, then what other programs' JSON logs commonly say.
_TIME = _paths("@timestamp", "timestamp", "time")
_SEQUENCE = _paths("event.sequence")
_PID = _paths("process.pid")
_TEXTS = (
    _paths("log.level", "level", "severity", "levelname"),
    _paths("log.logger", "logger"),
    _paths("message", "msg"),
    _paths("service.name"),
    _paths("service.environment"),
    _paths("host.name"),
    _paths("exc.type", "error.type"),
    _paths("exc.message", "error.message"),
    _paths("exc.traceback", "error.stack_trace"),
    _paths("run"),
    _paths("trace.id"),
)


class BodyError(ValueError):
    """The request is not what it has to be; the message names the line or the header item. The sender's fault."""


@dataclass(frozen=True, slots=True)
class Run:
    """One item of ``Shipper-Lines``: ``count`` lines of the body, the first of which is line ``first`` of the file ``key``."""

    key: str
    first: int
    count: int


class Row(NamedTuple):
    """One record as it is stored; the fields are the columns of the store, times in microseconds since 1970."""

    source: str
    number: int
    received: int
    time: int
    level: str | None
    logger: str | None
    message: str | None
    service: str | None
    environment: str | None
    host: str | None
    exc_type: str | None
    exc_message: str | None
    traceback: str | None
    run: str | None
    trace_id: str | None
    pid: int | None
    sequence: int | None
    bytes: int
    record: str
    original: str | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a body arrived, in microseconds since 1970, and the source of ids for those of its records that bring none."""

    received: int
    source: str


def parse_runs(header: str) -> tuple[Run, ...]:
    """Read a ``Shipper-Lines`` header.

    Args:
        header: For example ``shop-web%2D1-7-k3v9.0:1a0+512, 9f0c27d1e4b35a68:0+3``.

    Returns:
        Its items, in order.

    Raises:
        BodyError: An item is malformed, or its ids would be longer than 512 bytes.
    """
    runs = []
    for item in header.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise BodyError(f"Shipper-Lines: {item.strip()[:80]!r} is not <key>:<first line, hex>+<count>")
        run = Run(match[1], int(match[2], 16), int(match[3]))
        if run.first + run.count - 1 > MAX_NUMBER:
            raise BodyError(f"Shipper-Lines: the line numbers of {item.strip()[:80]!r} do not fit in 63 bits")
        if len(run.key.encode()) + 17 > MAX_ID_BYTES:
            raise BodyError(f"Shipper-Lines: the ids of {run.key[:40]}… would be longer than {MAX_ID_BYTES} bytes")
        runs.append(run)
    return tuple(runs)


def read_rows(body: bytes, runs: tuple[Run, ...] | None, arrival: Arrival) -> Iterator[Row]:
    """Turn the lines of a body into rows, one at a time.

    Args:
        body: NDJSON; the last line may lack its newline.
        runs: The ids that came with the body, or None where none did.
        arrival: When it came.

    Yields:
        One row for each line that is not blank.

    Raises:
        BodyError: A line is no JSON object, or the ids are not as many as the lines.
    """
    total = body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
    if runs is not None and (count := sum(run.count for run in runs)) != total:
        raise BodyError(f"Shipper-Lines counts {count} lines, the body has {total}")
    identities = None if runs is None else _identities(runs)
    for index, line in enumerate(_lines(body)):
        identity = next(identities) if identities else None
        if line and not line.isspace():
            yield _row(line.removesuffix(b"\r"), index, identity, arrival)


def _lines(body: bytes) -> Iterator[bytes]:
    """One at a time: a list of them would double the memory that a body takes."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        yield body[start:end]
        start = end + 1


def _identities(runs: Iterable[Run]) -> Iterator[tuple[str, int]]:
    for run in runs:
        source = run.key + "-"
        for number in range(run.first, run.first + run.count):
            yield source, number


def _row(line: bytes, index: int, identity: tuple[str, int] | None, arrival: Arrival) -> Row:
    text, record = _decode(line, index + 1)
    texts = [_text(_find(record, paths)) for paths in _TEXTS]
    level, logger, message, service, environment, host, exc_type, exc_message, traceback, run, trace_id = texts
    sequence = _integer(_find(record, _SEQUENCE))
    source, number = identity or _own_identity(run, sequence) or (arrival.source, index)
    return Row(
        source=source,
        number=number,
        received=arrival.received,
        time=_micros(_find(record, _TIME), arrival.received),
        level=level and level.upper(),
        logger=logger,
        message=message,
        service=service,
        environment=environment,
        host=host,
        exc_type=exc_type,
        exc_message=exc_message,
        traceback=traceback,
        run=run,
        trace_id=trace_id,
        pid=_integer(_find(record, _PID)),
        sequence=sequence,
        bytes=len(line),
        record=text[0],
        original=text[1],
    )


def _decode(line: bytes, line_number: int) -> tuple[tuple[str, str | None], dict[str, Any]]:
    """The text that can be searched, the original where it differs, and the parsed record."""
    try:
        record = orjson.loads(line)
        text: tuple[str, str | None] = (line.decode(), None)
    except ValueError:
        original = _utf8(line, line_number)
        mended = _ESCAPE.sub(lambda match: r"\ufffd" if match[1] else match[0], original)
        record = _decode_slowly(mended, line_number)
        text = (mended, None if mended == original else original)
    if not isinstance(record, dict):
        raise BodyError(f"line {line_number}: a record is a JSON object, this is {_kind(record)}")
    return text, record


def _utf8(line: bytes, line_number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as exc:
        raise BodyError(f"line {line_number}: not UTF-8 at byte {exc.start}") from exc


def _decode_slowly(text: str, line_number: int) -> Any:
    """Python's own parser: it takes numbers beyond every float, and says best what is wrong."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    def integer(digits: str) -> int | float:
        return int(digits) if len(digits) < 20 else float(digits)

    try:
        return json.loads(text, parse_constant=refuse, parse_int=integer)
    except RecursionError:
        raise BodyError(f"line {line_number}: nested too deep") from None
    except json.JSONDecodeError as exc:
        raise BodyError(f"line {line_number}: not JSON at character {exc.colno}: {exc.msg}") from exc
    except ValueError as exc:
        raise BodyError(f"line {line_number}: not JSON: {exc}") from exc


def _kind(value: object) -> str:
    names: Mapping[type, str] = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _find(record: Mapping[str, Any], paths: Iterable[Path]) -> Any:
    for path in paths:
        value: Any = record
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than it writes
        return repr(value)


def _integer(value: Any) -> int | None:
    fits = type(value) is int and -MAX_NUMBER <= value <= MAX_NUMBER
    return value if fits else None


def _micros(value: Any, received: int) -> int:
    try:
        time = datetime.fromisoformat(value)
        micros = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (TypeError, ValueError, OverflowError):
        return received
    return micros if EARLIEST_MS * 1_000 <= micros < LATEST_MS * 1_000 else received


def _own_identity(run: str | None, sequence: int | None) -> tuple[str, int] | None:
    if not run or sequence is None or sequence < 0:
        return None
    source = quote(run, safe="") + ":"
    return (source, sequence) if len(source) + 20 <= MAX_ID_BYTES else None


class Spans:
    """Which (source, number) pairs are known, kept as ranges, so that an unbroken history of any length costs a few bytes."""

    def __init__(self) -> None:
        self._firsts: dict[str, list[int]] = {}
        self._lasts: dict[str, list[int]] = {}

    def __contains__(self, identity: tuple[str, int]) -> bool:
        source, number = identity
        at = bisect_right(self._firsts.get(source, ()), number) - 1
        return at >= 0 and number <= self._lasts[source][at]

    def __len__(self) -> int:
        return sum(map(len, self._firsts.values()))

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        for source, firsts in self._firsts.items():
            for first, last in zip(firsts, self._lasts[source], strict=True):
                yield source, first, last

    def add(self, source: str, first: int, last: int) -> None:
        """Note that the numbers ``first`` to ``last``, both included, of a source are known; overlaps are merged."""
        firsts, lasts = self._firsts.setdefault(source, []), self._lasts.setdefault(source, [])
        low = bisect_right(lasts, first - 2)  # the first range that ends at first - 1 or later
        high = bisect_right(firsts, last + 1)  # past the last range that starts at last + 1 or earlier
        if low < high:
            first, last = min(first, firsts[low]), max(last, lasts[high - 1])
        firsts[low:high], lasts[low:high] = [first], [last]

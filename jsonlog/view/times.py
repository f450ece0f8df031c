"""
Times as sort keys, and times as people write them. Pure.

A key is `b"2026-11-22T05:02:17.220"`: UTC, at least three decimals, no zone. Keys compare as bytes in the order of time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?\s?([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_AGO = re.compile(r"(?:\d+[smhdw])+", re.ASCII)
_CLOCK = re.compile(r"\d\d:\d\d(?::\d\d)?(?:\.\d+)?", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# An epoch is in the unit that puts it between 1973 and 5138: seconds, milliseconds, microseconds, nanoseconds.
_EPOCHS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))


def key_of(value: object) -> bytes:
    """
    Turn the time of a record into a key.

    Args:
        value: RFC 3339 or nearly so (a blank for the T, a comma, no zone: UTC), or an epoch in s, ms, µs or ns.

    Returns:
        The key; empty when *value* is no time.
    """
    if isinstance(value, str):
        return _key_of_text(value, UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        for limit, unit in _EPOCHS:
            if abs(value) < limit:
                return _key_of_datetime(datetime.fromtimestamp(0, UTC) + timedelta(seconds=value / unit))
    return b""


def _key_of_text(text: str, zone: tzinfo | None) -> bytes:
    found = _STAMP.fullmatch(text)
    if found is None:
        return b""
    day, minute, second, fraction, offset = found.groups()
    fraction = (fraction or "").ljust(3, "0")
    if offset is None and zone is UTC:
        offset = "Z"
    if offset in {"Z", "z"} and minute is not None:
        return f"{day}T{minute}{second or ':00'}.{fraction}".encode()
    try:
        moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}.{fraction[:6].ljust(6, '0')}")
        if offset in {None, "Z", "z"}:
            return _key_of_datetime(moment.replace(tzinfo=UTC if offset else zone))
        sign = -1 if offset[0] == "-" else 1
        away = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:])) * sign
        return _key_of_datetime((moment - away).replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return b""


def _key_of_datetime(moment: datetime) -> bytes:
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)  # also for a naive one: that is local time
    decimals = "milliseconds" if moment.microsecond % 1000 == 0 else "microseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=decimals).encode()


def key_now() -> bytes:
    """Give the key of this moment."""
    return _key_of_datetime(datetime.now(UTC))


def parse_when(text: str, *, local: bool, now: datetime) -> bytes:
    """
    Read a moment as people give it to `--since` and `--until`.

    Args:
        text: `10m` ago (also `90s`, `2h`, `1d`, `1w`, `1h30m`), `2026-11-22`, `2026-11-22T05:00[:17[.22]][Z|+01:00]`, or
            `05:00`, which is today.
        local: A moment without a zone is in this machine's zone, otherwise in UTC.
        now: What an age is counted from, in UTC.

    Returns:
        A key that is not greater than that of any record at that moment.

    Raises:
        ValueError: *text* is none of these.
    """
    key = b""
    if _AGO.fullmatch(text):
        age = sum(int(number) * _UNIT_S[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text))
        try:
            key = _key_of_datetime(now - timedelta(seconds=age))
        except OverflowError:
            key = b"0"
    else:
        zone = None if local else UTC
        if _CLOCK.fullmatch(text):
            text = f"{(now.astimezone() if local else now).date()}T{text}"
        key = _key_of_text(text, zone)
        if key:
            try:
                datetime.fromisoformat(key[:23].decode())
            except ValueError:
                key = b""
    if not key:
        raise ValueError(f"{text!r} is no time: write 10m, 2h, 1d, 05:00, 2026-11-22 or 2026-11-22T05:00Z")
    return key.rstrip(b"0").rstrip(b".") if b"." in key else key


class LocalClock:
    """Shows keys in this machine's time zone; offsets change on whole minutes, so each minute is worked out once."""

    def __init__(self) -> None:
        self._minutes: dict[str, str] = {}

    def __call__(self, stamp: str) -> str:
        """Turn `2026-11-22T05:02:17.220…` (UTC) into the same in local time; leave what is no time as it is."""
        minute = stamp[:16]
        shown = self._minutes.get(minute)
        if shown is None:
            try:
                moment = datetime.fromisoformat(minute).replace(tzinfo=UTC).astimezone()
                shown = moment.replace(tzinfo=None).isoformat(timespec="minutes")
            except (ValueError, OverflowError):
                shown = minute
            if len(self._minutes) > 1000:
                self._minutes.clear()
            self._minutes[minute] = shown
        return shown + stamp[16:]

"""Waits: bounded, jittered, and never shorter than the server asked."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.retry import CAP_S, backoff_s, parse_retry_after

draws = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), draws)
def test_the_wait_is_bounded(attempt: int, draw: float) -> None:
    """No attempt waits longer than the cap or not at all, and none longer than twice its predecessor could."""
    wait = backoff_s(attempt, draw)
    assert 0 < wait <= CAP_S
    assert wait <= 0.25 * 2 ** min(attempt - 1, 20)


@given(st.integers(1, 100), draws, st.floats(0, 1e9))
def test_the_server_is_obeyed(attempt: int, draw: float, asked: float) -> None:
    """What the server asked for is never undercut, up to an hour."""
    wait = backoff_s(attempt, draw, asked)
    assert wait >= min(asked, 3600)
    assert wait <= max(3600, CAP_S)


@given(st.text(max_size=30), st.floats(0, 4e9))
def test_any_header_is_read_or_left(value: str, now: float) -> None:
    """Garbage is None; whatever is a number is not negative."""
    seconds = parse_retry_after(value, now)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(0, 10_000), st.integers(0, 4_000_000_000))
def test_seconds_and_dates(seconds: int, now: int) -> None:
    """Seconds are taken as they are, a date as the time until then."""
    assert parse_retry_after(str(seconds), now) == seconds
    assert parse_retry_after(formatdate(now + seconds, usegmt=True), now) == seconds


@pytest.mark.parametrize(
    "value", [None, "", "soon", "nan", "inf", "-inf", "Mon, 99 Xxx 2026 25:61:61 GMT", "1 2 3 4 5 6 7"]
)
def test_unusable_headers(value: str | None) -> None:
    """What is neither a number nor a date is as good as no header."""
    assert parse_retry_after(value, 0) is None


def test_a_date_that_has_passed_means_now() -> None:
    """A past date and a negative number ask for no wait."""
    assert parse_retry_after(format_datetime(datetime(2000, 1, 1, tzinfo=UTC), usegmt=True), 4e9) == 0
    assert parse_retry_after("-5", 0) == 0

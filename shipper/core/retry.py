"""How long to wait before the next attempt: exponential with full jitter, as Amazon's architecture blog measured it best."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime

FIRST_S = 0.25
CAP_S = 30.0


def backoff_s(attempt: int, random: float, retry_after_s: float | None = None) -> float:
    """
    Compute the wait before the next attempt.

    Args:
        attempt: The attempt that failed, from 1.
        random: A number in [0, 1), drawn by the caller.
        retry_after_s: What the server asked for; never undercut, bounded to an hour.

    Returns:
        Seconds.
    """
    ceiling = min(CAP_S, FIRST_S * 2.0 ** min(attempt - 1, 30))
    jittered = ceiling * (0.1 + 0.9 * random)
    return max(jittered, min(retry_after_s, 3600.0)) if retry_after_s is not None else jittered


def parse_retry_after(value: str | None, now: float) -> float | None:
    """
    Read a `Retry-After` header, RFC 9110 section 10.2.3: seconds or a date.

    Args:
        value: The header, None when there is none.
        now: Seconds since 1970.

    Returns:
        Seconds from now, at least 0; None when there is nothing usable.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None

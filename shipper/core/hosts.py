"""
Which of several hosts the next request goes to.

Rules: each one in turn; one that failed is left out for a time that doubles with each failure in a row, with full jitter and a
cap, so that several shippers do not come back to it at once. When all are left out, the one whose time is over first is tried.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shipper.core.retry import backoff_s


@dataclass(slots=True)
class Hosts:
    """
    Hosts that lead to the same place.

    Args:
        urls: At least one.
    """

    urls: tuple[str, ...]
    _turn: int = 0
    _failures: dict[str, int] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def choose(self, now: float) -> str:
        """Choose the host for the next request."""
        for _ in self.urls:
            url = self.urls[self._turn % len(self.urls)]
            self._turn += 1
            if self._until.get(url, 0.0) <= now:
                return url
        return min(self.urls, key=lambda url: self._until.get(url, 0.0))

    def failed(self, url: str, now: float, random: float) -> None:
        """Leave a host out for a while."""
        self._failures[url] = self._failures.get(url, 0) + 1
        self._until[url] = now + backoff_s(self._failures[url], random)

    def worked(self, url: str) -> None:
        """Take a host as well."""
        self._failures.pop(url, None)
        self._until.pop(url, None)

"""
Places where the order of effects matters, by name: the crash tests kill the process there, and nothing else ever does.

`SHIPPER_CRASH_AT=<name>:<n>` ends the process with SIGKILL when it comes to that place for the n-th time. Without the variable a
place costs a comparison; none is passed per line.
"""

from __future__ import annotations

import itertools
import os
import signal

_NAME, _, _NUMBER = os.environ.get("SHIPPER_CRASH_AT", "").partition(":")
_TIMES = itertools.count(1)

POINTS = (
    "read", "adopted", "reserving", "reserved", "sending", "answered", "settled", "committing", "committed",
    "dead_letter", "dead_lettered", "deleting", "deleted", "forgotten", "looking_up", "looked_up", "rescuing",
)  # fmt: skip
"""All places, in the order in which a record comes to them."""
HTTP_POINTS = ("recording", "recorded", "halving", "halved")
"""More places on the way to an HTTP endpoint."""


def reach(name: str) -> None:
    """Come to a place."""
    if name == _NAME and next(_TIMES) == int(_NUMBER or 1):
        os.kill(os.getpid(), signal.SIGKILL)

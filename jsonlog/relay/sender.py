"""
The numbers that a sender puts into a line, and how the writer's numbers take their place at the other end.

A sender is one handler in one process, as a writer is: a `run` and numbers from 0. In a line they stand last, just as the
writer's do. `run` and `event.sequence` are always the writer's of the file, so uniqueness, order and the proof by gaps
hold for a file whatever way its records came. Only bytes are moved here; nothing is parsed.
"""

from __future__ import annotations

import re

_RUN = rb"[0-9a-hjkmnp-tv-z]{16}"
_ONE = rb'\{"run":"(?:%b)","sequence":[0-9]{1,19}' % _RUN
_SENT = re.compile(rb',"sender":(?P<last>%b)(?:,"origin":(?P<origin>%b)\})?\}\}\Z' % (_ONE, _ONE))
_WRITTEN = re.compile(rb',"run":"(?P<run>%b)","event":\{"sequence":(?P<sequence>[0-9]{1,19})\}\}\Z' % _RUN)
_MAX_TAIL = 320  # a sender with its origin, and the writer's numbers, each with 19 digits


def put_sender(line: bytes, run: str, sequence: int, *, relayed: bool) -> bytes:
    """
    Put the sender's numbers into a line.

    Args:
        line: One JSON object without a newline, not numbered by a writer.
        run: Of the sender.
        sequence: Its number for this record.
        relayed: Whether the line may have a sender already. The first one stays, as `origin`.
    """
    origin = b""
    if relayed:
        found = _SENT.search(line, max(0, len(line) - _MAX_TAIL))
        if found is not None:
            origin = b',"origin":%b}' % (found["origin"] or found["last"])
            line = line[: found.start()] + b"}"
    return b'%b,"sender":{"run":"%b","sequence":%d%b}}' % (line[:-1], run.encode(), sequence, origin)


def take_numbers(line: bytes) -> tuple[bytes, str, int] | None:
    """
    Take the writer's numbers off a line, as the one who reads a spool does.

    Returns:
        The line without them, the run and the number; None when they do not stand at its end.
    """
    found = _WRITTEN.search(line, max(0, len(line) - _MAX_TAIL))
    if found is None:
        return None
    return line[: found.start()] + b"}", found["run"].decode(), int(found["sequence"])


def read_sender(line: bytes) -> tuple[str, int] | None:
    """Read the sender's numbers from a line that a writer has numbered since; None when it has none."""
    bare = take_numbers(line)
    found = _SENT.search(bare[0], max(0, len(bare[0]) - _MAX_TAIL)) if bare else None
    if found is None:
        return None
    run, _, sequence = found["last"].partition(b'","sequence":')
    return run.removeprefix(b'{"run":"').decode(), int(sequence)

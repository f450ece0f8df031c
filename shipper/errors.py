"""
Errors, by whose fault they are and what comes next.

    ShipperError
    ├── ConfigError          a setting is missing or wrong: exit 2
    ├── StoreError           the checkpoint cannot be read or written: stop, never guess an offset: exit 3
    │   └── StoreFull            there is no room for it now: wait, and pass over nothing meanwhile
    └── SinkError
        ├── SinkUnavailable      no answer: try again for ever
        │   └── AnswerTooLarge       or more than is read of one: ask for less
        └── SinkMisconfigured    an answer that an operator has to change: not ready, keep trying

An HTTP status, a refused record, an oversize line or a rotation is a value, not an exception.
"""

from __future__ import annotations


class ShipperError(Exception):
    """Anything the shipper says to its operator; the message names what and what to do."""

    exit_code = 1


class ConfigError(ShipperError):
    """A setting is missing or wrong: mend it and start again."""

    exit_code = 2


class StoreError(ShipperError):
    """The checkpoint cannot be read or written: the shipper stops and guesses no offset."""

    exit_code = 3


class StoreFull(StoreError):
    """State or dead letters cannot be written for now (the disk is full): the shipper waits and passes over nothing."""


class SinkError(ShipperError):
    """The sink did not take what was sent; nothing is lost."""


class SinkUnavailable(SinkError):
    """
    No usable answer came from the sink: down, unreachable, busy. The shipper tries again for ever.

    Args:
        text: What happened.
        sent: Something of the request may have reached the sink, so that it may have had an effect.
    """

    def __init__(self, text: str, *, sent: bool = True) -> None:
        super().__init__(text)
        self.sent = sent


class AnswerTooLarge(SinkUnavailable):
    """The answer was larger than what is read of one; a smaller request has a smaller one."""


class SinkMisconfigured(SinkError):
    """The sink answered, but an operator has to change something; until then nothing is delivered."""

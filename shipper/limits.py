"""The bounds of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What bounds the pipeline.

    Args:
        batch_bytes, batch_records: How large a request may become.
        linger_s: The longest that a record waits for others.
        in_flight: Requests at once.
        in_flight_bytes: Bytes of lines that have been read and are not acknowledged.
        poll_interval_s: How often is looked for new lines and files.
        forget_s: How long the checkpoint remembers a file that is gone.
        ordered: Records of one file are delivered in order: of each file there is one request at once.
    """

    batch_bytes: int = 4 * 1024 * 1024
    batch_records: int = 10_000
    linger_s: float = 0.05
    in_flight: int = 3
    in_flight_bytes: int = 12 * 1024 * 1024
    poll_interval_s: float = 0.1
    forget_s: float = 7 * 86400.0
    ordered: bool = False

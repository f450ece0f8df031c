"""What an answer means that is not good, as the error for it."""

from __future__ import annotations

from shipper.core.gist import gist
from shipper.core.model import Response
from shipper.errors import SinkError, SinkMisconfigured, SinkUnavailable


def problem(response: Response, what: str) -> SinkError:
    """Turn an answer that is not good into the error it means."""
    text = gist(response.body)
    kind = SinkUnavailable if response.status in (408, 425, 429) or response.status >= 500 else SinkMisconfigured
    return kind(f"{what} was answered with HTTP {response.status}{': ' + text if text else ''}")

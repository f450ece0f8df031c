"""
What an answer means, as tables.

Rules: what an operator can mend (credentials, a missing index, a full disk, a read-only index) is never taken for the
fault of a record. A record is refused only for what it is. What cannot be understood is sent again: ids make that safe.
"""

from __future__ import annotations

from enum import Enum

from shipper.core.model import Advice


class Verdict(Enum):
    """What became of one line."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    RETRY = "retry"
    WAIT = "wait"
    REFUSED = "refused"


# One item of a `_bulk` answer. Elasticsearch 9.5 and OpenSearch 3.8 were asked; see tests/e2e.
_BY_ERROR = {
    "version_conflict_engine_exception": Verdict.DUPLICATE,
    "es_rejected_execution_exception": Verdict.RETRY,
    "rejected_execution_exception": Verdict.RETRY,
    "circuit_breaking_exception": Verdict.RETRY,
    "unavailable_shards_exception": Verdict.RETRY,
    "cluster_block_exception": Verdict.WAIT,
    "index_closed_exception": Verdict.WAIT,
    "index_not_found_exception": Verdict.WAIT,
    "security_exception": Verdict.WAIT,
    # More shards than the cluster allows: the stream cannot be created, which is not the record's fault.
    "validation_exception": Verdict.WAIT,
}
_BY_ITEM_STATUS = {
    200: Verdict.DELIVERED,
    201: Verdict.DELIVERED,
    401: Verdict.WAIT,
    403: Verdict.WAIT,
    404: Verdict.WAIT,
    408: Verdict.RETRY,
    409: Verdict.DUPLICATE,
    429: Verdict.RETRY,
}


# Refusals that share their type with those of records, told apart by what the store says in its reason.
_BY_REASON = (
    ("illegal_argument_exception", "pipeline with id ["),  # the index names an ingest pipeline that is not there
    ("illegal_argument_exception", "no write index is defined"),
)


def judge_item(status: int, error: str, reason: str = "") -> Verdict:
    """
    Judge one item of a `_bulk` answer.

    Args:
        status: Its HTTP status.
        error: The type of its error, empty when it has none.
        reason: What the store says of it.
    """
    if any(error == kind and reason.startswith(words) for kind, words in _BY_REASON):
        return Verdict.WAIT
    verdict = _BY_ERROR.get(error) or _BY_ITEM_STATUS.get(status)
    if verdict is not None:
        return verdict
    return Verdict.REFUSED if 400 <= status < 500 else Verdict.RETRY


# A whole answer that is not 2xx. 400, 413 and 422 may be one record's fault: halving finds it.
_BY_STATUS = {
    400: Advice.SPLIT,
    408: Advice.RETRY,
    413: Advice.SPLIT,
    422: Advice.SPLIT,
    425: Advice.RETRY,
    429: Advice.RETRY,
}


def judge_response(status: int) -> Advice:
    """Judge a whole answer by its status, which is not 2xx."""
    return _BY_STATUS.get(status) or (Advice.RETRY if status >= 500 else Advice.WAIT)

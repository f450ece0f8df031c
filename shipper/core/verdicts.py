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
    CONFLICT = "conflict"  # a record of this id is there
    FILTERED = "filtered"
    FAILURE_STORED = "failure_stored"
    RETRY = "retry"
    DOUBTFUL = "doubtful"  # to be sent again, and the store may have taken it
    MOVED = "moved"  # taken, but by another index than it was looked for in
    WAIT = "wait"
    REFUSED = "refused"


# One item of a `_bulk` answer. Elasticsearch 9.5 and OpenSearch 3.8 were asked; see tests/e2e/test_outcomes.py.
_BY_ERROR = {
    "version_conflict_engine_exception": Verdict.CONFLICT,
    "es_rejected_execution_exception": Verdict.RETRY,
    "rejected_execution_exception": Verdict.RETRY,
    "circuit_breaking_exception": Verdict.RETRY,
    "resource_already_exists_exception": Verdict.RETRY,  # two requests made the same index
    "snapshot_in_progress_exception": Verdict.RETRY,
    "unavailable_shards_exception": Verdict.DOUBTFUL,
    "cluster_block_exception": Verdict.WAIT,
    "index_closed_exception": Verdict.WAIT,
    "index_not_found_exception": Verdict.WAIT,
    "resource_not_found_exception": Verdict.WAIT,
    "security_exception": Verdict.WAIT,
    "invalid_index_name_exception": Verdict.WAIT,
    "routing_missing_exception": Verdict.WAIT,
    # More shards than the cluster allows: the stream cannot be created, which is not the record's fault.
    "validation_exception": Verdict.WAIT,
    # Whatever the status, the same record gives the same answer.
    "fail_processor_exception": Verdict.REFUSED,
    "ingest_processor_exception": Verdict.REFUSED,
    "class_cast_exception": Verdict.REFUSED,
    "null_pointer_exception": Verdict.REFUSED,
    "max_bytes_length_exceeded_exception": Verdict.REFUSED,
}
_BY_ITEM_STATUS = {
    200: Verdict.FILTERED,  # a `create` is answered 201; 200 is the `noop` of a pipeline that dropped the record
    201: Verdict.DELIVERED,
    401: Verdict.WAIT,
    403: Verdict.WAIT,
    404: Verdict.WAIT,
    408: Verdict.DOUBTFUL,
    409: Verdict.CONFLICT,
    413: Verdict.REFUSED,
    429: Verdict.RETRY,
}


# Refusals that share their type with those of records, told apart by what the store says in its reason.
_BY_REASON = (
    ("illegal_argument_exception", "pipeline with id ["),  # the index names an ingest pipeline that is not there
    ("illegal_argument_exception", "no write index is defined"),
    ("illegal_argument_exception", "only write ops with an op_type of create are allowed"),
    ("illegal_argument_exception", "request ["),  # … contains unrecognized parameter
)


def judge_item(status: int, error: str, reason: str = "", *, failure_store: str = "") -> Verdict:
    """
    Judge one item of a `_bulk` answer.

    Args:
        status: Its HTTP status.
        error: The type of its error, empty when it has none.
        reason: What the store says of it.
        failure_store: What it says of its failure store, if it has one.
    """
    if failure_store == "used":
        return Verdict.FAILURE_STORED
    if any(error == kind and reason.startswith(words) for kind, words in _BY_REASON):
        return Verdict.WAIT
    verdict = _BY_ERROR.get(error) or _BY_ITEM_STATUS.get(status)
    if verdict is not None:
        return verdict
    return Verdict.REFUSED if 400 <= status < 500 else Verdict.DOUBTFUL


# A whole answer that is not 2xx. 400, 413 and 422 may be one record's fault: halving finds it.
_BY_STATUS = {
    400: Advice.SPLIT,
    408: Advice.RETRY,
    413: Advice.SPLIT,
    422: Advice.SPLIT,
    425: Advice.RETRY,
    429: Advice.RETRY,
    501: Advice.WAIT,
    505: Advice.WAIT,
    507: Advice.WAIT,
    511: Advice.WAIT,
}
# Answers by which a request was turned away before it was read. After any other failure it may have had an effect.
_TURNED_AWAY = frozenset({400, 401, 403, 404, 405, 406, 411, 413, 415, 417, 422, 425, 429, 431, 501, 505})


def judge_response(status: int) -> Advice:
    """Judge a whole answer by its status, which is not 2xx."""
    return _BY_STATUS.get(status) or (Advice.RETRY if status >= 500 else Advice.WAIT)


def is_turned_away(status: int) -> bool:
    """Tell whether a request that was answered so has had no effect for sure."""
    return status in _TURNED_AWAY or 300 <= status < 400

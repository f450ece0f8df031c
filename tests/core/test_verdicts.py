"""The tables of verdicts, checked against the rules they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.model import Advice
from shipper.core.verdicts import _BY_ERROR, Verdict, is_turned_away, judge_item, judge_response


@given(st.integers(100, 599), st.text(max_size=20))
def test_a_record_is_refused_only_by_a_400ish_answer(status: int, error: str) -> None:
    """Only 4xx refuses, and never one that an operator can mend or that may pass; but for errors that are told by their type."""
    if judge_item(status, error) is Verdict.REFUSED and error not in _BY_ERROR:
        assert 400 <= status < 500
        assert status not in (401, 403, 404, 408, 409, 429)


@given(st.integers(100, 599).filter(lambda s: not 200 <= s < 300))
def test_a_whole_answer_never_delivers(status: int) -> None:
    """An answer that is not 2xx is never DONE; 5xx is tried again, or waits for an operator where it says what is missing."""
    assert judge_response(status) is not Advice.DONE
    if status >= 500 and status not in (501, 505, 507, 511):
        assert judge_response(status) is Advice.RETRY


@pytest.mark.parametrize(
    ("status", "error", "verdict"),
    [
        (201, "", Verdict.DELIVERED),
        (200, "", Verdict.FILTERED),  # `noop`: a pipeline dropped it
        (409, "version_conflict_engine_exception", Verdict.CONFLICT),
        (429, "es_rejected_execution_exception", Verdict.RETRY),
        (429, "circuit_breaking_exception", Verdict.RETRY),
        (429, "cluster_block_exception", Verdict.WAIT),  # the flood stage of a full disk
        (403, "cluster_block_exception", Verdict.WAIT),
        (403, "security_exception", Verdict.WAIT),
        (404, "index_not_found_exception", Verdict.WAIT),
        (400, "index_closed_exception", Verdict.WAIT),
        (400, "validation_exception", Verdict.WAIT),  # no more shards allowed
        (400, "document_parsing_exception", Verdict.REFUSED),
        (400, "strict_dynamic_mapping_exception", Verdict.REFUSED),
        (503, "unavailable_shards_exception", Verdict.DOUBTFUL),
        (500, "whatever", Verdict.DOUBTFUL),
        (0, "", Verdict.DOUBTFUL),
    ],
)
def test_items(status: int, error: str, verdict: Verdict) -> None:
    """What the two stores answer for one record has the verdict that the design document gives it."""
    assert judge_item(status, error) is verdict


def test_a_missing_pipeline_is_the_operators_to_mend() -> None:
    """The same type of error means a bad record or a bad setting; the reason tells them apart."""
    kind = "illegal_argument_exception"
    assert judge_item(400, kind, "pipeline with id [nope] does not exist") is Verdict.WAIT
    assert judge_item(400, kind, "no write index is defined for alias [x]") is Verdict.WAIT
    assert judge_item(400, kind, "Limit of total fields [1500] has been exceeded") is Verdict.REFUSED


def test_the_same_record_gives_the_same_answer() -> None:
    """A failure that comes of the record alone is not tried for ever, whatever its status."""
    for kind in ("fail_processor_exception", "class_cast_exception", "max_bytes_length_exceeded_exception"):
        assert judge_item(500, kind) is Verdict.REFUSED


def test_the_failure_store_is_a_class_of_its_own() -> None:
    """What a store keeps among its failures was taken, though not as a record; what it could not keep is refused as usual."""
    assert judge_item(201, "", failure_store="used") is Verdict.FAILURE_STORED
    assert judge_item(400, "document_parsing_exception", failure_store="not_enabled") is Verdict.REFUSED
    assert judge_item(400, "document_parsing_exception", failure_store="failed") is Verdict.REFUSED


@given(st.integers(100, 599).filter(lambda s: not 200 <= s < 300))
def test_what_may_have_had_an_effect(status: int) -> None:
    """A server's own failure, or a proxy's, says nothing of what was done with the request; a refusal does."""
    if status >= 500 and status not in (501, 505):
        assert not is_turned_away(status)
    if status in (301, 400, 401, 403, 404, 405, 413, 415, 429):
        assert is_turned_away(status)

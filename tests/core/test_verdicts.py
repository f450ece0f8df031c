"""The tables of verdicts, checked against the rules they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.model import Advice
from shipper.core.verdicts import Verdict, judge_item, judge_response


@given(st.integers(100, 599), st.text(max_size=20))
def test_a_record_is_refused_only_by_a_400ish_answer(status: int, error: str) -> None:
    """Only 4xx refuses, and never one that an operator can mend or that may pass."""
    if judge_item(status, error) is Verdict.REFUSED:
        assert 400 <= status < 500
        assert status not in (401, 403, 404, 408, 409, 429)


@given(st.integers(100, 599).filter(lambda s: not 200 <= s < 300))
def test_a_whole_answer_never_delivers(status: int) -> None:
    """An answer that is not 2xx is never DONE; 5xx is tried again."""
    assert judge_response(status) is not Advice.DONE
    if status >= 500:
        assert judge_response(status) is Advice.RETRY


@pytest.mark.parametrize(
    ("status", "error", "verdict"),
    [
        (201, "", Verdict.DELIVERED),
        (200, "", Verdict.DELIVERED),
        (409, "version_conflict_engine_exception", Verdict.DUPLICATE),
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
        (503, "unavailable_shards_exception", Verdict.RETRY),
        (500, "whatever", Verdict.RETRY),
        (0, "", Verdict.RETRY),
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

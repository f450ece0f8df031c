"""Names of data streams: always ones that a store takes."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.core.naming import profile_of, stream_name, stream_of

STREAM = re.compile(r"logs-[a-z0-9_.]{1,100}\.jsonlog-[a-z0-9_.]{1,100}")


@given(st.none() | st.text(max_size=150), st.none() | st.text(max_size=150))
def test_any_name_becomes_a_legal_one(dataset: str | None, namespace: str | None) -> None:
    """Whatever service and environment are called, the stream's name fits the template's pattern and its bounds."""
    assert STREAM.fullmatch(stream_name(dataset, namespace))


@given(st.binary(max_size=60))
def test_any_first_line_has_a_stream(line: bytes) -> None:
    """A first line that is no record goes to the default stream."""
    assert STREAM.fullmatch(stream_of(line))


def test_service_and_environment_choose_the_stream() -> None:
    """They are lower-cased and cleaned; what is given overrides them; what is missing has a default."""
    record = json.dumps({"service": {"name": "My-Shop", "environment": "Prod EU"}}).encode()
    assert stream_of(record) == "logs-my_shop.jsonlog-prod_eu"
    assert stream_of(record, dataset="x", namespace="y") == "logs-x.jsonlog-y"
    assert stream_of(b'{"service": {"name": "a"}}') == "logs-a.jsonlog-default"
    for other in (b'{"service": "text"}', b"[]", b'{"service": null}', b'{"service": {"name": 5}}', b"[" * 100_000):
        assert stream_of(other) == "logs-generic.jsonlog-default"


def test_records_of_profile_ecs_have_streams_of_their_own() -> None:
    """They write fields that are aliases elsewhere; what another ECS library writes, without a run, is none of them."""
    record = b'{"service":{"name":"shop"},"ecs":{"version":"9.0.0"},"run":"r","event":{"sequence":0}}'
    assert stream_of(record) == "logs-shop.jsonlog_ecs-default"
    assert profile_of(stream_of(record)) == "ecs"
    for other in (record.replace(b'"run"', b'"walk"'), record.replace(b'"run"', b'"msecs":1,"run"')):
        assert stream_of(other) == "logs-shop.jsonlog-default"
        assert profile_of(stream_of(other)) == ""


@pytest.mark.parametrize(
    ("template", "expected"),
    [("app-{service.name}", "app-my_shop"), ("{service.name}-{service.environment}", "my_shop-prod"), ("-_logs", "logs"),
     ("Logs {service.name}", "logs_my_shop"), ("a*b?c", "a_b_c")],
)  # fmt: skip
def test_names_of_plain_indices(template: str, expected: str) -> None:
    """The fields of a record stand in the name; what no index may be called is mapped, at the beginning left out."""
    line = b'{"service":{"name":"My Shop","environment":"prod"}}'
    assert stream_of(line, index=template) == expected
    assert len(stream_of(line, index="x" * 300)) == 255

"""The hostile records on the real servers: each is taken, and found again."""

import pytest

from jsonlog import JsonFormatter
from tests.jsonlog import test_encode, test_exceptions
from tests.jsonlog.support import make, parse
from tests.schemas.streams import Stream

pytestmark = pytest.mark.server


def hostile():
    """Every hostile value, every kind of exception, and messages that do not fit their arguments."""
    for name, (value, _, _) in test_encode.HOSTILE.items():
        # The same key with values of every kind: the worst for a mapping. And each under a key of its own.
        yield make("value %s", name, extra={"x": value, f"own {name}": value})
        yield make(value)
    for kind in (list, dict):
        yield make(extra={"deep": test_encode.nested(5000, kind)})
    yield make(extra={"wide": list(range(100_000)), "long": "ü" * 400_000})
    yield make("\x00\ud800\u2028 " * 50_000, stack_info="s" * 300_000)
    yield make(extra={"k" * 300: 1, "a.b.c": 1, "a": {"b": 2}, "@timestamp": "x", "_id": 1, "message ": 1})
    for case in test_exceptions.CASES:
        yield make("failed", exc_info=test_exceptions.raised(case))
    yield make("%d %s", "x")
    for created in (0.0, -1.5, 2.5e11, float("nan"), 1e300):
        yield make(created=created)


@pytest.mark.parametrize("profile", ["", "ecs"])
def test_every_hostile_record_is_stored_and_found(store, unique_service, profile):
    """No record is refused, and every one is there by its id."""
    formatter = JsonFormatter(service="shop", profile=profile or "jsonlog")
    records = {str(number): parse(formatter.format_bytes(record)) for number, record in enumerate(hostile())}
    with Stream(store, unique_service, profile) as stream:
        answers = stream.create(records)
        refused = {
            id_: (why[:300], records[id_]["message"][:50]) for id_, (status, why) in answers.items() if status != 201
        }
        assert refused == {}
        assert stream.ids({"match_all": {}}) == set(records)

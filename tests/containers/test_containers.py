"""The containers as a user would run them."""

from __future__ import annotations

import pytest

from tests import servers
from tests.containers import engine, proof
from tests.containers.accounting import Kill, Stored, settle
from tests.containers.traffic import Answer
from tests.servers.fixtures import require


@pytest.mark.containers
@pytest.mark.timeout(900)
def test_nothing_is_lost_when_any_container_is_stopped_or_killed():
    """The compose file comes up, serves, and every record is stored exactly once whichever container goes away."""
    require(engine.missing() or servers.available("elasticsearch"))
    proof.prove()


def test_accounts_notice_what_the_proof_is_about():
    """A record lost in the middle, one stored twice, a request without a record: each is found and named."""
    records = [Stored("r", n, "gunicorn.access", f"q-{n}") for n in range(5)]
    answers = [Answer(f"q-{n}", 200, float(n)) for n in range(5)]

    assert settle(records, 5, answers, []).wrong == ()
    assert settle(records[:2] + records[3:], 4, [], []).wrong == ("run r: 1 of 5 numbers are missing: 2",)
    assert settle([*records, records[1]], 6, answers, []).wrong == (
        "1 records are stored more than once: r/1",
        "1 requests have more than one access record: q-1",
    )
    assert settle(records[:4], 4, answers, []).wrong == ("1 answered requests have no access record: q-4",)
    assert settle(records, 6, answers, []).wrong == ("5 records are stored, and the application counted 6 log calls",)
    assert settle(records, 4, answers, []).wrong == ("5 records are stored, and the application counted 4 log calls",)


def test_only_what_a_kill_can_explain_is_excused():
    """A worker killed between answer, log call and count is no loss; anything else is."""
    late, early = Answer("late", 200, 99.9), Answer("early", 200, 90.0)
    kill = Kill(100.0, 100.2)

    assert settle([], 0, [late], [kill]).wrong == ()
    assert settle([], 0, [late], [kill]).unlogged == 1
    assert settle([], 0, [early], [kill]).wrong == ("1 answered requests have no access record: early",)
    assert settle([], 0, [Answer(f"a-{n}", 200, 99.9) for n in range(5)], [kill]).wrong
    assert settle([Stored("r", 0, "shop", None)], 0, [], [kill]).wrong == ()
    assert settle([Stored("r", n, "shop", None) for n in range(6)], 0, [], [kill]).wrong

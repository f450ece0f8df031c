"""Several hosts: an even spread, and a host that fails is left out, not for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shipper.core.hosts import Hosts
from shipper.core.retry import CAP_S


@given(st.integers(1, 5), st.integers(1, 20))
def test_the_spread_is_even(count: int, rounds: int) -> None:
    """While all are well, each host gets as many requests as any other."""
    hosts = Hosts(tuple(map(str, range(count))))
    assert set(Counter(hosts.choose(0.0) for _ in range(count * rounds)).values()) == {rounds}


def test_a_host_that_fails_is_left_out_and_comes_back() -> None:
    """Its requests go to the others; after its time it gets its turn again, and longer waits follow more failures."""
    hosts = Hosts(("a", "b"))
    hosts.failed("a", 0.0, 0.999)
    assert {hosts.choose(0.0) for _ in range(5)} == {"b"}
    assert {hosts.choose(CAP_S) for _ in range(2)} == {"a", "b"}
    waits = []
    for _ in range(10):
        hosts.failed("a", 0.0, 0.999)
        waits.append(next(t for t in range(1000) if "a" in {hosts.choose(t / 10) for _ in range(2)}))
    assert waits == sorted(waits)
    assert waits[-1] <= CAP_S * 10
    hosts.worked("a")
    assert {hosts.choose(0.0) for _ in range(2)} == {"a", "b"}


def test_when_all_fail_the_next_one_is_tried() -> None:
    """With every host left out, the one whose time is over first is asked: there is always one."""
    hosts = Hosts(("a", "b"))
    hosts.failed("a", 0.0, 0.9)
    hosts.failed("b", 0.0, 0.1)
    assert hosts.choose(0.0) == "b"

"""pytest fixtures that give a test a real server: `elasticsearch`, `opensearch`, and `store` for one after the other.

A server lives for the whole session; tests keep apart by streams of their own (`unique_service`), or ask for an `empty_store`. Where a part is missing the
tests are skipped with the reason, and with SHIPPER_REQUIRE_PARTS=1 (as in continuous integration) they fail instead.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first test that asks for a server pays for fetching it.
TIMEOUT_S = 300
FIXTURES = {*servers.KINDS, "store", "empty_store"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a server, so that `-m 'not server'` leaves them out."""
    for item in items:
        if _uses_a_server(item):
            item.add_marker(pytest.mark.server)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TIMEOUT_S))


def _uses_a_server(item: pytest.Item) -> bool:
    """Tell our fixtures from others of the same names, and from plain parameters that are called so."""
    found = getattr(item, "_fixtureinfo", None)
    known = {} if found is None else found.name2fixturedefs
    return any(known[name][-1].func.__module__ == __name__ for name in FIXTURES.intersection(known))


@pytest.fixture(scope="session")
def elasticsearch() -> Iterator[servers.Server]:
    """A real Elasticsearch node."""
    yield from _running("elasticsearch")


@pytest.fixture(scope="session")
def opensearch() -> Iterator[servers.Server]:
    """A real OpenSearch node."""
    yield from _running("opensearch")


@pytest.fixture(params=servers.KINDS)
def store(request: pytest.FixtureRequest) -> servers.Server:
    """Each of the two in turn."""
    server: servers.Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=servers.KINDS)
def empty_store(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """Each of the two in turn, started for this test alone: for what concerns the whole store, such as its templates."""
    yield from _running(request.param)


@pytest.fixture
def unique_service() -> str:
    """A service name that no other test has, and so a data stream that no other test writes to."""
    return f"t{secrets.token_hex(6)}"


def require(reason: str | None) -> None:
    """Skip the test for a missing part, or fail it where every part has to be there."""
    if reason is None:
        return
    if os.environ.get("SHIPPER_REQUIRE_PARTS") == "1":
        pytest.fail(f"a required part is missing: {reason}", pytrace=False)
    pytest.skip(reason)


def _running(kind: str) -> Iterator[servers.Server]:
    require(servers.available(kind))
    with servers.start(kind) as server:
        yield server

"""Exactly once on real data streams that roll over between an attempt and the next one, by lost answers and by SIGKILL."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.fakes import wait_for
from tests.proxy import Proxy
from tests.servers import Server


@pytest.fixture
def proxy(store: Server) -> Iterator[Proxy]:
    with Proxy(store.port) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, store: Server, unique_service: str, proxy: Proxy) -> Iterator[Site]:
    made = Site(tmp_path, store, unique_service)
    made.url = proxy.url
    yield made
    made.close()


def roll_over(site: Site) -> None:
    status, answer = site.store.call("POST", f"/{site.stream}/_rollover")
    assert status == 200, answer


@pytest.mark.parametrize("fault", ["lose", "reset"])
def test_lost_answers_and_a_rollover(site: Site, proxy: Proxy, fault: str) -> None:
    """The answer to a request that was stored never comes, the stream rolls over, and every record is there once."""
    assert site.write(100).wait() == 0
    shipper = site.ship()
    site.wait_for_count(100)
    proxy.faults.extend([fault, "refuse", "refuse", "refuse"])  # time for the rollover
    assert site.write(3000).wait() == 0
    wait_for(lambda: fault in proxy.done, f"the {fault}")
    roll_over(site)
    wait_for(lambda: site.count() >= 3100, "all records", timeout_s=60)
    shipper.signal(signal.SIGINT)
    assert shipper.wait() == 0
    assert "nothing is left" in site.said
    site.assert_exactly_once([100, 3000])
    assert "records delivered" in site.said
    assert "were there already" in site.said


def test_a_kill_after_the_send_and_a_rollover(site: Site, proxy: Proxy) -> None:
    """SIGKILL between send and commit, a rollover, a new start: what was on its way is looked up, and nothing is there twice."""
    assert site.write(3000).wait() == 0
    proxy.faults.append("delay")  # the store has it, the shipper does not know
    shipper = site.ship()
    wait_for(lambda: site.count() == 3000, "the records", timeout_s=30)
    shipper.kill()
    roll_over(site)
    assert site.write(50).wait() == 0
    assert site.ship("--once").wait(60) == 0, site.said
    site.assert_exactly_once([3000, 50])


def test_a_lost_checkpoint_and_a_rollover(site: Site) -> None:
    """Without its checkpoint the shipper finds out from the ids in the files what the stream has already."""
    assert site.write(3000).wait() == 0
    assert site.ship("--once").wait(60) == 0
    roll_over(site)
    shutil.rmtree(site.folder / "state")
    assert site.write(50).wait() == 0
    assert site.ship("--once").wait(60) == 0, site.said
    site.assert_exactly_once([3000, 50])
    assert "3000 were there already" in site.said


def test_plain_indices(site: Site, proxy: Proxy) -> None:
    """With names of their own records go to plain indices, once, also when an answer is lost."""
    (site.folder / "shipper.yaml").write_text(f"index: app-{site.service}-{{service.environment}}\n")
    assert site.write(500).wait() == 0
    proxy.faults.append("lose")
    assert site.ship("--once", "--config", str(site.folder / "shipper.yaml")).wait(60) == 0, site.said
    site.stream = f"app-{site.service}-test"
    assert site.count() == 500, site.said
    status, answer = site.store.call("GET", f"/_data_stream/{site.stream}")
    assert status != 200 or answer["data_streams"] == [], "a plain index"
    assert "500 were there already" in site.said
    site.store.call("DELETE", f"/{site.stream}")

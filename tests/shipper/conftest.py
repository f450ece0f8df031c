"""Property tests here are about what happens, not about how fast: a busy machine fails none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.shipper.support import Endpoint, Shipper

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def shipper(tmp_path: Path) -> Iterator[Shipper]:
    made = Shipper(tmp_path)
    yield made
    for program in made.programs:
        program.kill()
        assert "Traceback" not in program.said

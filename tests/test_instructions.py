"""The hot path of the shipper, in instructions: a loss of a fifth does not go unnoticed, however busy the machine is."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from benchmarks.instructions import RESULTS, VERSION, measure, ratios


@pytest.mark.skipif(
    shutil.which("valgrind") is None and not os.environ.get("SHIPPER_REQUIRE_PARTS"), reason="valgrind is not installed"
)
@pytest.mark.timeout(600)
def test_the_hot_path_has_not_become_slower() -> None:
    """Checking and encoding a line takes at most 1.2 times the instructions of the last recorded run, in multiples of a floor."""
    recorded = json.loads(RESULTS.read_text())
    if VERSION not in recorded:
        pytest.skip(f"no run was recorded on Python {VERSION}: python benchmarks/instructions.py records one")
    now = ratios(measure())
    assert {name: ratio for name, ratio in now.items() if ratio > 1.2 * recorded[VERSION][name]} == {}

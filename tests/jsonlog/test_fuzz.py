"""A short run of the fuzz target; the long one is described in tests/jsonlog/fuzz.py."""

import os
import subprocess
import sys

import pytest

from tests.jsonlog import fuzz
from tests.jsonlog.support import ROOT


def test_a_short_run_of_the_fuzz_target():
    """Records made of random bytes give valid lines; a failure names the bytes."""
    assert fuzz.run(seconds=4, seed=int.from_bytes(os.urandom(4), "big")) > 20


def test_a_short_run_guided_by_coverage(tmp_path):
    """atheris, which looks for inputs that reach new code in `jsonlog`, finds none that breaks a line."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this machine or Python")
    limits = ["-max_total_time=6", "-max_len=600", "-len_control=0", f"-artifact_prefix={tmp_path}/"]
    run = subprocess.run(
        [sys.executable, "-m", "tests.jsonlog.fuzz", *limits, tmp_path], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert len(list(tmp_path.iterdir())) > 3, "no input reached anything new: jsonlog is not instrumented"


def test_what_fuzzing_has_found_stays_fixed():
    """Inputs that once broke a line."""
    for data in FOUND:
        fuzz.one_record(data)


FOUND = [b"", bytes(600), bytes(range(256)) * 2]

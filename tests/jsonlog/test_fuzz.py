"""A short run of the fuzz target; the long one is described in tests/jsonlog/fuzz.py."""

import os

from tests.jsonlog import fuzz


def test_a_short_run_of_the_fuzz_target():
    """Records made of random bytes give valid lines; a failure names the bytes."""
    assert fuzz.run(seconds=4, seed=int.from_bytes(os.urandom(4), "big")) > 20


def test_what_fuzzing_has_found_stays_fixed():
    """Inputs that once broke a line."""
    for data in FOUND:
        fuzz.one_record(data)


FOUND = [b"", bytes(600), bytes(range(256)) * 2]

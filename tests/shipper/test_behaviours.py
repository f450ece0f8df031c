"""docs/behaviours.md names tests that are there."""

from __future__ import annotations

import ast
import re

from tests.fakes import REPOSITORY

TEXT = (REPOSITORY / "docs" / "behaviours.md").read_text()


def test_every_proof_is_a_test() -> None:
    """Each `module::test` in the table is a test function of that module."""
    named = set(re.findall(r"`([\w/]+)::(\w+)`", TEXT))
    assert len(named) > 50
    missing = []
    for module, name in sorted(named):
        path = REPOSITORY / "tests" / f"{module}.py"
        tree = ast.parse(path.read_text()) if path.exists() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{module}::{name}")
    assert missing == []


def test_every_row_has_a_proof_or_a_reason() -> None:
    """No behaviour stands there without a test, or words on why it needs none."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "| proof |" not in line]
    assert rows
    for row in rows:
        _, _, proof, _ = row.split("|")
        assert "::" in proof or "does not apply: " in proof, row


def test_all_eighty_are_there() -> None:
    """The behaviours that were collected are numbered from 1 to 80, and each number stands in a row."""
    brackets = re.findall(r"^\| [^|]*\(([\d, ]+)\) \|", TEXT, re.MULTILINE)
    assert {int(number) for numbers in brackets for number in numbers.split(",")} == set(range(1, 81))

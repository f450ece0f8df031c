"""The core decides and does nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import shipper.core

FOLDER = Path(shipper.core.__file__).parent
FORBIDDEN = {
    "asyncio", "time", "random", "secrets", "logging", "os", "sys", "io", "pathlib", "socket", "ssl", "httpx", "aiofiles",
    "sqlite3", "datetime", "threading", "subprocess", "signal", "select", "tempfile", "shutil",
}  # fmt: skip
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.name)
def test_the_core_imports_no_effects(path: Path) -> None:
    """No module of the core imports I/O, clock, randomness, logging or asyncio, nor anything of ours outside the core."""
    # A buffer in memory has no effect.
    source = path.read_text().replace("from io import BytesIO\n", "")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS
        names = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom)
            else []
        )  # fmt: skip
        for name in names:
            assert name.partition(".")[0] not in FORBIDDEN
            assert not name.startswith(("shipper", "jsonlog")) or name.startswith("shipper.core")


def test_there_is_a_core() -> None:
    """The test above looks at the modules it is about."""
    assert {"framing.py", "acks.py", "bulk.py", "verdicts.py"} <= {path.name for path in FOLDER.glob("*.py")}

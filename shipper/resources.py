"""The generated files of `schemas/`: inside the package once installed, beside it in a source checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load_schema(name: str) -> dict[str, Any]:
    """
    Read one of the generated JSON files.

    Args:
        name: Without its ending: `record.schema`, `elasticsearch`, `opensearch-ecs` and so on.
    """
    loaded: dict[str, Any] = json.loads(read_schema(f"{name}.json"))
    return loaded


def read_schema(name: str) -> str:
    """
    Read one of the generated files as text.

    Args:
        name: With its ending.
    """
    package = Path(__file__).parent
    for folder in (package / "schemas", package.parent / "schemas"):
        path = folder / name
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(f"{name} is missing from the installation of jsonlog-shipper; install it again")

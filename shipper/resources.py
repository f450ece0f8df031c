"""The generated files of `schemas/`: inside the package once installed, beside it in a source checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load_schema(name: str) -> dict[str, Any]:
    """
    Read one of the generated files.

    Args:
        name: `record.schema`, `elasticsearch` or `opensearch`.
    """
    package = Path(__file__).parent
    for folder in (package / "schemas", package.parent / "schemas"):
        path = folder / f"{name}.json"
        if path.is_file():
            loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return loaded
    raise FileNotFoundError(f"{name}.json is missing from the installation of jsonlog-shipper; install it again")

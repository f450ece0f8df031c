"""What the tests of the files share."""

import os
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def open_path():
    """A folder that other users can reach; pytest closes its own to them whenever it starts anywhere on the machine."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o711)
        yield Path(path)

"""docs/ways.md: every block of Python runs, and every argument and hook stands in it."""

import inspect
import re

import pytest

import jsonlog
from jsonlog.hooks import _HOOKS
from tests.jsonlog_ways.support import EXAMPLES, ROOT, logged, run

TEXT = (ROOT / "docs/ways.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_runs(tmp_path, number):
    """Each block runs by itself in a fresh interpreter, as somebody who reads would type it."""
    (tmp_path / "block.py").write_text(BLOCKS[number], encoding="utf-8")
    done = run(tmp_path / "block.py", cwd=tmp_path)
    if number == 0:
        (record,) = logged(tmp_path / "logs")
        assert record["extra"] == {"user": "ann"}
        shown = re.search(r"```\n\d\d-\d\d \S+ (.*)\n```", TEXT)[1]
        assert done.stderr.rstrip("\n").endswith(shown)


def test_everything_is_documented():
    """Each argument of `configure` and `ConsoleHandler`, each hook, each integration and each example is named."""
    names = [*inspect.signature(jsonlog.configure).parameters, *inspect.signature(jsonlog.ConsoleHandler).parameters]
    for name in [*names, *_HOOKS]:
        assert name in ("formatter", "level") or f"`{name}`" in TEXT, name
    for path in EXAMPLES.iterdir():
        assert f"(../examples/{path.name})" in TEXT, path.name
    for path in (ROOT / "jsonlog/integrations").glob("[a-z]*.py"):
        assert path.stem == "forward" or f"jsonlog.integrations.{path.stem}" in TEXT, path.stem

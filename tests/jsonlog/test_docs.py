"""The documentation of the formatter: every block of Python in it runs, and every option and mark stands in it."""

import inspect
import re
import subprocess
import sys

from jsonlog import JsonFormatter
from jsonlog.record.redact import PRESETS
from jsonlog.record.text import MARKS
from tests.jsonlog.support import ROOT

TEXT = (ROOT / "docs/formatter.md").read_text()


def test_every_block_runs(tmp_path):
    """The blocks run one after the other in one fresh interpreter, as somebody who reads would type them."""
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) > 6
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + "\n".join(blocks)
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=tmp_path)
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_every_option_is_documented():
    """Each option of the constructor, each mark and each preset is named."""
    options = list(inspect.signature(JsonFormatter).parameters)
    options.remove("unknown")
    for name in [*options, *MARKS, *PRESETS]:
        assert f"`{name}`" in TEXT, name

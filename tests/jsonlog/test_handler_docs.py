"""The documentation of the handler: every block of Python in it runs, and every option stands in it."""

import inspect
import re
import subprocess
import sys

from jsonlog import ProcessFileHandler
from tests.jsonlog.support import ROOT

TEXT = (ROOT / "docs/handler.md").read_text()


def test_every_block_runs(tmp_path):
    """The blocks run one after the other in one fresh interpreter, as somebody who reads would type them."""
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 4
    program = "\n".join(blocks).replace("/tmp/shared-logs", str(tmp_path / "shared"))
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=tmp_path)
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_every_option_is_documented():
    """Each option of the constructor stands in the table, with the default that it has."""
    rows = {}
    for line in TEXT.partition("## Options")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3:
            rows.update(dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[1]))
    parameters = dict(inspect.signature(ProcessFileHandler).parameters)
    assert set(parameters) <= set(rows)
    assert rows["mode"] == f"`{parameters['mode'].default:#o}`"
    assert rows["flush_interval_s"] == f"`{parameters['flush_interval_s'].default}`"
    assert rows["fsync"] == f"`{parameters['fsync'].default}`"

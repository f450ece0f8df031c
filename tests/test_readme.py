"""What the README shows is run as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_block_is_the_two_commands():
    """The README opens with one command for the main job and one for the tests."""
    first = blocks("console")[0].splitlines()
    assert [line.split("#")[0].strip() for line in first] == ["make demo", "make test"]


def test_the_logging_block_writes_the_record_it_promises(tmp_path):
    """The first Python block logs one record with the fields of the JSON block below it, in that order."""
    subprocess.run([sys.executable, "-P", "-c", blocks("python")[0]], cwd=tmp_path, check=True, timeout=30)
    (file,) = (tmp_path / "logs").glob("*.jsonl")
    record = json.loads(file.read_bytes())
    shown = json.loads(blocks("json")[0])
    assert list(record) == list(shown)
    assert record["message"] == shown["message"]
    assert record["extra"] == shown["extra"]


def test_the_factory_line_sets_service_version_and_environment(tmp_path):
    """The second Python block is a formatter with options that dictConfig takes."""
    program = blocks("python")[0].replace(
        '"formatters": {"json": {"class": "jsonlog.JsonFormatter"}},', blocks("python")[1]
    )
    assert "1.4.2" in program
    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True, timeout=30)
    (file,) = (tmp_path / "logs").glob("shop-*.jsonl")
    assert json.loads(file.read_bytes())["service"] == {"name": "shop", "version": "1.4.2", "environment": "prod"}


@pytest.mark.parametrize("document", sorted(p.name for p in (README.parent / "docs").glob("*.md")))
def test_links_between_the_documents_lead_somewhere(document):
    """Every relative link in the README and in docs/ leads to a file that exists."""
    for page in (README, README.parent / "docs" / document):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_queue_line_is_a_handler_that_dictconfig_takes(tmp_path):
    """The handler that the README shows stands before the files, and records still get there, whole."""
    handler = re.search(r'`(\{"\(\)": "jsonlog.QueueHandler".*?\})`', README.read_text(encoding="utf-8"))[1]
    program = blocks("python")[0].replace('"handlers": {"json"', f'"handlers": {{"queue": {handler}, "json"')
    program = program.replace('"handlers": ["json"]},\n})', '"handlers": ["queue"]},\n})')
    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True, timeout=30)
    (file,) = (tmp_path / "logs").glob("*.jsonl")
    record = json.loads(file.read_bytes())
    assert record["extra"] == {"user": "ann", "amount": 12.5}
    assert record["sender"]["sequence"] == 0

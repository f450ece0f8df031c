"""What people install: the wheel's contents, and what each part imports."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_brings_two_packages_and_the_schemas_inside_the_shipper(wheel):
    """No top-level `schemas`: users have packages of that name."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"jsonlog", "shipper"}
    for path in [*(ROOT / "schemas").glob("*.json"), *(ROOT / "schemas").glob("*.ndjson")]:
        # The contract of the last release is for the tests alone.
        assert (f"shipper/schemas/{path.name}" in names) == (path.name != "released.json")
    assert "jsonlog/py.typed" in names
    assert "shipper/py.typed" in names
    assert any(name.startswith("shipper/collector/page/") for name in names)


def test_schemas_are_found_in_an_installation(wheel, tmp_path):
    """An installed shipper reads its templates from inside the package."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = "import shipper.resources as r; print(r.__file__, r.load_schema('opensearch')['/_index_template/jsonlog']['index_patterns'])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path))
    assert "logs-*.jsonlog-*" in done.stdout


def test_the_base_install_needs_orjson_alone(wheel):
    """An application that imports jsonlog gets no HTTP client and no database with it."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert [line.split()[1].split(">")[0] for line in needed] == ["orjson"]


def test_importing_jsonlog_imports_orjson_and_the_standard_library():
    """Nothing of the extras is imported by an application."""
    program = "import sys; before = set(sys.modules); import jsonlog, json; print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=30)
    foreign = {name.split(".")[0] for name in json.loads(done.stdout)} - set(sys.stdlib_module_names)
    assert foreign == {"jsonlog", "orjson"}


@pytest.mark.parametrize("name", ["logging.py", "json.py", "schemas.py", "typer.py", "queue.py"])
def test_a_file_of_the_users_with_one_of_our_names_breaks_nothing(tmp_path, name):
    """The commands do not import from the working directory."""
    (tmp_path / name).write_text("raise SystemExit('the wrong file was imported')")
    command = Path(sys.executable).with_name("shipper")
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.split()[0]) == (0, "shipper")


def test_no_lock_file_names_an_address():
    """The lock files hold names, versions and hashes: where packages come from is the installer's business."""
    for lock in ROOT.glob("*.lock"):
        assert "://" not in lock.read_text()

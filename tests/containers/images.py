"""The three images of the proof: a base with Python, the project's own, and a node in Elasticsearch's place."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import servers
from tests.containers.engine import CACHE, ROOT, Engine, Failed, run

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
OFFICIAL_BASE = "docker.io/library/python:3.13-slim"
PREFIX = "localhost/jsonlog-shipper-proof"
APT_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
PULL_TIMEOUT_S = 300
BUILD_TIMEOUT_S = 600
# Half of a JDK, and nothing that a server runs.
JAVA_LEFT_OUT = ("jmods", "src.zip", "demo", "man", "include", "legal")


def base_image(engine: Engine) -> str:
    """Return a base image with Python: the official one, or where that cannot be had, one made of Debian packages."""
    if engine.has_image(OFFICIAL_BASE):
        return OFFICIAL_BASE
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    own = f"{PREFIX}-base:{release}"
    if engine.has_image(own):
        return own
    try:
        engine("pull", OFFICIAL_BASE, timeout_s=PULL_TIMEOUT_S)
    except Failed as exc:
        return _make_base(engine, own, release, why=str(exc))
    return OFFICIAL_BASE


def _make_base(engine: Engine, name: str, release: str, *, why: str) -> str:
    if os.geteuid() or not shutil.which("mmdebstrap"):
        raise Failed(f"no base image: making one needs root and mmdebstrap, and pulling one failed:\n{why}")
    sources = next((str(path) for path in APT_SOURCES if path.exists() and path.stat().st_size), None)
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    with tempfile.TemporaryDirectory() as scratch:
        tar = f"{scratch}/base.tar"
        make = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", release, tar]
        run([*make, *([sources] if sources else [])], timeout_s=BUILD_TIMEOUT_S)
        engine("import", tar, name, timeout_s=BUILD_TIMEOUT_S)
    return name


def project_image(engine: Engine, base: str, name: str) -> str:
    """Build the repository's Dockerfile, with this machine's pip settings at hand but not in the image."""
    with tempfile.TemporaryDirectory() as scratch:
        secrets = [f"--secret=id={file.name},src={file}" for file in _pip_settings(Path(scratch))]
        engine(
            "build",
            "--network=host",
            f"--build-arg=BASE={base}",
            *secrets,
            f"--tag={name}",
            ROOT,
            timeout_s=BUILD_TIMEOUT_S,
        )
    return name


def _pip_settings(folder: Path) -> Iterator[Path]:
    """Write what pip uses here (from files and environment) to one file that can be mounted while the image is built."""
    listed = run([sys.executable, "-m", "pip", "config", "list"])
    settings = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        settings[key.replace(":env:.", "global.").rpartition(".")[2]] = value.strip("'\"")
    certificates = Path(settings.get("cert", ""))
    lines = [
        f"{key} = {value}\n" for key, value in settings.items() if key in {"index-url", "extra-index-url", "timeout"}
    ]
    if certificates.is_file():
        yield Path(shutil.copy(certificates, folder / "ca.pem"))
        lines.append("cert = /run/secrets/ca.pem\n")
    if lines:
        config = folder / "pip.conf"
        config.write_text("".join(["[global]\n", *lines]))
        yield config


def server_image(engine: Engine, base: str) -> str:
    """Make an image of a node that tests/servers prepared and the Java found here."""
    server = servers.prepare("elasticsearch")
    java = servers.find_java()
    if java is None:
        raise Failed(str(servers.available("elasticsearch")))
    recipe = HERE / "elasticsearch.Dockerfile"
    key = hashlib.sha256(recipe.read_bytes() + f"{server} {java} {base}".encode()).hexdigest()[:12]
    name = f"{PREFIX}-elasticsearch:{key}"
    if engine.has_image(name):
        return name
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        shutil.copytree(java, f"{scratch}/java", ignore=shutil.ignore_patterns(*JAVA_LEFT_OUT))
        shutil.copytree(server, f"{scratch}/server")
        arguments = [f"--build-arg=BASE={base}", f"--file={recipe}", f"--tag={name}", scratch]
        engine("build", *arguments, timeout_s=BUILD_TIMEOUT_S)
    return name

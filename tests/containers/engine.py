"""The one door to Docker or podman: whichever works here, with its compose program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "containers"
# Not in the development lock: only this proof needs it, and only where there is no Docker.
PODMAN_COMPOSE = "podman-compose==1.6.0"


class Failed(RuntimeError):
    """A command of the container engine failed; the text holds what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that answers, and the command that reads compose files for it."""

    name: str
    compose: tuple[str, ...]

    def __call__(self, *arguments: str | Path, timeout_s: float = 120) -> str:
        """Run one command of the engine and return what it printed."""
        return run([self.name, *arguments], timeout_s=timeout_s)

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows about one container."""
        found: dict[str, Any] = json.loads(self("inspect", name))[0]
        return found

    def has_image(self, name: str) -> bool:
        """Say whether an image is on this machine already."""
        return _succeeds([self.name, "image", "inspect", name])


def missing() -> str | None:
    """Say in one line why no container can run here, or None."""
    if _docker_works() or _podman_works():
        return None
    if shutil.which("podman"):
        return "podman is installed but `podman info` fails"
    return "neither Docker (with its compose plugin and a running daemon) nor podman was found"


def find() -> Engine:
    """Return Docker when it works, else podman with a podman-compose of our own."""
    if _docker_works():
        return Engine("docker", ("docker", "compose"))
    reason = missing()
    if reason:
        raise Failed(reason)
    program = CACHE / "compose" / "bin" / "podman-compose"
    if not program.exists():
        run([sys.executable, "-m", "venv", CACHE / "compose"])
        run([CACHE / "compose" / "bin" / "python", "-m", "pip", "install", "--quiet", PODMAN_COMPOSE], timeout_s=300)
    return Engine("podman", (str(program),))


def run(
    command: Sequence[str | Path], *, timeout_s: float = 120, environ: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> str:
    """Run a command and return what it printed; raise `Failed` with what it said besides when it fails."""
    shown = " ".join(str(word) for word in command[:4])
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise Failed(f"`{shown} ...` did not end within {timeout_s:.0f} s") from exc
    if done.returncode:
        raise Failed(f"`{shown} ...` failed with exit code {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def _docker_works() -> bool:
    return (
        bool(shutil.which("docker")) and _succeeds(["docker", "info"]) and _succeeds(["docker", "compose", "version"])
    )


def _podman_works() -> bool:
    return bool(shutil.which("podman")) and _succeeds(["podman", "info"])


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False

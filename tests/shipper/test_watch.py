"""What the kernel tells is enough: in these tests nothing is found by looking again, which would take a minute."""

from __future__ import annotations

import asyncio
import glob
import os
import resource
import shutil
from pathlib import Path

import pytest
import watchfiles  # noqa: F401 (not to be imported without descriptors)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.events_of_files import WatchingFailed
from shipper.limits import Limits
from shipper.look import folders_of, matches
from shipper.watch import is_remote
from tests.fakes import Part, World, append, line, lines, until

NEVER = Limits(poll_interval_s=60.0, linger_s=0.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(
        tmp_path / "logs", patterns=("*.log*", "*.jsonl", "*/*.log", "deep/**/*.txt"), watch="inotify", limits=NEVER
    )


async def quiet(world: World, pipeline: object) -> None:
    """Wait until the look that follows the start of watching is over."""
    await until(lambda: not pipeline._watcher.due, "the first look")  # type: ignore[attr-defined]


def test_each_kind_of_change_is_told(world: World) -> None:
    """New lines, new files, renames, truncations, removals, parts and their ends: each is noticed by itself."""

    async def program() -> None:
        log = world.folder / "a.log"
        append(log, lines(range(3)))
        async with world.running() as pipeline:
            await quiet(world, pipeline)
            append(log, lines(range(3, 6)))
            await world.shipped(range(6))
            append(world.folder / "b.log", lines(range(6, 9)))
            await world.shipped(range(9))
            log.rename(world.folder / "a.log.1")
            append(world.folder / "a.log.1", lines(range(9, 12)))
            append(log, lines(range(12, 15)))
            await world.shipped(range(15))
            log.write_bytes(lines(range(15, 16)))
            await world.shipped(range(16))
            log.unlink()
            append(log, lines(range(16, 18)))
            await world.shipped(range(18))
            part = Part(world.folder, lines(range(18, 20)))
            await world.shipped(range(20))
            part.write(lines(range(20, 22)))
            await world.shipped(range(22))
        assert set(world.store.sent.values()) == {1}

    asyncio.run(program())


def test_folders_that_appear_later(world: World) -> None:
    """A folder that comes after the start, and one in it, are watched from then on."""

    async def program() -> None:
        async with world.running() as pipeline:
            await quiet(world, pipeline)
            (world.folder / "new").mkdir()
            append(world.folder / "new" / "a.log", lines(range(3)))
            (world.folder / "deep" / "er" / "still").mkdir(parents=True)
            append(world.folder / "deep" / "er" / "still" / "a.txt", lines(range(3, 6)))
            await world.shipped(range(6))
            await until(lambda: pipeline._watcher.active and not pipeline._watcher.due, "the new folders to be watched")
            append(world.folder / "new" / "a.log", lines(range(6, 9)))
            append(world.folder / "deep" / "er" / "still" / "a.txt", lines(range(9, 12)))
            await world.shipped(range(12))

    asyncio.run(program())


def test_the_folder_itself_comes_later(tmp_path: Path) -> None:
    """Where the folder of a pattern is not there yet, the nearest one above it is watched."""
    world = World(
        tmp_path / "logs", patterns=(str(tmp_path / "other" / "more" / "*.log"),), watch="inotify", limits=NEVER
    )

    async def program() -> None:
        async with world.running() as pipeline:
            await quiet(world, pipeline)
            (tmp_path / "other" / "more").mkdir(parents=True)
            append(tmp_path / "other" / "more" / "a.log", lines(range(3)))
            await world.shipped(range(3))
            await until(lambda: pipeline._watcher.active and not pipeline._watcher.due, "the new folder to be watched")
            shutil.rmtree(tmp_path / "other")
            (tmp_path / "other" / "more").mkdir(parents=True)
            append(tmp_path / "other" / "more" / "a.log", lines(range(3, 6)))
            await world.shipped(range(6))

    asyncio.run(program())


def test_what_a_link_leads_to_is_watched(world: World, tmp_path: Path) -> None:
    """Lines that are written to a link's target elsewhere are noticed, and so is a link that is turned to another file."""
    (tmp_path / "elsewhere").mkdir()

    async def program() -> None:
        target = tmp_path / "elsewhere" / "one"
        append(target, lines(range(3)))
        (world.folder / "a.log").symlink_to(target)
        async with world.running() as pipeline:
            await quiet(world, pipeline)
            append(target, lines(range(3, 6)))
            await world.shipped(range(6))
            target.rename(tmp_path / "elsewhere" / "old")
            append(target, lines(range(6, 9)))
            await world.shipped(range(9))
            append(tmp_path / "elsewhere" / "two", lines(range(9, 12)))
            (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "two")
            (tmp_path / "link").replace(world.folder / "a.log")
            await world.shipped(range(12))

    asyncio.run(program())


def test_changes_under_a_second_name_are_looked_for(world: World, tmp_path: Path) -> None:
    """The kernel tells nothing of a write under a name outside of the folders, so files with several names are looked at."""
    world.limits = Limits(poll_interval_s=0.01, linger_s=0.0)

    async def program() -> None:
        append(world.folder / "a.log", lines(range(3)))
        os.link(world.folder / "a.log", tmp_path / "hard")
        async with world.running() as pipeline:
            await quiet(world, pipeline)
            append(tmp_path / "hard", lines(range(3, 6)))
            await world.shipped(range(6))

    asyncio.run(program())


def test_a_system_without_watches_is_polled(world: World) -> None:
    """Where inotify is not to be had, that is said once, and everything arrives all the same."""
    world.limits = Limits(poll_interval_s=0.01, linger_s=0.0)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def program() -> None:
        async with world.pipeline() as pipeline:
            task = asyncio.create_task(pipeline.run())
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (3, before[1])
            )  # what is open stays so; nothing more can be opened
            await until(lambda: world.seen(WatchingFailed), "the message")
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            append(world.folder / "a.log", lines(range(3)))
            await world.shipped(range(3))
            pipeline.stop(wait_for_writers=False)
            await asyncio.wait_for(task, 20)

    try:
        asyncio.run(program())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(world.seen(WatchingFailed)) == 1


def test_a_file_system_that_others_write_to_is_polled(tmp_path: Path) -> None:
    """The kind of the mount that a folder is on decides, the innermost and latest one."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:5 / /mnt/with\\040blank rw - nfs4 server:/x rw\n"
        "3 1 0:6 / /mnt/with\\040blank/inner rw - tmpfs tmpfs rw\n4 1 0:7 / /data rw - ext4 /dev/sdb rw\n"
        "5 1 0:8 / /data rw - fuse.sshfs host: rw\n"
    )
    folders = ("/var/log", "/mnt/with blank/logs", "/mnt/with blank/inner/logs", "/data", "/database")
    assert [is_remote(folder, mounts) for folder in folders] == [False, True, False, True, False]
    assert not is_remote("/", tmp_path / "nowhere")


NAMES = st.sampled_from(["a", "b.log", ".hidden", "c[1].log", "sub"])
PATTERNS = st.sampled_from(["a", "*", "*.log", "**", ".*", "?", "sub", "[ab]*", "c[[]1].log", "s*", "**.log"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=6), st.lists(PATTERNS, min_size=1, max_size=3))
def test_a_path_matches_as_glob_finds_it(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], pattern: list[str]
) -> None:
    """What is told to have changed is input exactly when a look at everything would find it."""
    folder = tmp_path_factory.mktemp("tree")
    for names in files:
        path = folder.joinpath(*names)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(line(1))
        except OSError:
            continue  # a file where a folder should be
    whole = str(folder.joinpath(*pattern))
    found = {path for path in glob.glob(whole, recursive=True) if os.path.isfile(path)}
    here = {str(path) for path in folder.rglob("*") if path.is_file()}
    assert {path for path in here if matches(whole, path)} == found


def test_folders_that_matter(tmp_path: Path) -> None:
    """All folders in which a match may come up, and none below them."""
    for name in ("a/x/y", "b/x", ".hidden/x"):
        (tmp_path / name).mkdir(parents=True)

    def found(pattern: str) -> set[str]:
        return {os.path.relpath(path, tmp_path) for path in folders_of([str(tmp_path / pattern)])}

    assert found("*.log") == {"."}
    assert found("*/*.log") == {".", "a", "b"}
    assert found("*/x/*.log") == {".", "a", "b", "a/x", "b/x"}
    assert found("a/**/*.log") == {"a", "a/x", "a/x/y"}
    assert found("nowhere/at/all/*.log") == {"."}

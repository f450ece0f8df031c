"""Who may read and delete the files, and what other users of the machine cannot do to them."""

import grp
import os
import stat
import subprocess

import pytest

from jsonlog import ProcessFileHandler
from jsonlog.files import protocol
from jsonlog.files.folder import refuse_planted_links
from tests.jsonlog.support import make
from tests.jsonlog_files.reading import check_gap_free, messages, read_runs, run_program

NOBODY = 65534
GROUP = 54321
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def bits(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_modes_by_default(tmp_path, umask):
    """0640 for the files and 0750 for a directory that is made, whatever the umask; one that is there stays as it is."""
    handler = ProcessFileHandler(tmp_path / "made")
    handler.handle(make())
    assert (bits(tmp_path / "made"), bits(handler.path)) == (0o750, 0o640)
    handler.close()
    os.chmod(tmp_path, 0o701)
    handler = ProcessFileHandler(tmp_path, mode=0o604, directory_mode=0o700)
    handler.handle(make())
    assert (bits(tmp_path), bits(handler.path)) == (0o701, 0o604)
    handler.close()


@root
def test_a_group_for_a_sidecar_of_another_user(open_path, umask):
    """Files and directory belong to the group, which may read the files and delete them; so a user of that group can."""
    directory = open_path / "logs"
    handler = ProcessFileHandler(directory, group=GROUP)
    handler.handle(make())
    assert (os.stat(handler.path).st_gid, bits(handler.path)) == (GROUP, 0o640)
    assert (os.stat(directory).st_gid, bits(directory)) == (GROUP, 0o2770)
    path = handler.path
    handler.close()
    sidecar = {"user": NOBODY, "group": NOBODY, "extra_groups": [GROUP]}
    subprocess.run(["sh", "-c", f"cat {path} && rm {path}"], check=True, capture_output=True, **sidecar)
    assert list(directory.iterdir()) == []


def test_a_group_by_name(tmp_path):
    """The name of a group of this machine stands for its number."""
    gid = os.getegid()
    handler = ProcessFileHandler(tmp_path, group=grp.getgrgid(gid).gr_name)
    handler.handle(make())
    assert os.stat(handler.path).st_gid == gid
    handler.close()


@root
def test_a_group_that_cannot_be_given(open_path):
    """A user who is not in the group: the records are written, and it is said once."""
    os.chmod(open_path, 0o777)
    body = f"""
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
    for number in range(20): log.info("%d", number)
    """
    done = run_program(open_path, body, handler={"group": GROUP, "max_bytes": 2000})
    assert done.stderr.count("could not be given to group 54321") == 1
    assert len(done.stderr.splitlines()) == 1
    assert len(messages(read_runs(open_path))) == 20


@root
def test_a_root_master_with_workers_of_another_user(open_path):
    """The master logs as root and forks workers that give up root: all log, and one group reads everything."""
    directory = open_path / "logs"
    body = f"""
    log.info("master")
    for number in range(3):
        if os.fork() == 0:
            os.setgroups([{GROUP}]); os.setgid({GROUP}); os.setuid({NOBODY})
            for i in range(20): log.info("worker %d %d", number, i)
            os._exit(0)
    for _ in range(3): assert os.wait()[1] == 0
    """
    done = run_program(directory, body, handler={"group": GROUP, "max_bytes": 3000})
    assert done.stderr == ""
    runs = read_runs(directory)
    check_gap_free(runs)
    assert len(runs) == 4
    assert {os.stat(path).st_gid for path in directory.iterdir()} == {GROUP}
    assert {os.stat(path).st_uid for path in directory.iterdir()} == {0, NOBODY}


@root
def test_a_process_that_gives_up_root_goes_on(open_path):
    """Without a fork: the part that is open is written on, and the next one is made in the name of the new user."""
    body = f"""
    log.info("root")
    os.setgroups([]); os.setgid({GROUP}); os.setuid({NOBODY})
    for number in range(20): log.info("%d", number)
    """
    done = run_program(open_path / "logs", body, handler={"group": GROUP, "max_bytes": 3000})
    assert done.stderr == ""
    runs = read_runs(open_path / "logs")
    check_gap_free(runs)
    assert len(messages(runs)) == 21


@pytest.fixture
def public(tmp_path):
    """A directory of everybody's, as /tmp."""
    path = tmp_path / "public"
    path.mkdir()
    os.chmod(path, 0o1777)
    return path


def plant(public, target):
    link = public / "logs"
    link.symlink_to(target)
    os.lchown(link, NOBODY, NOBODY)
    return link


@root
def test_a_planted_link_is_refused(tmp_path, public):
    """Somebody else's link in a directory of everybody's, to the directory or on the way to it."""
    target = tmp_path / "victim"
    target.mkdir()
    link = plant(public, target)
    for directory in (link, link / "below"):
        with pytest.raises(PermissionError, match="a link of user 65534"):
            ProcessFileHandler(directory)
    assert list(target.iterdir()) == []
    (tmp_path / "to-it").symlink_to(link)
    with pytest.raises(PermissionError):
        ProcessFileHandler(tmp_path / "to-it")


@root
def test_a_link_that_is_planted_later_is_refused(tmp_path, public, capsys):
    """Between two parts the directory was replaced: the record goes to stderr, and to a file when the link is gone."""
    target = tmp_path / "victim"
    target.mkdir()
    handler = ProcessFileHandler(public / "logs")
    os.rmdir(public / "logs")
    link = plant(public, target)
    handler.handle(make("lost"))
    err = capsys.readouterr().err
    assert "a link of user 65534" in err
    assert '"message":"lost"' in err
    link.unlink()
    handler.handle(make("kept"))
    handler.close()
    assert list(target.iterdir()) == []
    assert messages(read_runs(public / "logs")) == ["kept"]


@root
def test_links_of_ones_own_are_followed(tmp_path, public):
    """One's own, root's, the directory owner's, and any in a directory that not everybody may write to."""
    target = tmp_path / "target"
    target.mkdir()
    (public / "own").symlink_to(target)
    refuse_planted_links(str(public / "own"))
    (tmp_path / "other").symlink_to("target/../target")
    os.lchown(tmp_path / "other", NOBODY, NOBODY)
    refuse_planted_links(str(tmp_path / "other"))
    link = plant(public, target)
    os.chown(public, NOBODY, NOBODY)
    refuse_planted_links(str(link))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    refuse_planted_links(str(loop))  # that it leads nowhere, the kernel says


TRICKS = {
    "link to a victim": lambda path, victim: (os.unlink(path), os.symlink(victim, path)),
    "hard link of a victim": lambda path, victim: (os.unlink(path), os.link(victim, path)),
    "another file": lambda path, _: (os.rename(path, path + "x"), open(path, "w").close(), os.chmod(path, 0o666), os.chown(path, NOBODY, 0)),
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
@root
def test_a_file_that_is_replaced_while_it_is_made_is_refused(tmp_path, monkeypatch, capsys, trick):
    """Who may write to the directory swaps the hidden file just before it gets its name: no record goes there."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    real = os.rename

    def swap(source, target):
        monkeypatch.setattr(os, "rename", real)
        trick(source, victim)
        real(source, target)

    handler = ProcessFileHandler(tmp_path / "logs")
    monkeypatch.setattr(protocol.os, "rename", swap)
    handler.handle(make("one"))
    err = capsys.readouterr().err
    assert "somebody replaced the file" in err
    assert '"message":"one"' in err
    handler.handle(make("two"))
    handler.close()
    assert victim.read_text() == "mine"
    found = [path.read_text() for path in (tmp_path / "logs").iterdir() if path.is_file()]
    assert sum('"message":"two"' in text for text in found) == 1
    assert not any('"message":"one"' in text for text in found)


def test_a_service_with_any_name_stays_in_the_directory(tmp_path):
    """The name of a service is encoded: it leads nowhere."""
    for number, service in enumerate(("../../etc/x", "/abs", ".hidden", "a\nb", "ü" * 300, "", "\ud800")):
        directory = tmp_path / "deep" / "er" / str(number)
        handler = ProcessFileHandler(directory, service=service or None)
        handler.handle(make())
        handler.close()
        (path,) = directory.iterdir()
        assert not path.name.startswith(".")
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}

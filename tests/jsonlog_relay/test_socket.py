"""`SocketHandler` and `jsonlog receive`, with real processes and sockets: each record is in the receiver's files once."""

import json
import logging
import logging.handlers
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import jsonlog
from jsonlog.relay.wire import frame, message
from tests.jsonlog_relay.running import Receiver, check_senders, records, run

KILLS = int(os.environ.get("JSONLOG_KILLS", "6"))


@pytest.fixture
def receiver(tmp_path):
    """One that listens."""
    one = Receiver(tmp_path / "logs").start()
    yield one
    one.stop()


@pytest.fixture
def logger():
    """A logger of its own, whose handlers are closed afterwards."""
    one = logging.Logger("shop.pay", logging.DEBUG)  # noqa: LOG001 (outside the tree, so that no test sees another's)
    yield one
    for handler in one.handlers:
        handler.close()


def connect(receiver, tmp_path, **options):
    return jsonlog.SocketHandler("127.0.0.1", receiver.port, spool=tmp_path / "spool", **options)


def wait_until(true, timeout=60):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def spooled(tmp_path):
    return sorted(path.name for path in (tmp_path / "spool").iterdir())


SENDER = """
import logging, os, signal, sys, threading, time
import jsonlog
port, spool = int(sys.argv[2]), sys.argv[3]
handler = jsonlog.SocketHandler("127.0.0.1", port, spool=spool, max_spool_bytes=int(sys.argv[4]) if len(sys.argv) > 4 else 2**28)
log = logging.getLogger("sender"); log.setLevel("INFO"); log.addHandler(handler); log.propagate = False
"""


def send(tmp_path, receiver, body, *arguments, **options):
    return run(
        tmp_path, SENDER + textwrap.dedent(body), str(receiver.port), str(tmp_path / "spool"), *arguments, **options
    )


def test_a_record_through_the_socket_is_the_record_without_it(tmp_path, receiver, logger):
    """Exception, stack, extra, bound context, names of thread and process, entity_id: as in a file of the sender's own."""
    direct = jsonlog.ProcessFileHandler(tmp_path / "direct")
    sending = connect(receiver, tmp_path)
    for handler in (direct, sending):
        handler.setFormatter(jsonlog.JsonFormatter(service="shop", environment="prod"))
        logger.addHandler(handler)

    def work():
        with jsonlog.bind(request="r1"):
            try:
                raise ValueError("declined")
            except ValueError:
                logger.exception("charge %d failed", 17, extra={"thing": threading.Lock()}, stack_info=True)

    worker = threading.Thread(target=work, name="worker-1")
    worker.start()
    worker.join()
    sending.close()
    (one,), (other,) = records(tmp_path / "direct"), records(tmp_path / "logs")
    assert other.pop("sender")["sequence"] == 0
    for record in (one, other):
        del record["run"], record["event"]
    assert other == one
    assert other["process"]["thread"]["name"] == "worker-1"
    assert spooled(tmp_path) == []
    direct.close()


def test_by_way_of_a_queue_the_first_sender_is_kept(tmp_path, receiver, logger):
    """Queue, then socket: both numbers are there, and a Unix socket does as well."""
    logger.addHandler(jsonlog.QueueHandler(handlers=[connect(receiver, tmp_path)]))
    logger.info("one")
    logger.info("two")
    handler = logger.handlers[0]
    handler.close()
    handler.listener.handlers[0].close()
    found = records(tmp_path / "logs")
    assert [record["sender"]["sequence"] for record in found] == [0, 1]
    assert [record["sender"]["origin"]["sequence"] for record in found] == [0, 1]


def test_a_unix_socket_does_as_well(tmp_path, logger):
    """Reachable for whom its permissions say; a socket that a killed receiver left behind is in nobody's way."""
    path = tmp_path / "s"
    for text in ("one", "two"):
        receiver = Receiver(tmp_path / "logs", "--listen", f"unix:{path}", "--socket-mode", "660").start()
        assert path.stat().st_mode & 0o777 == 0o660
        handler = jsonlog.SocketHandler(str(path), spool=tmp_path / "spool")
        logger.addHandler(handler)
        logger.info(text)
        handler.close()
        logger.removeHandler(handler)
        receiver.kill()
    assert sorted(record["message"] for record in records(tmp_path / "logs")) == ["one", "two"]


def test_records_of_two_services_go_to_files_of_their_own(tmp_path, receiver, logger):
    """A shipper reads from a file's first record where all of it goes."""
    for service in ("shop", "bank", "shop"):
        handler = connect(receiver, tmp_path)
        handler.setFormatter(jsonlog.JsonFormatter(service=service))
        logger.addHandler(handler)
        logger.info("from %s", service)
        handler.close()
        logger.removeHandler(handler)
    names = sorted(path.name.partition("-")[0] for path in (tmp_path / "logs").glob("*.jsonl"))
    assert names == ["bank", "shop"]
    for path in (tmp_path / "logs").glob("*.jsonl"):
        assert {json.loads(line)["service"]["name"] for line in path.read_bytes().splitlines()} == {path.name[:4]}


def test_nothing_is_lost_or_doubled_when_the_receiver_is_killed_at_random_moments(tmp_path):
    """3 processes log while the receiver is killed and started again: every record exactly once, senders and writers gap-free."""
    receiver = Receiver(tmp_path / "logs").start()
    program = tmp_path / "program.py"
    body = """
    for number in range(3000):
        log.info("%s %d", sys.argv[5], number, extra={"pad": "x" * (number % 700)})
        if number % 100 == 0: time.sleep(0.05)
    handler._drain_s = 60
    """
    program.write_text(SENDER + textwrap.dedent(body))
    arguments = [str(tmp_path / "logs"), str(receiver.port), str(tmp_path / "spool"), str(2**28)]
    senders = [
        subprocess.Popen([sys.executable, "-P", program, *arguments, str(n)], stderr=subprocess.DEVNULL)
        for n in range(3)
    ]
    chance = random.Random(7)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.6))
        receiver.kill()
        receiver.start()
    assert [sender.wait(90) for sender in senders] == [0, 0, 0]
    receiver.stop()
    found = records(tmp_path / "logs", torn_allowed=True)
    texts = [record["message"] for record in found]
    assert len(texts) == len(set(texts))
    assert set(texts) == {f"{n} {i}" for n in range(3) for i in range(3000)}
    assert len(check_senders(found)) == 3
    assert spooled(tmp_path) == []


DIES = """
import os, signal
from jsonlog.relay.journal import Journal
plain, calls = Journal.note, 0
def note(self, *arguments):
    global calls
    calls += 1
    if calls == {call} and {before}: os.kill(os.getpid(), signal.SIGKILL)
    plain(self, *arguments)
    if calls == {call}: os.kill(os.getpid(), signal.SIGKILL)
Journal.note = note
"""


@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize("before", [True, False], ids=["written", "written and noted"])
@pytest.mark.parametrize("deleted", [False, True], ids=["files stay", "files are shipped and deleted meanwhile"])
def test_killed_between_write_and_acknowledgement(tmp_path, logger, before, deleted, call):
    """
    The worst moment, on purpose: the batch is in the file, the sender does not know, and sends it again.

    It is recognised, also when a shipper has delivered and deleted the file before the receiver is back. The one case
    that is not: the journal has not got it either, and the file is gone. Then the batch comes twice, and nothing is lost.
    """
    receiver = Receiver(tmp_path / "logs").start(DIES.format(before=before, call=call))
    handler = connect(receiver, tmp_path, drain_s=60)
    logger.addHandler(handler)
    number = 0
    while receiver.process.poll() is None:
        logger.info("n %d", number)
        number += 1
        time.sleep(0.01)
    receiver.process.wait()
    shipped = records(tmp_path / "logs", torn_allowed=True)
    assert shipped
    if deleted:
        for path in (tmp_path / "logs").glob("*.jsonl"):
            path.unlink()
    receiver.start()
    logger.info("after")
    handler.close()
    receiver.stop()
    found = records(tmp_path / "logs", torn_allowed=True) + (shipped if deleted else [])
    texts = [record["message"] for record in found]
    assert set(texts) == {*(f"n {n}" for n in range(number)), "after"}
    if before and deleted:
        assert len(texts) > len(set(texts)), "then say so in the documentation"
    else:
        assert len(texts) == len(set(texts))


def test_what_a_killed_sender_left_is_delivered_by_the_next(tmp_path):
    """The sender is killed while the receiver is away: another process with the same spool delivers what had returned."""
    receiver = Receiver(tmp_path / "logs")
    program = tmp_path / "killed.py"
    program.write_text(
        SENDER + "for number in range(10**9):\n    log.info('n %d', number)\n    os.write(1, b'%d\\n' % number)\n"
    )
    arguments = [str(tmp_path / "logs"), str(receiver.port), str(tmp_path / "spool"), str(2**28)]
    with subprocess.Popen(
        [sys.executable, "-P", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as sender:
        assert sender.stdout.readline() == b"0\n"
        threading.Timer(0.3, sender.kill).start()
        said = [int(line) for line in sender.stdout.read().split(b"\n")[:-1] if line]
    receiver.start()
    body = """
    log.info("next")
    deadline = time.monotonic() + 60
    while any(name.endswith(".jsonl") and handler._delivery._writer.run not in name for name in os.listdir(spool)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    """
    send(tmp_path, receiver, body)
    receiver.stop()
    found = records(tmp_path / "logs")
    texts = [record["message"] for record in found]
    assert len(texts) == len(set(texts))
    assert {f"n {n}" for n in [0, *said]} | {"next"} <= set(texts)
    assert len(check_senders(found)) == 2
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_every_kind_send_on_their_own(tmp_path, receiver, method):
    """4 children of a process that is sending: each its own run, all records once, nothing left in the spool."""
    body = f"""
    import multiprocessing
    def child(number):
        for i in range(50): log.info("child %d %d", number, i)
    if __name__ == "__main__":
        context = multiprocessing.get_context("{method}")
        log.info("parent before")
        children = [context.Process(target=child, args=(n,)) for n in range(4)]
        for one in children: one.start()
        for i in range(50): log.info("parent %d", i)
        for one in children:
            one.join(60)
            assert one.exitcode == 0, one.exitcode
        log.info("parent after")
    """
    send(tmp_path, receiver, body)
    receiver.stop()
    found = records(tmp_path / "logs")
    texts = sorted(record["message"] for record in found)
    expected = [*(f"child {n} {i}" for n in range(4) for i in range(50)), *(f"parent {i}" for i in range(50))]
    assert texts == sorted([*expected, "parent before", "parent after"])
    assert len(check_senders(found)) == 5
    assert spooled(tmp_path) == []


def test_children_forked_while_threads_send_neither_hang_nor_take_the_connection(tmp_path, receiver):
    """15 bare forks out of a process in which 3 threads log: what is the parent's stays the parent's."""
    body = """
    stop = threading.Event()
    def work(name):
        number = 0
        while not stop.is_set():
            log.info("parent %s %d", name, number); number += 1
            if number % 20 == 0: stop.wait(0.01)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads: thread.start()
    for number in range(15):
        pid = os.fork()
        if pid == 0:
            for i in range(3): log.info("child %d %d", number, i)
            if number % 2: logging.shutdown()
            os._exit(0)  # without shutdown: what is in the spool is delivered by others
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    for thread in threads: thread.join()
    handler.close()
    handler._drain_s = 60
    log.info("takes over what the children left")
    handler._delivery._look_at = 0.0
    deadline = time.monotonic() + 60
    while sum(name.endswith(".jsonl") for name in os.listdir(spool)) > 1: assert time.monotonic() < deadline; time.sleep(0.05)
    """
    send(tmp_path, receiver, body, timeout=100)
    receiver.stop()
    found = records(tmp_path / "logs")
    texts = [record["message"] for record in found]
    assert len(texts) == len(set(texts))
    assert {f"child {n} {i}" for n in range(15) for i in range(3)} <= set(texts)
    check_senders(found)
    assert spooled(tmp_path) == []


def test_a_spool_that_is_full_loses_what_it_says_and_nothing_else(tmp_path):
    """No receiver and 64 KiB: what has no room goes to stderr, is counted, and leaves a gap; the rest arrives later."""
    receiver = Receiver(tmp_path / "logs")
    body = "for number in range(400): log.info('n %d', number, extra={'pad': 'x' * 300})\nhandler._drain_s = 0.1"
    done = send(tmp_path, receiver, body, str(64 * 1024))
    lost = {json.loads(line)["message"] for line in done.stderr.splitlines() if line.startswith("{")}
    assert 100 < len(lost) < 400
    assert done.stderr.count("the spool holds 65536 bytes that the receiver has not") == 1
    assert done.stderr.count("cannot be reached") == 1
    size = sum(path.stat().st_size for path in (tmp_path / "spool").iterdir())
    assert size <= 64 * 1024 + 8 * 1024
    receiver.start()
    send(
        tmp_path,
        receiver,
        "log.info('next'); time.sleep(0.2)\nwhile len([n for n in os.listdir(spool) if n.endswith('.jsonl')]) > 1: time.sleep(0.02)",
    )
    receiver.stop()
    found = records(tmp_path / "logs")
    there = [record["message"] for record in found if record["message"] != "next"]
    assert len(there) == len(set(there))
    assert set(there) | lost == {f"n {n}" for n in range(400)}
    assert set(there) & lost == set()
    assert max(r["sender"]["sequence"] for r in found) < 400
    assert {r["message"] for r in found if r["message"] != "next"} == {
        f"n {r['sender']['sequence']}" for r in found if r["message"] != "next"
    }


def test_a_receiver_that_stands_still_holds_up_nobody(tmp_path, receiver, logger):
    """Stopped for a while: the log calls return, and all of it arrives once it goes on."""
    handler = connect(receiver, tmp_path, drain_s=60)
    logger.addHandler(handler)
    logger.info("before")
    wait_until(lambda: records(tmp_path / "logs"))
    receiver.process.send_signal(signal.SIGSTOP)
    for number in range(5000):
        logger.info("n %d", number)
    receiver.process.send_signal(signal.SIGCONT)
    handler.close()
    assert [r["message"] for r in records(tmp_path / "logs")] == ["before", *(f"n {n}" for n in range(5000))]


def test_what_is_logged_just_before_the_end_is_delivered_too(tmp_path, receiver, logger):
    """The thread has just found nothing more to send; then come a last record and the end: it looks once more."""
    handler = connect(receiver, tmp_path, drain_s=60)
    logger.addHandler(handler)
    logger.info("one")
    wait_until(lambda: records(tmp_path / "logs"))
    delivery, calls = handler._delivery, []
    plain = delivery._orphan

    def after_the_look():
        calls.append(1)
        if len(calls) == 2:
            logger.info("late")
            delivery._is_ending = True
        return plain()

    delivery._orphan = after_the_look
    logger.info("two")
    wait_until(lambda: len(calls) >= 2)
    handler.close()
    assert [r["message"] for r in records(tmp_path / "logs")] == ["one", "two", "late"]
    assert spooled(tmp_path) == []


def test_fifty_clients_at_once(tmp_path, receiver):
    """50 senders, 100 records each, all connected at the same time."""
    ready = threading.Barrier(50)

    def work(number):
        one = logging.Logger(f"client{number}", logging.INFO)  # noqa: LOG001
        handler = connect(receiver, tmp_path, drain_s=60)
        one.addHandler(handler)
        one.info("%d 0", number)
        ready.wait(60)
        for i in range(1, 100):
            one.info("%d %d", number, i)
        handler.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = records(tmp_path / "logs")
    assert sorted(r["message"] for r in found) == sorted(f"{n} {i}" for n in range(50) for i in range(100))
    assert len(check_senders(found)) == 50
    assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [("secret", "secret", None), ("secret", "wrong", "its token is another one"), ("secret", None, "there is none"), (None, "any", None)],
)  # fmt: skip
def test_the_token(tmp_path, logger, capsys, theirs, ours, words):
    """The right one is let in; with a wrong one nothing is lost, and both sides say what is the matter."""
    options = []
    if theirs:
        (tmp_path / "token").write_text(theirs + "\n")
        options = ["--token-file", str(tmp_path / "token")]
    receiver = Receiver(tmp_path / "logs", *options).start()
    handler = connect(receiver, tmp_path, token=ours, drain_s=30 if words is None else 0.5)
    logger.addHandler(handler)
    logger.info("one")
    if words:
        wait_until(lambda: "does not take what is sent" in capsys.readouterr().err or words in receiver.text(), 30)
    handler.close()
    assert "secret" not in receiver.text()
    if words is None:
        assert [r["message"] for r in records(tmp_path / "logs")] == ["one"]
    else:
        assert records(tmp_path / "logs") == []
        right = connect(receiver, tmp_path, token="secret", drain_s=30)
        logger.handlers[:] = [right]
        logger.info("two")
        wait_until(lambda: len(records(tmp_path / "logs")) == 2)
        right.close()
        assert sorted(r["message"] for r in records(tmp_path / "logs")) == ["one", "two"]
        assert spooled(tmp_path) == []
    receiver.stop()


def test_a_record_that_is_too_long_for_the_receiver_is_put_aside_and_holds_up_nothing(tmp_path, logger, capsys):
    """It stands in `refused.jsonl`, is said, and leaves a gap in the sender's numbers."""
    receiver = Receiver(tmp_path / "logs", "--max-line-bytes", "2K").start()
    handler = connect(receiver, tmp_path, drain_s=30)
    logger.addHandler(handler)
    for size in (10, 5000, 20):
        logger.info("x" * size)
    handler.close()
    receiver.stop()
    found = records(tmp_path / "logs")
    assert [len(r["message"]) for r in found] == [10, 20]
    assert [r["sender"]["sequence"] for r in found] == [0, 2]
    assert len(json.loads((tmp_path / "spool/refused.jsonl").read_bytes())["message"]) == 5000
    assert "longer than the 2048 bytes" in capsys.readouterr().err


def exchange(receiver, data, *, timeout=20):
    """Send bytes and read what the receiver answers until it hangs up."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout) as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer


def errors(answer):
    found = []
    while answer:
        size = int.from_bytes(answer[:4], "big")
        found.append(json.loads(answer[4 : 4 + size]))
        answer = answer[4 + size :]
    return [one["error"] for one in found if "error" in one]


def test_pickle_is_refused_and_both_sides_are_told_why(tmp_path, receiver):
    """The standard `SocketHandler`: nothing is unpickled, its sender gets an answer, the operator a line."""
    standard = logging.handlers.SocketHandler("127.0.0.1", receiver.port)
    pickled = standard.makePickle(logging.makeLogRecord({"msg": "x"}))
    (why,) = errors(exchange(receiver, pickled))
    assert "pickle" in why
    assert "jsonlog.SocketHandler" in why
    wait_until(lambda: "pickle" in receiver.text())
    assert list((tmp_path / "logs").glob("*.jsonl")) == []


GARBAGE = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", "TLS"),
    "a huge frame": (b"\xff\xff\xff\xff", "longer than"),
    "no JSON": (frame(b"hello"), "not a JSON object"),
    "another version": (message(jsonlog=2), "version 2"),
    "a line that is no record": (message(jsonlog=1) + frame(b'{"a":1}'), "not a record"),
    "a line that is no JSON": (message(jsonlog=1) + frame(b"{"), "not JSON"),
    "pickle after the hello": (message(jsonlog=1) + frame(b"\x80\x04."), "pickle"),
    "two lines in one frame": (
        message(jsonlog=1) + frame(b'{"@timestamp":"","log":{},\n"run":"' + b"a" * 16 + b'","event":{"sequence":0}}'),
        "not a record",
    ),
    "a record without a time": (
        message(jsonlog=1) + frame(b'{"log":{},"run":"' + b"a" * 16 + b'","event":{"sequence":0}}'),
        "is no record",
    ),
}


def test_garbage_harms_nobody(tmp_path, receiver, logger):
    """Each kind is refused with its reason, nothing of it is in a file, and a good client beside it notices nothing."""
    handler = connect(receiver, tmp_path, drain_s=30)
    logger.addHandler(handler)
    logger.info("before")
    for name, (data, words) in GARBAGE.items():
        (why,) = errors(exchange(receiver, data))
        assert words in why, name
    chance = random.Random(3)
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", receiver.port)) as client:
            client.sendall(chance.randbytes(chance.randrange(2000)))
            if chance.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
    logger.info("after")
    handler.close()
    assert [r["message"] for r in records(tmp_path / "logs")] == ["before", "after"]
    assert len(receiver.text()) < 20_000


def test_connections_and_memory_are_bounded(tmp_path, logger):
    """Beyond the limits clients are told to come again, and what they have to send is not lost."""
    receiver = Receiver(tmp_path / "logs", "--max-connections", "2", "--max-memory-bytes", "64K").start()
    first = socket.create_connection(("127.0.0.1", receiver.port))
    first.recv(1000)
    second = socket.create_connection(("127.0.0.1", receiver.port))
    second.recv(1000)
    (why,) = errors(exchange(receiver, b""))
    assert "there are 2 connections already" in why
    handler = connect(receiver, tmp_path, drain_s=30)
    logger.addHandler(handler)
    logger.info("one")
    second.close()
    first.sendall(message(jsonlog=1) + b"\x00\x10\x00\x00{" + b" " * 100_000)
    answer = b""
    while piece := first.recv(1000):
        answer += piece
    first.close()
    assert "memory" in errors(answer)[0]
    handler.close()
    receiver.stop()
    assert [r["message"] for r in records(tmp_path / "logs")] == ["one"]


def test_a_client_that_says_nothing_does_not_keep_its_place(tmp_path):
    """Without a hello, or with a line that never ends, it is told and hung up."""
    receiver = Receiver(tmp_path / "logs").start(
        "import jsonlog.relay.receive as r; r._HELLO_S = r._STALLED_S = 0.3; r._LOOK_S = 0.1"
    )
    assert "no hello" in errors(exchange(receiver, b""))[0]
    assert "unfinished" in errors(exchange(receiver, message(jsonlog=1) + b"\x00\x00\x01\x00{"))[0]
    receiver.stop()


def test_a_full_disk_at_the_receiver_costs_nothing(tmp_path, logger):
    """Nothing is acknowledged that was not written; when there is room again all arrives, once, without a gap."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True).returncode
    ):
        if os.environ.get("SHIPPER_REQUIRE_PARTS"):
            pytest.fail("a small tmpfs cannot be mounted here")
        pytest.skip("a small tmpfs cannot be mounted here (root is needed)")
    receiver = Receiver(disk / "logs")
    receiver.directory.mkdir()
    receiver.text = (disk / "receiver.log").read_text
    try:
        (disk / "ballast").write_bytes(b"x" * 300_000)
        receiver.start()
        handler = connect(receiver, tmp_path, drain_s=60)
        logger.addHandler(handler)
        for number in range(500):
            logger.info("n %d", number, extra={"pad": "x" * 300})
        wait_until(lambda: "cannot write" in (disk / "receiver.log").read_text() or not os.statvfs(disk).f_bavail)
        time.sleep(0.5)
        (disk / "ballast").unlink()
        handler.close()
        receiver.stop()
        found = records(disk / "logs")
    finally:
        if receiver.process is not None:
            receiver.kill()
        subprocess.run(["umount", disk], check=True)
    assert [r["message"] for r in found] == [f"n {n}" for n in range(500)]
    check_senders(found)


def test_a_second_receiver_of_a_directory_is_refused(tmp_path, receiver):
    """Two of them would not know what the other one has."""
    done = subprocess.run(
        [sys.executable, "-m", "jsonlog", "receive", "--listen", "127.0.0.1:0", "--directory", receiver.directory],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, f"jsonlog receive: another receiver writes to {receiver.directory}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "9020"], "--listen 9020: expected host:port"),
        (["--listen", "unix:"], "--listen unix:: the path of a socket"),
        (["--max-line-bytes", "5x"], "--max-line-bytes 5x: expected a number from 1024"),
        (["--max-connections", "0"], "--max-connections 0"),
        (["--mode", "9"], "--mode 9: expected permission bits"),
        (["--token-file", "/nowhere/token"], "--token-file /nowhere/token: No such file"),
        (["--listen", "256.256.256.256:1"], "--listen"),
    ],
)
def test_a_wrong_option_of_the_command_is_named(tmp_path, arguments, words):
    """One line on stderr, exit code 2."""
    command = [sys.executable, "-m", "jsonlog", "receive", "--directory", tmp_path / "logs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": ""}, "'host' must be"),
        ({"port": 0}, "'port' must be 1 to 65535, or None for a Unix socket, got 0"),
        ({"spool": ""}, "'spool' must be the path of a folder"),
        ({"token": 5}, "'token' must be a string, got int"),
        ({"max_spool_bytes": 5}, "'max_spool_bytes' must be a number of bytes, 65536 or more, got 5"),
        ({"drain_s": -1}, "'drain_s' must be seconds"),
    ],
)
def test_a_wrong_option_of_the_handler_is_named(tmp_path, options, words):
    """Every argument is checked at construction."""
    with pytest.raises(ValueError, match=words):
        jsonlog.SocketHandler(**{"host": "127.0.0.1", "port": 9020, "spool": tmp_path, **options})


def test_a_spool_that_cannot_be_made_is_an_error_at_once_and_one_that_goes_away_costs_nothing_silently(
    tmp_path, logger, capsys
):
    """At construction an OSError; later the record goes to stderr, and the application sees nothing."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        jsonlog.SocketHandler("127.0.0.1", 9020, spool=tmp_path / "file" / "spool")
    handler = jsonlog.SocketHandler("127.0.0.1", 9020, spool=tmp_path / "spool", drain_s=0.1)
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").touch()
    logger.addHandler(handler)
    logger.info("one")
    assert '"message":"one"' in capsys.readouterr().err

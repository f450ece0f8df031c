"""
The handler under fork, kill, signals and a full disk, with real processes: nothing mixed, lost, twice, or hanging.

`make torture` runs these at full size and prints what was counted; the sizes here by default are smaller ones.
"""

import os
import random
import re
import subprocess
import threading

import pytest

from jsonlog.files.protocol import writer_alive
from tests.jsonlog_files.reading import check_gap_free, command, messages, read_runs, run_program, small_disk

FULL = os.environ.get("JSONLOG_TORTURE") == "full"
pytestmark = pytest.mark.timeout(3000 if FULL else 300)
MODES = {"unbuffered": {}, "buffered": {"buffer_bytes": 20_000, "flush_interval_s": 0.05}}


def size(short, full):
    """How many, by default and at full size."""
    return full if FULL else short


def tell(text):
    """Print a figure past pytest's capture, at full size."""
    if FULL:
        os.write(2, f"\n  {text}\n".encode())


# Children are forked from the main thread, from other threads, in a value's `__str__`, in a filter, and by a signal
# handler that returns into the log call it interrupted. Whoever has not ended 30 s after the last fork hangs.
FORKS = """
import random, warnings
warnings.simplefilter("ignore", DeprecationWarning)
parent, pids, hung, bad = os.getpid(), [], 0, 0
lock = threading.Lock()
def fork():
    pid = os.fork()
    if pid: pids.append(pid)
    return pid
def leave(kind):
    for i in range(3): log.info("child %s %d %d", kind, os.getpid(), i)
    handler.flush()
    os._exit(0)
class Forks:
    def __str__(self):
        self.pid = fork()
        return "value"
class Filter(logging.Filter):
    def filter(self, record):
        if record.msg.startswith("filter") and os.getpid() == parent: fork()
        return True
handler.addFilter(Filter())
signal.signal(signal.SIGALRM, lambda *_: fork())
def by_value():
    value = Forks()
    log.info("in %s %d", value, time.monotonic_ns())
    if value.pid == 0: leave("value")
def by_filter():
    log.info("filter %d", time.monotonic_ns())
    if os.getpid() != parent: leave("filter")
def by_signal():
    signal.setitimer(signal.ITIMER_REAL, 0.00002 + random.random() * 0.0004)
    log.info("signal %d", time.monotonic_ns(), extra={"pad": "x" * random.randrange(3000)})
    signal.setitimer(signal.ITIMER_REAL, 0)
    if os.getpid() != parent: leave("signal")
def by_thread():
    def work():
        if fork() == 0: leave("thread")
    thread = threading.Thread(target=work); thread.start(); thread.join()
def plainly():
    if fork() == 0: leave("plain")
def reap(most, patience_s):
    global hung, bad
    deadline = time.monotonic() + patience_s
    while len(pids) > most and time.monotonic() < deadline:
        for pid in list(pids):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done: pids.remove(pid); bad += status != 0
        time.sleep(0.001)
    for pid in pids[most:] if time.monotonic() >= deadline else []:
        os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); pids.remove(pid); hung += 1
stop = threading.Event()
def work(name):
    number = 0
    while not stop.is_set():
        log.info("parent %s %d", name, number); number += 1
threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
for thread in threads: thread.start()
ways, made = WAYS, 0
while made < COUNT:
    for way in ways:
        before = len(pids)
        way()
        made += len(pids) - before
        reap(MOST, PATIENCE)
reap(0, PATIENCE)
stop.set()
for thread in threads: thread.join(10)
print(made, hung, bad)
os._exit(0) if MOST > 100 else handler.close()
"""


def forks(**constants):
    return re.sub(r"\b[A-Z]{4,}\b", lambda found: str(constants.get(found[0], found[0])), FORKS)


@pytest.mark.parametrize("mode", MODES)
def test_children_forked_in_any_way_neither_hang_nor_mix_nor_lose(tmp_path, mode):
    """Children of a process in which 4 threads log all the time: each logs 3 records and ends, all of them whole."""
    body = forks(
        WAYS="(plainly, by_thread, by_value, by_filter, by_signal)", COUNT=size(150, 2000), MOST=8, PATIENCE=30
    )
    done = run_program(tmp_path, body, timeout=2000, handler={**MODES[mode], "max_bytes": 500_000})
    made, hung, bad = map(int, done.stdout.split())
    assert (hung, bad, done.stderr) == (0, 0, "")
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert len(runs) == made + 1
    found = [message for message in messages(runs) if message.startswith(("child", "parent"))]
    assert len(found) == len(set(found))
    assert sum(message.startswith("child") for message in found) == made * 3
    # What a signal handler forked out of is the parent's; before the handler took the record it may be the child's, too.
    kept = [message for records in runs.values() for message in {record["message"] for record in records}]
    assert len(kept) == len(messages(runs))
    tell(f"{mode}: {made} children forked, {hung} hung, {len(messages(runs))} records, every run without a gap")


def test_the_standard_handler_hangs_its_children(tmp_path):
    """The same torture with `logging.FileHandler`, as a control: it fails."""
    head = 'log.removeHandler(handler)\nos.makedirs(sys.argv[1], exist_ok=True)\nhandler = logging.FileHandler(sys.argv[1] + "/log.txt")\nlog.addHandler(handler)\n'
    body = forks(WAYS="(plainly,)", COUNT=size(60, 1000), MOST=10_000, PATIENCE=size(10, 60))
    done = run_program(tmp_path, head + body, timeout=2000)
    made, hung, _ = map(int, done.stdout.split())
    tell(f"logging.FileHandler: {made} children forked, {hung} hung")
    assert hung > 0


def test_a_cleaner_that_follows_the_protocol_never_takes_a_file_from_its_writer(tmp_path):
    """Files are created and written while a cleaner deletes every file whose lock is free: no record is lost to it."""
    count = size(3000, 20_000)
    body = f"""
    for number in range({count}):
        handler.close()
        log.info("n %d", number)
        assert os.fstat(handler._writer._run.parts.current.fd).st_nlink == 1, "the file was deleted under its writer"
    """
    with subprocess.Popen(command(tmp_path, body)) as process:
        deleted = 0
        while process.poll() is None:
            deleted += clean(tmp_path)
    assert process.returncode == 0
    deleted += clean(tmp_path)
    assert deleted == count
    assert list(tmp_path.iterdir()) == []
    tell(f"{count} creations raced against a cleaner: no record in an unlinked file")


def clean(directory):
    deleted = 0
    for path in directory.glob("*.jsonl"):
        fd = os.open(path, os.O_RDONLY)
        try:
            if not writer_alive(fd):
                path.unlink()
                deleted += 1
        finally:
            os.close(fd)
    return deleted


@pytest.mark.parametrize("mode", MODES)
def test_a_record_logged_inside_a_signal_handler_takes_no_number_twice(tmp_path, mode):
    """A timer fires all the time and logs, in the middle of log calls: no gap, no number twice, no hang."""
    count = size(8000, 200_000)
    body = f"""
    import itertools
    count = itertools.count()  # a tick may come in the middle of a tick
    def tick(*_): log.info("tick %d", next(count))
    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.0004, 0.0004)
    for number in range({count}): log.info("main %d", number)
    signal.setitimer(signal.ITIMER_REAL, 0)
    """
    run_program(tmp_path, body, timeout=2000, handler=MODES[mode])
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    found = messages(runs)
    assert len(found) == len(set(found))
    assert sum(message.startswith("main") for message in found) == count
    ticks = len(found) - count
    assert ticks > 100
    assert {f"tick {n}" for n in range(ticks)} <= set(found)
    tell(f"{mode}: {count} calls with {ticks} signals that logged: no number twice, no gap")


@pytest.mark.parametrize("mode", MODES)
def test_an_exception_in_the_middle_of_a_write_leaves_no_gap_and_no_number_twice(tmp_path, mode):
    """A signal handler that raises at random moments: every call that returned is there, numbers stay gap-free."""
    count = size(8000, 200_000)
    body = f"""
    class Interrupt(BaseException): pass
    def tick(*_): raise Interrupt
    signal.signal(signal.SIGALRM, tick)
    log.info("the file is open now")
    returned, raised, number = open("returned", "w"), 0, 0
    # A fast machine goes on until there were enough: how many signals meet a call is a matter of speed.
    while number < {count} or (raised <= 100 and number < 400000):
        is_in = False
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 50 * 0.000003)
            log.info("main %d", number)
            is_in = True
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:
            raised += 1
        try:
            if is_in: print(number, file=returned)
        except Interrupt:
            pass
        number += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    returned.close()
    print(raised)
    """
    done = run_program(tmp_path / "logs", body, timeout=2000, handler=MODES[mode], cwd=tmp_path)
    raised = int(done.stdout)
    assert raised > 100
    runs = read_runs(tmp_path / "logs")
    check_gap_free(runs)
    found = messages(runs)
    assert len(found) == len(set(found))
    there = set(found)
    missing = [n for n in (tmp_path / "returned").read_text().split() if f"main {n}" not in there]
    assert not missing, (len(found), missing[:20], done.stderr[:2000])
    tell(f"{mode}: {count} calls, {raised} of them interrupted: no number twice, no gap, none missing that returned")


def test_sigkill_loses_no_record_whose_call_returned(tmp_path):
    """Killed at random moments: what the process had said it logged is in the file, at most one line is torn."""
    body = """
    number = 0
    while True:
        log.info("n %d", number, extra={"pad": "x" * (number % 3000)})
        os.write(1, b"%d\\n" % number)
        number += 1
    """
    chance = random.Random(5)
    kept = 0
    for attempt in range(size(15, 200)):
        directory = tmp_path / str(attempt)
        with subprocess.Popen(command(directory, body), stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"0\n"
            threading.Timer(chance.random() * 0.05, process.kill).start()
            said = [int(line) for line in process.stdout.read().split(b"\n")[:-1] if line]
        runs = read_runs(directory, torn_allowed=True)
        check_gap_free(runs)
        assert {f"n {n}" for n in said} <= set(messages(runs))
        kept += len(said)
    tell(f"{size(15, 200)} processes killed: all of {kept} records are there whose call had returned")


@pytest.mark.parametrize("mode", MODES)
def test_many_processes_write_at_once_without_mixing(tmp_path, mode):
    """8 processes at once, rotated every 100 kB: every number of every run is there exactly once."""
    count = size(2000, 50_000)
    body = f'for number in range({count}): log.info("n %d", number, extra={{"pad": "x" * (number % 200)}})'
    options = {"max_bytes": 100_000, **MODES[mode]}
    processes = [subprocess.Popen(command(tmp_path, body, **options)) for _ in range(8)]
    assert [process.wait(1000) for process in processes] == [0] * 8
    runs = read_runs(tmp_path)
    check_gap_free(runs)
    assert [len(records) for records in runs.values()] == [count] * 8
    assert all(
        sorted(messages({run: records})) == sorted(f"n {n}" for n in range(count)) for run, records in runs.items()
    )
    files = len(list(tmp_path.iterdir()))
    assert files > 8 * 5
    tell(f"{mode}: 8 processes x {count} records in {files} files: each number of each run once")


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_costs_numbers_and_never_half_a_line(tmp_path, mode):
    """On a full file system records go to stderr, each lost one leaves a gap, and when there is room again writing goes on."""
    count = size(600, 20_000)
    body = f"""
    for number in range({count}): log.info("n %d", number, extra={{"pad": "x" * 300}})
    handler.flush()
    os.unlink(os.path.join(sys.argv[1], "ballast"))
    for number in range({count}, {count + 50}): log.info("n %d", number)
    """
    with small_disk(tmp_path / "disk", "256k" if not FULL else "8m") as disk:
        (disk / "ballast").write_bytes(b"x" * size(100_000, 4_000_000))
        done = run_program(disk, body, timeout=600, handler=MODES[mode])
        runs = read_runs(disk)
    (records,) = runs.values()
    numbers = [record["event"]["sequence"] for record in records]
    assert numbers == sorted(set(numbers))
    assert numbers[-50:] == list(range(count, count + 50))
    assert [r["message"] for r in records] == [f"n {n}" for n in numbers]
    lost = set(range(count + 50)) - set(numbers)
    assert lost
    said = done.stderr.splitlines()
    assert sum("cannot write to" in line and "No space left" in line for line in said) == 1
    assert sum(f"can write again; {len(lost)} records" in line for line in said) == 1
    assert sum(line.startswith("{") for line in said) == len(lost)
    assert all(any(f'"sequence":{number}}}' in line for line in said) for number in list(lost)[:20])
    tell(f"{mode}: a full disk: {len(lost)} of {count} records went to stderr with their numbers, the others are whole")

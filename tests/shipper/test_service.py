"""The command as a process: exit codes, one clear line for each bad input, signals, and never a traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import Part, Program, append, clean_environment, line, lines, wait_for
from tests.shipper.support import Endpoint, Handler, Shipper

GOOD = ("run", "--once", "--path", "logs", "--to", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "--to", "http://h"), 2, "no files to ship: give --path"),
        (("run", "--path", "logs"), 2, "nowhere to ship to: give --to"),
        (
            ("run", "--once", "--path", "nothing/*.jsonl", "--to", "http://h"),
            2,
            "folder .*nothing does not exist; check --path",
        ),
        (("run", "--once", "--path", "logs/x*.jsonl", "--to", "http://h"), 2, "no file matches .*logs/x.*check --path"),
        ((*GOOD[:-1], "localhost:9200"), 2, "--to localhost:9200: the URL must begin with http://"),
        ((*GOOD[:-1], "http://u:geheim@h:port"), 2, r"--to http://u:\*\*\*@h:port"),
        ((*GOOD, "--sink", "kafka"), 2, "--sink: .*got 'kafka'"),
        ((*GOOD, "--compression", "rar"), 2, "--compression: .*got 'rar'"),
        ((*GOOD, "--finished", "burn"), 2, "--finished: .*got 'burn'"),
        ((*GOOD, "--config", "no.yaml"), 2, "cannot read no.yaml: No such file"),
        ((*GOOD, "--config", "bad.yaml"), 2, "bad.yaml:2: unknown key 'paht'; did you mean 'path'"),
        ((*GOOD, "--state", "file"), 2, "cannot use .*file for the state: .*--state"),
        ((*GOOD, "--state", "damaged"), 3, "checkpoint .*damaged.* cannot be used: .*move it away"),
        (("run", "--nonsense"), 2, "No such option"),
        (("setup",), 2, "nowhere to .*give --to"),
    ],
)
def test_bad_input(shipper: Shipper, arguments: tuple[str, ...], code: int, words: str) -> None:
    """Each wrong input ends with its exit code and one line that names the thing and what to do."""
    (shipper.folder / "bad.yaml").write_text("to: http://h\npaht: x\n")
    (shipper.folder / "file").write_text("")
    (shipper.folder / "damaged").mkdir()
    (shipper.folder / "damaged" / "checkpoint.sqlite").write_bytes(b"garbage " * 1000)
    append(shipper.logs / "a.jsonl", line(1))
    program = shipper.run(*arguments)
    assert program.wait() == code
    assert re.search(words, program.said), program.said
    assert "geheim" not in program.said
    if "option" not in program.said:
        assert program.said.count("\n") == 1, program.said
        assert program.said.startswith("shipper: ")


def test_once(shipper: Shipper, endpoint: Endpoint) -> None:
    """Ships what is there, says how much, exits 0; a second time nothing is sent again."""
    append(shipper.logs / "a.jsonl", lines(range(10)) + b"bad line\n")
    command = ("run", "--once", "--path", "logs", "--to", endpoint.url)
    first = shipper.run(*command)
    assert first.wait() == 0
    assert "11 records delivered, 1 of them wrapped; nothing is left" in first.said
    assert [one["message"] for one in map(json.loads, endpoint.records.values()) if "n" not in one] == ["bad line"]
    second = shipper.run(*command)
    assert second.wait() == 0
    assert "0 records delivered; nothing is left" in second.said


def test_settings_from_everywhere(shipper: Shipper, endpoint: Endpoint) -> None:
    """A YAML file and variables alone are enough."""
    append(shipper.logs / "a.jsonl", line(1))
    (shipper.folder / "s.yaml").write_text("path: logs/*.jsonl\ncompression: none\n")
    program = shipper.run(
        "run",
        "--once",
        "--config",
        "s.yaml",
        env={"SHIPPER_TO": endpoint.url, "SHIPPER_STATE": "st", "SHIPPER_PATHS": "x"},
    )
    assert program.wait() == 0
    assert "SHIPPER_PATHS is not a setting; did you mean SHIPPER_PATH?" in program.said
    assert (shipper.folder / "st" / "checkpoint.sqlite").exists()
    assert len(endpoint.records) == 1


def test_a_store_that_is_not_there_is_waited_for(shipper: Shipper) -> None:
    """Without a store the shipper says so once, goes on, and ships when there is one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    append(shipper.logs / "a.jsonl", lines(range(5)))
    program = shipper.run("run", "--path", "logs", "--to", f"http://127.0.0.1:{port}")
    wait_for(lambda: "is not available" in program.said, "the message")
    assert program.process.poll() is None
    endpoint = Endpoint(port)
    try:
        wait_for(lambda: len(endpoint.records) == 5, "the records")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert program.said.count("is not available") == 1
    finally:
        endpoint.close()


def test_a_folder_that_is_not_there_is_waited_for(shipper: Shipper, endpoint: Endpoint) -> None:
    """Without a folder the shipper waits, and follows the files when it appears."""
    program = shipper.run("run", "--path", "later/*.jsonl", "--to", endpoint.url)
    wait_for(lambda: "does not exist yet" in program.said, "the message")
    (shipper.folder / "later").mkdir()
    append(shipper.folder / "later" / "a.jsonl", line(1))
    wait_for(lambda: endpoint.records, "the record")
    program.signal(signal.SIGINT)
    assert program.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_waiting_ends_at_once(shipper: Shipper, number: int) -> None:
    """A shipper that still looks for its store, or its folder, ends with 0 at a signal."""
    append(shipper.logs / "a.jsonl", line(1))
    waits = [
        shipper.run("run", "--path", "logs", "--to", "http://127.0.0.1:1"),
        shipper.run("run", "--path", "later/*.jsonl", "--to", "http://127.0.0.1:1"),
    ]
    for program in waits:
        wait_for(lambda program=program: "shipper: the" in program.said, "the message")
        program.signal(number)
    assert [program.wait(10) for program in waits] == [0, 0]
    assert "stopped before anything was shipped: http://127.0.0.1:1 never answered" in waits[0].said
    assert "stopped before anything was shipped: the folder" in waits[1].said
    assert "sink" not in waits[1].said


def test_a_store_that_is_about_to_answer_gets_the_files_however_early_the_signal_comes(shipper: Shipper) -> None:
    """SIGTERM while the store is asked for the first time: its answer is waited for, and what there is is shipped."""
    asked, go_on = threading.Event(), threading.Event()

    class Slow(Handler):
        def do_GET(self) -> None:
            asked.set()
            go_on.wait(30)
            self.send_error(404)

    endpoint = Endpoint()
    endpoint.RequestHandlerClass = Slow
    append(shipper.logs / "a.jsonl", line(1))
    program = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    assert asked.wait(30)
    program.signal(signal.SIGTERM)
    time.sleep(0.3)  # the signal first, then the answer
    go_on.set()
    assert program.wait() == 0
    assert len(endpoint.records) == 1, program.said
    endpoint.close()


def test_once_that_was_stopped_before_the_store_answered_is_no_success(shipper: Shipper) -> None:
    """A script must not believe that everything was shipped."""
    append(shipper.logs / "a.jsonl", line(1))
    program = shipper.run(*GOOD)
    wait_for(lambda: "is not available" in program.said, "the message")
    program.signal(signal.SIGTERM)
    assert program.wait(10) == 1


def test_once_with_nothing_new_is_no_mistake(shipper: Shipper, endpoint: Endpoint) -> None:
    """When all files have been shipped and deleted, the next run finds nothing, and that is a success."""
    command = ("run", "--once", "--path", "logs", "--to", endpoint.url, "--finished", "delete")
    append(shipper.logs / "app-h-1-0123456789abcdef.0.jsonl", lines(range(3)))
    assert shipper.run(*command).wait() == 0
    assert list(shipper.logs.glob("*.jsonl")) == []
    again = shipper.run(*command)
    assert again.wait() == 0
    assert "waiting" not in again.said
    assert len(endpoint.records) == 3


@pytest.mark.parametrize(
    ("number", "command", "codes"),
    [
        (signal.SIGINT, GOOD, {130, 1}),
        (signal.SIGTERM, GOOD, {143, 1}),
        (signal.SIGTERM, ("run", *GOOD[2:]), {0}),
    ],
)
def test_an_early_signal_ends_without_a_word(
    shipper: Shipper, number: int, command: tuple[str, ...], codes: set[int]
) -> None:
    """A signal while the program still imports its parts ends it, with the code that a later one would give."""
    append(shipper.logs / "a.jsonl", line(1))
    for step in range(8):
        program = shipper.run(*command)
        # What is tried is the moment; before the interpreter has run our first line nobody can take the signal.
        wait_for(lambda program=program: handles(program.process.pid, number), "the handler")
        time.sleep(0.03 * step)
        program.signal(number)
        assert program.wait(10) in codes
        assert "Traceback" not in program.said


def test_sigterm_while_it_starts_is_kept_until_it_can_drain(shipper: Shipper, endpoint: Endpoint) -> None:
    """The pod that ends while its sidecar still imports its parts has logged something: it is shipped, then comes the end."""
    append(shipper.logs / "a.jsonl", line(1))
    program = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: handles(program.process.pid, signal.SIGTERM), "the handler")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert len(endpoint.records) == 1, program.said


def handles(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal, by what the kernel says."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(row for row in status.splitlines() if row.startswith("SigCgt"))
    # Python itself catches SIGINT from its start; ours are two together.
    mask = int(caught.split()[1], 16)
    return bool(mask >> (signal.SIGTERM - 1) & 1) and bool(mask >> (number - 1) & 1)


def test_sigterm_waits_for_writers_and_sigint_does_not(shipper: Shipper, endpoint: Endpoint) -> None:
    """With a living writer SIGINT ends at once; SIGTERM when the writer has ended, with what it wrote last."""
    part = Part(shipper.logs, line(0))
    first = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: len(endpoint.records) == 1, "the first record")
    first.signal(signal.SIGINT)
    assert first.wait(10) == 0
    second = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: "the sink is" in second.said, "the start")
    second.signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in second.said, "the message")
    part.write(line(1))
    wait_for(lambda: len(endpoint.records) == 2, "the second record")
    assert second.process.poll() is None
    part.write(line(2))
    part.end()
    assert second.wait(10) == 0
    assert len(endpoint.records) == 3


def test_the_deadline_of_a_drain(shipper: Shipper, endpoint: Endpoint) -> None:
    """With a writer that never ends, or a store that never answers, the drain ends at its deadline with 0 and says what is left."""
    part = Part(shipper.logs, line(0))
    program = shipper.run("run", "--path", "logs", "--to", endpoint.url, env={"SHIPPER_DRAIN_S": "0.5"})
    wait_for(lambda: endpoint.records, "the record")
    endpoint.status = 503
    part.write(line(1))
    wait_for(lambda: "is not available" in program.said, "the message")
    program.signal(signal.SIGTERM)
    started = time.monotonic()
    assert program.wait(10) == 0
    assert time.monotonic() - started < 5
    assert f"at least {len(line(1))} bytes are left for the next start" in program.said
    part.end()


def test_a_second_signal_ends_at_once(shipper: Shipper, endpoint: Endpoint) -> None:
    """Who does not want to wait sends a second signal; what was not acknowledged is sent by the next start."""
    part = Part(shipper.logs, line(0))
    program = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: endpoint.records, "the record")
    program.signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in program.said, "the message")
    program.signal(signal.SIGTERM)
    assert program.wait(5) == 128 + signal.SIGTERM
    part.end()
    again = shipper.run("run", "--once", "--path", "logs", "--to", endpoint.url)
    assert again.wait() == 0
    assert len(endpoint.records) == 1


def test_a_second_shipper_names_the_first(shipper: Shipper, endpoint: Endpoint) -> None:
    """Two shippers on one state: the second ends with 2 and names the first one's process."""
    append(shipper.logs / "a.jsonl", line(1))
    first = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    wait_for(lambda: endpoint.records, "the record")
    second = shipper.run("run", "--path", "logs", "--to", endpoint.url)
    assert second.wait() == 2
    assert f"pid {first.process.pid}" in second.said


def test_an_unreadable_file_with_once(shipper: Shipper, endpoint: Endpoint) -> None:
    """With once a file that cannot be read is named, the others are shipped, and the exit code is 1."""
    (shipper.logs / "a.jsonl").symlink_to("a.jsonl")
    append(shipper.logs / "b.jsonl", line(2))
    program = shipper.run("run", "--once", "--path", "logs", "--to", endpoint.url)
    assert program.wait() == 1
    assert "logs/a.jsonl: Too many levels of symbolic links" in program.said
    assert len(endpoint.records) == 1


def test_a_closed_stderr_stops_nothing(shipper: Shipper, endpoint: Endpoint) -> None:
    """When nobody reads the messages any more, records are shipped on."""
    read, write = os.pipe()
    append(shipper.logs / "a.jsonl", line(1))
    command = [sys.executable, "-m", "shipper", "run", "--path", "logs", "--to", endpoint.url]
    process = subprocess.Popen(command, stderr=write, cwd=shipper.folder, env=clean_environment({}))
    os.close(write)
    try:
        wait_for(lambda: endpoint.records, "the first record")
        os.close(read)
        append(shipper.logs / "a.jsonl", b"bad\n" + line(2))
        wait_for(lambda: len(endpoint.records) == 3, "the second record")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_help_and_version(shipper: Shipper) -> None:
    """`--help` and `--version` work, and every command has a help of its own."""
    for arguments in (("--help",), ("--version",), ("run", "--help"), ("setup", "--help"), ("collect", "--help")):
        assert shipper.run(*arguments).wait() == 0


def ask(url: str) -> tuple[int, str]:
    """GET a page; the status and the text."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def samples(text: str) -> dict[str, float]:
    """Metrics as Prometheus itself reads them, by name and labels."""
    return {
        s.name + "".join(f",{value}" for value in s.labels.values()): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def metrics_url(program: Program) -> str:
    found = wait_for(lambda: re.search(r"metrics at (http://\S+)/metrics", program.said), "the address")
    return str(found[1])


def test_metrics_and_readiness(shipper: Shipper, endpoint: Endpoint) -> None:
    """The figures are those of what was shipped, they add up, and readiness says why while an operator has to act."""
    append(shipper.logs / "a.jsonl", lines(range(10)) + b"\nbad line\n")
    program = shipper.run(
        "run",
        "--path",
        "logs",
        "--to",
        endpoint.url,
        "--metrics",
        "127.0.0.1:0",
        env={"SHIPPER_BAD_LINES": "dead_letter"},
    )
    url = metrics_url(program)
    wait_for(lambda: len(endpoint.records) == 10, "the records")
    wait_for(lambda: samples(ask(url + "/metrics")[1])["shipper_checkpoint_commits_total"] > 0, "a commit")
    assert ask(url + "/healthz") == (200, "alive\n")
    assert ask(url + "/readyz") == (200, "ready\n")
    found = samples(ask(url + "/metrics")[1])
    fates = {key.partition(",")[2]: value for key, value in found.items() if key.startswith("shipper_records_total")}
    assert {fate: number for fate, number in fates.items() if number} == {
        "delivered": 10,
        "empty": 1,
        "dead_lettered": 1,
    }
    size = (shipper.logs / "a.jsonl").stat().st_size
    assert found["shipper_lines_read_total"] == sum(fates.values()) + found["shipper_in_flight_lines"] == 12
    assert (found["shipper_read_bytes_total"], found["shipper_settled_bytes_total"]) == (size, size)
    assert (found["shipper_files"], found["shipper_lag_bytes"], found["shipper_sink_up"]) == (1, 0, 1)
    assert found["shipper_requests_total,done,200"] >= 1
    assert found["shipper_dead_letters_bytes"] > 0
    before = found["shipper_delivery_seconds_count"]
    endpoint.status = 401
    written = datetime.now(UTC) - timedelta(seconds=90)
    stamped = b'{"@timestamp":"%s","n":1}\n' % written.isoformat(timespec="milliseconds").encode()
    append(shipper.logs / "a.jsonl", stamped)
    wait_for(lambda: ask(url + "/readyz")[0] == 503, "not to be ready")
    assert "401" in ask(url + "/readyz")[1]
    found = samples(ask(url + "/metrics")[1])
    assert (found["shipper_sink_up"], found["shipper_ready"], found["shipper_in_flight_lines"]) == (0, 0, 1)
    assert found["shipper_lag_bytes"] == len(stamped)
    assert 90 <= found["shipper_oldest_unacknowledged_seconds"] < 150
    assert found["shipper_retries_total"] >= 1
    assert ask(url + "/healthz")[0] == 200
    endpoint.status = 200
    wait_for(lambda: ask(url + "/readyz")[0] == 200, "to be ready again")
    wait_for(lambda: samples(ask(url + "/metrics")[1])["shipper_delivery_seconds_count"] == before + 1, "the delay")
    found = samples(ask(url + "/metrics")[1])
    assert found["shipper_delivery_seconds_bucket,60.0"] == before
    assert found["shipper_delivery_seconds_bucket,300.0"] == before + 1
    oldest = "shipper_oldest_unacknowledged_seconds"
    wait_for(lambda: samples(ask(url + "/metrics")[1])[oldest] == 0, "nothing to be left")
    assert (ask(url + "/nothing")[0], ask(url + "/metrics?x=1")[0]) == (404, 200)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


def test_not_ready_before_the_store_has_answered(shipper: Shipper) -> None:
    """Metrics are served from the start, and readiness says what is waited for."""
    append(shipper.logs / "a.jsonl", line(1))
    program = shipper.run("run", "--path", "logs", "--to", "http://127.0.0.1:1", "--metrics", "127.0.0.1:0")
    url = metrics_url(program)
    wait_for(lambda: "refused" in ask(url + "/readyz")[1].lower() or "connect" in ask(url + "/readyz")[1], "the reason")
    assert ask(url + "/readyz")[0] == 503
    assert ask(url + "/metrics")[0] == 200


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "203.0.113.1:9101"])
def test_an_address_that_cannot_be_listened_on(shipper: Shipper, endpoint: Endpoint, address: str) -> None:
    """A wrong address is one sentence that names the option, and exit code 2."""
    append(shipper.logs / "a.jsonl", line(1))
    program = shipper.run("run", "--path", "logs", "--to", endpoint.url, "--metrics", address)
    assert program.wait() == 2
    assert f"--metrics {address}: " in program.said


def test_once_with_a_time(shipper: Shipper) -> None:
    """With the store away, once ends after its time with exit code 5 and says what it waited for; nothing is lost."""
    append(shipper.logs / "a.jsonl", lines(range(5)))
    started = time.monotonic()
    program = shipper.run("run", "--once", "--path", "logs", "--to", "http://127.0.0.1:1", "--timeout", "1")
    assert program.wait() == 5
    assert time.monotonic() - started < 15
    assert "not done after 1 s: http://127.0.0.1:1" in program.said


def test_once_with_a_time_in_the_middle(shipper: Shipper, endpoint: Endpoint) -> None:
    """Also when the store answers, but takes nothing; the next run ships it all."""
    append(shipper.logs / "a.jsonl", lines(range(5)))
    endpoint.status = 503
    command = ("run", "--once", "--path", "logs", "--to", endpoint.url, "--timeout")
    program = shipper.run(*command, "2")
    assert program.wait() == 5
    endpoint.status = 200
    program = shipper.run(*command, "30")
    assert program.wait() == 0
    assert len(endpoint.records) == 5


def test_settings_are_read_again_at_sighup(shipper: Shipper, endpoint: Endpoint) -> None:
    """SIGHUP takes over a changed file, keeps what it has if that is wrong, and neither loses nor repeats a record."""
    other = Endpoint()
    config = shipper.folder / "s.yaml"
    config.write_text(f"path: logs/*.jsonl\nto: {endpoint.url}\n")
    append(shipper.logs / "a.jsonl", lines(range(5)))
    try:
        program = shipper.run("run", "--config", "s.yaml")
        wait_for(lambda: len(endpoint.records) == 5, "the first records")
        config.write_text("path: logs/*.jsonl\nto: nonsense\n")
        program.signal(signal.SIGHUP)
        wait_for(lambda: "the settings are kept as they are: --to nonsense" in program.said, "the message")
        config.write_text(f"path: logs/*.jsonl\nto: {other.url}\n")
        program.signal(signal.SIGHUP)
        wait_for(lambda: f"to {other.url}" in program.said, "the new settings")
        append(shipper.logs / "a.jsonl", lines(range(5, 12)))
        wait_for(lambda: len(other.records) == 7, "the other records")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert "12 records delivered; nothing is left" in program.said
        assert len(endpoint.records) == 5
    finally:
        other.close()


def test_progress_on_a_terminal_alone(shipper: Shipper, endpoint: Endpoint) -> None:
    """On a terminal once shows how far it is in a line that is written over; in a file there is none of it."""
    append(shipper.logs / "a.jsonl", lines(range(5)))
    endpoint.status = 503
    command = ("run", "--once", "--path", "logs", "--to", endpoint.url, "--timeout", "1.5")
    assert "%" not in (quiet := shipper.run(*command)).said
    assert quiet.wait() == 5
    assert "%" not in quiet.said
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "shipper", *command], cwd=shipper.folder, stderr=slave, env=clean_environment({})
    )
    os.close(slave)
    text = b""
    with suppress(OSError):  # the other side is closed
        while data := os.read(master, 10_000):
            text += data
    os.close(master)
    assert process.wait() == 5
    assert b"\r\x1b[K[                    ]   0% of 0.0 MB" in text
    assert text.rstrip().endswith(b"bytes are left for the next start")


def test_files_are_followed_before_the_store_is_there(shipper: Shipper) -> None:
    """What rotates out of the pattern while the store is absent from the start is shipped once it has come."""
    first = Endpoint()
    first.close()
    port = first.server_address[1]
    log = shipper.logs / "a.jsonl"
    append(log, line(0))
    program = shipper.run("run", "--path", "logs", "--to", first.url)
    wait_for(lambda: is_open_in(program, log), "the file to be followed")
    for number in range(1, 4):
        log.rename(shipper.logs / f"old{number}")
        append(log, line(number))
        wait_for(lambda: is_open_in(program, log), "the next file to be followed")
    endpoint = Endpoint(port)
    try:
        wait_for(lambda: len(endpoint.records) == 4, "all records", timeout_s=60)
        program.signal(signal.SIGINT)
        assert program.wait() == 0
    finally:
        endpoint.close()
    assert "was deleted" not in program.said


def is_open_in(program: Program, path: Path) -> bool:
    """Tell whether a process has a file open."""
    folder = Path(f"/proc/{program.process.pid}/fd")
    numbers = [fd.stat().st_ino for fd in folder.iterdir() if fd.exists()]
    return path.stat().st_ino in numbers

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess

import pytest

from tests.jsonlog_view.support import COMMAND, environment, line, part_name, run, show, until

TRACE = 'Traceback (most recent call last):\n  File "/app/pay.py", line 12, in charge\nshop.errors.CardError: declined'
EVIL = "a\x1b]0;title\x07b\x9b31mc\rd\u202ee"


def on_terminal(*arguments, **changes) -> bytes:
    """What the command writes when stdout is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=theirs, env=environment(**changes))
    os.close(theirs)
    pieces = []
    try:
        while piece := os.read(ours, 65536):
            pieces.append(piece)
    except OSError:  # how a terminal says that the other side is closed
        pass
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return b"".join(pieces)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        line(
            0,
            "2020-11-22T05:02:17.220Z",
            extra={"user": "ann", "amount": 12.5, "note": "to be sent", "n": "7", "deep": {"x": [1]}},
        )
    )
    return path


def test_a_record_is_one_readable_line(path):
    """Time, level, logger, message, then the extras: bare where that is clear, quoted where it is not."""
    assert show(path) == (
        '2020-11-22 05:02:17.220 INFO  shop.pay  hello  user=ann amount=12.5 note="to be sent" n="7" deep.x=[1]\n'
    )


def test_all_shows_the_quiet_fields(path):
    """`--all` adds what is the same on most lines."""
    assert "process.pid=7" in show("--all", path)
    assert "process.pid" not in show(path)


def test_columns_are_aligned(tmp_path):
    """Messages begin in the same column once the widest logger was seen; a long level is shortened."""
    lines = [
        line(0, logger="shop.payments", level="WARNING"),
        line(1, logger="shop", level="CRITICAL"),
        line(2, level="INFO"),
    ]
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    shown = show(tmp_path).splitlines()
    assert len({one.index("hello") for one in shown}) == 1
    assert [one.split()[2] for one in shown] == ["WARN", "CRIT", "INFO"]


def test_processes_are_told_apart_where_they_differ(tmp_path):
    """Service and process are shown from the first line on if the files come from more than one, and only then."""
    (tmp_path / part_name(0)).write_bytes(line(0, process={"pid": 1}))
    assert show(tmp_path) == "11-22 05:02:17.220 INFO  shop.pay  hello\n".replace("11-22", show(tmp_path).split()[0])
    (tmp_path / part_name(1, service="web")).write_bytes(
        line(1, process={"pid": 2}, service={"name": "web"}, run="other")
    )
    assert [one.split()[3] for one in show(tmp_path).splitlines()] == ["shop/1", "web/2"]


def test_tracebacks_and_long_messages_are_indented_below(tmp_path):
    """Nothing inside a record begins in the first column, so no value can pass for a record of its own."""
    (tmp_path / "a.jsonl").write_bytes(
        line(0, message="one\ntwo", level="ERROR", exc={"type": "CardError", "traceback": TRACE}, stack="Stack:\n  x")
    )
    first, *below = show(tmp_path).splitlines()
    assert first.endswith("one")
    assert below == ["    two", *("    " + one for one in TRACE.split("\n")), "    Stack:", "      x"]
    (tmp_path / "a.jsonl").write_bytes(line(0, exc={"type": "CardError", "message": "declined"}))
    assert show(tmp_path).splitlines()[1] == "    CardError: declined"


@pytest.mark.parametrize(
    ("arguments", "changes", "coloured"),
    [
        ([], {}, True), ([], {"NO_COLOR": "1"}, False), ([], {"NO_COLOR": ""}, True), ([], {"TERM": "dumb"}, False),
        (["--color", "never"], {}, False), (["--color", "always"], {"NO_COLOR": "1"}, True), (["-o", "json"], {}, False),
    ],
)  # fmt: skip
def test_colours_on_a_terminal(path, arguments, changes, coloured):
    """A terminal gets colours unless NO_COLOR, TERM or an option says otherwise."""
    assert (b"\x1b[" in on_terminal(*arguments, path, **changes)) is coloured


def test_a_pipe_gets_colours_only_when_asked(path):
    """Into a pipe there are no colours, with `--color always` there are, and they change nothing but the colour."""
    plain = show(path)
    assert "\x1b" not in plain
    coloured = show("--color", "always", path)
    assert "\x1b[32mINFO" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize(
    "field", ["message", "level", "logger", "extra", "key", "exc", "service", "stamp", "foreign", "other"]
)
@pytest.mark.parametrize("output", ["text", "json", "csv"])
def test_no_value_reaches_the_terminal_raw(tmp_path, field, output):
    """Escape sequences, eight-bit controls, carriage returns and turned text are shown as escapes, wherever they stand."""
    fields = {
        "message": {"message": EVIL}, "level": {"level": EVIL}, "logger": {"logger": EVIL}, "extra": {"extra": {"x": EVIL}},
        "key": {"extra": {EVIL: {EVIL: 1}}}, "exc": {"exc": {"traceback": EVIL}, "stack": EVIL},
        "service": {"service": {"name": EVIL}}, "foreign": {}, "stamp": {"@timestamp": EVIL}, "other": {"log": {}, "x": [EVIL]},
    }[field]  # fmt: skip
    data = line(0, **fields) + line(1, service={"name": "b"}) + (EVIL.encode() + b"\n" if field == "foreign" else b"")
    (tmp_path / "a.jsonl").write_bytes(data)
    shown = on_terminal("--color", "never", "-o", output, tmp_path).decode().replace("\r\n", "\n")
    assert not set(shown) & set("\x1b\x07\x9b\r\u202e")
    if output == "json":
        for one in shown.splitlines()[:2]:
            json.loads(one)
    assert len(shown.splitlines()) >= 2


def test_lines_of_others_are_shown_unharmed(tmp_path):
    """Text that is not JSON stands as it is, and JSON of other loggers is shown by what its fields mean."""
    (tmp_path / "a.log").write_bytes(
        b'  plain \xc3\xa9 text\t{"x": 1}\n\n{"time":1606021337220,"level":50,"name":"web","msg":"no","err":{"stack":"E: no\\n  at x"}}\n'
        b'{"timestamp":"2020-11-22 05:02:18,5","levelname":"WARNING","message":"hm","a":1}\n"just text"\nno newline'
    )
    assert show(tmp_path / "a.log").split("\n") == [
        '  plain é text\t{"x": 1}', "", "2020-11-22 05:02:17.220 ERROR web  no", "    E: no", "      at x",
        "2020-11-22 05:02:18.500 WARN  hm  a=1", '"just text"', "no newline", "",
    ]  # fmt: skip
    assert show("-o", "json", tmp_path / "a.log").encode() == (tmp_path / "a.log").read_bytes() + b"\n"


def test_csv_can_be_read_back(tmp_path):
    """Quotes, commas, newlines and foreign lines survive the way through CSV."""
    message = 'a "quoted", text\nof two lines'
    (tmp_path / "a.jsonl").write_bytes(line(3, message=message, extra={"a": "é,"}) + b'foreign, "line"\n')
    header, first, second = csv.reader(io.StringIO(show("-o", "csv", tmp_path), newline=""))
    row = dict(zip(header, first, strict=True))
    assert (row["message"], row["log.level"], row["event.sequence"]) == (message, "INFO", "3")
    assert json.loads(row["extra"]) == {"a": "é,"}
    assert dict(zip(header, second, strict=True))["message"] == 'foreign, "line"'


def test_csv_keeps_the_fields_of_other_loggers(tmp_path):
    """What a foreign record has beside time, level, logger, message and exception stands in `extra`."""
    (tmp_path / "a.jsonl").write_bytes(
        b'{"time":1795323737220,"level":30,"msg":"hi","hostname":"h","a":{"b":[1]}}\n{"x":1}\n{"msg":"m"}\n'
    )
    header, *rows = csv.reader(io.StringIO(show("-o", "csv", tmp_path), newline=""))
    first, second, third = (dict(zip(header, row, strict=True)) for row in rows)
    assert (first["message"], first["log.level"]) == ("hi", "INFO")
    assert json.loads(first["extra"]) == {"hostname": "h", "a": {"b": [1]}}
    assert json.loads(second["extra"]) == {"x": 1}
    assert third["extra"] == ""


def test_local_times(path):
    """`--local` shows times in the machine's zone and reads those of the filters in it."""
    env = environment(TZ="Asia/Kolkata")
    assert show("--local", path, env=env).startswith("2020-11-22 10:32:17.220 ")
    assert show("--local", "--until", "2020-11-22T10:32", path, env=env) == ""
    assert show("--until", "2020-11-22T10:32", path, env=env) != ""


def test_a_closed_pipe_ends_quietly(tmp_path):
    """When the reader goes, the command ends by SIGPIPE like other tools, and says nothing."""
    (tmp_path / "a.jsonl").write_bytes(b"".join(line(i) for i in range(20_000)))
    process = subprocess.Popen([*COMMAND, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == -signal.SIGPIPE


def test_ctrl_c_ends_quietly(tmp_path):
    """SIGINT ends a follower by SIGINT, without a traceback."""
    (tmp_path / "a.jsonl").write_bytes(line(0))
    process = subprocess.Popen(
        [*COMMAND, "-f", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == (b"", b"", -signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such file or folder"), (["nowhere/*.jsonl"], "nowhere/*.jsonl: no such"),
        (["--level", "LOUD", "."], "--level LOUD"), (["--field", "x", "."], "--field x"), (["--field", "x~(", "."], "--field ("),
        (["--regex", "(", "."], "--regex ("), (["--since", "soon", "."], "'soon' is no time"), (["--last", "-1", "."], "--last -1"),
        (["--until", "2026-13-45", "."], "is no time"), (["broken.gz"], "broken.gz: not gzip"), ([], "logs: no such"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(tmp_path, arguments, words):
    """A path or filter that cannot be used gives one line and exit code 2, and nothing on stdout."""
    (tmp_path / "broken.gz").write_bytes(b"this is no gzip file")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert words in done.stderr.decode()


def test_an_unreadable_file_is_said_in_one_line(tmp_path):
    """A file that cannot be read is an error, not a gap."""
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")  # nobody can read this, not even root
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"loop.jsonl: " in done.stderr


def test_nothing_matched_is_no_error(path, tmp_path):
    """No record, an empty folder: no output, exit code 0."""
    assert show("--grep", "zzz", path) == ""
    (tmp_path / "empty").mkdir()
    assert show(tmp_path / "empty") == ""
    assert show("-", stdin=b"") == ""


def test_stdin_is_shown_while_it_comes():
    """A line from a pipe is shown though the pipe stays open."""
    process = subprocess.Popen(
        [*COMMAND, "-o", "json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    os.set_blocking(process.stdout.fileno(), False)
    for number in (0, 1):
        process.stdin.write(line(number))
        process.stdin.flush()
        assert until(process.stdout.read) == line(number)
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    process.stdout.close()


def test_help_explains_by_examples():
    """`--help` names every filter and shows how to use them."""
    text = show("--help")
    assert all(word in text for word in ("--since", "--field", "examples:", "less -R", "Exit code"))


def test_options_may_stand_between_paths(path, tmp_path):
    """Paths before and behind an option are all read, and a wrong option is refused."""
    (tmp_path / "b.log").write_bytes(b"other\n")
    assert len(show(path, "-n", 5, tmp_path / "b.log").splitlines()) == 2
    assert run(path, "--nonsense").returncode == 2

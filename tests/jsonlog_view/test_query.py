import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jsonlog.view.prefilter import make_prefilter
from tests.jsonlog_view.support import line, record, seen

RANK = {"DEBUG": 10, "INFO": 20, "warn": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
TEXTS = st.text(st.sampled_from('ab7"\\/é\u2028\n😀 .'), max_size=4)
VALUES = st.one_of(
    TEXTS, st.integers(-12, 120), st.sampled_from([7.0, 1e2, 0.5, True, None]), st.lists(st.integers(5, 8))
)
RECORDS = st.builds(
    lambda level, logger, message, extra, ms: record(0, f"2026-11-22T05:02:17.{ms:03d}Z", level=level, logger=logger, message=message, extra=extra),
    st.sampled_from([*RANK, "AUDIT", 'INFO","x":"']), st.sampled_from(["shop", "shop.pay", "shop.payment", 'a"b']), TEXTS,
    st.dictionaries(st.sampled_from(["user", "a/b", "é", "x.user"]), VALUES), st.integers(0, 999),
)  # fmt: skip


def reorder(value: dict, backwards: bool) -> dict:
    return dict(reversed(value.items())) if backwards else value


def write(value: dict, style: int) -> bytes:
    """The same record as different writers put it: tight, with blanks, with escapes, in another order."""
    value = reorder(value, style & 4 != 0)
    text = json.dumps(value, ensure_ascii=style & 1 != 0, separators=(", ", ": ") if style & 2 else (",", ":"))
    if style & 8:
        text = text.replace("/", "\\/").replace("u", "\\u0075") if "\\u" not in text else text
    return text.encode()


LINES = st.one_of(
    st.builds(write, RECORDS, st.integers(0, 15)),
    st.sampled_from([b"plain text a7", b"{broken", b"[7]", b'{"level":"error","msg":"ab"}', b"\\u0061 \xff"]),
)


def naive(data: bytes, kind: str, argument: str) -> bool:  # noqa: PLR0911, PLR0912 (one plain case after the other)
    """The filters in the plainest way: parse, then ask."""
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    value = value if isinstance(value, dict) else None
    if kind in {"grep", "regex"}:
        text = data.decode(errors="surrogateescape")
        if value is not None:
            text = re.sub(r"\\(u[dD][89abAB]..\\u....|u....|.)", lambda found: json.loads(f'"{found[0]}"'), text)
        return argument in text if kind == "grep" else re.search(argument, text) is not None
    if value is None:
        return False
    if kind == "level":
        name = value["log"]["level"] if "log" in value else value.get("level")
        return RANK.get(name, {"error": 40}.get(name, 99)) >= RANK[argument]
    if kind == "logger":
        name = value.get("log", {}).get("logger", "")
        return name == argument or name.startswith(argument + ".")
    path, wanted = argument.split("=", 1)
    extra = value.get("extra", {})
    found = extra[path] if path in extra else value.get(path, ...)
    for one in found if isinstance(found, list) else [found]:
        if one is ...:
            continue
        if isinstance(one, str):
            if one == wanted:
                return True
        elif isinstance(one, bool) or one is None:
            if json.dumps(one) == wanted:
                return True
        elif re.fullmatch(r"-?\d+(\.\d+)?", wanted) and float(wanted) == one:
            return True
    return False


FILTERS = st.one_of(
    st.tuples(st.just("level"), st.sampled_from(list(RANK))),
    st.tuples(st.just("logger"), st.sampled_from(["shop", "shop.pay", 'a"b', "none"])),
    st.tuples(st.just("grep"), TEXTS.filter(bool)),
    st.tuples(st.just("regex"), st.builds("{}{}{}".format, st.sampled_from(["", "^.*", r"(?i)\b"]), TEXTS.map(re.escape), st.sampled_from(["", r"\W", '"', ".+$"]))),
    st.tuples(st.just("field"), st.builds("{}={}".format, st.sampled_from(["user", "a/b", "é", "x.user"]), st.one_of(TEXTS, st.sampled_from(["7", "100", "7.0", "true", "null", "0.5"])))),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(LINES, max_size=12), chosen=st.lists(FILTERS, min_size=1, max_size=2))
def test_filters_let_through_what_the_naive_ones_do(tmp_path_factory, lines, chosen):
    """Whatever order, blanks and escapes a line has, the filters with all their short cuts decide like parsing and asking."""
    path = tmp_path_factory.mktemp("query") / "a.jsonl"
    path.write_bytes(b"".join(one + b"\n" for one in lines))
    arguments = [part for kind, argument in chosen for part in [f"--{kind}={argument}"]]
    single = {
        kind: argument for kind, argument in chosen if kind in {"level", "logger"}
    }  # given twice, the last one counts
    checks = [(kind, argument) for kind, argument in chosen if single.get(kind, argument) == argument]
    wanted = [one for one in lines if all(naive(one, kind, argument) for kind, argument in checks)]
    assert sorted(seen(path, *arguments)) == sorted(wanted)


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ("extra.user=7", [0, 1, 2, 5]), ("user=7", [0, 1, 2, 5]), ("extra.user!=7", [3, 4, 6]), ("extra.user>7", [3]),
        ("extra.user<=7", [0, 1, 5]), ("extra.user~^a.n", [4]), ("extra.user>b", []), ("extra.user<b", [2, 4]),
        ("log.level=INFO", [0, 1, 2, 3, 4, 5, 6]), ("process.pid>=7", [0, 1, 2, 3, 4, 5, 6]), ("nothing=1", []),
    ],
)  # fmt: skip
def test_conditions(tmp_path, condition, numbers):
    """Each operator compares numbers as numbers and text as text; a list passes by any item; what is missing is only !=."""
    values = [7, 7.0, "7", 100, "ann", [1, 7]]
    lines = [line(i, extra={"user": value}) for i, value in enumerate(values)] + [line(6)]
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    assert [json.loads(one)["event"]["sequence"] for one in seen(tmp_path, "--field", condition)] == numbers


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        (["--grep", "né"], b'{"message":"n\\u00e9"}'), (["--grep", "a/b"], b'{"message":"a\\/b"}'),
        (["--grep", 'say "hi'], b'{"message":"say \\"hi\\""}'), (["--grep", "c\\d"], b'{"message":"c\\\\d"}'),
        (["--grep", "two\nlines"], b'{"message":"two\\nlines"}'), (["--grep", "😀"], b'{"message":"\\ud83d\\ude00"}'),
        (["--logger", "shop"], b'{"logger":"\\u0073hop.pay"}'), (["--field", "é=1"], b'{"\\u00e9":1}'),
        (["--field", "a/b=x"], b'{"a\\/b":"x"}'), (["--field", "user=ann"], b'{"user":"\\u0061nn"}'),
        (["--field", "user=100"], b'{"user":1e2}'), (["--field", "user=7"], b'{"user" : 7.0}'),
        (["--field", "user=7"], b'{"user":[8,7]}'), (["--field", "user=7"], b'{"a":{"user":8},"user":\t7 }'),
        (["--field", "user=7"], b'{"user":"7"}'), (["--field", "user=7"], b'{"\\u0075ser":7}'), (["--level", "error"], b'{"level" : "Error"}'),
        (["--level", "error"], b'{"@timestamp":"a","x":{"aaaaa":"aaaaaaZ","msecs":220,"log":{"level":"INFO","logger":"x"}},"log":{"level":"ERROR"}}'),
    ],
)  # fmt: skip
def test_nothing_hides_from_the_prefilter(tmp_path, arguments, data):
    """What passes is found though it is written with escapes, blanks, fractions or at an unusual place."""
    (tmp_path / "a.jsonl").write_bytes(b'{"message":"other"}\n' + data + b"\n")
    assert seen(tmp_path, *arguments) == [data]


def test_times_choose_a_span(tmp_path):
    """`--since` includes its moment, `--until` does not, and lines without a time go with the one before them."""
    lines = [line(i, f"2026-11-22T05:02:1{i}.000Z") for i in range(6)]
    lines.insert(3, b"below 2\n")
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    result = seen(tmp_path, "--since", "2026-11-22T05:02:12Z", "--until", "2026-11-22T06:02:14+01:00")
    assert [one + b"\n" for one in result] == lines[2:5]
    assert seen(tmp_path, "--since", "1s") == []
    assert len(seen(tmp_path, "--until", "2200-01-01")) == 7


def test_a_regular_expression_sees_the_text_without_escapes(tmp_path):
    """`--regex` looks at the line as people wrote it, not at the escapes of its JSON."""
    (tmp_path / "a.jsonl").write_bytes(line(0, message='say "hi"\nthere') + line(1, message="say hi"))
    assert len(seen(tmp_path, "--regex", 'say "hi"\\s+there')) == 1


def test_the_prefilter_leaves_something_out():
    """The short cut is taken: of a block without the text, no line is looked at."""
    from jsonlog.view.query import Query

    pick = make_prefilter(Query(texts=("needle",)))
    assert pick is not None
    assert pick(line(0) + line(1)) == ([], [])
    some = make_prefilter(Query(patterns=(re.compile("ne+dle"),)))
    assert some is not None
    assert some(line(0, message="needle") + line(1) + line(2, message='"'))[1] == [0, 2]
    high = make_prefilter(Query(level=40))
    assert high is not None
    assert high(line(0) + line(1, level="ERROR") + line(2, level="DEBUG"))[1] == [1]

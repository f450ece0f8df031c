"""Redaction: what is a secret is gone from the whole line, and what is none stays."""

import re
import time

import pytest

from jsonlog import JsonFormatter
from jsonlog.record.redact import PRESETS, REPLACEMENT, Redactor
from jsonlog.record.text import SCRUB_AHEAD
from tests.jsonlog.support import check, fields, is_direct, make, parse

ALL = {"patterns": list(PRESETS)}
PEM = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow+/=\nabc\n-----END RSA PRIVATE KEY-----"
TEXTS = {
    "bearer": ("Authorization: Bearer eyJhbGciOi.J9x-_~+/=1", "Authorization: Bearer [redacted]"),
    "bearer in any case": ("got BEARER   abcdefgh12", "got BEARER   [redacted]"),
    "bearer of news": ("the bearer of news", None),
    "basic": ("authorization: basic dXNlcjpwYXNz", "authorization: basic [redacted]"),
    "basic in JSON": ('{"Authorization": "Basic dXNlcjpwYXNz"}', '{"Authorization": "Basic [redacted]"}'),
    "basic training": ("basic training failed", None),
    "e-mail": ("mail from a.b+c@shop.example.org, thanks", "mail from [redacted], thanks"),
    "two e-mails": ("<a@b.cc>;<d@e.ff>", "<[redacted]>;<[redacted]>"),
    "an at sign": ("matrix @ vector, user@host", None),
    "card": ("card 4111111111111111 declined", "card [redacted] declined"),
    "card in groups": ("card 4111 1111 1111 1111.", "card [redacted]."),
    "card with hyphens": ("5500-0000-0000-0004", "[redacted]"),
    "American Express": ("3782 822463 10005", "[redacted]"),
    "card after a date": ("2026-11-22 4111 1111 1111 1111 12", "2026-11-22 [redacted] 12"),
    "number that fails Luhn": ("4111111111111112", None),
    "order number": ("order 1234567890123456", None),
    "timestamp": ("1795323737220123456", None),
    "AWS key": ("key AKIAIOSFODNN7EXAMPLE used", "key [redacted] used"),
    "AWS secret": (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = [redacted]",
    ),
    "private key": (f"loaded {PEM} from disk", "loaded [redacted] from disk"),
    "private key without its end": (f"x {PEM[:60]}", "x [redacted]"),
    "password in a URL": ("postgres://app:hunter2@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
    "password without a user": ("redis://:hunter2@cache", "redis://:[redacted]@cache"),
    "password with an at sign": ("postgres://app:p@ss@db/x", "postgres://app:[redacted]@db/x"),
    "password of a user with an at sign": (
        "smtp://me@shop.org:hunter2@mail:25",
        "smtp://[redacted]:[redacted]@mail:25",
    ),
    "two URLs": ("a://u:p1@h,b://v:p2@i", "a://u:[redacted]@h,b://v:[redacted]@i"),
    "URL with a port": ("http://host:8080/a@b", None),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_presets(text, expected):
    """Only the secret is replaced, and what merely looks a little like one stays."""
    assert Redactor(patterns=ALL["patterns"]).scrub(text) == (text if expected is None else expected)


@pytest.mark.parametrize(("text", "expected"), [case for case in TEXTS.values() if case[1]])
def test_no_text_of_the_record_keeps_a_secret(text, expected):
    """Message, arguments, extras at any depth, exception, chain, notes and stack are searched alike."""
    exc = ValueError(text)
    exc.add_note(text)
    exc.__cause__ = KeyError(text)
    formatter = JsonFormatter(redact=ALL)
    for _ in range(2):
        result = check(
            formatter,
            make("%s", text, exc_info=exc, stack_info=text, extra={"a": text, "b": {"c": [text, ValueError(text)]}}),
        )
        assert result["message"] == expected
        assert result["extra"]["a"] == result["extra"]["b"]["c"][0] == expected
        assert result["exc"]["message"] == result["exc"]["notes"][0] == result["stack"] == expected
        assert REPLACEMENT in result["exc"]["chain"][0]["message"]
        assert REPLACEMENT in result["exc"]["traceback"]


def test_by_the_name_of_a_key():
    """A value under a secret name is gone whole, at any depth and in any case of letters, also in a dotted name."""
    result = fields(
        extra={"Password": "a", "user": {"password": ["b"], "name": "n"}, "x.password": 1, "list": [{"PASSWORD": 2}]},
        options={"redact": {"keys": ["password"]}},
    )
    assert result["extra"] == {
        "Password": REPLACEMENT,
        "user": {"password": REPLACEMENT, "name": "n"},
        "x.password": REPLACEMENT,
        "list": [{"PASSWORD": REPLACEMENT}],
    }


PATHS = {
    "exact": ("extra.headers.authorization", {"headers": {"authorization": 1, "host": 2}, "authorization": 3}, ["headers", "authorization"]),
    "one piece": ("extra.*.token", {"a": {"token": 1}, "token": 2, "b": {"c": {"token": 3}}}, ["a", "token"]),
    "element": ("extra.users.1", {"users": ["a", "b"]}, ["users", 1]),
    "elements": ("extra.users.*.pin", {"users": [{"pin": 1, "id": 2}]}, ["users", 0, "pin"]),
}  # fmt: skip


@pytest.mark.parametrize(("path", "extra", "where"), PATHS.values(), ids=PATHS)
def test_by_path(path, extra, where):
    """A path names one place; `*` stands for any one piece, an index too. Everything else stays."""
    result = fields(extra=extra, options={"redact": {"paths": [path]}})["extra"]
    before = fields(extra=extra)["extra"]
    *parents, last = where
    holder = result
    for name in parents:
        holder, before = holder[name], before[name]
    assert holder[last] == REPLACEMENT
    holder[last] = before[last]
    assert result == fields(extra=extra)["extra"]


def test_a_leading_star_matches_at_any_depth():
    """`*.password` is a password anywhere below the top."""
    result = fields(
        extra={"password": 1, "a": {"password": 2, "b": [{"password": 3}]}},
        options={"redact": {"paths": ["*.password"]}},
    )
    assert result["extra"] == {
        "password": REPLACEMENT,
        "a": {"password": REPLACEMENT, "b": [{"password": REPLACEMENT}]},
    }


def test_fields_of_the_record_itself():
    """A path may name any field, by the name it has before fields are moved."""
    options = {"redact": {"paths": ["host.name", "message"]}, "rename": {"message": "msg"}, "host": "web-1"}
    result = JsonFormatter(**options).format(make())
    assert '"host":{"name":"[redacted]"}' in result
    assert '"msg":"[redacted]"' in result


def test_numbers_and_keys_are_searched():
    """A card's number as an integer, and a secret that is itself a key, are gone too."""
    result = fields(
        extra={"card": 4111111111111111, "n": 4111111111111112, "by": {"a@b.cc": 1}}, options={"redact": ALL}
    )
    assert result["extra"] == {"card": REPLACEMENT, "n": 4111111111111112, "by": {REPLACEMENT: 1}}


def test_labels_and_chains():
    """Rules reach labels and the members of lists as well."""
    exc = ValueError("v")
    exc.__cause__ = KeyError("k")
    options = {"labels": {"team": "pay", "pin": "1"}, "redact": {"keys": ["pin"], "paths": ["exc.chain.*.message"]}}
    result = fields(exc_info=exc, options=options)
    assert result["labels"] == {"team": "pay", "pin": REPLACEMENT}
    assert result["exc"]["chain"][0]["message"] == REPLACEMENT
    options["redact"] = {"paths": ["*.team"]}
    assert fields(options=options)["labels"]["team"] == REPLACEMENT


@pytest.mark.parametrize(
    "rules",
    [{"keys": [name]} for name in ("id", "pid", "line", "chain", "process", "log", "extra", "@timestamp", "msecs")]
    + [{"paths": ["*"]}],
)
def test_fields_that_are_no_text_are_left_out(rules):
    """Stores would refuse a text in their place; the time, which they need, stays."""
    exc = ValueError("v")
    exc.__cause__ = KeyError("k")
    record = make(exc_info=exc, extra={"id": 1, "x": {"pid": 2}})
    result = parse(JsonFormatter(redact=rules, level_number=True, labels={"id": "a"}).format_bytes(record))
    assert result["@timestamp"] == "2026-11-22T05:02:17.220Z"
    for name in ("process", "log", "exc", "labels", "extra"):
        assert isinstance(result.get(name, {}), dict)
    assert REPLACEMENT not in (result.get("process", {}).get("pid"), result.get("msecs"))


def test_a_key_with_dots_is_also_one_key_within_another():
    """`user.password` is a key of that name, and `password` in `user`."""
    extra = {"user": {"password": "a", "name": "b"}, "x": {"user.password": "c"}, "password": "d"}
    result = fields(extra=extra, options={"redact": {"keys": ["user.password"]}})["extra"]
    assert result == {
        "user": {"password": REPLACEMENT, "name": "b"},
        "x": {"user.password": REPLACEMENT},
        "password": "d",
    }


def test_a_path_that_leads_nowhere_is_refused():
    """A secret would stay where `extra.` was forgotten; only a hook may know other fields."""
    with pytest.raises(ValueError, match=r"'user\.email'.*'extra\.user\.email'"):
        JsonFormatter(redact={"paths": ["user.email"]})

    class Adds(JsonFormatter):
        def edit(self, record, fields):
            fields["user"] = {"email": "me"}

    assert '"user":{"email":"[redacted]"}' in Adds(redact={"paths": ["user.email"]}).format(make())


def test_own_patterns():
    """A regular expression of one's own replaces its group `secret`, or all that it found."""
    options = {"redact": {"patterns": [r"pin=(?P<secret>\d+)", re.compile("iban[0-9]+", re.IGNORECASE)]}}
    assert fields("pin=1234 IBAN77", options=options)["message"] == "pin=[redacted] [redacted]"
    assert fields(extra={"x": "pin=1"}, options=options)["extra"]["x"] == "pin=[redacted]"


def test_static_and_bound_fields_are_redacted():
    """Redaction covers fields from everywhere."""
    options = {"static": {"password": "x", "mail": "a@b.cc"}, "redact": {"keys": ["password"], "patterns": ["email"]}}
    assert fields(options=options)["extra"] == {"password": REPLACEMENT, "mail": REPLACEMENT}


def test_a_secret_across_a_cut_is_found():
    """A text is searched before it is cut, so that no half of a secret stays."""
    text = "x" * 50 + " 4111111111111111"
    result = fields(text, extra={"x": text}, options={"max_text": 60, "redact": ALL})
    assert "4111" not in result["message"]
    assert "4111" not in result["extra"]["x"]


class Key(str):
    """A key that is like no other."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


RENAMED = {
    "beside its parent": ({"a": 1, "a.password": "hunter2"}, {"keys": ["password"]}),
    "under a parent beside its own": ({"a": 1, "a.b": {"c": "hunter2"}}, {"paths": ["extra.a.b.c"]}),
    "clashing": ({"password": 1, Key("password"): "hunter2"}, {"keys": ["password"]}),
    "under a clashing parent": ({1: {}, "1": {"pin": "hunter2"}}, {"paths": ["extra.1.pin"]}),
    "too long": ({f"{'x' * 300}.password": "hunter2"}, {"keys": ["password"]}),
    "blank pieces": ({"..password": "hunter2"}, {"keys": ["password"]}),
    "in bytes": ({b"password": "hunter2"}, {"keys": ["password"]}),
}


@pytest.mark.parametrize(("value", "rules"), RENAMED.values(), ids=RENAMED)
def test_a_key_that_has_to_be_renamed_is_still_known(value, rules):
    """What a rule says of a key holds whatever becomes of the key."""
    path = [rule.replace("extra.", "extra.x.") for rule in rules.get("paths", [])]
    options = {"redact": {**rules, "paths": path}}
    result = check(JsonFormatter(**options), make(extra={"x": value}))
    assert REPLACEMENT in str(result["extra"])
    assert "hunter2" not in str(result)


@pytest.mark.parametrize("number", [-4111111111111111, 4111111111111111.0, -4111111111111111.0])
def test_any_number_is_searched(number):
    """A card's number with a sign, or as the float that a table has made of it, is gone too."""
    result = fields(extra={"card": number, "n": 1.5e300}, options={"redact": ALL})
    assert "4111" not in str(result)
    assert result["extra"]["n"] == 1.5e300


@pytest.mark.parametrize("kind", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize("seen", [6, 9, 12, 15])
def test_no_half_of_a_secret_stays_where_the_search_ends(kind, seen):
    """What is looked at ends somewhere too: that place never shows, however much shorter the text has become."""
    token = "x" * (60 + SCRUB_AHEAD - len("Bearer  ") - seen)
    text = f"Bearer {token} 4111 1111 1111 1111 {'y' * 9000}"
    shown = fields(extra={"x": kind(text)}, options={"max_text": 60, "redact": ALL})["extra"]["x"]
    assert "4111" not in shown
    shown = fields(extra={"x": kind("z" * (59 - seen) + text[-9020:])}, options={"max_text": 60, "redact": ALL})[
        "extra"
    ]["x"]
    assert "4111" not in shown


def test_what_a_hook_adds_is_redacted():
    """A subclass that adds a secret does not get it through."""

    class Adds(JsonFormatter):
        def edit(self, record, fields):
            fields["extra"] = {"password": "p", "note": "a@b.cc"}

    line = Adds(redact={"keys": ["password"], "patterns": ["email"]}).format(make())
    assert '"extra":{"password":"[redacted]","note":"[redacted]"}' in line


def test_no_cost_where_nothing_is_suspicious():
    """With redaction on, a record without anything like a secret is still written directly."""
    formatter = JsonFormatter(redact={"keys": ["password"], "paths": ["extra.a.b"], **ALL})
    record = make("hello", extra={"order": 17, "user": "u"})
    formatter.format_bytes(record)
    assert is_direct(formatter, record)


ATTACKS = [
    "a" * 100_000, "a." * 50_000 + "@", "@" * 100_000, "a@" * 50_000, "a@b." * 30_000, "1" * 100_000, "1 " * 50_000,
    "4111 " * 25_000, "1234-" * 20_000, "bearer " * 20_000, "bearer" + " " * 100_000, "://" * 30_000, "://" + ":" * 100_000,
    "://a:" * 20_000, "-----BEGIN " * 10_000, "-----BEGIN PRIVATE KEY-----" * 4_000, "-----BEGIN PRIVATE KEY-----" + "-" * 100_000,
    "AKIA" * 25_000, "aws_secret_key=" * 7_000, "aws_secret_key" + " " * 100_000, "private key" + "-----BEGIN " + "A " * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_no_text_makes_a_preset_slow(text):
    """The presets take linear time, also with texts made to break them."""
    scrub = Redactor(patterns=ALL["patterns"]).scrub
    start = time.process_time()
    scrub(text)
    assert time.process_time() - start < 2

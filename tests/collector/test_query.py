from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.collector.query import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, QueryError, parse_query, parse_time
from tests.collector.conftest import Client, ndjson, record

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
CARD = {
    "type": "CardError", "module": "shop", "message": "declined by bank", "traceback": "Traceback\n  gateway.py\nCardError",
    "chain": [{"relation": "cause", "type": "TimeoutError", "message": "slow"}, {"relation": "cause", "type": "OSError", "message": "x"}],
}  # fmt: skip
RECORDS = {
    "plain": record(
        1, message="Order 100% placed", extra={"user": "ann", "n": 3, "a.b": "dotted", "deep": {"er": {"x": True}}}
    ),
    "card": record(
        2,
        message="charge failed",
        exc=CARD,
        log={"level": "ERROR", "logger": "shop.pay"},
        extra={"user": "Bob Smith", "n": 12},
    ),
    "tags": record(
        3,
        message='say "hi" (twice)',
        tags=["jsonlog.cut", "jsonlog.key"],
        extra={"user": "anna", "n": "7", "path": "C:\\x_y", "big": 2**53 + 1},
    ),
    "flat": {"message": "foreign", "extra.user": "carl", "a/b~c": "slash", "null": None},
}


@pytest.fixture
def searched(client: Client) -> Client:
    header = ",".join(f"{name}:0+1" for name in RECORDS)
    assert client.send(ndjson(*RECORDS.values()), shipper_lines=header).json() == {"stored": 4, "duplicates": 0}
    return client


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "plain card tags flat"), ("   ", "plain card tags flat"),
        # words, in any letters, in the message or the exception; or the whole name of who wrote it
        ("CHARGE", "card"), ("placed", "plain"), ("bank", "card"), ("gateway.py", "card"), ("carderror", "card"), ("nowhere", ""), ("shop.pay", "plain card tags"),
        ("gateway", ""), ("char", ""), ("char*", "card"), ("*ailed", "card"), ("100", "plain"), ("100%", "plain"), ("1%0", ""), ("pl?ced", "plain"), ("pl??ced", ""),
        ("o*placed", ""), ("o\\*placed", ""), ('"charge failed"', "card"), ('"charge  failed"', "card"), ('"failed charge"', ""), ('"charge fail"', ""), ("%", ""),
        ('"say \\"hi\\" (twice)"', "tags"), ("\\(twice\\)", "tags"),
        ("charge failed", "card"), ("charge placed", ""), ("charge AND failed", "card"), ("charge OR placed", "plain card"), ("charge && failed", "card"), ("charge || placed", "plain card"),
        ("charge OR placed AND nowhere", "card"), ("(charge OR placed) AND order", "plain"), ("NOT charge", "plain tags flat"), ("-charge -placed", "tags flat"), ("!charge", "plain tags flat"),
        ("NOT (charge OR foreign)", "plain tags"), ("not", ""), ("and", ""), ("+charge^3 failed", "card"), ("*", "plain card tags flat"), ("*:*", "plain card tags flat"),
        # a field: a text by its words, the level in any letters, everything else as a whole
        ("log.level:error", "card"), ("log.level:(error OR info)", "plain card tags"), ("NOT log.level:error", "plain tags flat"), ("-log.level:*", "flat"), ("log.level:Err*", "card"),
        ("service.name:shop", "plain card tags"), ("service.name:SHOP", ""), ("service.name:sho", ""), ("message:order", "plain"), ("exc.type:Card*", "card"), ("exc.message:bank", "card"),
        ("error.type:CardError", "card"), ('error.stack_trace:"gateway.py carderror"', "card"), ("_exists_:exc.type", "card"), ("message:*", "plain card tags flat"),
        ("exc.chain.type:OSError", "card"), ("exc.chain.type:oserror", ""), ("exc.chain.type:Timeout*", "card"), ("exc.chain.relation:cause", "card"), ("exc.chain.message:SLOW", "card"),
        ("extra.user:ann", "plain"), ("extra.user:ann*", "plain tags"), ("extra.user:ann?", "tags"), ('extra.user:"Bob Smith"', "card"), ("extra.user:carl", "flat"), ("extra.user:Bob", ""),
        ("extra.user:Bob\\ Smith", "card"), ('extra.user:"Bob*"', ""), ("extra.a.b:dotted", "plain"), ("extra.deep.er.x:true", "plain"), ("a/b\\~c:slash", "flat"), ("null:*", ""),
        ("extra.n:3", "plain"), ("extra.n:3.0", "plain"), ("extra.n:7", "tags"), ("extra.n:>3", "card tags"), ("extra.n:>=3", "plain card tags"), ("extra.n:<-5", ""), ("extra.n:>-5", "plain card tags"),
        ("extra.n:-5", ""), ("extra.n:[-5 TO 3]", "plain"), ("extra.big:9007199254740993", "tags"), ("extra.big:9007199254740992", ""),
        ("extra.n:[3 TO 7]", "plain tags"), ("extra.n:{3 TO 7]", "tags"), ("extra.n:[* TO 7}", "plain"), ("extra.n:[* TO *]", "plain card tags"), ("extra.n:[3 TO 7] AND NOT extra.n:3", "tags"),
        ("extra.n:(>3 AND <10)", "tags"), ("extra.user:>b", "flat"), ('extra.path:"C:\\\\x_y"', "tags"), ("extra.path:C*x?y", "tags"),
        ("tags:jsonlog.key", "tags"), ("tags:jsonlog.*", "tags"), ("run:k3v9", "plain card tags"), ("event.sequence:[2 TO 3]", "card tags"), ("process.pid:7", "plain card tags"),
        ("_id:card-0", "card"), ("@timestamp:<2026-11-22T05:00:02Z", "plain"), ("@timestamp:[2026-11-22T05:00:02Z TO 2026-11-22T05:00:03Z]", "card"),
        ('@timestamp:>"2026-11-22T05:00:03Z" AND @timestamp:<now-9999d', ""), ("log.level : error", "card"), ("log.level: error", "card"),
        ("nosuch:1", ""), ("'; DROP TABLE recent;", ""), ("extra.n:\"' OR 1=1 --\"", ""), ("extra.'x\\\"y:1", ""), ("exc.chain.a\\\"'\\]:1", ""),
    ],
)  # fmt: skip
def test_what_a_query_finds(searched: Client, query: str, names: str) -> None:
    """Each form of the language finds just the records it describes."""
    assert {id_.split("-")[0] for id_ in searched.ids(q=query)} == set(names.split())


@pytest.mark.parametrize(
    ("query", "position", "message"),
    [
        ("a AND", 6, "missing"), ("(a", 3, "closing parenthesis"), ("a)", 2, "never opened"), ('b "a', 3, "closing quote"), ("a:", 3, "after a:"),
        ("AND a", 1, "missing before AND"), ("OR", 1, "missing"), ("NOT", 4, "missing"), ("x:>", 4, "missing"), ("@timestamp:>soon", 13, "is not a time"), ("()", 2, "is empty"),
        ("(" * (MAX_DEPTH + 2) + "a" + ")" * (MAX_DEPTH + 2), MAX_DEPTH + 2, "nested"), ("NOT " * 200 + "a", 85, "nested"), ("a " * (MAX_TERMS + 1), 201, "terms"),
        ("a:b:c", 3, "quotes"), ("a~2", 1, "only like it"), ('"a b"~3', 1, "near each other"), ("x:/a/", 3, "regular expression"), ("/a", 1, "quotes"), ("[1 TO 2]", 1, "needs a field"),
        ("x:[1 TO]", 8, "missing"), ("x:[a b TO c]", 6, "missing"), ("_exists_:(a b)", 10, "missing"),
    ],
)  # fmt: skip
def test_bad_query(query: str, position: int, message: str) -> None:
    """What cannot be read is refused with what was expected and where."""
    with pytest.raises(QueryError, match=message) as caught:
        parse_query(query, NOW)
    assert str(caught.value).startswith(f"at position {position}: ")


def test_long_query() -> None:
    """The length of a query is bounded."""
    with pytest.raises(QueryError, match="at most"):
        parse_query("a" * (MAX_LENGTH + 1), NOW)


words = st.sampled_from(
    [
        '"',
        "(",
        ")",
        "AND",
        "OR",
        "NOT",
        "a",
        "b:",
        ":",
        "extra.n:",
        ">",
        "[",
        "TO",
        "]",
        "{",
        "}",
        "*",
        "?",
        "\\",
        "-",
        "é",
        "'",
        ";",
        "%",
        "\0",
        "\n",
        "@timestamp:",
        "<=",
        "now",
        "exc.chain.x:",
        "message:",
        "~",
        "^2",
        "/",
        "&&",
        "!",
        "\u2019",
        "日本",
        "\N{ARABIC-INDIC DIGIT ONE}",
    ]
)


@settings(deadline=None)  # a busy machine would miss it
@given(st.lists(words, max_size=14), st.sampled_from(["", " "]))
def test_any_text_is_a_query_or_an_error(pieces: list[str], between: str) -> None:
    """Any text gives a condition or a QueryError, and none of it becomes SQL."""
    import duckdb

    try:
        condition = parse_query(between.join(pieces), NOW)
    except QueryError:
        return
    assert condition.sql.count("?") == len(condition.parameters)
    columns = (
        "time, id, level, logger, message, service, environment, host, exc_type, exc_message, traceback, run, trace_id"
    )
    values = ", ".join(["TIMESTAMP '2026-01-01'", *["'a'"] * 12])
    with duckdb.connect() as connection:
        sql = f"SELECT {condition.sql} FROM (VALUES ({values}, 1, 2, '{{}}'::JSON)) t({columns}, pid, sequence, record)"
        ((answer,),) = connection.execute(sql, list(condition.parameters)).fetchall()
    assert answer in (True, False)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("now", NOW), ("now-15m", NOW - timedelta(minutes=15)), ("now+2d", NOW + timedelta(days=2)), ("2026-11-22T05:00:00Z", NOW - timedelta(hours=1)),
        ("2026-11-22T07:00:00+01:00", NOW), ("2026-11-22T07:00:00 01:00", NOW), ("2026-11-22T06:00:00", NOW), ("2026-11-22", NOW - timedelta(hours=6)),
    ],
)  # fmt: skip
def test_times(text: str, time: datetime) -> None:
    """Times are RFC 3339 or relative to now."""
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize(
    "text", ["", "yesterday", "now-", "now-15x", "now-999999w", "2026-13-01", "0001-01-01T00:00:00+14:00", "1\ud800"]
)
def test_bad_times(text: str) -> None:
    """Anything else is refused, never a crash."""
    with pytest.raises(QueryError, match="is not a time"):
        parse_time(text, NOW)

"""Names made of fields of records: which fields, which characters, which dates, and how many."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shipper.core.enrich import Rules
from shipper.core.framing import check
from shipper.core.model import ORIGIN, Checked, Source
from shipper.core.routing import Router, Targets, check_template, format_date, is_plain, router_for

AT = "2026-11-27T06:00:00.000Z"


def name(template: str, record: dict[str, Any], *, foreign: bool = False) -> str:
    router = Router(index=check_template(template, alone=True))
    return router.name_of_line(json.dumps(record).encode(), foreign=foreign, at=AT)


@pytest.mark.parametrize(
    ("template", "record", "expected"),
    [
        ("app-{log.level}", {"log": {"level": "ERROR"}}, "app-error"),
        ("app-{log.level}", {"log.level": "Warn Ing"}, "app-warn_ing"),
        ("app-{log.level}", {"log": {"level": 5}}, "app-unknown"),
        ("app-{log.level}", {"log": "text"}, "app-unknown"),
        ("app-{log.level}", {}, "app-unknown"),
        ("app-{a.b.c}-{tenant}", {"a": {"b": {"c": "x/y"}}, "tenant": "Ä#1"}, "app-x_y-__1"),
        ("{service}-{environment}-{tenant}", {"service": {"name": "Shop"}}, "shop-default-unknown"),
        ("{service.name}-{tenant}", {"service.name": "s", "tenant": ""}, "s-unknown"),
        ("{service}-{tenant}", {"service": "plain", "tenant": "t"}, "plain-t"),
        ("app-{@timestamp:%Y.%m.%d}", {"@timestamp": "2026-01-02T03:04:05.678Z"}, "app-2026.01.02"),
        ("app-{@timestamp:%Y.%m.%d-%H}", {"@timestamp": "2026-01-01T00:30:00+02:00"}, "app-2025.12.31-22"),
        ("app-{@timestamp:%Y.%m}", {"@timestamp": "nonsense"}, "app-2026.11"),
        ("app-{@timestamp:%Y.%m.%d}", {}, "app-2026.11.27"),
        ("-_{tenant}", {"tenant": "t"}, "t"),
    ],
)
def test_names(template: str, record: dict[str, Any], expected: str) -> None:
    """Strings under dotted names or within objects; what is missing has its default; the day is that of UTC."""
    assert name(template, record) == expected


@pytest.mark.parametrize(
    "template",
    ["a-{", "a-}", "{}", "{a b}", "{.a}", "{@timestamp}", "{@timestamp:%B}", "{log.level:%Y}", "", "-", "ü", "{{a}}"],
)
def test_templates_that_are_none(template: str) -> None:
    """What names no field, or makes no name, is refused at the start, with how it is written."""
    with pytest.raises(ValueError, match=r"written|no name|brace"):
        check_template(template, alone=True)


def test_what_is_constant_needs_no_router() -> None:
    """Templates without fields of single records cost nothing: nothing is read for them."""
    for index in ("app", "app-{service.name}-{service.environment}"):
        assert is_plain(index)
        assert router_for(None, None, index) is None
    assert router_for("data", "space", None) is router_for(None, None, None) is None
    assert check_template("{service}-{environment}") == "{service.name}-{service.environment}"
    assert router_for("{tenant}", None, None) is not None


def test_parts_of_streams_are_made_of_fields() -> None:
    """Dataset and namespace may be made of fields; the rest of the name stays ours, and so does the profile."""
    router = router_for("{tenant}", None, None)
    assert router is not None
    record = {"tenant": "T-1", "service": {"name": "shop", "environment": "Prod"}}
    line = json.dumps(record).encode()
    assert router.name_of_line(line, foreign=False, at=AT) == "logs-t_1.jsonlog-prod"
    assert router.name_of_line(line, foreign=True, at=AT) == "logs-t_1.jsonlog_foreign-prod"
    assert router.name_of_line(b"no JSON", foreign=True, at=AT) == "logs-unknown.jsonlog_foreign-default"
    both = router_for("app_{service}", "{log.level}", None)
    assert both is not None
    assert both.name_of_line(line, foreign=False, at=AT) == "logs-app_shop.jsonlog-unknown"


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-14 * 60, 14 * 60))
def test_dates_are_those_of_utc(time: datetime, minutes: int) -> None:
    """Whatever zone a time is in, its day and hour are those of UTC."""
    sign, hours = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = f"{time.isoformat(timespec='milliseconds')}{sign}{hours[0]:02}:{hours[1]:02}"
    expected = datetime.fromisoformat(text).astimezone(UTC)
    assert format_date(text, "%Y.%m.%d.%H") == f"{expected.year:04}{expected:.%m.%d.%H}"


@pytest.mark.parametrize(
    "text", ["", "2026-02-30", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "0000-01-01", "now"]
)
def test_what_is_no_time_has_no_date(text: str) -> None:
    """A day that there is not makes no name."""
    assert format_date(text, "%Y") == ""


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["log", "level", "tenant", "@timestamp"]) | st.text(), v), max_leaves=8))  # fmt: skip
def test_any_value_makes_a_name(value: Any) -> None:
    """Whatever stands in a record, its name is one that a store takes."""
    found = name("app-{log.level}-{tenant}-{@timestamp:%Y}", {"log": value, "tenant": value, "@timestamp": value})
    assert found.startswith("app-")
    assert found.isascii()
    assert not set(found) & set(' "*\\<|,>/?#:')
    assert found == found.lower()


def lines(*levels: str | None, **more: Any) -> bytes:
    records = [{"@timestamp": AT, **({"log": {"level": level}} if level else {}), **more} for level in levels]
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def rules(index: str, targets: Targets | None = None, **more: Any) -> Rules:
    return Rules(index=index, router=router_for(None, None, index), targets=targets, **more)


def targets_of(checked: Checked) -> list[str]:
    return [piece.source.target for piece in checked.pieces for _ in piece.lines]


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("odd", [b"", b"no JSON\n", b"\n"])
def test_each_line_goes_to_its_target(foreign: bool, odd: bytes) -> None:
    """Lines of ours, too, in one pass or one by one: neighbours together, numbers as they stand in the file."""
    data = lines("INFO", "INFO", "ERROR", None, "INFO") + odd
    source = Source("k", "app-unknown", "p", foreign=foreign)
    checked = check(source, ORIGIN, data, rules("app-{log.level}"), at=AT)
    assert targets_of(checked)[:5] == ["app-info", "app-info", "app-error", "app-unknown", "app-info"]
    assert [piece.first for piece in checked.pieces][:4] == [0, 2, 3, 4]
    assert sum(len(piece.lines) for piece in checked.pieces) + checked.empty == data.count(b"\n")


def test_fields_are_added_beside() -> None:
    """Configured fields stand in each record whatever target it has."""
    checked = check(
        Source("k", "t", "p"), ORIGIN, lines("A", "B"), rules("x-{log.level}", fields={"team": "pay"}), at=AT
    )
    assert [json.loads(line)["team"] for piece in checked.pieces for line in piece.lines] == ["pay", "pay"]


@pytest.mark.parametrize("foreign", [False, True])
def test_there_are_so_many_names_and_no_more(foreign: bool) -> None:
    """Over all chunks and files: what is beyond goes to the name of defaults, and is counted; a name that was admitted stays."""
    targets = Targets(most=3)
    taken = []
    for number in range(10):
        data = lines(f"L{number}", f"M{number}", "L0", "L0")
        source = Source(f"k{number}", "app-unknown", "p", foreign=foreign)
        taken.append(targets_of(check(source, ORIGIN, data, rules("app-{log.level}", targets), at=AT)))
    assert taken[0] == ["app-l0", "app-m0", "app-l0", "app-l0"]
    assert taken[1] == ["app-l1", "app-unknown", "app-l0", "app-l0"]
    assert taken[9] == ["app-unknown", "app-unknown", "app-l0", "app-l0"]
    assert targets.beyond == 17
    assert targets.new == ["app-l0", "app-m0", "app-l1"]


def test_streams_of_foreign_lines_are_bounded_over_all_chunks() -> None:
    """Also without a template: a service in each line cannot make any number of streams."""
    targets, seen = Targets(most=20), set()
    for number in range(10):
        data = b"".join(b'{"service":{"name":"s%d"}}\n' % (number * 8 + i) for i in range(8))
        checked = check(replace(FOREIGN, key=f"k{number}"), ORIGIN, data, Rules(targets=targets), at=AT)
        seen.update(targets_of(checked))
    assert len(seen) == 21
    assert "logs-generic.jsonlog_foreign-default" in seen
    assert targets.beyond == 60


FOREIGN = Source("k", "logs-generic.jsonlog_foreign-default", "p", foreign=True)


def test_a_name_that_is_not_used_makes_room() -> None:
    """Yesterday's indices are not counted for ever; one that is in use is never given up; what was used before a restart is known."""
    now = 0.0
    targets = Targets(most=2, clock=lambda: now, idle_s=100)
    targets.load(["a"])
    assert targets.admit("b", 1)
    assert not targets.admit("c", 1)
    now = 99
    assert targets.admit("a", 1)
    now = 150
    assert targets.admit("c", 1)
    assert (targets.new, targets.gone, targets.beyond) == (["b", "c"], ["b"], 1)
    assert targets.admit("d", 1, always=True)
    assert not targets.admit("e", 5)

"""The questions, and who answers them without a store: a predicate over the records as they stand in the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.fields import moves

Record = dict[str, Any]
Predicate = Callable[["Known"], bool]
OURS = {ecs: ours for ours, ecs in moves().items() if ecs}


class Known:
    """A record of the files, read by our names whatever its profile."""

    def __init__(self, line: bytes) -> None:
        self.record = json.loads(line)

    def __getitem__(self, name: str) -> Any:
        here: Any = self.record
        for part in name.split("."):
            here = here.get(part) if isinstance(here, dict) else None
        if here is None and name in _ELSEWHERE:
            return self[_ELSEWHERE[name]]
        return here

    @property
    def key(self) -> tuple[str, int]:
        """The writer and the number: no two records share it."""
        return self.record["run"], self.record["event"]["sequence"]

    @property
    def level(self) -> str:
        return self["log.level"].lower()

    def text(self, name: str) -> str:
        return self[name] or ""

    def number(self, name: str, otherwise: float = -1) -> float:
        return otherwise if self[name] is None else self[name]


_ELSEWHERE = {ours: ecs for ecs, ours in OURS.items()}


@dataclass
class Corpus:
    """What the files hold."""

    folder: Path
    namespace: str
    records: list[Known] = field(default_factory=list)
    _summaries: dict[Predicate, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def read(self) -> Corpus:
        paths = sorted(self.folder.rglob("*.jsonl"))
        self.records = [Known(line) for path in paths for line in path.read_bytes().splitlines()]
        return self

    def where(self, predicate: Predicate) -> list[Known]:
        return [record for record in self.records if predicate(record)]

    def summary(self, predicate: Predicate) -> dict[str, tuple[int, int]]:
        """Per writer, how many of its records and the sum of their numbers: what tells one set of records from another."""
        if predicate not in self._summaries:
            runs: dict[str, tuple[int, int]] = {}
            for record in self.where(predicate):
                run, number = record.key
                count, total = runs.get(run, (0, 0))
                runs[run] = (count + 1, total + number)
            self._summaries[predicate] = runs
        return self._summaries[predicate]


def chain(record: Known, name: str) -> list[str]:
    """One member of each exception behind the one that was logged."""
    return [str(one[name]) for one in record["exc.chain"] or ()]


# The language of the search bar of Kibana and OpenSearch Dashboards. docs/kibana.md shows the most useful of them.
KQL: dict[str, Predicate] = {
    "": lambda r: True,
    "log.level: (error or critical)": lambda r: r.level in ("error", "critical"),
    "log.level: ERROR": lambda r: r.level == "error",
    "log.level: err*": lambda r: r.level == "error",
    "not log.level: (debug or info)": lambda r: r.level not in ("debug", "info"),
    "service.name: shop and log.level: error": lambda r: r["service.name"] == "shop" and r.level == "error",
    "host.name: web-2 and service.version: 1.4.3": lambda r: r["service.version"] == "1.4.3",
    'message: "charged for Ana"': lambda r: "charged for Ana" in r["message"],
    "message: slow": lambda r: "slow" in r["message"],
    "message: slow or message: broken": lambda r: "slow" in r["message"] or "broken" in r["message"],
    "message: char*": lambda r: any(word.startswith("char") for word in r["message"].split()),
    "exc.type: CardError": lambda r: r["exc.type"] == "CardError",
    "error.type: CardError": lambda r: r["exc.type"] == "CardError",
    "exc.type: * and not exc.type: CardError": lambda r: r["exc.type"] in ("KeyError", "ExceptionGroup"),
    "exc.message: declined": lambda r: r["exc.message"] == "declined",
    'exc.traceback: "no answer from bank-1"': lambda r: "no answer from bank-1" in r.text("exc.traceback"),
    'error.stack_trace: "in look_up"': lambda r: "in look_up" in r.text("exc.traceback"),
    "exc.chain.type: TimeoutError": lambda r: "TimeoutError" in chain(r, "type"),
    'exc.chain.message: "bank-2"': lambda r: any("bank-2" in text for text in chain(r, "message")),
    "exc.fingerprint: *": lambda r: r["exc.fingerprint"] is not None,
    "extra.ms >= 900": lambda r: r.number("extra.ms") >= 900,
    "extra.ms > 213 and extra.ms < 214": lambda r: 213 < r.number("extra.ms") < 214,
    "extra.customer: Ana": lambda r: r["extra.customer"] == "Ana",
    'extra.customer: "O\'Neil"': lambda r: r["extra.customer"] == "O'Neil",
    "extra.user.id: u17": lambda r: r["extra.user.id"] == "u17",
    "extra.user.plan: pro and extra.tags: gift": lambda r: r["extra.user.plan"] == "pro" and "gift" in r["extra.tags"],
    "extra.order_id: 9007199254741200": lambda r: r["extra.order_id"] == 9007199254741200,
    "extra.order_id: 9007199254741201": lambda r: r["extra.order_id"] == 9007199254741201,
    "extra.paid: true and extra.amount > 99": lambda r: bool(r["extra.paid"]) and r.number("extra.amount") > 99,
    'extra.sent < "2026-11-02T00:00:00Z"': lambda r: r.text("extra.sent").startswith("2026-11-01"),
    "extra.status: 503": lambda r: r["extra.status"] == 503,
    'extra.path: "/search"': lambda r: r["extra.path"] == "/search",
    "trace.id: 00000000000000000000000000000012": lambda r: r["trace.id"] == "00000000000000000000000000000012",
    "trace.id: *": lambda r: r["trace.id"] is not None,
    "log.logger: shop.web*": lambda r: r["log.logger"].startswith("shop.web"),
    "labels.team: payments": lambda r: r["labels.team"] == "payments",
    "stack: *": lambda r: r["stack"] is not None,
    "event.sequence < 3": lambda r: r["event.sequence"] < 3,
    "tags: jsonlog.*": lambda r: bool(r["tags"]),
    "tags: shipper.* or event.kind: pipeline_error": lambda r: False,
    "shipper.rescued.field: *": lambda r: False,  # tests/e2e/test_questions_odd.py has some
    "tags: jsonlog.cut": lambda r: "jsonlog.cut" in (r["tags"] or ()),
    "_ignored: *": lambda r: isinstance(r["extra.mixed"], str),
    "extra.mixed > 0": lambda r: isinstance(r["extra.mixed"], int),
    "log.level: notice and extra.total >= 100": lambda r: r.level == "notice" and r.number("extra.total") >= 100,
    "extra.by.region: eu": lambda r: r["extra.by.region"] == "eu",
    'exc.notes: "importing file 3"': lambda r: "while importing file 3" in (r["exc.notes"] or ()),
    "exc.chain.relation: member": lambda r: "member" in chain(r, "relation"),
    "process.thread.name: importer": lambda r: r["process.thread.name"] == "importer",
    "log.level_number >= 40": lambda r: r.number("log.level_number") >= 40,
    "service.node.name: bank-a and not message: order": lambda r: (
        r["service.node.name"] == "bank-a" and "order" not in r["message"].split()
    ),
    '@timestamp >= "2026-10-25T00:00:00Z" and @timestamp < "2026-10-26T00:00:00Z"': lambda r: r[
        "@timestamp"
    ].startswith("2026-10-25"),
    "process.task.name: *": lambda r: r["process.task.name"] is not None,  # none on Python 3.11
}

# Lucene's language, which the stores' `query_string` and the embedded collector both read.
LUCENE: dict[str, Predicate] = {
    "log.level:error": KQL["log.level: ERROR"],
    "log.level:(error OR critical)": KQL["log.level: (error or critical)"],
    "service.name:bank AND log.level:warning": lambda r: r["service.name"] == "bank" and r.level == "warning",
    "service.name:shop AND NOT log.level:(debug OR info)": lambda r: (
        r["service.name"] == "shop" and r.level not in ("debug", "info")
    ),
    'message:"charged for Ana"': KQL['message: "charged for Ana"'],
    "message:slow": KQL["message: slow"],
    "exc.type:CardError": KQL["exc.type: CardError"],
    "exc.type:Card*": KQL["exc.type: CardError"],
    "exc.type:?eyError": lambda r: r["exc.type"] == "KeyError",
    'exc.traceback:"no answer from bank-1"': KQL['exc.traceback: "no answer from bank-1"'],
    "exc.chain.type:TimeoutError": KQL["exc.chain.type: TimeoutError"],
    "exc.fingerprint:*": KQL["exc.fingerprint: *"],
    "extra.ms:>=900": KQL["extra.ms >= 900"],
    "extra.ms:[100 TO 200}": lambda r: 100 <= r.number("extra.ms") < 200,
    "extra.ms:{213 TO 214}": KQL["extra.ms > 213 and extra.ms < 214"],
    "extra.customer:Ana AND extra.amount:[90 TO *]": lambda r: (
        r["extra.customer"] == "Ana" and r.number("extra.amount") >= 90
    ),
    "extra.user.id:u17": KQL["extra.user.id: u17"],
    "extra.tags:gift": lambda r: "gift" in (r["extra.tags"] or ()),
    "extra.order_id:9007199254741201": KQL["extra.order_id: 9007199254741201"],
    "log.logger:shop.web*": KQL["log.logger: shop.web*"],
    "trace.id:00000000000000000000000000000012": KQL["trace.id: 00000000000000000000000000000012"],
    "event.sequence:[5 TO 7]": lambda r: 5 <= r["event.sequence"] <= 7,
    "(host.name:db-1 OR host.name:web-1) AND log.level:critical": lambda r: (
        r["host.name"] in ("db-1", "web-1") and r.level == "critical"
    ),
    "labels.team:payments AND exc.type:*": lambda r: r["labels.team"] == "payments" and r["exc.type"] is not None,
    "broken": lambda r: "broken" in r["message"],
    '"cache is broken" OR "5 rows"': lambda r: "broken" in r["message"] or "5 rows" in r.text("exc.message"),
    "message:charge": lambda r: "charge" in r["message"].split(),
    "message:CHARGE*": lambda r: "charge" in r["message"],
    "message:bro?en": lambda r: "broken" in r["message"],
    "message:(slow OR broken)": KQL["message: slow or message: broken"],
    'message:"order 14"': lambda r: r["message"].startswith("order 14 "),
    "-log.level:(info OR debug OR error)": lambda r: r.level not in ("info", "debug", "error"),
    "log.level:error && service.name:shop": KQL["service.name: shop and log.level: error"],
    "service.name:SHOP": lambda r: False,
    "_exists_:stack": KQL["stack: *"],
    'extra.customer:"O\'Neil"': KQL['extra.customer: "O\'Neil"'],
    "extra.customer:Bj*": lambda r: r["extra.customer"] == "Björn",
    "extra.paid:true AND extra.amount:>99": KQL["extra.paid: true and extra.amount > 99"],
    "extra.sent:[2026-11-01T00:00:00Z TO 2026-11-02T00:00:00Z}": KQL['extra.sent < "2026-11-02T00:00:00Z"'],
    "@timestamp:[2026-10-25T00:00:00Z TO 2026-10-26T00:00:00Z}": lambda r: r["@timestamp"].startswith("2026-10-25"),
    "error.type:KeyError AND NOT host.name:web-1": lambda r: r["exc.type"] == "KeyError" and r["host.name"] != "web-1",
    'error.stack_trace:"in look_up"': KQL['error.stack_trace: "in look_up"'],
    "exc.chain.relation:member": KQL["exc.chain.relation: member"],
    'exc.notes:"importing file 3"': KQL['exc.notes: "importing file 3"'],
    'exc.chain.message:"bank-2"': KQL['exc.chain.message: "bank-2"'],
    "extra.ms:<1.5 OR extra.status:503": lambda r: 0 <= r.number("extra.ms") < 1.5 or r["extra.status"] == 503,
    'extra.path:"/search"': KQL['extra.path: "/search"'],
    "extra.by.region:eu AND extra.total:{1 TO 50]": lambda r: 1 < r.number("extra.total") <= 50,
    "log.origin.function:look_up": lambda r: r["log.origin.function"] == "look_up",
    "tags:jsonlog.*": KQL["tags: jsonlog.*"],
}

# The query language of the stores themselves.
DSL: dict[str, tuple[Record, Predicate]] = {
    "prefix": ({"prefix": {"log.logger": "shop.w"}}, KQL["log.logger: shop.web*"]),
    "terms": ({"terms": {"host.name": ["db-1", "web-1"]}}, lambda r: r["host.name"] in ("db-1", "web-1")),
    "regular expression": (
        {"regexp": {"extra.user.id": "u1[0-9]"}},
        lambda r: r.text("extra.user.id") in {f"u1{n}" for n in range(10)},
    ),
    "phrase prefix": (
        {"match_phrase_prefix": {"message": "cache is bro"}},
        lambda r: "cache is broken" in r["message"],
    ),
    "a day of Berlin, with 25 hours": (
        {"range": {"@timestamp": {"gte": "2026-10-25", "lte": "2026-10-25", "time_zone": "Europe/Berlin"}}},
        lambda r: "2026-10-24T22:00" <= r["@timestamp"] < "2026-10-25T23:00",
    ),
    "all of the words": (
        {"match": {"exc.traceback": {"query": "bank-1 declined", "operator": "and"}}},
        lambda r: "bank-1" in r.text("exc.traceback") and "declined" in r.text("exc.traceback"),
    ),
    "at least two of three": (
        {
            "bool": {
                "should": [
                    {"term": {"log.level": "error"}},
                    {"term": {"service.name": "bank"}},
                    {"exists": {"field": "trace.id"}},
                ],
                "minimum_should_match": 2,
            },
        },
        lambda r: (r.level == "error") + (r["service.name"] == "bank") + (r["trace.id"] is not None) >= 2,
    ),
}

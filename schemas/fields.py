"""The fields of a record: the one table that everything in this folder is made from.

To change a field, change its row and run `python -m schemas.build`; the tests tell the rest.

Rules that the rows keep:

1. A field has the name that the Elastic Common Schema has for it. `ecs` says where ours differs: `exc.type` is what
   ECS calls `error.type`, and so the index templates know it by that name too (an alias).
2. A name with a dot stands in an object: `log.level` is `{"log": {"level": …}}`. `[]` in a JSON type means an array.
3. The order of the rows is the order of the fields in a line.
4. How a field is indexed is one word here; what the word means to each store is in `schemas/stores.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
"""Of the record and of the templates, which carry it; goes up when either changes."""

SAME = "="
OWN = ""

JsonType = Literal["string", "integer", "object", "string[]", "object[]"]
Index = Literal["date", "integer", "keyword", "labels", "level", "long", "milliseconds", "parts", "text", "free"]
Writer = Literal["formatter", "relay", "handler", "shipper"]
Presence = Literal["always", "with its object", "when it applies"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the record.

    Args:
        name: The dotted name.
        json: Its type in the line.
        index: How the stores index it, a key of `schemas.stores.INDEXED`.
        example: A value that stands in the documentation and is true to `form`.
        about: What it means, in one sentence.
        ecs: `SAME` where ECS has this very field, another name where ECS calls it so, `OWN` where ECS has none.
        writer: Who puts it there. What the shipper adds is not in the lines of the files.
        presence: In every record; in every record that has the object it stands in; or only when it applies.
        unit: Unit or format, for people.
        form: What JSON Schema shall demand of the value besides its type.
    """

    name: str
    json: JsonType
    index: Index
    example: object
    about: str
    ecs: str = SAME
    writer: Writer = "formatter"
    presence: Presence = "when it applies"
    unit: str = ""
    form: Mapping[str, object] = field(default_factory=dict)


# The lookahead keeps Python's `$` from passing a newline at the end; elsewhere it changes nothing.
END = "(?!\\n)$"
TIMESTAMP = (
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    f"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.([0-9]{{3}}|[0-9]{{6}})Z{END}"
)
RUN = f"^[0-9a-hjkmnp-tv-z]{{16}}{END}"
KEY = "\\S"  # a key that is empty or blank makes both stores refuse the whole record
LONG_MAX = 2**63 - 1

MARKS = {
    "jsonlog.args": "the message and its arguments do not fit each other",
    "jsonlog.value": "a value that JSON has no form for, or that failed while it was read, stands as text",
    "jsonlog.key": "a key was empty, blank, not a string, or clashed with another, and was renamed",
    "jsonlog.cut": "something was longer, deeper or larger than the bounds and was cut",
}
"""What `tags` says about a record that could not be written as it was given."""

SHIPPER_MARKS = {
    "shipper.wrapped": "the line was no JSON object; it is the record's `message`",
    "shipper.cut": "the line was longer than the bound; `message` is its head and says how long it was",
    "shipper.utf8": "bytes that are no UTF-8 were replaced",
    "shipper.timestamp": "there was no usable `@timestamp`; it is the time at which the line was read",
    "shipper.keys": "a key stood twice in one object; its last value was kept",
}
"""What `tags` says about a line of another program that the shipper had to change."""

RELATIONS = ("cause", "context", "member")
"""How an entry of `exc.chain` hangs on the exception: `__cause__`, `__context__`, or a member of a group."""

NOT_EMPTY = {"minLength": 1}
COUNT = {"minimum": 0, "maximum": LONG_MAX}

FIELDS: tuple[Field, ...] = (
    Field(
        "@timestamp",
        "string",
        "date",
        "2026-11-22T05:02:17.220Z",
        "When the log call was made.",
        presence="always",
        unit="RFC 3339, UTC, 3 decimals (6 by option) and `Z`",
        form={"pattern": TIMESTAMP},
    ),
    Field(
        "msecs",
        "integer",
        "milliseconds",
        220,
        "The milliseconds of `@timestamp` once more: always its first three decimals.",
        ecs=OWN,
        presence="always",
        unit="ms, 0..999",
        form={"minimum": 0, "maximum": 999},
    ),
    Field("log.level", "string", "level", "ERROR", "The name of the level.", presence="always", form=NOT_EMPTY),
    Field(
        "log.level_number",
        "integer",
        "long",
        40,
        "The number of the level; only where `level_number` asks for it.",
        ecs=OWN,
        form={"minimum": -LONG_MAX, "maximum": LONG_MAX},
    ),
    Field("log.logger", "string", "keyword", "shop.pay", "The name of the logger."),
    Field("log.origin.file.name", "string", "keyword", "pay.py", "The source file of the log call."),
    Field("log.origin.file.line", "integer", "integer", 12, "The line of the log call.", form={"minimum": 0}),
    Field("log.origin.function", "string", "keyword", "charge", "The function that made the log call."),
    Field(
        "message",
        "string",
        "text",
        "charge 17 failed",
        "The message with its arguments applied.",
        presence="always",
    ),
    Field(
        "exc.type",
        "string",
        "keyword",
        "CardError",
        "The name of the exception's class, without its module.",
        ecs="error.type",
    ),
    Field("exc.module", "string", "keyword", "shop.errors", "The module of the exception's class.", ecs=OWN),
    Field("exc.message", "string", "text", "declined", "What `str()` says of the exception.", ecs="error.message"),
    Field(
        "exc.traceback",
        "string",
        "text",
        'Traceback (most recent call last):\n  File "/app/shop/pay.py", line 12, in charge\nshop.errors.CardError: declined',
        "The whole text of the traceback, with causes, contexts, notes and groups.",
        ecs="error.stack_trace",
        presence="with its object",
    ),
    Field(
        "exc.fingerprint",
        "string",
        "keyword",
        "1:9f2c51d0a7e34b68",
        "The same for exceptions raised at the same place in the code; what stands before the colon is how it was made.",
        ecs=OWN,
        form=NOT_EMPTY,
    ),
    Field("exc.notes", "string[]", "text", ["while charging order 17"], "What `add_note` added.", ecs=OWN),
    Field(
        "exc.chain",
        "object[]",
        "parts",
        [
            {
                "relation": "cause",
                "type": "TimeoutError",
                "module": "builtins",
                "message": "no answer from bank-2 in 5 s",
            },
        ],
        "The exceptions behind this one, as a flat list: causes, contexts and the members of groups.",
        ecs=OWN,
    ),
    Field(
        "exc.chain.relation",
        "string",
        "keyword",
        "cause",
        "How it hangs on the exception before it.",
        ecs=OWN,
        presence="with its object",
        unit=", ".join(f"`{name}`" for name in RELATIONS),
        form={"enum": RELATIONS},
    ),
    Field(
        "exc.chain.type",
        "string",
        "keyword",
        "TimeoutError",
        "The name of its class.",
        ecs=OWN,
        presence="with its object",
    ),
    Field("exc.chain.module", "string", "keyword", "builtins", "The module of its class.", ecs=OWN),
    Field(
        "exc.chain.message",
        "string",
        "text",
        "no answer from bank-2 in 5 s",
        "What `str()` says of it.",
        ecs=OWN,
        presence="with its object",
    ),
    Field(
        "stack",
        "string",
        "text",
        'Stack (most recent call last):\n  File "/app/shop/pay.py", line 12, in charge',
        "Where the log call was made, if it asked with `stack_info=True`; has nothing to do with `exc`.",
        ecs=OWN,
    ),
    Field("service.name", "string", "keyword", "shop", "The service that wrote the record.", form=NOT_EMPTY),
    Field("service.version", "string", "keyword", "1.4.2", "Its version.", form=NOT_EMPTY),
    Field("service.environment", "string", "keyword", "prod", "Where it runs.", form=NOT_EMPTY),
    Field("service.node.name", "string", "keyword", "shop-7d9f-x2", "Which instance of the service.", form=NOT_EMPTY),
    Field("host.name", "string", "keyword", "web-1", "The host that the process runs on.", form=NOT_EMPTY),
    Field("process.pid", "integer", "long", 7, "The process that made the log call.", presence="always", form=COUNT),
    Field("process.name", "string", "keyword", "MainProcess", "Its name as `multiprocessing` has it."),
    Field(
        "process.entity_id",
        "string",
        "keyword",
        "01jdk3v9q7m2c4x8",
        "Tells two processes with the same pid apart: in a container the pid is always 1.",
        form=NOT_EMPTY,
    ),
    Field("process.thread.id", "integer", "long", 140735340871680, "The thread that made the log call.", form=COUNT),
    Field("process.thread.name", "string", "keyword", "MainThread", "Its name."),
    Field("process.task.name", "string", "keyword", "Task-7", "The asyncio task that made the log call.", ecs=OWN),
    Field(
        "trace.id",
        "string",
        "keyword",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "The distributed trace that the call is part of.",
        form=NOT_EMPTY,
    ),
    Field("span.id", "string", "keyword", "00f067aa0ba902b7", "The span within it.", form=NOT_EMPTY),
    Field("transaction.id", "string", "keyword", "7c3a1d9e55b0f412", "The transaction within it.", form=NOT_EMPTY),
    Field(
        "labels",
        "object",
        "labels",
        {"team": "payments"},
        "Fixed pairs that the operator gives to every record of a service.",
        form={"propertyNames": {"pattern": KEY}, "additionalProperties": {"type": "string", "maxLength": 1024}},
    ),
    Field(
        "ecs.version",
        "string",
        "keyword",
        "9.0.0",
        "The version of the Elastic Common Schema that the names are taken from.",
        presence="always",
        form={"pattern": f"^[0-9]+\\.[0-9]+\\.[0-9]+{END}"},
    ),
    Field(
        "tags",
        "string[]",
        "keyword",
        ["jsonlog.cut"],
        "What had to be changed to make the record valid, one word per kind.",
        form={"uniqueItems": True},
    ),
    Field(
        "extra",
        "object",
        "free",
        {"order": 17, "amount": 12.5},
        "Everything given with `extra=`: any keys, any values, in a place of its own.",
        ecs=OWN,
    ),
    Field(
        "sender.run",
        "string",
        "keyword",
        "c2m8x4w7k3v9q5tz",
        "The queue or socket handler that sent the record here: one handler in one process.",
        ecs=OWN,
        writer="relay",
        presence="with its object",
        unit="16 characters",
        form={"pattern": RUN},
    ),
    Field(
        "sender.sequence",
        "integer",
        "long",
        4021,
        "The number that the sender gave it; a gap proves a loss on the way here, or at a handler's filter.",
        ecs=OWN,
        writer="relay",
        presence="with its object",
        unit="from 0",
        form=COUNT,
    ),
    Field(
        "sender.origin.run",
        "string",
        "keyword",
        "w5tzk3v9q7m2c4x8",
        "Where it came by more than one queue or socket: the first of its senders.",
        ecs=OWN,
        writer="relay",
        presence="with its object",
        unit="16 characters",
        form={"pattern": RUN},
    ),
    Field(
        "sender.origin.sequence",
        "integer",
        "long",
        903,
        "The number that the first sender gave it.",
        ecs=OWN,
        writer="relay",
        presence="with its object",
        unit="from 0",
        form=COUNT,
    ),
    Field(
        "run",
        "string",
        "keyword",
        "k3v9q7m2c4x8w5tz",
        "The writer: one handler in one process, a new one in each forked child.",
        ecs=OWN,
        writer="handler",
        unit="16 characters",
        form={"pattern": RUN},
    ),
    Field(
        "event.sequence",
        "integer",
        "long",
        17,
        "The number of the record within its run; there are no gaps, so that a gap proves a loss.",
        writer="handler",
        presence="with its object",
        unit="from 0",
        form=COUNT,
    ),
    Field(
        "event.kind",
        "string",
        "keyword",
        "pipeline_error",
        "`pipeline_error` marks a line that could not be sent as it was.",
        writer="shipper",
    ),
    Field(
        "event.ingested",
        "string",
        "date",
        "2026-11-22T05:02:18.031Z",
        "When it arrived, where an ingest pipeline says so.",
        writer="shipper",
    ),
    Field(
        "event.original",
        "string",
        "text",
        '{"order": 17, …',
        "The whole line, where a change has taken something away.",
        writer="shipper",
    ),
    Field("log.file.path", "string", "keyword", "/var/log/shop/a.jsonl", "The file it came from.", writer="shipper"),
    Field(
        "log.offset",
        "integer",
        "long",
        40961,
        "Where its line begins in that file.",
        ecs=OWN,
        writer="shipper",
        unit="bytes",
    ),
    Field(
        "shipper.rescued.json",
        "string",
        "text",
        '{"extra.user":{"id":5}}',
        "What the store refused of the record, by its names, as JSON in a string.",
        ecs=OWN,
        writer="shipper",
    ),
    Field(
        "shipper.rescued.field",
        "string[]",
        "keyword",
        ["extra.user"],
        "The dotted names that it had.",
        ecs=OWN,
        writer="shipper",
    ),
    Field(
        "shipper.rescued.reason",
        "string[]",
        "text",
        ["object mapping for [extra.user] tried to parse field as object, but found a concrete value"],
        "What the store said.",
        ecs=OWN,
        writer="shipper",
    ),
    Field(
        "data_stream.type",
        "string",
        "keyword",
        "logs",
        "The first part of the stream's name, where somebody says it.",
        writer="shipper",
    ),
    Field("data_stream.dataset", "string", "keyword", "shop.jsonlog", "The second part, likewise.", writer="shipper"),
    Field("data_stream.namespace", "string", "keyword", "prod", "The third part, likewise.", writer="shipper"),
)


Profile = Literal["jsonlog", "ecs", "foreign", "flat"]
PROFILES: tuple[Profile, ...] = ("jsonlog", "ecs", "foreign", "flat")
"""Our record, our record in names of ECS alone, what other programs write, and our record with its extras at the top."""

IN_ECS: dict[str, str | None] = {
    "msecs": None,
    "log.level_number": "jsonlog.level_number",
    "exc.module": "jsonlog.module",
    "exc.fingerprint": "jsonlog.fingerprint",
    "exc.notes": "jsonlog.notes",
    "exc.chain": "jsonlog.chain",
    "stack": "jsonlog.stack",
    "process.task.name": "jsonlog.task",
}
"""What profile `ecs` calls the fields that ECS has not, beside `extra`, `sender` and `run`; None for what it leaves out."""


def aliases() -> dict[str, str]:
    """Name the fields that ECS calls otherwise: ECS name to ours."""
    return {row.ecs: row.name for row in FIELDS if row.ecs not in (SAME, OWN)}


def moves() -> dict[str, str | None]:
    """Say where each field is in profile `ecs`, if not under its own name; None where it is left out."""
    return {ours: ecs for ecs, ours in aliases().items()} | IN_ECS


def ecs_rows() -> tuple[Field, ...]:
    """Give the table as profile `ecs` has it."""
    where = moves()
    rows: list[Field] = []
    for row in FIELDS:
        moved = next((name for name in where if row.name == name or row.name.startswith(name + ".")), None)
        target = row.name if moved is None else where[moved]
        if target is not None:
            rows.append(row if moved is None else replace(row, name=target + row.name.removeprefix(moved)))
    return tuple(rows)

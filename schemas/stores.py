"""What the two stores are told: how each kind of field is indexed, and what stands around the fields in the templates.

Every choice here was tried on Elasticsearch 9 and OpenSearch 3; `tests/schemas/test_stores.py` tries them again.

* **Only types that every distribution has.** `constant_keyword` would do for `data_stream.*`, but its module is not part
  of every build, and it refuses a record whose value differs: an ordinary keyword takes both. `match_only_text` (no
  scores, smaller, phrases still work) is in every Elasticsearch that can be downloaded since 7.14; on OpenSearch plain
  text without norms is used, which ranks and highlights the same in all versions.
* **Root `dynamic: false`.** A field that is not in the table is kept and shown, but not searchable, and cannot make two
  records conflict. Only what stands in `extra` is indexed as it comes.
* **`extra` on Elasticsearch has `subobjects: false`**: `a` and `a.b` live side by side, so an object never conflicts with
  a value. OpenSearch's `disable_objects` is younger than the versions we support, so there the two do conflict, the
  second is refused with 400, and the shipper has to rescue it.
* **Numbers become `double`**, as whole numbers would fix the field to `long`, which cuts later fractions off without a word.
  Whole numbers under a name like an id are no quantities: they become keywords, exact beyond 2**53.
* **`ignore_malformed`**: a value that does not fit its field is kept, marked in `_ignored`, and not searchable. (A boolean
  against a number on OpenSearch would still be refused: there booleans are keywords.)
* **Index mode, source mode and failure store are named** since a cluster may choose others: they would rewrite what one
  sees, or answer 201 for a record that no search finds.
* **No retention.** On Elasticsearch the data stream lifecycle rolls over; when to delete is for the operator to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from schemas.fields import Index

Store = Literal["elasticsearch", "opensearch"]
Json = dict[str, object]

STORES: Final[tuple[Store, ...]] = ("elasticsearch", "opensearch")

_KEYWORD: Final[Json] = {"type": "keyword", "ignore_above": 1024}
_TEXT: Final[dict[Store, Json]] = {
    "elasticsearch": {"type": "match_only_text"},
    "opensearch": {"type": "text", "norms": False},
}


def _both(mapping: Json) -> dict[Store, Json]:
    return dict.fromkeys(STORES, mapping)


INDEXED: Final[dict[Index, dict[Store, Json]]] = {
    "date": _both({"type": "date"}),
    "integer": _both({"type": "integer"}),
    "keyword": _both(_KEYWORD),
    # Lower-cased in the index, so that `error`, `ERROR` and `Err*` all find it.
    "level": _both({"type": "keyword", "ignore_above": 64, "normalizer": "lowercase"}),
    "long": _both({"type": "long"}),
    "milliseconds": _both({"type": "short", "index": False}),
    "text": _TEXT,
    # Members are mapped one by one and found by name; which of them stood together is not kept, as `nested` would.
    "parts": _both({}),
    "labels": {
        "elasticsearch": {"type": "flattened", "ignore_above": 1024},
        "opensearch": {"type": "flat_object"},
    },
    "free": {
        "elasticsearch": {"type": "object", "dynamic": True, "subobjects": False},
        "opensearch": {"type": "object", "dynamic": True},
    },
}

_DOUBLE: Final[Json] = {"type": "double", "ignore_malformed": True}
_DATE: Final[Json] = {
    "type": "date",
    "format": "strict_date_optional_time||epoch_millis",
    "ignore_malformed": True,
}
_BOOLEAN: Final[dict[Store, Json]] = {
    "elasticsearch": {"type": "boolean", "ignore_malformed": True},
    "opensearch": _KEYWORD,
}
# On Elasticsearch `match` sees the whole path below `extra` (subobjects are off), on OpenSearch the last name alone.
_LIKE_AN_ID = "(.*[._])?(id|uid|uuid|key|code|phone|zip)|.*Id"


def dynamic_templates(store: Store) -> list[Json]:
    """Say how the fields in `extra` are indexed when they are first seen; the first rule that matches counts."""
    return [{f"extra_{name}": {"path_match": "extra.*", **rule}} for name, rule in _rules(store)]


# What other programs call a text that is read, not counted.
_LIKE_A_TEXT = "(.*[._])?(msg|text|body|exception|exc_info|traceback|stack|stack_?trace)"


def foreign_templates(store: Store) -> list[Json]:
    """Say how any field is indexed when it is first seen, in the lines of other programs."""
    text: Json = {
        "match_pattern": "regex",
        "match": _LIKE_A_TEXT,
        "match_mapping_type": "string",
        "mapping": _TEXT[store],
    }
    return [{"text": text}, *top_level_templates(store)]


def top_level_templates(store: Store) -> list[Json]:
    """Say how a field of our record beside those of the table is indexed when it is first seen."""
    return [{name: rule} for name, rule in _rules(store)]


def _rules(store: Store) -> tuple[tuple[str, Json], ...]:
    number: Json = {
        "match_pattern": "regex",
        "match": _LIKE_AN_ID,
        "match_mapping_type": "long",
        "mapping": _KEYWORD,
    }
    return (
        ("id", number),
        ("bool", {"match_mapping_type": "boolean", "mapping": _BOOLEAN[store]}),
        ("long", {"match_mapping_type": "long", "mapping": _DOUBLE}),
        ("double", {"match_mapping_type": "double", "mapping": _DOUBLE}),
        ("date", {"match_mapping_type": "date", "mapping": _DATE}),
        ("string", {"match_mapping_type": "string", "mapping": _KEYWORD}),
    )


# One field of more than a million characters would otherwise break the whole page that shows it.
_HIGHLIGHT: Final[Json] = {"max_analyzed_offset": 20_000_000}

SETTINGS: Final[dict[Store, Json]] = {
    "elasticsearch": {
        "mode": "standard",
        "codec": "best_compression",
        "refresh_interval": "5s",
        "mapping": {
            "ignore_malformed": True,
            "source": {"mode": "stored"},
            "total_fields": {"limit": 1500, "ignore_dynamic_beyond_limit": True},
        },
        "highlight": _HIGHLIGHT,
    },
    "opensearch": {
        "codec": "best_compression",
        "refresh_interval": "5s",
        # A word without a field is looked for in all of them, and OpenSearch does so in 1,024 at most.
        "mapping": {"ignore_malformed": True, "total_fields": {"limit": 1000}, "depth": {"limit": 20}},
        "highlight": _HIGHLIGHT,
    },
}

DATA_STREAM: Final[dict[Store, Json]] = {
    "elasticsearch": {},
    "opensearch": {"timestamp_field": {"name": "@timestamp"}},
}

LIFECYCLE: Final[dict[Store, Json]] = {"elasticsearch": {"enabled": True}}
"""The data stream lifecycle of a new stream, until an operator chooses; OpenSearch knows none in templates."""

OPTIONS: Final[dict[Store, Json]] = {
    "elasticsearch": {"data_stream_options": {"failure_store": {"enabled": False}}},
}
"""What else stands in an index template; OpenSearch has no failure store."""

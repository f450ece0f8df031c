"""Where the records of a file go: the name of a data stream, read from a record."""

from __future__ import annotations

import re

import msgspec

_OTHER = re.compile(r"[^a-z0-9_.]")
_NOT_IN_INDEX = re.compile(r"[^a-z0-9_.+-]")
_MAX_BYTES = 100
_MAX_INDEX_BYTES = 255
DEFAULT_DATASET = "generic"
DEFAULT_NAMESPACE = "default"


class Facts(msgspec.Struct, frozen=True):
    """The fields of a record that choose its target; a field of another type than it should have counts for nothing."""

    service: object = None
    service_name: object = msgspec.field(name="service.name", default=None)
    service_environment: object = msgspec.field(name="service.environment", default=None)
    event: object = None
    ecs: object = None
    msecs: object = None
    run: object = None


NO_FACTS = Facts()
_decoder = msgspec.json.Decoder(type=Facts)


def stream_name(dataset: str | None, namespace: str | None, profile: str = "") -> str:
    """Build `logs-<dataset>.jsonlog-<namespace>` with the characters that Elastic's naming scheme allows."""
    kind = f"jsonlog_{profile}" if profile else "jsonlog"
    return f"logs-{clean(dataset, DEFAULT_DATASET)}.{kind}-{clean(namespace, DEFAULT_NAMESPACE)}"


def index_name(template: str, dataset: str | None, namespace: str | None) -> str:
    """
    Build the name of a plain index.

    Args:
        template: With `{service.name}` and `{service.environment}`.
        dataset: What stands for the first; characters that no name may have become `_`.
        namespace: What stands for the second.
    """
    name = template.replace("{service.name}", clean(dataset, DEFAULT_DATASET))
    name = name.replace("{service.environment}", clean(namespace, DEFAULT_NAMESPACE))
    return _NOT_IN_INDEX.sub("_", name.lower()).lstrip("-_+.")[:_MAX_INDEX_BYTES] or DEFAULT_DATASET


def stream_of(
    first_line: bytes,
    *,
    dataset: str | None = None,
    namespace: str | None = None,
    foreign: bool = False,
    index: str | None = None,
) -> str:
    """
    Choose the data stream of a file.

    Args:
        first_line: Its first line; one that is no record of ours is as good as none.
        dataset: Overrides the service name.
        namespace: Overrides the environment.
        foreign: The file's name does not say that it is one of ours.
        index: Makes the name of a plain index in place of one of a data stream; see `index_name`.
    """
    try:
        facts = _decoder.decode(first_line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        facts = NO_FACTS
    return stream_for(facts, dataset=dataset, namespace=namespace, foreign=foreign, index=index)


def stream_for(
    facts: Facts, *, dataset: str | None, namespace: str | None, foreign: bool, index: str | None = None
) -> str:
    """Choose the data stream of a record; see `stream_of`."""
    name, environment = facts.service_name, facts.service_environment
    if isinstance(facts.service, dict):
        name, environment = facts.service.get("name", name), facts.service.get("environment", environment)
    elif foreign and isinstance(facts.service, str):
        name = facts.service
    dataset = dataset or (name if isinstance(name, str) else None)
    namespace = namespace or (environment if isinstance(environment, str) else None)
    if index is not None:
        return index_name(index, dataset, namespace)
    return stream_name(dataset, namespace, _profile(facts, foreign=foreign))


def profile_of(stream: str) -> str:
    """Return the profile whose template a stream of ours belongs to: `ecs`, `foreign`, or empty for our own."""
    return next((profile for profile in ("ecs", "foreign") if f".jsonlog_{profile}-" in stream), "")


def _profile(facts: Facts, *, foreign: bool) -> str:
    # Profile `ecs` writes `error.*` itself, which is an alias in the streams of our own profile and cannot be written to.
    is_ecs = facts.run is not None and facts.ecs is not None and facts.msecs is None
    if not foreign:
        return "ecs" if is_ecs else ""
    numbered = isinstance(facts.event, dict) and type(facts.event.get("sequence")) is int
    if not numbered or not isinstance(facts.run, str) or not (is_ecs or type(facts.msecs) is int):
        return "foreign"
    return "ecs" if is_ecs else ""


def clean(value: str | None, default: str) -> str:
    """Make a part of a name of a value; characters that no name may have become `_`."""
    return _OTHER.sub("_", (value or "").lower())[:_MAX_BYTES] or default

"""Where the records of a file go: the name of a data stream, read from its first record."""

from __future__ import annotations

import re

import msgspec

_OTHER = re.compile(r"[^a-z0-9_.]")
_MAX_BYTES = 100
DEFAULT_DATASET = "generic"
DEFAULT_NAMESPACE = "default"


class _Service(msgspec.Struct):
    name: str | None = None
    environment: str | None = None


class _Record(msgspec.Struct):
    service: _Service | None = None
    ecs: object = None
    msecs: object = None
    run: object = None


_decoder = msgspec.json.Decoder(type=_Record)


def stream_name(dataset: str | None, namespace: str | None, profile: str = "") -> str:
    """Build `logs-<dataset>.jsonlog-<namespace>` with the characters that Elastic's naming scheme allows."""
    kind = f"jsonlog_{profile}" if profile else "jsonlog"
    return f"logs-{_part(dataset, DEFAULT_DATASET)}.{kind}-{_part(namespace, DEFAULT_NAMESPACE)}"


def stream_of(first_line: bytes, *, dataset: str | None = None, namespace: str | None = None) -> str:
    """
    Choose the data stream of a file.

    Args:
        first_line: Its first line; one that is no record of ours is as good as none.
        dataset: Overrides the service name.
        namespace: Overrides the environment.
    """
    try:
        record = _decoder.decode(first_line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        record = _Record()
    if record.service is not None:
        dataset = dataset or record.service.name
        namespace = namespace or record.service.environment
    # Profile `ecs` writes `error.*` itself, which is an alias in the streams of our own profile and cannot be written to.
    is_ecs = record.run is not None and record.ecs is not None and record.msecs is None
    return stream_name(dataset, namespace, "ecs" if is_ecs else "")


def profile_of(stream: str) -> str:
    """Return the profile whose template a stream of ours belongs to: `ecs`, or empty for our own."""
    return "ecs" if ".jsonlog_ecs-" in stream else ""


def _part(value: str | None, default: str) -> str:
    return _OTHER.sub("_", (value or "").lower())[:_MAX_BYTES] or default

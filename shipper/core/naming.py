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


_decoder = msgspec.json.Decoder(type=_Record)


def stream_name(dataset: str | None, namespace: str | None) -> str:
    """Build `logs-<dataset>.jsonlog-<namespace>` with the characters that Elastic's naming scheme allows."""
    return f"logs-{_part(dataset, DEFAULT_DATASET)}.jsonlog-{_part(namespace, DEFAULT_NAMESPACE)}"


def stream_of(first_line: bytes, *, dataset: str | None = None, namespace: str | None = None) -> str:
    """
    Choose the data stream of a file.

    Args:
        first_line: Its first line; one that is no record of ours is as good as none.
        dataset: Overrides the service name.
        namespace: Overrides the environment.
    """
    try:
        service = _decoder.decode(first_line).service
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        service = None
    if service is not None:
        dataset = dataset or service.name
        namespace = namespace or service.environment
    return stream_name(dataset, namespace)


def _part(value: str | None, default: str) -> str:
    return _OTHER.sub("_", (value or "").lower())[:_MAX_BYTES] or default

"""The smallest record there is, and how to change one."""

import copy
from typing import Any

Record = dict[str, Any]
GONE = object()

MINIMAL: Record = {
    "@timestamp": "2026-11-22T05:02:17.220Z",
    "msecs": 220,
    "log": {"level": "INFO"},
    "message": "charge 17",
    "process": {"pid": 7},
    "ecs": {"version": "9.0.0"},
    "run": "k3v9q7m2c4x8w5tz",
    "event": {"sequence": 0},
}


def put(record: Record, path: str, value: Any) -> None:
    """Set what a dotted path leads to (a number is an index into a list), or remove it if *value* is `GONE`."""
    *parents, last = path.split(".")
    here: Any = record
    for name in parents:
        here = here[int(name)] if isinstance(here, list) else here.setdefault(name, {})
    key = int(last) if isinstance(here, list) else last
    if value is GONE:
        del here[key]
    else:
        here[key] = value


def changed(record: Record, *changes: tuple[str, Any]) -> Record:
    """A copy of *record* with these paths set."""
    result = copy.deepcopy(record)
    for path, value in changes:
        put(result, path, value)
    return result

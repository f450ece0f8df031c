"""
`configure`: files and a readable console on the root logger, with one call.

(The module is not called `configure`, since importing it would then put a module where `jsonlog.configure` is a function.)
"""

from __future__ import annotations

import logging
import os
import sys

from jsonlog.console import ConsoleHandler
from jsonlog.files.handler import ProcessFileHandler
from jsonlog.formatter import JsonFormatter

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_DIRECTORY = "logs"  # where `jsonlog view` looks
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_FACTS = ("service", "version", "environment", "node")  # the formatter's options that the environment may name


class _Files(ProcessFileHandler):
    """The handler for the files, and what it was made from: a second call with the same leaves it alone."""

    made_from: object = None


class _Console(ConsoleHandler):
    """The console of `configure`, told apart from handlers of the application's own."""


def configure(
    service: str | None = None,
    directory: str | os.PathLike[str] | None = None,
    level: int | str | None = None,
    console: bool | None = None,  # noqa: FBT001 (initializers of pools give arguments by position)
    *,
    hooks: bool = False,
    handler: Mapping[str, Any] | None = None,
    **formatter: Any,
) -> None:
    """
    Log into one JSON file per process and, readably, on stderr.

    It sets the level of the root logger and adds two handlers to it, and changes nothing else. A second call replaces
    what the first one made; with the same arguments the same file is written on. Call it where a program starts, never in
    a library; where processes are spawned, once more: `Pool(initializer=jsonlog.configure, initargs=("shop", "logs"))`.

    **The environment wins**, so that an operator can change what the code says: `JSONLOG_SERVICE`, `JSONLOG_DIRECTORY`,
    `JSONLOG_LEVEL`, `JSONLOG_CONSOLE` (also `JSONLOG_VERSION`, `JSONLOG_ENVIRONMENT`, `JSONLOG_NODE`). An empty one is none.

    Args:
        service: `service.name` in each record, and what the file names begin with.
        directory: Where the files go. Default: `logs`.
        level: The level of the root logger, by name (in any case) or number. Default: INFO.
        console: Whether to show records on stderr. Default: unless a handler of the root logger writes to stderr or stdout.
        hooks: Whether to call `install_hooks` too, which does change something beyond the root logger.
        handler: More options of `ProcessFileHandler`, such as `{"max_bytes": 10_000_000}`.
        formatter: More options of `JsonFormatter`, such as `version="1.4.2"` or `redact={"keys": ["password"]}`.

    Raises:
        ValueError: An argument or a variable is wrong; names it. Nothing has been changed then.
        OSError: The directory cannot be created. Nothing has been changed then.
    """
    options = {**formatter, "service": service}
    for name in _FACTS:
        if os.environ.get(f"JSONLOG_{name.upper()}"):
            options.pop(name, None)  # the formatter reads the variable where it is not given
    number = _level(*_setting("level", level, "INFO"))
    wanted = _switch(*_setting("console", console, None))
    made_from = (os.path.abspath(_directory(directory)), dict(handler or {}), options, _variables())  # noqa: PTH100
    root = logging.getLogger()
    others = [one for one in root.handlers if not isinstance(one, (_Files, _Console))]
    ours = [one for one in root.handlers if isinstance(one, (_Files, _Console))]
    files = next((one for one in ours if isinstance(one, _Files) and one.made_from == made_from), None)
    if files is None:
        files = _make_files(made_from)
    handlers: list[logging.Handler] = [*others, files]
    if wanted or (wanted is None and not any(map(_is_console, others))):
        shown = _Console()
        shown.setFormatter(files.formatter)
        handlers.append(shown)
    # A new list: a thread that logs at this moment goes through the old one to its end.
    root.handlers = handlers
    root.setLevel(number)
    for one in {*ours} - {files}:
        one.close()
    if hooks:
        from jsonlog.hooks import install_hooks  # noqa: PLC0415 (not paid for by those who do not want it)

        install_hooks()


def _make_files(made_from: tuple[str, dict[str, Any], dict[str, Any], object]) -> _Files:
    directory, options, formatter, _ = made_from
    made = JsonFormatter(**formatter)
    try:
        files = _Files(directory, **options)
    except TypeError as exc:
        raise ValueError(f"configure: 'handler' is no set of options of ProcessFileHandler: {exc}") from exc
    files.setFormatter(made)
    files.made_from = made_from
    return files


def _variables() -> tuple[str | None, ...]:
    return tuple(os.environ.get(f"JSONLOG_{name.upper()}") for name in _FACTS)


def _setting(name: str, given: object, default: object) -> tuple[str, object]:
    """Choose between the environment, the argument and the default; gives also what to call it in an error."""
    variable = f"JSONLOG_{name.upper()}"
    value = os.environ.get(variable)
    if value:
        return variable, value
    return f"configure: {name!r}", default if given is None else given


def _directory(given: object) -> str:
    name, value = _setting("directory", given, _DIRECTORY)
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path:
        raise ValueError(f"{name} must be a path that is not empty, got {value!r}")
    return os.path.expanduser(path)  # noqa: PTH111


def _level(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        text = value.strip().upper()
        known = logging.getLevelNamesMapping()
        for spelling in (value, text):
            if spelling in known:
                return known[spelling]
        if text.isdecimal():
            return int(text)
    raise ValueError(f"{name} must be the name or number of a level, such as INFO, got {value!r}")


def _switch(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise ValueError(f"{name} must be true or false, got {value!r}")


def _is_console(handler: logging.Handler) -> bool:
    """Tell whether a handler shows records where the console would."""
    stream = getattr(handler, "stream", None)
    return stream is not None and stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)

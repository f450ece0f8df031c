"""
JSON logs from many processes, with nothing lost.

`JsonFormatter` turns each record into one line of JSON; `ProcessFileHandler` writes one file per process. Both go
straight into `logging.config.dictConfig`; `configure` sets up both with one call. This package imports orjson and the
standard library, nothing else.
"""

from jsonlog.files.handler import ProcessFileHandler
from jsonlog.formatter import JsonFormatter
from jsonlog.logger import Logger, install_logger
from jsonlog.record.context import bind, clear, unbind

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from jsonlog.console import ConsoleHandler
    from jsonlog.hooks import install_hooks, uninstall_hooks
    from jsonlog.relay.listener import QueueListener
    from jsonlog.relay.queue import QueueHandler
    from jsonlog.relay.socket import SocketHandler
    from jsonlog.root import configure

# What not every application uses is imported when it is asked for.
_LAZY = {
    "ConsoleHandler": "jsonlog.console",
    "QueueHandler": "jsonlog.relay.queue",
    "QueueListener": "jsonlog.relay.listener",
    "SocketHandler": "jsonlog.relay.socket",
    "configure": "jsonlog.root",
    "install_hooks": "jsonlog.hooks",
    "uninstall_hooks": "jsonlog.hooks",
}

__all__ = [
    "ConsoleHandler",
    "JsonFormatter",
    "Logger",
    "ProcessFileHandler",
    "QueueHandler",
    "QueueListener",
    "SocketHandler",
    "bind",
    "clear",
    "configure",
    "install_hooks",
    "install_logger",
    "unbind",
    "uninstall_hooks",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'jsonlog' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (an application that asks for none of them does not pay for it)

    value: object = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

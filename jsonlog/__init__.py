"""
JSON logs from many processes, with nothing lost.

`JsonFormatter` turns each record into one line of JSON; `ProcessFileHandler` writes one file per process. Both go
straight into `logging.config.dictConfig`. This package imports orjson and the standard library, nothing else.
"""

from jsonlog.files.handler import ProcessFileHandler
from jsonlog.formatter import JsonFormatter
from jsonlog.logger import Logger, install_logger
from jsonlog.record.context import bind, clear, unbind

__all__ = ["JsonFormatter", "Logger", "ProcessFileHandler", "bind", "clear", "install_logger", "unbind"]

"""
A logger that takes fields by name and makes records faster than the stock one.

It makes the very same records (exact `logging.LogRecord`s with the same attributes), in one step instead of twenty, and
finds the call site without walking through `logging`. Filters, handlers, levels and propagation are `logging`'s own.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING, LogRecord

from jsonlog.files.here import mark
from jsonlog.record.build import CLASHES, OWN_ATTRIBUTES, STANDARD_ATTRIBUTES

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from jsonlog.files.here import Here

_ABSENT = object()
_INTERNAL = frozenset({logging.__file__, (lambda: None).__code__.co_filename, logging.info.__code__.co_filename})
_WITH_TASK = "taskName" in OWN_ATTRIBUTES  # from Python 3.12 on
_MAX_FILES = 4096
_names: dict[int, str] = logging._levelToName  # noqa: SLF001 (what getLevelName looks in)
_here: Here = b"\0"  # whether `_pid` is that of this process
_pid = 0
_files: dict[str, tuple[str, str]] = {}  # path: file name and module, as `LogRecord` derives them


def _start() -> float:
    started: float = logging._startTime  # type: ignore[attr-defined]  # noqa: SLF001 (what relativeCreated counts from)
    return started / 1e9 if started > 1e12 else started  # nanoseconds from Python 3.13 on


_START = _start()


class Logger(logging.Logger):
    """
    A `logging.Logger` whose calls take fields: `log.info("placed", order=17)`.

    Any name may be given, as a keyword or in `extra=`, also those that a LogRecord has itself (`name`, `filename`,
    `message`, …), for which the stock logger raises KeyError. Only `exc_info`, `stack_info`, `stacklevel` and `extra` keep
    their meaning as keywords; as fields they can be given in `extra=`.

    Use it for all loggers with `install_logger()`, or with `logging.setLoggerClass`. Record factories are honoured;
    `makeRecord` and `findCaller` are not called.
    """

    def debug(self, msg: object = _ABSENT, /, *args: object, **fields: Any) -> None:
        """Log with level DEBUG."""
        if self.isEnabledFor(DEBUG):
            self._log(DEBUG, msg, args, **fields)

    def info(self, msg: object = _ABSENT, /, *args: object, **fields: Any) -> None:
        """Log with level INFO."""
        if self.isEnabledFor(INFO):
            self._log(INFO, msg, args, **fields)

    def warning(self, msg: object = _ABSENT, /, *args: object, **fields: Any) -> None:
        """Log with level WARNING."""
        if self.isEnabledFor(WARNING):
            self._log(WARNING, msg, args, **fields)

    def error(self, msg: object = _ABSENT, /, *args: object, **fields: Any) -> None:
        """Log with level ERROR."""
        if self.isEnabledFor(ERROR):
            self._log(ERROR, msg, args, **fields)

    def critical(self, msg: object = _ABSENT, /, *args: object, **fields: Any) -> None:
        """Log with level CRITICAL."""
        if self.isEnabledFor(CRITICAL):
            self._log(CRITICAL, msg, args, **fields)

    def exception(self, msg: object = _ABSENT, /, *args: object, **fields: Any) -> None:
        """Log with level ERROR and the exception that is being handled."""
        if self.isEnabledFor(ERROR):
            fields.setdefault("exc_info", True)
            self._log(ERROR, msg, args, **fields)

    def log(self, level: Any, msg: object = _ABSENT, /, *args: object, **fields: Any) -> None:  # type: ignore[override]
        """
        Log with any level.

        Raises:
            TypeError: The level is no integer, as the stock logger has it.
        """
        if type(level) is not int and not isinstance(level, int):
            if logging.raiseExceptions:
                raise TypeError("level must be an integer")
            return
        if self.isEnabledFor(level):
            self._log(level, msg, args, **fields)

    def handle(self, record: LogRecord) -> None:
        """Pass a record on to the handlers, unless the logger is disabled or one of its filters refuses it."""
        if self.filters:
            super().handle(record)
        elif not self.disabled:
            self.callHandlers(record)

    def _log(  # type: ignore[override]
        self,
        level: int,
        msg: object,
        args: Any,
        /,
        exc_info: Any = None,
        extra: Any = None,
        stack_info: bool = False,  # noqa: FBT001, FBT002
        stacklevel: int = 1,
        **fields: Any,
    ) -> None:
        if msg is _ABSENT:  # log.info(msg="text"), as the stock logger takes it
            msg = fields.pop("msg", "")
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
        while frame is not None and (frame.f_code.co_filename in _INTERNAL or stacklevel > 1):
            stacklevel -= frame.f_code.co_filename not in _INTERNAL
            if frame.f_back is None:
                break
            frame = frame.f_back
        if exc_info is not None and type(exc_info) is not tuple:
            exc_info = _exception(exc_info)
        stack = _stack(frame) if stack_info else None
        record = _make(self.name, level, msg, args, exc_info, stack, frame)
        if extra:
            fields = {**extra, **fields} if fields else extra
        if fields:
            facts = record.__dict__
            if STANDARD_ATTRIBUTES.isdisjoint(fields):
                facts.update(fields)
            else:
                facts.update((name, value) for name, value in fields.items() if name not in STANDARD_ATTRIBUTES)
                facts[CLASHES] = {name: value for name, value in fields.items() if name in STANDARD_ATTRIBUTES}
        self.handle(record)


def install_logger() -> None:
    """
    Make every logger a `jsonlog.Logger`: those that are made from here on, and the plain ones that there are.

    Loggers of other classes, the root logger among them, stay what they are. A second time does nothing more.
    """
    logging.setLoggerClass(Logger)
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if type(logger) is logging.Logger:
            logger.__class__ = Logger


def _make(
    name: str, level: int, msg: object, args: Any, exc_info: Any, stack: str | None, frame: FrameType | None
) -> LogRecord:
    """Make a record as `LogRecord` does, of the same attributes in the same order."""
    if frame is None:
        path, line, function = "(unknown file)", 0, "(unknown function)"
    else:
        code = frame.f_code
        path, line, function = code.co_filename, frame.f_lineno, code.co_name
    factory = logging.getLogRecordFactory()
    if factory is not LogRecord:
        return factory(name, level, path, line, msg, args, exc_info, function, stack)
    if args and len(args) == 1 and type(args[0]) is dict and args[0]:
        args = args[0]
    now = time.time()
    record = LogRecord.__new__(LogRecord)
    record.name = name
    record.msg = msg
    record.args = args
    record.levelname = _names.get(level) or logging.getLevelName(level)
    record.levelno = level
    record.pathname = path
    record.filename, record.module = _files.get(path) or _file(path)
    record.exc_info = exc_info
    record.exc_text = None
    record.stack_info = stack
    record.lineno = line
    record.funcName = function
    record.created = now
    record.msecs = now % 1 * 1000 // 1
    record.relativeCreated = (now - _START) * 1000
    record.thread = threading.get_ident() if logging.logThreads else None
    record.threadName = threading.current_thread().name if logging.logThreads else None
    record.processName = _process_name() if logging.logMultiprocessing else None
    record.process = (_pid if _here[0] else _look_at_pid()) if logging.logProcesses else None
    if _WITH_TASK:
        record.taskName = _task_name()
    return record


def _file(path: str) -> tuple[str, str]:
    filename = os.path.basename(path)  # noqa: PTH119
    if len(_files) < _MAX_FILES:
        _files[path] = filename, os.path.splitext(filename)[0]  # noqa: PTH122
    return filename, os.path.splitext(filename)[0]  # noqa: PTH122


def _look_at_pid() -> int:
    """Ask for the pid, at first and in a forked child."""
    global _here, _pid  # noqa: PLW0603 (one for the process, which is what it is about)
    _pid = os.getpid()
    _here = mark()
    return _pid


def _process_name() -> str:
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return "MainProcess"
    try:
        name: str = multiprocessing.current_process().name
    except Exception:  # noqa: BLE001 (being imported at this moment)
        return "MainProcess"
    return name


def _task_name() -> str | None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not getattr(logging, "logAsyncioTasks", True):
        return None
    try:
        # Asking for the current task where no loop runs would raise, which takes longer than all the rest.
        if asyncio._get_running_loop() is None:  # noqa: SLF001
            return None
        task = asyncio.current_task()
        return None if task is None else task.get_name()
    except Exception:  # noqa: BLE001 (being imported at this moment, or a task of the user's own making)
        return None


def _exception(exc_info: Any) -> Any:
    """Give what a record holds for `exc_info=True`, an exception, or something that is false."""
    if isinstance(exc_info, BaseException):
        return type(exc_info), exc_info, exc_info.__traceback__
    return sys.exc_info() if exc_info else exc_info


def _stack(frame: FrameType | None) -> str:
    return "Stack (most recent call last):\n" + "".join(traceback.format_stack(frame)).removesuffix("\n")

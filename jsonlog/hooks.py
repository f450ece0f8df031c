"""
Records of what nobody caught, and of warnings.

Exceptions of the main thread, of threads and of asyncio loops, and those that the interpreter can only report. Each hook
writes its record first and then calls the hook that was there before, so that what a program printed it still prints.
Signals are left alone. KeyboardInterrupt and SystemExit are ways to end, not errors: they are passed on unlogged.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    Tell = Callable[..., None]
    Trouble = tuple[type[BaseException], BaseException, TracebackType | None] | None

_LOGGER = "jsonlog.hooks"
_ENDINGS = (KeyboardInterrupt, SystemExit)
_here = (
    threading.local()
)  # `busy`: this thread is writing such a record; `told`: the asyncio context that has its record
_installed: dict[str, list[Callable[[], None]]] = {}  # hooks are the process's own: what undoes each, by name


def install_hooks(*names: str) -> None:
    """
    Write a record, with `exc`, for each exception that nobody catches and for each warning.

    The hook that was there before is called afterwards, so tracebacks still go to stderr. A second call adds nothing.

    Args:
        names: Which: `exceptions` (of the main thread: CRITICAL), `threads` (ERROR), `asyncio` (ERROR), `unraisable`
            (ERROR: in `__del__` and the like), `warnings` (WARNING, by the logger `py.warnings`). None given: all.

    Raises:
        ValueError: A name is none of these.
    """
    for name in names:
        if name not in _HOOKS:
            raise ValueError(f"install_hooks: {name!r} is none of {', '.join(_HOOKS)}")
    for name in names or _HOOKS:
        if name not in _installed:
            _installed[name] = _HOOKS[name]()


def uninstall_hooks() -> None:
    """Take the hooks away. One that somebody else's hook has been put upon stays there and only passes on."""
    while _installed:
        for undo in _installed.popitem()[1]:
            undo()


def _put(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Callable[[], None]:
    """
    Put a function in the place of *owner*'s.

    Args:
        owner: A module or a class.
        name: The name of its function.
        wrap: Makes ours from the one that is there.

    Returns:
        What undoes it.
    """
    before = getattr(owner, name)
    ours = wrap(before)
    active = True

    def hook(*args: Any, **more: Any) -> Any:
        return (ours if active else before)(*args, **more)

    def undo() -> None:
        nonlocal active
        active = False
        if getattr(owner, name) is hook:
            setattr(owner, name, before)

    setattr(owner, name, hook)
    return undo


def _telling(tell: Tell, is_same: Callable[[Any], bool] = lambda _: False) -> Callable[[Any], Any]:
    """Make a hook that writes its record and then calls the one before; *is_same*: unless that would write it again."""

    def wrap(before: Any) -> Any:
        same = is_same(before)

        def hook(*args: Any, **more: Any) -> None:
            _safely(tell, *args, **more)
            if not same:
                before(*args, **more)

        return hook

    return wrap


def _safely(tell: Tell, *args: Any, **more: Any) -> None:
    """Write a record unless this thread is writing one: a warning of a handler's own would otherwise never end."""
    if getattr(_here, "busy", False):
        return
    _here.busy = True
    try:
        tell(*args, **more)
    except Exception:  # noqa: BLE001, S110 (the trouble that is being told of must not become another one)
        pass
    finally:
        _here.busy = False


def _tell_exception(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if not issubclass(kind, _ENDINGS):
        _log_uncaught(logging.CRITICAL, "uncaught exception", _trouble(kind, error, traceback))


def _tell_thread(args: Any) -> None:
    if not issubclass(args.exc_type, _ENDINGS):
        name = "a thread" if args.thread is None else args.thread.name
        trouble = _trouble(args.exc_type, args.exc_value, args.exc_traceback)
        _log_uncaught(logging.ERROR, "uncaught exception in thread %s", trouble, name)


def _tell_unraisable(args: Any) -> None:
    if issubclass(args.exc_type, _ENDINGS):
        return
    trouble = _trouble(args.exc_type, args.exc_value, args.exc_traceback)
    what = args.err_msg or "exception ignored in"
    if args.object is None:
        _log_uncaught(logging.ERROR, "%s", trouble, what)
        return
    try:
        shown = repr(args.object)  # now: keeping the object would raise it from the dead
    except Exception:  # noqa: BLE001 (an object that is half gone)
        shown = f"<{type(args.object).__qualname__}>"
    _log_uncaught(logging.ERROR, "%s %s", trouble, what, shown)


def _tell_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    del line
    if file is not None:  # the caller wants it written there
        return
    warning = message if isinstance(message, Warning) else category(message)
    logger = logging.getLogger("py.warnings")
    if logger.isEnabledFor(logging.WARNING) and logger.hasHandlers():
        trouble = (type(warning), warning, warning.__traceback__)
        logger.handle(
            logger.makeRecord(logger.name, logging.WARNING, filename, lineno, "%s", (str(warning),), trouble, None)
        )


def _tell_loop(context: dict[str, Any]) -> None:
    error = context.get("exception")
    logger = logging.getLogger("asyncio")
    if isinstance(error, _ENDINGS) or not logger.isEnabledFor(logging.ERROR) or not logger.hasHandlers():
        return
    trouble = None if error is None else _trouble(type(error), error, error.__traceback__)
    task = getattr(context.get("future") or context.get("task"), "get_name", None)
    logger.handle(
        logger.makeRecord(
            logger.name, logging.ERROR, *_site(trouble), "%s",
            (context.get("message") or "unhandled exception in event loop",), trouble,
            extra={"task_name": task()} if task else None,
        )
    )  # fmt: skip


def _trouble(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> Trouble:
    return kind, kind() if error is None else error, traceback


def _log_uncaught(level: int, message: str, trouble: Trouble, *args: object) -> None:
    # By the root logger: `dictConfig` disables loggers that it does not name, never this one.
    logger = logging.getLogger()
    if logger.isEnabledFor(level) and logger.hasHandlers():
        path, line = _site(trouble)
        logger.handle(logger.makeRecord(_LOGGER, level, path, line, message, args, trouble, _function(trouble)))


def _last(trouble: Trouble) -> TracebackType | None:
    traceback = trouble and trouble[2]
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback or None


def _site(trouble: Trouble) -> tuple[str, int]:
    """Name the line that raised: a record's place is where things happen, and that is not here."""
    last = _last(trouble)
    return ("(unknown file)", 0) if last is None else (last.tb_frame.f_code.co_filename, last.tb_lineno)


def _function(trouble: Trouble) -> str | None:
    last = _last(trouble)
    return None if last is None else last.tb_frame.f_code.co_name


def _hook_asyncio() -> list[Callable[[], None]]:
    """
    Write a record also where a loop has an exception handler of its own.

    A loop without one needs nothing: asyncio itself logs with `exc_info` then. A handler that calls the default one in the
    end must not make that a second record.
    """
    from asyncio import BaseEventLoop  # noqa: PLC0415 (takes long to import)

    def wrap_call(before: Any) -> Any:
        def call_exception_handler(loop: Any, context: dict[str, Any]) -> None:
            if loop.get_exception_handler() is None:
                before(loop, context)
                return
            _safely(_tell_loop, context)
            told, _here.told = getattr(_here, "told", None), context
            try:
                before(loop, context)
            finally:
                _here.told = told

        return call_exception_handler

    def wrap_default(before: Any) -> Any:
        def default_exception_handler(loop: Any, context: dict[str, Any]) -> None:
            if getattr(_here, "told", None) is None:
                before(loop, context)

        return default_exception_handler

    return [
        _put(BaseEventLoop, "call_exception_handler", wrap_call),
        _put(BaseEventLoop, "default_exception_handler", wrap_default),
    ]


def _is_loggings_own(before: Any) -> bool:
    """Tell whether `logging.captureWarnings` is on, which would log the same warning once more."""
    return before is getattr(logging, "_showwarning", None)


_HOOKS: dict[str, Callable[[], list[Callable[[], None]]]] = {
    "exceptions": lambda: [_put(sys, "excepthook", _telling(_tell_exception))],
    "threads": lambda: [_put(threading, "excepthook", _telling(_tell_thread))],
    "asyncio": _hook_asyncio,
    "unraisable": lambda: [_put(sys, "unraisablehook", _telling(_tell_unraisable))],
    "warnings": lambda: [_put(warnings, "showwarning", _telling(_tell_warning, _is_loggings_own))],
}

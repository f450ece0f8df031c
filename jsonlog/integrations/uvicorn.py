"""
uvicorn: its own messages and its access log as records.

Two ways, neither of which imports uvicorn. `adopt` in the application's module:

    import jsonlog
    from jsonlog.integrations.uvicorn import adopt

    jsonlog.configure(service="shop", directory="logs")
    adopt()

or `log_config` where uvicorn is started by the program, which holds for its supervisor as well:

    uvicorn.run("shop:app", workers=4, log_config=log_config(service="shop", directory="logs"))

On both ways a record of `uvicorn.access` has `method`, `path`, `status` and `client` in `extra`, and `color_message` is left out.
"""

from __future__ import annotations

import logging

from jsonlog.integrations.forward import ToRoot

TYPE_CHECKING = False  # importing `typing` would cost an application 5 ms
if TYPE_CHECKING:
    from typing import Any

_CHILDREN = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def adopt() -> None:
    """
    Let uvicorn's loggers write by the handlers of the root logger, in place of uvicorn's own.

    Each worker imports the application's module, and with it calls this; uvicorn's supervisor does not, and goes on
    printing its own few messages.
    """
    for name in _CHILDREN:
        logger = logging.getLogger(name)
        if name != "uvicorn.access" or logger.handlers:  # without handlers: `--no-access-log`
            logger.handlers, logger.propagate = [], True
    parent = logging.getLogger("uvicorn")
    parent.handlers, parent.propagate = [ToRoot()], False


def log_config(**options: Any) -> dict[str, Any]:
    """
    Make a `log_config` for uvicorn, which applies it in its supervisor and in each worker.

    Args:
        options: As for `jsonlog.configure`; values that can be pickled, since workers are started by spawn.

    Returns:
        A dictionary for `logging.config.dictConfig`, which calls `jsonlog.configure` and adopts uvicorn's loggers. As JSON
        or YAML it is a file for `--log-config`.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        # Not used: uvicorn writes its `use_colors` into formatters of these names.
        "formatters": {name: {"class": "jsonlog.JsonFormatter"} for name in ("default", "access")},
        "handlers": {"root": {"class": "jsonlog.integrations.forward.ToRoot", "configure": options}},
        "loggers": {
            "uvicorn": {"level": "INFO", "handlers": ["root"], "propagate": False},
            **{name: {"handlers": [], "propagate": True} for name in _CHILDREN},
        },
    }

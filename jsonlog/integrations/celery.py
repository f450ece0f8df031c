"""
Celery: records in place of its own logging, with the task's id and name as fields.

    from celery import Celery
    from jsonlog.integrations.celery import install

    app = Celery("shop", broker=…)
    install(service="shop-worker", directory="logs")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import signals

import jsonlog

if TYPE_CHECKING:
    from jsonlog.record.context import Bound

_NAME = "jsonlog"
_bound: dict[str, Bound] = {}  # what is bound for the tasks that run in this process, by their ids


def install(**options: Any) -> None:
    """
    Let Celery's programs log by `jsonlog.configure`, and put `task_id` and `task_name` into each record of a task.

    Celery neither replaces the root logger's handlers then nor redirects stdout. Call it in the module that makes the Celery
    application; in programs that only send tasks it changes nothing. With the prefork pool each child is a writer of its own.

    Args:
        options: As for `jsonlog.configure`. Without `level`: what `--loglevel` says.
    """

    def set_up(loglevel: int | None = None, **_: Any) -> None:
        jsonlog.configure(**{"level": loglevel, **options})

    # A second call takes the place of the first; the signals would hold our functions weakly.
    signals.setup_logging.disconnect(dispatch_uid=_NAME)
    signals.setup_logging.connect(set_up, weak=False, dispatch_uid=_NAME)
    signals.task_prerun.connect(_bind, weak=False, dispatch_uid=_NAME)
    signals.task_postrun.connect(_unbind, weak=False, dispatch_uid=_NAME)


def _bind(task_id: str, task: Any, **_: Any) -> None:
    _bound[task_id] = jsonlog.bind(task_id=task_id, task_name=task.name)


def _unbind(task_id: str, **_: Any) -> None:
    bound = _bound.pop(task_id, None)
    if bound is not None:
        bound.reset()

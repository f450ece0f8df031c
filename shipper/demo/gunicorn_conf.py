"""
gunicorn for the shop: four workers, and logging set up by a plain `dictConfig`.

    gunicorn --config python:shipper.demo.gunicorn_conf shipper.demo.shop:app

The environment says where logs go (`JSONLOG_DIRECTORY`) and who logs (`JSONLOG_SERVICE`, `JSONLOG_ENVIRONMENT`).
"""

from __future__ import annotations

import os
from typing import Any

from jsonlog.integrations import gunicorn

os.environ.setdefault("JSONLOG_SERVICE", "shop")
os.environ.setdefault("JSONLOG_VERSION", "1.4.2")
_directory = os.environ.get("JSONLOG_DIRECTORY", "logs")
_tally = os.environ.get("JSONLOG_TALLY")

bind = os.environ.get("SHOP_BIND", "127.0.0.1:8000")
workers = 4
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 (gunicorn's own advice)
graceful_timeout = 10
control_socket_disable = True

logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"class": "jsonlog.JsonFormatter"}},
    "handlers": {
        "json": {"class": "jsonlog.ProcessFileHandler", "directory": _directory, "formatter": "json"},
        "tally": {"class": "shipper.demo.tally.Tally", "directory": _tally},
    },
    "root": {"level": "INFO", "handlers": ["json", "tally"]},
}


class Logger(gunicorn.Logger):
    """The access log as fields, without the health check's."""

    quiet = frozenset({"/healthz"})


logger_class = Logger

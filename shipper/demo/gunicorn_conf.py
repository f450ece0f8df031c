"""
gunicorn for the shop: four workers, and logging set up by a plain `dictConfig`.

    gunicorn --config python:shipper.demo.gunicorn_conf shipper.demo.shop:app

The environment says where logs go (`JSONLOG_DIRECTORY`) and who logs (`JSONLOG_SERVICE`, `JSONLOG_ENVIRONMENT`).
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

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
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
        "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": True},
    },
}


class AccessFields(Logger):  # type: ignore[misc]
    """gunicorn's logger with the access log as fields in place of a line of text."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log one answered request."""
        del req
        if environ.get("PATH_INFO") == "/healthz":
            return
        fields = {
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": int(str(resp.status).split(None, 1)[0]),
            "duration_ms": round(request_time.total_seconds() * 1000, 3),
            "request_id": environ.get("HTTP_X_REQUEST_ID"),
        }
        self.access_log.info("%s %s %s", fields["method"], fields["path"], fields["status"], extra=fields)


logger_class = AccessFields

"""
gunicorn: workers of any kind, preloaded or not, each with a file of its own; the access log as fields.

    cd examples/gunicorn
    gunicorn app:wsgi                                                  # sync
    gunicorn --worker-class gthread --threads 4 --preload app:wsgi
    gunicorn --worker-class uvicorn_worker.UvicornWorker app:asgi      # pip install uvicorn-worker
    GUNICORN_DICT=1 gunicorn app:wsgi                                  # by logconfig_dict
"""

import os

import jsonlog
from jsonlog.integrations import gunicorn

bind = os.environ.get("GUNICORN_BIND", "127.0.0.1:8000")
workers = 2

if os.environ.get("GUNICORN_DICT"):
    # gunicorn.error and gunicorn.access need not be named: they go where the root logger goes.
    logconfig_dict = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "jsonlog.JsonFormatter", "service": "shop"}},
        "handlers": {"json": {"class": "jsonlog.ProcessFileHandler", "directory": "logs", "formatter": "json"}},
        "root": {"level": "INFO", "handlers": ["json"]},
    }
else:
    jsonlog.configure(service="shop", directory="logs")


class Logger(gunicorn.Logger):
    quiet = frozenset({"/health"})


logger_class = Logger  # without a subclass: logger_class = "jsonlog.integrations.gunicorn.Logger"

"""
uWSGI: it forks in C, where no hook of Python's runs; each worker has a file of its own all the same.

    cd examples/uwsgi        # pip install uwsgi, or pyuwsgi, which needs no compiler
    uwsgi --http-socket 127.0.0.1:8000 --master --processes 2 --die-on-term --wsgi-file app.py
    uwsgi … --lazy-apps      # the application is imported in each worker
    uwsgi … --enable-threads --threads 2

uWSGI's own messages are not records: they do not come from Python. It needs `--enable-threads` for threads of yours.
"""

import logging

import jsonlog

log = logging.getLogger("shop")
jsonlog.configure(service="shop", directory="logs")
log.info("imported")


def application(environ, start_response):
    log.info("asked for %s", environ["PATH_INFO"])
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"ok\n"]

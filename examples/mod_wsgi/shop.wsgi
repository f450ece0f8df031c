"""
mod_wsgi: each daemon process has a file of its own, in the main interpreter and in others.

    WSGIDaemonProcess shop processes=2 threads=3 python-home=/srv/shop/venv
    WSGIProcessGroup shop
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias / /srv/shop/shop.wsgi

The directory must be absolute (Apache's working directory is /) and writable for the user of the daemon processes. `mode` and
the directory's group decide whether a shipper of another user may read.
"""

import logging
from pathlib import Path

import jsonlog

log = logging.getLogger("shop")
jsonlog.configure(service="shop", directory=Path(__file__).with_name("logs"), console=False)
log.info("imported")


def application(environ, start_response):
    log.info("asked for %s", environ["SCRIPT_NAME"] + environ["PATH_INFO"])
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"ok\n"]

"""A small application, once for WSGI and once for ASGI; see gunicorn.conf.py."""

import logging

log = logging.getLogger("shop")


def answer(path):
    if path == "/fail":
        raise RuntimeError("the till is closed")
    log.info("asked for %s", path)
    return b"ok\n"


def wsgi(environ, start_response):
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body = answer(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})

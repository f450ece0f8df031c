"""
uvicorn: workers, reload and the plain command; its messages and its access log as fields.

    cd examples/uvicorn
    uvicorn app:app --workers 2                         # the application adopts uvicorn's loggers
    uvicorn app:app --reload
    uvicorn app:app --log-config log_config.json        # a file says it all
    python app.py                                       # started by the program, with log_config()
"""

import logging
import os

import jsonlog
from jsonlog.integrations.uvicorn import adopt, log_config

SERVICE, DIRECTORY = "shop", os.environ.get("JSONLOG_DIRECTORY", "logs")
log = logging.getLogger("shop")

if not logging.getLogger().handlers:  # neither log_config() nor --log-config has done it
    jsonlog.configure(SERVICE, DIRECTORY)
    adopt()


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    log.info("asked for %s", scope["path"])
    if scope["path"] == "/fail":
        raise RuntimeError("the till is closed")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok\n"})


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        "app:app",
        port=int(os.environ.get("PORT", "8000")),
        workers=2,
        log_config=log_config(service=SERVICE, directory=DIRECTORY),
    )

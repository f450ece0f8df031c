"""
A queue and a thread in one process: who logs waits for no file, terminal or network. One dictionary, on any Python.

    python examples/queue_thread.py

The files get all records, the console warnings and errors, both from the thread behind the queue.
"""

import asyncio
import logging
import logging.config

import jsonlog

CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "jsonlog.JsonFormatter", "service": "shop"},
        "text": {"format": "%(levelname)-8s %(name)s %(message)s"},
    },
    "handlers": {
        "files": {"class": "jsonlog.ProcessFileHandler", "directory": "logs", "formatter": "json"},
        "console": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "text"},
        # `()`, since what `class` makes of a QueueHandler is another thing in Python 3.11, 3.12 and 3.13.
        "queue": {"()": "jsonlog.QueueHandler", "handlers": ["files", "console"]},
    },
    "root": {"level": "INFO", "handlers": ["queue"]},
}
log = logging.getLogger("shop.pay")


async def serve(request):
    with jsonlog.bind(request=request):
        log.info("charging", extra={"amount": 12.5})
        await asyncio.sleep(0.01)
        if request == 3:
            try:
                raise TimeoutError("no answer from the bank")
            except TimeoutError:
                log.exception("charge %d failed", request)


async def main():
    async with asyncio.TaskGroup() as group:
        for request in range(5):
            group.create_task(serve(request), name=f"request-{request}")


if __name__ == "__main__":
    logging.config.dictConfig(CONFIG)
    asyncio.run(main())

"""
Records over a socket to a receiver, which writes the files.

    jsonlog receive --listen 127.0.0.1:9020 --directory logs      # in one terminal
    python examples/socket_sender.py 9020                          # in another, as often as you like

Stop the receiver, kill it, start it again: nothing is lost, and nothing is there twice.
"""

import logging
import logging.config
import multiprocessing
import sys

log = logging.getLogger("shop")


def configure(port):
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": "jsonlog.JsonFormatter", "service": "shop"}},
            "handlers": {
                "socket": {
                    "class": "jsonlog.SocketHandler",
                    "host": "127.0.0.1",
                    "port": port,
                    "spool": "spool",
                    "formatter": "json",
                },
            },
            "root": {"level": "INFO", "handlers": ["socket"]},
        }
    )


def work(port, number):
    configure(port)
    for item in range(100):
        log.info("worker %d, item %d", number, item)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9020
    configure(port)
    log.info("starting")
    workers = [multiprocessing.Process(target=work, args=(port, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    log.info("done")


if __name__ == "__main__":
    main()

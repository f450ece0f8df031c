"""
dictConfig: console text, all records as JSON, a second JSON folder for one logger, and errors alone in a third.

    python examples/dictconfig.py
    jsonlog view 'logs/*/*.jsonl'

The formatters live side by side: what one makes of an exception is not seen by the others, whichever comes first.
"""

import logging
import logging.config

CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(levelname)-8s %(name)-15s %(message)s"},
        "json": {"()": "jsonlog.JsonFormatter", "service": "shop", "version": "1.4.2", "environment": "prod"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "text", "level": "WARNING"},
        "all": {"class": "jsonlog.ProcessFileHandler", "directory": "logs/all", "formatter": "json"},
        "payments": {"class": "jsonlog.ProcessFileHandler", "directory": "logs/payments", "formatter": "json"},
        "errors": {
            "class": "jsonlog.ProcessFileHandler",
            "directory": "logs/errors",
            "formatter": "json",
            "level": "ERROR",
        },
    },
    "loggers": {"shop.pay": {"level": "DEBUG", "handlers": ["payments"]}},
    "root": {"level": "INFO", "handlers": ["console", "all", "errors"]},
}


def main():
    logging.config.dictConfig(CONFIG)
    shop, pay = logging.getLogger("shop"), logging.getLogger("shop.pay")
    shop.info("open for business")
    pay.debug("asking the bank", extra={"amount": 12.5})
    pay.warning("the bank is slow")
    try:
        try:
            raise TimeoutError("no answer")
        except TimeoutError as exc:
            raise ValueError("declined") from exc
    except ValueError:
        pay.exception("charge %d failed", 17, extra={"amount": 12.5})


if __name__ == "__main__":
    main()

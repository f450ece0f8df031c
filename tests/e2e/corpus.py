"""A process that logs a known corpus through `logging`: `python -m tests.e2e.corpus FOLDER PROCESS COUNT NAMESPACE`.

The time of each record is set by a filter, three days from the eve of a change of the clocks, four records to an instant, so
that histograms by local time and paging within one millisecond have something to get wrong.
"""

import asyncio
import logging
import logging.config
import sys
import threading

START_MS = 1_792_843_200_000  # 2026-10-24T12:00:00Z; on the 25th Berlin goes back an hour
SPAN_MS = 3 * 86_400_000
PROCESSES = {
    "shop1": {"service": "shop", "version": "1.4.2", "host": "web-1", "labels": {"team": "payments"}},
    "shop2": {"service": "shop", "version": "1.4.3", "host": "web-2", "labels": {"team": "payments"}},
    "bank": {"service": "bank", "version": "7.0.0", "host": "db-1", "node": "bank-a", "level_number": True},
    "mail": {"service": "mail", "version": "2.1.0", "host": "web-2", "profile": "ecs"},
}
CUSTOMERS = ("Ana", "Björn", "Chloé", "Dmitri", "O'Neil")


class CardError(Exception):
    pass


def fail(number):
    try:
        try:
            raise TimeoutError(f"no answer from bank-{number % 3} in 5 s")
        except TimeoutError as exc:
            raise CardError("declined") from exc
    except CardError:
        logging.getLogger("shop.pay").exception("charge %d failed", number, extra={"order": number})


def look_up(number):
    try:
        {}[f"key-{number % 2}"]
    except KeyError:
        logging.getLogger("shop.cache").critical("cache is broken", exc_info=True, extra={"order": number})


def import_all(number):
    """Several failures at once, with a note, from a thread of its own."""
    try:
        error = ExceptionGroup("3 of 5 rows", [ValueError(f"row {number}"), OSError("disk"), CardError("declined")])
        error.add_note(f"while importing file {number % 7}")
        raise error
    except ExceptionGroup:
        extra = {"file": number % 7}
        call = {"args": ("import failed",), "kwargs": {"exc_info": error, "extra": extra}}
        thread = threading.Thread(target=logging.getLogger("shop.import").error, name="importer", **call)
        thread.start()
        thread.join()


async def in_a_task(number):
    logging.getLogger("shop.web.socket").info("pushed to %d clients", number % 9, extra={"clients": number % 9})


def odd(number):
    """Values that JSON, the bounds or an index do not take as they are; `mixed` is a number when a stream first sees it."""
    is_first = number % 1000 == 29
    extra = {"mixed": number, "": 1} if is_first else {"mixed": f"text {number}", "blob": "v" * 2000, "when": object()}
    logging.getLogger("shop.odd").warning("odd %s", "x" * (300_000 if number % 5000 == 29 else 3), extra=extra)


def log(number):  # noqa: PLR0911 (one kind of record after the other)
    """The record of one number: which kind it is, is a matter of its remainders."""
    pay, web = logging.getLogger("shop.pay"), logging.getLogger("shop.web.requests")
    if number % 500 == 19:
        return import_all(number)
    if number % 100 == 21:
        return asyncio.run(in_a_task(number))
    if number % 250 == 29:
        return odd(number)
    if number % 200 == 31:
        return logging.getLogger("shop").log(
            25, "nightly total", extra={"total": number / 4, "by": {"region": "eu"}, "nothing": None}
        )
    if number % 50 == 7:
        return fail(number)
    if number % 250 == 11:
        return look_up(number)
    if number % 200 == 13:
        return pay.warning("order %d was slow", number, stack_info=True, extra={"ms": number % 1000 + 0.5})
    if number % 100 == 17:
        return web.error("GET /search answered 503", extra={"status": 503, "path": "/search", "ms": 2000})
    if number % 20 == 3:
        return pay.debug("cache miss for customer %s", CUSTOMERS[number % 5])
    customer = CUSTOMERS[number % 5]
    return pay.info(
        "order %d charged for %s",
        number,
        customer,
        extra={
            "order": number,
            "order_id": 2**53 + number,
            "ms": number % 1000,
            "amount": number % 400 / 4,
            "paid": number % 3 == 0,
            "customer": customer,
            "user": {"id": f"u{number % 97}", "plan": "pro" if number % 10 == 0 else "free"},
            "tags": ["new", "gift"] if number % 40 == 0 else ["new"],
            "sent": f"2026-11-{number % 28 + 1:02}T10:00:00Z",
        },
    )


def main(folder, process, count, namespace):
    count, moment = int(count), {"number": 0}

    def at_its_time(record):
        record.created = (START_MS + moment["number"] // 4 * 4 * SPAN_MS // count + 0.5) / 1000
        return True

    def trace():
        number = moment["number"]
        return {"trace.id": f"{number // 10:032x}"} if number % 10 < 3 else {}

    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {
                "json": {
                    "()": "jsonlog.JsonFormatter",
                    "environment": namespace,
                    "context": trace,
                    **PROCESSES[process],
                },
            },
            "handlers": {"json": {"class": "jsonlog.ProcessFileHandler", "directory": folder, "formatter": "json"}},
            "root": {"level": "DEBUG", "handlers": ["json"]},
        }
    )
    logging.getLogger().handlers[0].addFilter(at_its_time)
    logging.addLevelName(25, "NOTICE")
    for number in range(count):
        moment["number"] = number
        log(number)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""
One call: JSON files and a readable console, and a record for whatever nobody catches.

    python examples/one_call.py
    JSONLOG_LEVEL=debug JSONLOG_CONSOLE=off python examples/one_call.py && jsonlog view
"""

import logging
import threading

import jsonlog

log = logging.getLogger("shop")


def charge(amount):
    log.debug("asking the bank", extra={"amount": amount})
    if amount > 100:
        raise ValueError(f"{amount} is more than the card has")
    log.info("charged", extra={"amount": amount})


def main():
    jsonlog.configure(service="shop", version="1.4.2", hooks=True)
    charge(12.5)
    try:
        charge(120)
    except ValueError:
        log.exception("the order failed")
    thread = threading.Thread(target=charge, args=(340,), name="night-shift")
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()

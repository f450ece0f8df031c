"""
multiprocessing: every start method, both pools, and the logger of multiprocessing itself; a file for each process.

    python examples/processes.py fork          # or spawn, or forkserver (the default from Python 3.14 on)

A child that is forked has the logging of its parent. One that is started by spawn or forkserver begins with none, so that
the call that sets it up has to run there too: as initializer of a pool, or first in the target of a Process.
"""

import logging
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import jsonlog

log = logging.getLogger("shop")


def configure():
    """What each process of this program calls first."""
    jsonlog.configure(service="shop", directory="logs", console=False)
    # multiprocessing's own logger does not propagate, and says what it does at INFO and DEBUG.
    own = multiprocessing.get_logger()
    own.propagate = True
    own.setLevel("INFO")


def work(number):
    log.info("item %d", number)
    return number * number


def target(number):
    configure()
    work(number)


def main():
    context = multiprocessing.get_context(sys.argv[1] if len(sys.argv) > 1 else None)
    configure()
    multiprocessing.log_to_stderr("INFO")  # and as text, in this process and in those that it starts

    process = context.Process(target=target, args=(0,))
    process.start()
    process.join()

    with context.Pool(2, initializer=configure) as pool:
        print(sum(pool.map(work, range(1, 11))))
        pool.close()
        pool.join()

    # Without a function of one's own: the arguments are those of jsonlog.configure.
    initializer = partial(jsonlog.configure, service="shop", directory="logs", console=False)
    with ProcessPoolExecutor(2, mp_context=context, initializer=initializer) as pool:
        print(sum(pool.map(work, range(11, 21))))


if __name__ == "__main__":
    main()

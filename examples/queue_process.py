"""
A listener process behind a multiprocessing.Queue: many processes log, one of them writes.

    python examples/queue_process.py spawn     # or fork, or forkserver

With `jsonlog.ProcessFileHandler` alone there is no need for it: every process may write. It is for handlers that only
one process can have, such as a file of text here.
"""

import logging
import multiprocessing
import sys

import jsonlog

log = logging.getLogger("shop")


def listen(queue):
    """The listener process: it writes what comes, until it is told that this is all."""
    files = jsonlog.ProcessFileHandler("logs")
    text = logging.FileHandler("errors.txt")
    text.setLevel("ERROR")
    text.setFormatter(logging.Formatter("%(processName)s %(threadName)s: %(message)s"))
    jsonlog.QueueListener(queue, files, text).run()


def configure(queue):
    """What each process that logs calls first."""
    handler = jsonlog.QueueHandler(queue)
    handler.setFormatter(jsonlog.JsonFormatter(service="shop"))
    root = logging.getLogger()
    root.setLevel("INFO")
    root.handlers[:] = [handler]  # a forked child has its parent's already


def work(queue, number):
    configure(queue)
    with jsonlog.bind(worker=number):
        for item in range(10):
            try:
                log.info("item %d is %f", item, 1 / item)
            except ZeroDivisionError:
                log.exception("item %d", item)


def main():
    context = multiprocessing.get_context(sys.argv[1] if len(sys.argv) > 1 else None)
    queue = context.Queue(10_000)
    listener = context.Process(target=listen, args=(queue,), name="listener")
    listener.start()
    configure(queue)
    log.info("starting")
    workers = [context.Process(target=work, args=(queue, number), name=f"worker-{number}") for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    log.info("done")
    logging.shutdown()  # what this process has put into the queue has left it
    queue.put(None)
    listener.join()


if __name__ == "__main__":
    main()

"""
Celery: each process of the prefork pool has a file of its own; task_id and task_name stand in each record of a task.

    cd examples/celery
    celery -A tasks worker --concurrency 2 &
    python tasks.py                 # sends three tasks and waits for what they give

The broker is a folder here, so that nothing else is needed.
"""

import logging
import os
from pathlib import Path

from celery import Celery

from jsonlog.integrations.celery import install

# Where messages lie; every process must name the same place.
HERE = Path(os.environ.get("BROKER_FOLDER", "broker")).absolute()
for folder in ("messages", "control", "results"):
    (HERE / folder).mkdir(parents=True, exist_ok=True)

app = Celery("shop", broker="filesystem://", backend=f"file://{HERE}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(HERE / "messages"),
        "data_folder_out": str(HERE / "messages"),
        "control_folder": str(HERE / "control"),
    },
    broker_connection_retry_on_startup=True,
)
install(service="shop-worker", directory="logs")

log = logging.getLogger("shop.tasks")


@app.task(name="shop.charge")  # the same in the worker and in the program that sends
def charge(order, amount):
    log.info("charging order %d", order, extra={"amount": amount})
    if amount < 0:
        raise ValueError(f"{amount} is no amount")
    return amount


def main():
    results = [charge.delay(order, amount) for order, amount in ((1, 12.5), (2, 40), (3, -1))]
    for result in results:
        print(result.get(timeout=30, propagate=False))


if __name__ == "__main__":
    main()

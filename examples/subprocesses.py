"""
A tree of programs, as schedulers such as Airflow start them: each sets itself up by the environment that it inherits.

    JSONLOG_DIRECTORY=logs python examples/subprocesses.py
    jsonlog view --field run_id=r-17

No descriptor and no lock goes to a program that is started. What the tree has in common travels as arguments here.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

import jsonlog

log = logging.getLogger("scheduler")


def start(*arguments):
    return subprocess.Popen([sys.executable, __file__, *arguments])


def schedule():
    log.info("run started")
    children = [start("task", "r-17", name) for name in ("extract", "load")]
    for child in children:
        log.info("task ended", extra={"exit_code": child.wait()})


def task(name):
    log.info("task %s started", name)
    step = start("step", "r-17", name)
    step.wait()
    if step.returncode:
        raise SystemExit(f"a step of {name} failed")


def step(name):
    log.info("step of %s", name)
    if name == "load":
        os.kill(os.getpid(), 9)  # what the out-of-memory killer does; the record before is there


def main(kind="scheduler", run_id="r-17", name=""):
    os.environ.setdefault("JSONLOG_DIRECTORY", str(Path("logs").resolve()))  # for programs that change their directory
    jsonlog.configure(service=kind, hooks=True)
    with jsonlog.bind(run_id=run_id, **({"task_name": name} if name else {})):
        {"scheduler": schedule, "task": lambda: task(name), "step": lambda: step(name)}[kind]()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The Flask app that gunicorn serves in the benchmarks; ``BENCH_…`` in the environment says which side it is.

``BENCH_SIDE=duty``: with onduty, as a user would write it. ``plain``: Flask alone. ``flock``: a thread of each worker
waits in a blocking ``flock`` and, once it has it, is "the leader": the least that any take-over can do. That side
imports onduty too, so that its workers have the same memory to be freed when they are killed.

``BENCH_TASKS``: how many tasks of 60 s there are. ``BENCH_BURN``: seconds of CPU that a task of 100 ms burns.
``BENCH_ECHO``: a view triggers a task. ``BENCH_GRID``: seconds between the slots of a task that tells of each run.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from flask import Flask

from benchmarks.bell import ring
from benchmarks.burning import EVERY, burn

if TYPE_CHECKING:
    from onduty import Context, OnDuty

SIDE = os.environ["BENCH_SIDE"]
app = Flask(__name__)


@app.get("/")
def index() -> str:
    return "hello"


def with_onduty() -> None:
    from onduty import OnDuty
    from onduty.events import TermBegan, TermEnded, WorkerReady

    duty = OnDuty(app, dir=os.environ["BENCH_DIR"])
    duty.on(WorkerReady)(lambda event: ring("ready"))
    duty.on(TermBegan)(lambda event: ring("term", number=event.term))
    duty.on(TermEnded)(lambda event: ring("end", number=event.term))
    declare(duty)
    declare_what_tells(duty)


def declare(duty: OnDuty) -> None:
    """What the environment asks for."""
    if "BENCH_SERVICE" in os.environ:

        @duty.service
        def collector(ctx: Context) -> None:
            ring("service")
            while ctx.sleep(1):
                pass
            ring("service over")

    for number in range(int(os.environ.get("BENCH_TASKS", "0"))):
        duty.every(seconds=60, name=f"task-{number}")(lambda: None)

    seconds = float(os.environ.get("BENCH_BURN", "0"))
    if seconds:

        @duty.every(seconds=EVERY)
        def busy() -> None:
            burn(seconds)


def declare_what_tells(duty: OnDuty) -> None:
    """Tasks whose runs ring."""
    if "BENCH_ECHO" in os.environ:

        @duty.task
        def echo() -> None:
            ring("echo")

        @app.get("/trigger")
        def trigger() -> str:
            since = time.monotonic_ns()
            echo.trigger()
            ring("asked", since=since)
            return "asked"

    if "BENCH_GRID" in os.environ:

        @duty.every(seconds=float(os.environ["BENCH_GRID"]))
        def slot() -> None:
            ring("slot")


def with_flock() -> None:
    import fcntl
    import sys
    import threading

    import onduty.duty
    import onduty.journal.sqlite  # noqa: F401  # for its memory only

    lock = os.open(f"{os.environ['BENCH_DIR']}.lock", os.O_RDWR | os.O_CREAT)

    def wait() -> None:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ring("term")

    ring("ready")
    if "gevent.monkey" in sys.modules:
        from gevent import get_hub

        get_hub().threadpool.spawn(wait)  # a native thread: a greenlet that blocks in flock would block the worker
    else:
        threading.Thread(target=wait, daemon=True).start()


if SIDE == "duty":
    with_onduty()
elif SIDE == "flock":
    with_flock()
else:
    ring("ready")

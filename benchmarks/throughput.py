"""How many runs a second, and what each costs: no-op tasks every 100 ms, memory journal, beside APScheduler 3.

Each side runs in a process of its own, one after the other, in turns. Counted are calls of the function, over a
window that begins after a warm-up; the cost is the process's CPU time over that window, divided by the calls. Both
run what comes late once (onduty: ``missed="once"``, APScheduler: ``coalesce``), so a side that can't keep up runs
fewer and not later and later. APScheduler 3 has its default ten threads, and a ``misfire_grace_time`` long enough that
it drops nothing.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import tempfile
import time

from benchmarks.processes import answer, side
from benchmarks.report import Report, Row, median, spread

MANY, FEW = 10_000, 10


def run(quick: bool) -> Report:
    rounds, seconds = (1, 3) if quick else (5, 4)
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for who, tasks in itertools.product(("onduty", "apscheduler"), (MANY, FEW)):
            result = answer(side("throughput", who, str(tasks), str(seconds)))
            found.setdefault((who, tasks), []).append(result)

    def figures(who: str, tasks: int, what: str) -> list[float]:
        return [one[what] for one in found[who, tasks]]

    ours, theirs = figures("onduty", MANY, "per_second"), figures("apscheduler", MANY, "per_second")
    ratio = median(ours) / median(theirs)
    rows = [Row(f"runs/s, {MANY:,} tasks", spread(ours, 0), spread(theirs, 0), ratio, ">= 1.5", ratio >= 1.5)]
    many, few = figures("onduty", MANY, "cpu_us"), figures("onduty", FEW, "cpu_us")
    growth = median(many) / median(few)
    bar = f"CPU µs per run, {MANY:,} tasks / {FEW} tasks"
    rows.append(Row(bar, spread(many, 0), f"{spread(few, 0)} (itself)", growth, "< 1.5", growth < 1.5))
    for tasks in (FEW, MANY):
        ours, theirs = figures("onduty", tasks, "cpu_us"), figures("apscheduler", tasks, "cpu_us")
        what = f"CPU µs per run, {tasks:,} tasks"
        rows.append(Row(what, spread(ours, 0), spread(theirs, 0), median(ours) / median(theirs)))
    note = f"{rounds} rounds of {seconds} s for each side, in turns; median (least..greatest). Peer: APScheduler 3."
    return Report("Throughput: no-op tasks every 100 ms, memory journal, one process", [note], rows)


def _onduty(tasks: int) -> None:
    from onduty import OnDuty

    folder = tempfile.mkdtemp()
    duty = OnDuty(lambda environ, start: [], name="bench", dir=folder, journal="memory")
    for number in range(tasks):
        duty.every(seconds=0.1, name=f"task-{number}")(_no_op)
    duty.start()


def _apscheduler(tasks: int) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]

    scheduler = BackgroundScheduler(job_defaults={"coalesce": True, "misfire_grace_time": 3600}, timezone="UTC")
    for number in range(tasks):
        scheduler.add_job(_no_op, "interval", seconds=0.1, id=f"task-{number}")
    scheduler.start()


_calls = itertools.count()


def _no_op() -> None:
    next(_calls)


def _measure(who: str, tasks: int, seconds: float) -> None:
    # Both warn of what they skip; how quick a terminal is shall not count.
    logging.getLogger(who).setLevel(logging.ERROR)
    {"onduty": _onduty, "apscheduler": _apscheduler}[who](tasks)
    time.sleep(2)
    calls, cpu, wall = next(_calls), time.process_time(), time.monotonic()
    time.sleep(seconds)
    done, used, took = next(_calls) - calls - 1, time.process_time() - cpu, time.monotonic() - wall
    print(json.dumps({"per_second": done / took, "cpu_us": used / max(done, 1) * 1e6}), flush=True)


if __name__ == "__main__":
    _measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)  # no graceful stop of ten thousand tasks: it is not what is measured

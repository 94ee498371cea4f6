"""How many durable runs a second: no-op functions, each run in SQLite before it begins and when it has ended.

Each side runs in a process of its own, one after the other, in turns, in WAL mode with the same ``synchronous``. The
peers do what comes nearest, with what makes them quickest: Huey's consumer works off a queue that was filled before
(and keeps that a task has ended: ``store_none``; without it a run leaves no trace, and one that is cut is gone),
a DBOS workflow is called in a loop, APScheduler 3 has as many jobs due as it can take from its SQLAlchemy store.
onduty works off slots (tasks due every 100 ms) and, beside those with queues, triggers. The bare limit: a loop in one
thread that inserts a row and updates it, a transaction each.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import answer, side
from benchmarks.report import Report, Row, median, spread

SYNCHRONOUS = ("normal", "full")
TASKS = 1_000
WARM_UP = 1.5
QUEUE_PER_SECOND = 8_000
"""Runs asked for before, for each second of measuring and warming up: more than any side can do."""


def run(quick: bool) -> Report:
    rounds, seconds = (1, 2.0) if quick else (5, 4.0)
    found: dict[tuple[str, str], list[float]] = {}
    for _, synchronous, who in itertools.product(range(rounds), SYNCHRONOUS, SIDES):
        found.setdefault((who, synchronous), []).append(answer(side("durable", who, synchronous, str(seconds))))
    rows = []
    for synchronous in SYNCHRONOUS:
        slots, queue, bare = (found[who, synchronous] for who in ("slots", "queue", "bare"))
        for what, peer, ours in (
            ("slots / APScheduler 3", "apscheduler", slots),
            ("slots / DBOS", "dbos", slots),
            ("slots / Huey", "huey", slots),
            ("triggers / DBOS", "dbos", queue),
            ("triggers / Huey", "huey", queue),
        ):
            theirs = found[peer, synchronous]
            ratio = median(ours) / median(theirs)
            rows.append(_row(f"{synchronous}: {what}", ours, theirs, ratio, 5.0))
        limit = 0.3 if synchronous == "normal" else 1.0
        rows.append(_row(f"{synchronous}: slots / bare", slots, bare, median(slots) / median(bare), limit))
        rows.append(_row(f"{synchronous}: triggers / bare", queue, bare, median(queue) / median(bare), None))
    return Report(
        "Durable runs per second: no-op functions, SQLite in WAL mode, one process",
        [f"{rounds} rounds of {seconds:g} s for each side, in turns; median (least..greatest)."],
        rows,
    )


def _row(what: str, ours: list[float], theirs: list[float], ratio: float, bar: float | None) -> Row:
    judged = ("", None) if bar is None else (f">= {bar:g}", ratio >= bar)
    return Row(what, spread(ours, 0), spread(theirs, 0), ratio, *judged)


_calls = itertools.count()


def no_op() -> None:
    next(_calls)


def _slots(folder: Path, synchronous: str, _runs: int) -> None:
    duty = _duty(folder, synchronous)
    for number in range(TASKS):
        duty.every(seconds=0.1, name=f"task-{number}")(no_op)
    duty.start()


def _queue(folder: Path, synchronous: str, runs: int) -> None:
    duty = _duty(folder, synchronous)
    task = duty.task(no_op)
    for _ in range(runs):
        task.trigger()
    duty.start()


def _duty(folder: Path, synchronous: str) -> Any:
    from onduty import OnDuty

    return OnDuty(lambda environ, start: [], name="bench", dir=folder, durability=synchronous)


def _huey(folder: Path, synchronous: str, runs: int) -> None:
    from huey import Huey
    from huey.storage import SqliteStorage

    class Storage(SqliteStorage):  # type: ignore[misc]  # its own argument knows FULL and OFF only
        def _create_connection(self) -> Any:
            connection = super()._create_connection()
            _set(connection, synchronous)
            return connection

    huey = Huey("bench", storage_class=Storage, filename=str(folder / "huey.sqlite3"), store_none=True)
    task = huey.task()(no_op)
    for _ in range(runs):
        task()
    huey.create_consumer(workers=1, periodic=False).start()


def _dbos(folder: Path, synchronous: str, _runs: int) -> None:
    from dbos import DBOS

    _set_all(synchronous)
    url = f"sqlite:///{folder}/dbos.sqlite3"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})
    workflow = DBOS.workflow()(no_op)
    DBOS.launch()
    _for_ever(workflow)


def _apscheduler(folder: Path, synchronous: str, _runs: int) -> None:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # type: ignore[import-untyped]
    from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]

    _set_all(synchronous)
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{folder}/apscheduler.sqlite3")},
        job_defaults={"coalesce": True, "misfire_grace_time": 3600},
        timezone="UTC",
    )
    scheduler.start(paused=True)
    for number in range(TASKS // 5):  # so many keep it busy; more are slower, since it reads all that are due at once
        scheduler.add_job("__main__:no_op", "interval", seconds=0.1, id=f"task-{number}")
    scheduler.resume()


def _bare(folder: Path, synchronous: str, _runs: int) -> None:
    connection = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None, check_same_thread=False)
    _set(connection, synchronous)
    connection.execute(
        "create table runs(id text primary key, task text, slot integer, began integer, ended integer, outcome text)"
    )
    numbers = itertools.count()

    def one() -> None:
        number = next(numbers)
        run_id, now = f"{number:020}", time.time_ns() // 1000
        connection.execute("begin immediate")
        connection.execute("insert into runs values (?, 'task', ?, ?, null, null)", (run_id, number, now))
        connection.execute("commit")
        no_op()
        connection.execute("begin immediate")
        connection.execute("update runs set ended = ?, outcome = 'succeeded' where id = ?", (now, run_id))
        connection.execute("commit")

    _for_ever(one)


SIDES: dict[str, Callable[[Path, str, int], None]] = {
    "slots": _slots,
    "queue": _queue,
    "huey": _huey,
    "dbos": _dbos,
    "apscheduler": _apscheduler,
    "bare": _bare,
}


def _set(connection: Any, synchronous: str) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute(f"pragma synchronous = {synchronous}")


def _set_all(synchronous: str) -> None:
    """On every connection of SQLAlchemy's: neither of those who use it here asks for WAL itself."""
    from sqlalchemy import Engine, event

    event.listen(Engine, "connect", lambda connection, record: _set(connection, synchronous))


def _for_ever(function: Callable[[], object]) -> None:
    def loop() -> None:
        while True:
            function()

    threading.Thread(target=loop, daemon=True).start()


def _measure(who: str, synchronous: str, seconds: float) -> None:
    logging.disable(logging.ERROR)  # how quick a terminal is shall not count
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        SIDES[who](Path(folder), synchronous, round(QUEUE_PER_SECOND * (seconds + WARM_UP)))
        time.sleep(WARM_UP)
        calls, began = next(_calls), time.monotonic()
        time.sleep(seconds)
        done, took = next(_calls) - calls - 1, time.monotonic() - began
        print(json.dumps(done / took), flush=True)
    os._exit(0)  # nobody waits for what is still queued


if __name__ == "__main__":
    _measure(sys.argv[1], sys.argv[2], float(sys.argv[3]))

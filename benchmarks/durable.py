"""How many durable runs a second: no-op functions, each run in SQLite before it begins and when it has ended.

Each side runs in a process of its own, one after the other, in turns, in WAL mode with the same ``synchronous``.

What is due by a schedule, at about the rate that each side can do: onduty's slots (2,000 tasks of 100 ms; with more it
falls behind, and what it passes over costs rows), jobs of APScheduler 3's SQLAlchemy store (200 of 100 ms; with more it
is slower, since it reads all that are due at once), and DBOS workflows called in a loop.

What is asked for: 10,000 runs in a queue, from the start of the worker until the last one has run; each side at its
quickest. onduty (``concurrency=256``) beside Huey's consumer (one worker; ``store_none``, since without it a run leaves
no trace, and one that is cut is gone); with the asking, by one process, one after the other, and without it.

The bare limit: a loop in one thread that inserts a row and updates it, a transaction each. *Rows*: what our journal
alone takes, the request, claim and end of each of 10,000 runs written 64 to a transaction, and nothing run.
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
TASKS, JOBS = 2_000, 200
QUEUED = 10_000
WARM_UP = 1.5


def run(quick: bool) -> Report:
    rounds, seconds = (1, 2.0) if quick else (3, 4.0)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _, synchronous, who in itertools.product(range(rounds), SYNCHRONOUS, SIDES):
        with tempfile.TemporaryDirectory() as folder:
            result = answer(side("durable", who, synchronous, str(seconds), folder))
        found.setdefault((who, synchronous), []).append(result)
    rows = []
    for synchronous in SYNCHRONOUS:

        def row(ours: str, theirs: str, bar: float | None, what: str = "per_second", mode: str = synchronous) -> Row:
            mine, peer = ([one[what] for one in found[who, mode]] for who in (ours, theirs))
            ratio = median(mine) / median(peer)
            judged = ("", None) if bar is None else (f">= {bar:g}", ratio >= bar)
            asking = {"per_second": "", "asked_and_run": ", asking included"}[what]
            return Row(f"{mode}: {ours} / {theirs}{asking}", spread(mine, 0), spread(peer, 0), ratio, *judged)

        rows += [
            row("slots", "apscheduler", 5),
            row("slots", "dbos", 5),
            row("slots", "huey", None),
            row("queue", "huey", 5),
            row("queue", "huey", None, "asked_and_run"),
            row("slots", "bare", 0.3 if synchronous == "normal" else 1.0),
            row("queue", "bare", None),
            row("rows", "huey", None),
        ]
    return Report(
        "Durable runs per second: no-op functions, SQLite in WAL mode, one process",
        [f"{rounds} rounds of each side, of {seconds:g} s or {QUEUED:,} runs, in turns; median (least..greatest)."],
        rows,
    )


_calls = itertools.count()


def no_op() -> None:
    next(_calls)


def _slots(folder: Path, synchronous: str) -> None:
    duty = _duty(folder, synchronous)
    for number in range(TASKS):
        duty.every(seconds=0.1, name=f"task-{number}")(no_op)
    duty.start()


def _queue(folder: Path, synchronous: str) -> None:
    duty = _duty(folder, synchronous)
    task = duty.task(concurrency=256)(no_op)
    _queued(task.trigger, duty.start)


def _duty(folder: Path, synchronous: str) -> Any:
    from onduty import OnDuty

    return OnDuty(lambda environ, start: [], name="bench", dir=folder, durability=synchronous)


def _huey(folder: Path, synchronous: str) -> None:
    from huey import Huey
    from huey.storage import SqliteStorage

    class Storage(SqliteStorage):  # type: ignore[misc]  # its own argument knows FULL and OFF only
        def _create_connection(self) -> Any:
            connection = super()._create_connection()
            _set(connection, synchronous)
            return connection

    huey = Huey("bench", storage_class=Storage, filename=str(folder / "huey.sqlite3"), store_none=True)
    _queued(huey.task()(no_op), huey.create_consumer(workers=1, periodic=False).start)


def _dbos(folder: Path, synchronous: str) -> None:
    from dbos import DBOS

    _set_all(synchronous)
    url = f"sqlite:///{folder}/dbos.sqlite3"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})
    workflow = DBOS.workflow()(no_op)
    DBOS.launch()
    _for_ever(workflow)


def _apscheduler(folder: Path, synchronous: str) -> None:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # type: ignore[import-untyped]
    from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]

    _set_all(synchronous)
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{folder}/apscheduler.sqlite3")},
        job_defaults={"coalesce": True, "misfire_grace_time": 3600},
        timezone="UTC",
    )
    scheduler.start(paused=True)
    for number in range(JOBS):
        scheduler.add_job("__main__:no_op", "interval", seconds=0.1, id=f"task-{number}")
    scheduler.resume()


def _bare(folder: Path, synchronous: str) -> None:
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


def _rows(folder: Path, synchronous: str) -> None:
    from onduty._runtime.orders import new_id
    from onduty.journal import Outcome, Request
    from onduty.journal.entries import Claim, Finish
    from onduty.journal.sqlite import SqliteJournal
    from onduty.process import this_process

    journal = SqliteJournal(folder / "journal.sqlite3", durability=synchronous)  # type: ignore[arg-type]
    journal.open(this_process())
    term, now = journal.begin_term(0, time.time_ns() // 1000), time.time_ns() // 1000
    ids = [new_id(now + number) for number in range(QUEUED)]
    for run_id in ids:
        journal.request(Request(run_id, "trigger", "no_op", now))
    began = time.monotonic()
    for at in range(0, QUEUED, 64):
        batch = ids[at : at + 64]
        journal.write(term, [Claim(run_id, "no_op", None, now) for run_id in batch])
        journal.write(term, [Finish(run_id, Outcome.SUCCEEDED, now) for run_id in batch])
    _tell(per_second=QUEUED / (time.monotonic() - began))


SIDES: dict[str, Callable[[Path, str], None]] = {
    "slots": _slots,
    "queue": _queue,
    "huey": _huey,
    "dbos": _dbos,
    "apscheduler": _apscheduler,
    "bare": _bare,
    "rows": _rows,
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


def _queued(ask: Callable[[], object], start: Callable[[], object]) -> None:
    began = time.monotonic()
    for _ in range(QUEUED):
        ask()
    asked = time.monotonic()
    start()
    while _count() < QUEUED and time.monotonic() < asked + 120:
        time.sleep(0.01)
    over = time.monotonic()
    _tell(per_second=QUEUED / (over - asked), asked_and_run=QUEUED / (over - began))


def _timed(seconds: float) -> None:
    time.sleep(WARM_UP)
    calls, began = _count(), time.monotonic()
    time.sleep(seconds)
    _tell(per_second=(_count() - calls) / (time.monotonic() - began))


def _count() -> int:
    return int(repr(_calls)[6:-1])  # "count(7)": next() would count


def _tell(**figures: float) -> None:
    print(json.dumps(figures), flush=True)
    os._exit(0)  # nobody waits for what still runs


def _measure(who: str, synchronous: str, seconds: float, folder: Path) -> None:
    logging.disable(logging.ERROR)  # how quick a terminal is shall not count
    SIDES[who](folder, synchronous)
    _timed(seconds)


if __name__ == "__main__":
    _measure(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4]))

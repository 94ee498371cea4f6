"""What a run costs beside many others: CPU per run, from 10 tasks to 10,000, and from 10 rows of history to 1,000,000.

The process's CPU time divided by its runs, in SQLite, with the default settings but for what history is to be kept.
The rows of history are made with the journal's own entries, a thousand in a transaction, before the measured process
opens a copy of the file. Both columns of a row have a slot each millisecond, so that neither has more company in a
transaction than the other.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import answer, side
from benchmarks.report import Report, Row, median, spread

FEW_ROWS = 10
FEW_TASKS, TASKS, MANY_TASKS = 10, 1_000, 10_000
KEEP = 100_000
NAME = "bench"
WARM_UP = 2.0


def run(quick: bool) -> Report:
    rounds, seconds, many_rows = (1, 3.0, 100_000) if quick else (5, 5.0, 1_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in (FEW_ROWS, many_rows):
            answer(side("history", "fill", str(folder / str(rows)), str(rows)))
        cases = {
            "few tasks": (FEW_TASKS, FEW_ROWS),
            "many tasks": (MANY_TASKS, FEW_ROWS),
            "short history": (TASKS, FEW_ROWS),
            "long history": (TASKS, many_rows),
        }
        found: dict[str, list[float]] = {}
        for _, (case, (tasks, rows)) in itertools.product(range(rounds), cases.items()):
            shutil.copytree(folder / str(rows), copy := folder / "copy")
            found.setdefault(case, []).append(answer(side("history", "measure", str(copy), str(tasks), str(seconds))))
            shutil.rmtree(copy)
    table = []
    for what, few, many in (
        (f"{FEW_TASKS} -> {MANY_TASKS:,} tasks", "few tasks", "many tasks"),
        (f"{FEW_ROWS} -> {many_rows:,} rows of history", "short history", "long history"),
    ):
        growth = median(found[many]) / median(found[few])
        table.append(Row(what, spread(found[many], 0), spread(found[few], 0), growth, "< 1.5", growth < 1.5))
    return Report(
        "CPU per run, µs, SQLite journal: the larger beside the smaller (peer: itself)",
        [f"{rounds} rounds of {seconds:g} s for each, in turns; median (least..greatest)."],
        table,
    )


_calls = itertools.count()


def no_op() -> None:
    next(_calls)


def _fill(folder: Path, rows: int) -> None:
    from onduty.folder import prepare, scope_folder
    from onduty.journal import Outcome
    from onduty.journal.entries import Claim, Finish
    from onduty.journal.sqlite import SqliteJournal
    from onduty.process import this_process

    prepare(scope_folder(folder, NAME))
    journal = SqliteJournal(scope_folder(folder, NAME) / "journal.sqlite3")
    journal.open(this_process())
    now = time.time_ns() // 1000
    term = journal.begin_term(0, now)
    for first in range(0, rows, 1000):
        numbers = range(first, min(first + 1000, rows))
        # Of the tasks that will run, a second apart, the newest just past.
        slots = {number: now - (rows - number) // TASKS * 1_000_000 for number in numbers}
        journal.write(term, [Claim(f"0{n:024}", f"task-{n % TASKS}", slots[n], slots[n]) for n in numbers])
        journal.write(term, [Finish(f"0{n:024}", Outcome.SUCCEEDED, slots[n]) for n in numbers])
    journal.close()


def _measure(folder: Path, tasks: int, seconds: float) -> None:
    from onduty import OnDuty

    logging.disable(logging.ERROR)
    duty = OnDuty(lambda environ, start: [], name=NAME, dir=folder, keep_runs=KEEP)
    for number in range(tasks):
        duty.every(seconds=tasks / 1000, offset=number / 1000, name=f"task-{number}", missed="skip")(no_op)
    duty.start()
    time.sleep(WARM_UP)
    calls, cpu = next(_calls), time.process_time()
    time.sleep(seconds)
    done, used = next(_calls) - calls - 1, time.process_time() - cpu
    print(json.dumps(used / max(done, 1) * 1e6), flush=True)
    os._exit(0)  # no graceful stop of ten thousand tasks: it is not what is measured


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        _fill(Path(sys.argv[2]), int(sys.argv[3]))
        print("true")
    else:
        _measure(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))

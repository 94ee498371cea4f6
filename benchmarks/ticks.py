"""How late a 100 ms task begins, beside APScheduler 3 and beside a thread that merely sleeps in ``Event.wait``.

The three run at the same time, each in a process of its own, for a minute, so that all of them meet the same weather;
their grids lie a third of the interval apart, so that none wakes together with another, and change places each round.
Lateness is the wall clock at the task's first line against the grid; onduty has its default journal, SQLite in a
folder, and writes each run before it begins. Drift: the median lateness of the last ten seconds against the first ten.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone

from benchmarks.processes import answer, side
from benchmarks.report import Report, Row, median, percentile, spread

EVERY = 0.1
SIDES = ("onduty", "apscheduler", "event")


def run(quick: bool) -> Report:
    seconds, rounds = (10, 1) if quick else (60, 3)
    late: Late = {who: [] for who in SIDES}
    for turn in range(rounds):
        began = str(int(time.time()) + 3)
        started = {
            who: side("ticks", who, began, str(seconds), str((place + turn) % 3 * 33))
            for place, who in enumerate(SIDES)
        }
        for who, process in started.items():
            late[who].append(answer(process))
    return Report(
        "Lateness of a 100 ms task against its grid, ms",
        [f"{rounds} rounds of {seconds} s, all sides at once, each in its own process; median (least..greatest)."],
        [*_p99(late), *_p50(late), *_drift(late["onduty"], seconds), _counts(late, seconds)],
    )


Late = dict[str, list[list[float]]]


def _p99(late: Late) -> list[Row]:
    at = {who: [percentile(one, 99) for one in rounds] for who, rounds in late.items()}
    ours, peer, bare = (median(at[who]) for who in SIDES)
    shown = {who: spread(values, 3) for who, values in at.items()}
    return [
        Row("p99 beside APScheduler 3", shown["onduty"], shown["apscheduler"], ours / peer, "<= 1", ours <= peer),
        Row("p99 beside Event.wait", shown["onduty"], shown["event"], ours / bare, "<= 2", ours <= 2 * bare),
    ]


def _p50(late: Late) -> list[Row]:
    at = {who: [median(one) for one in rounds] for who, rounds in late.items()}
    ours, peer, bare = (median(at[who]) for who in SIDES)
    shown = {who: spread(values, 3) for who, values in at.items()}
    return [
        Row("p50 beside APScheduler 3", shown["onduty"], shown["apscheduler"], ours / peer),
        Row("p50 beside Event.wait", shown["onduty"], shown["event"], ours / bare),
    ]


def _drift(rounds: list[list[float]], seconds: int) -> list[Row]:
    span = min(100, len(rounds[0]) // 2)
    worst = max((median(one[-span:]) - median(one[:span]) for one in rounds), key=abs)
    return [Row(f"drift over {seconds} s, the greatest", f"{worst:+.3f}", bar="none (0.1)", met=abs(worst) <= 0.1)]


def _counts(late: Late, seconds: int) -> Row:
    ours, peer = (", ".join(str(len(one)) for one in late[who]) for who in ("onduty", "apscheduler"))
    return Row(f"runs, of {round(seconds / EVERY)} due", ours, peer)


class Recorder:
    """Keeps how late each call is, between ``began`` and ``until``."""

    def __init__(self, began: float, until: float, offset: float) -> None:
        self._began, self._until, self._offset = began, until, offset
        self.late: list[float] = []

    def __call__(self) -> None:
        now = time.time()
        if self._began <= now < self._until:
            self.late.append((now - self._offset) % EVERY * 1000)


def _onduty(record: Recorder, offset: float, _: float) -> None:
    from onduty import OnDuty

    duty = OnDuty(lambda environ, start: [], name="bench", dir=tempfile.mkdtemp())
    duty.every(seconds=EVERY, offset=offset, name="tick")(record)
    duty.start()


def _apscheduler(record: Recorder, offset: float, began: float) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]

    scheduler = BackgroundScheduler(timezone="UTC")
    first = datetime.fromtimestamp(began - 1, timezone.utc) + timedelta(seconds=offset)
    scheduler.add_job(record, "interval", seconds=EVERY, start_date=first)
    scheduler.start()


def _event(record: Recorder, offset: float, _: float) -> None:
    def loop() -> None:
        never = threading.Event()
        while True:
            never.wait(EVERY - (time.time() - offset) % EVERY)
            record()

    threading.Thread(target=loop, daemon=True).start()


def _measure(who: str, began: float, seconds: float, offset: float) -> None:
    record = Recorder(began, began + seconds, offset)
    {"onduty": _onduty, "apscheduler": _apscheduler, "event": _event}[who](record, offset, began)
    time.sleep(began + seconds + 0.5 - time.time())
    print(json.dumps(record.late), flush=True)
    os._exit(0)


if __name__ == "__main__":
    _measure(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]) / 1000)

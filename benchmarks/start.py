"""What a worker pays at its start: time and memory over Flask alone.

Time: two small programs in fresh processes, in turns; both import Flask and make an app, one also imports onduty,
declares a service and a task, and starts, until ``start()`` returns, which is when a worker goes on to serve. Each
tells how long it took from its first line. The journal is there already, as it is for every worker but the first one
ever; what that one pays for making it is a row of its own. Memory: the proportional set size of gunicorn's workers,
which counts what they share once, with and without onduty, leader and standbys apart.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.processes import answer, gunicorn, side
from benchmarks.report import Report, Row, median, spread


def run(quick: bool) -> Report:
    rounds = 5 if quick else 25
    took: dict[str, list[dict[str, float]]] = {"plain": [], "duty": [], "first": []}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(rounds + 1):
            for who, values in took.items():
                folder = Path(name, f"first-{turn}" if who == "first" else "kept")
                folder.mkdir(exist_ok=True)
                found = answer(side("start", who, str(folder)))
                if turn:  # the first one writes the bytecode
                    values.append(found)
    rows = [*_times(took, "wall", "ms"), *_times(took, "cpu", "ms of CPU")]
    leader, standby, plain = _memory(quick)
    for what, value in (("standby", standby), ("leader", leader)):
        more = value - plain
        rows.append(Row(f"MB of a worker, {what}", f"{value:.2f}", f"{plain:.2f}", value / plain))
        rows.append(Row(f"MB over Flask alone, {what}", f"{more:.2f}", "", more / 4, "<= 4", more <= 4))
    notes = [
        f"{rounds} fresh processes of each, in turns; median (least..greatest). Peer: Flask alone, or else the bar.",
        "On a busy machine the CPU time says more than the clock. Memory: PSS of gunicorn's gthread workers.",
    ]
    return Report("Import and start, per worker", notes, rows)


def _times(took: dict[str, list[dict[str, float]]], what: str, unit: str) -> list[Row]:
    ours, peer = ([one[what] for one in took[who]] for who in ("duty", "plain"))
    more = median(ours) - median(peer)
    over = Row(f"{unit} over Flask alone", f"{more:.1f}", "", more / 25)
    if what == "wall":
        over = replace(over, bar="<= 25", met=more <= 25)
    whole = f"{unit} from the first line to serving"
    first = median([one[what] for one in took["first"]]) - median(peer)
    return [
        Row(whole, spread(ours, 1), spread(peer, 1), median(ours) / median(peer)),
        over,
        Row(f"{unit} over Flask alone, journal made", f"{first:.1f}", "", first / 25),
    ]


def _memory(quick: bool) -> tuple[float, float, float]:
    """PSS in MB of a leader, a standby, a worker of plain Flask."""
    leaders, standbys, plains = [], [], []
    for _ in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with (
                gunicorn("plain", folder, workers=4) as plain,
                gunicorn("duty", folder, workers=4, service="1", tasks="1") as duty,
            ):
                first = duty.bell.wait(lambda one: one["what"] == "term")["pid"]
                time.sleep(2)  # the first turns, and what they import
                plains += [_pss_mb(pid) for pid in plain.pids()]
                leaders.append(_pss_mb(first))
                standbys += [_pss_mb(pid) for pid in duty.pids() if pid != first]
    return median(leaders), median(standbys), median(plains)


def _pss_mb(pid: int) -> float:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def _measure(who: str, folder: str) -> None:
    began, used = time.perf_counter(), time.process_time()
    from flask import Flask

    app = Flask(__name__)
    if who != "plain":
        from onduty import Context, OnDuty

        duty = OnDuty(app, dir=folder)

        @duty.every(seconds=60)
        def push() -> None: ...

        @duty.service
        def collector(ctx: Context) -> None:
            while ctx.sleep(1):
                pass

        duty.start()
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"wall": wall * 1000, "cpu": cpu * 1000}))
    if who != "plain":
        duty.stop()


if __name__ == "__main__":
    _measure(sys.argv[1], sys.argv[2])

"""What a leader and a standby cost that have nothing to do: CPU and wake-ups over a whole minute.

Three gunicorns of two gthread workers run at the same time: plain Flask, onduty with one task of 60 s, and onduty with
1,000 of them. The minute holds the instant at which all of those come due. CPU is what the kernel's scheduler counted
for all threads of the worker, in nanoseconds; a wake-up is a voluntary context switch of any of them.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.processes import Gunicorn, gunicorn
from benchmarks.report import Report, Row

ROLES = ("leader, 1 task", "leader, 1,000 tasks", "standby, 1 task", "standby, 1,000 tasks")


@dataclass
class Used:
    cpu_ns: int = 0
    wakeups: int = 0

    def per_second(self, before: Used, seconds: float) -> tuple[float, float]:
        """Percent of a core, and wake-ups."""
        return (self.cpu_ns - before.cpu_ns) / seconds / 1e7, (self.wakeups - before.wakeups) / seconds


def used(pid: int) -> Used:
    total = Used()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total.cpu_ns += int((task / "schedstat").read_text().split()[0])
            status = (task / "status").read_text()
        except FileNotFoundError:
            continue  # that thread has ended
        total.wakeups += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return total


def run(quick: bool) -> Report:
    seconds = 8 if quick else 62
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            gunicorn("plain", folder, workers=2) as plain,
            gunicorn("duty", folder, workers=2, tasks="1") as one,
            gunicorn("duty", folder, workers=2, tasks="1000") as thousand,
        ):
            leaders = [_leader(one), _leader(thousand)]
            standbys = [_other(one, leaders[0]), _other(thousand, leaders[1])]
            pids = [plain.pids()[0], *leaders, *standbys]
            time.sleep(3)
            began, before = time.monotonic(), [used(pid) for pid in pids]
            time.sleep(seconds)
            took = time.monotonic() - began
            bare, *found = [used(pid).per_second(then, took) for pid, then in zip(pids, before, strict=True)]
    rows = []
    for what, figures in zip(ROLES, found, strict=True):
        rows += _rows(what, figures, bare)
    note = f"{seconds} s; the whole worker, gunicorn's part with it. Peer: a worker of plain Flask; ratio to the bar."
    return Report("Idle: a worker with nothing to do", [note], rows)


def _rows(what: str, ours: tuple[float, float], bare: tuple[float, float]) -> list[Row]:
    cpu, wakes = ours
    woken = Row(f"{what}: wake-ups/s", f"{wakes:.1f}", f"{bare[1]:.1f}")
    if what.startswith("standby"):
        woken = replace(woken, ratio=wakes / 10, bar="<= 10", met=wakes <= 10)
    return [Row(f"{what}: % of a core", f"{cpu:.3f}", f"{bare[0]:.3f}", cpu / 0.5, "<= 0.5", cpu <= 0.5), woken]


def _leader(server: Gunicorn) -> int:
    pid: int = server.bell.wait(lambda one: one["what"] == "term")["pid"]
    return pid


def _other(server: Gunicorn, leader: int) -> int:
    return next(pid for pid in server.pids() if pid != leader)

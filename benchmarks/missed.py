"""A slot that came due while nobody led: how long after the next term began its run starts.

``kill -9`` of the leader, again and again, while a task has a slot every 5 ms, so that there is one in every gap; the
next leader runs the newest of those that were missed (``missed="once"``). From the event that tells of the new term,
which is rung before the work begins, to the first line of the first run.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Gunicorn, gunicorn
from benchmarks.report import Report, Row, median, percentile

GRID = 0.005
WITHIN = 10.0


def run(quick: bool) -> Report:
    kills = 15 if quick else 100
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for kind in ("gthread", "gevent"):
            with gunicorn("duty", Path(name), workers=4, kind=kind, grid=str(GRID)) as server:
                took, later = _killed(server, kills)
            p50, p99 = median(later), percentile(later, 99)
            rows += [
                Row(
                    f"{kind}: the run starts after the term began, p50",
                    f"{p50:.2f}",
                    "",
                    None,
                    "<= 10 ms",
                    p50 <= WITHIN,
                ),
                Row(f"{kind}: p99", f"{p99:.2f}", "", None, "<= 10 ms", p99 <= WITHIN),
                Row(f"{kind}: signal to the term's beginning, p50 (for comparison)", f"{median(took):.2f}"),
            ]
    return Report(
        "A slot that came due while nobody led, ms",
        [f"{kills} kills. Each is followed by the import of a new worker on one of the cores."],
        rows,
    )


def _killed(server: Gunicorn, kills: int) -> tuple[list[float], list[float]]:
    bell = server.bell
    leader = bell.wait(_is("term"))["pid"]
    took, later = [], []
    time.sleep(0.5)
    for _ in range(kills):
        bell.listen()
        bell.heard.clear()
        at = time.monotonic_ns()
        os.kill(leader, signal.SIGKILL)
        term = bell.wait(_is("term"))
        leader = term["pid"]
        first = bell.wait(lambda one, now=leader: one["what"] == "slot" and one["pid"] == now)
        took.append((term["at"] - at) / 1e6)
        later.append((first["at"] - term["at"]) / 1e6)
        bell.wait(_is("ready"))
        time.sleep(random.uniform(0.1, 0.2))  # the new one connects; no kill is in step with anything
    return took, later


def _is(what: str) -> Any:
    return lambda message: message["what"] == what

"""``HUP`` to the server and ``SIGTERM`` to the leader: how long nobody is on duty.

Counted on the service, since that is what a user sees: from the instant its last line ran in the old leader until the
next term began, durably, in another worker. After ``HUP`` old workers may lead for a moment on their way out; then the
gaps of that one ``HUP`` are added up. From the signal until the next term is printed beside it, which is the server's
own time too; gunicorn starts the new workers first. The limit is a time, so there is no peer.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Gunicorn, gunicorn
from benchmarks.report import Report, Row, median, spread

LIMIT = 40.0


def run(quick: bool) -> Report:
    times = 5 if quick else 15
    rows = []
    for kind in ("gthread", "gevent"):
        rows += _handed_over(kind, "", "SIGTERM to the leader", _term, times)
        rows += _handed_over(kind, "", "HUP", _hup, times)
        rows += _handed_over(kind, "1", "HUP, --preload", _hup, times)
    notes = [
        f"{times} of each, 4 workers; median (least..greatest). Ratio: to the bar.",
        "gunicorn tells all old workers to go when the new ones have only just begun to import the app. How much of",
        "that span the old leader did not wait for is printed as: no worker there.",
    ]
    return Report("Hand-over, ms", notes, rows)


def _handed_over(kind: str, preload: str, what: str, signalled: Callable[[Gunicorn], Gap], times: int) -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as name,
        gunicorn("duty", Path(name), workers=4, kind=kind, service="1", preload=preload) as server,
    ):
        server.bell.wait(lambda message: message["what"] == "service")
        found = [signalled(server) for _ in range(times)]
    vacant = [one.vacant for one in found]
    p50 = median(vacant)
    rows = [Row(f"{kind}, {what}: nobody leads", spread(vacant), "", p50 / LIMIT, "p50 <= 40", p50 <= LIMIT)]
    if what.startswith("HUP"):
        rows.append(Row(f"{kind}, {what}: no worker there", spread([one.nobody_there for one in found])))
    rows.append(Row(f"{kind}, {what}: signal to lasting term", spread([one.whole for one in found])))
    return rows


@dataclass(frozen=True)
class Gap:
    """Of one hand-over, in ms. ``nobody_there``: the part of ``vacant`` in which no new worker was ready yet."""

    vacant: float
    nobody_there: float
    whole: float


def _term(server: Gunicorn) -> Gap:
    since, leader = _settled(server)
    at = time.monotonic_ns()
    os.kill(leader, signal.SIGTERM)
    server.bell.wait(lambda one: one["what"] == "ready", since)
    return _gap(server, since, at, {leader})


def _hup(server: Gunicorn) -> Gap:
    since, _ = _settled(server)
    old = set(server.pids())
    at = time.monotonic_ns()
    os.kill(server.process.pid, signal.SIGHUP)
    until = time.monotonic() + 60
    while old & set(server.pids()):
        if time.monotonic() > until:
            raise TimeoutError("the old workers did not end")
        server.bell.listen(0.05)
    return _gap(server, since, at, old)


def _settled(server: Gunicorn) -> tuple[int, int]:
    """The number of messages heard, and the leader's pid, once the server has been quiet for a while."""
    server.bell.listen(0.5)
    services = [one["pid"] for one in server.bell.heard if one["what"] == "service"]
    return len(server.bell.heard), services[-1]


def _gap(server: Gunicorn, since: int, at: int, old: set[int]) -> Gap:
    """What happened since message ``since``, once a worker that is not ``old`` leads."""
    lasting = server.bell.wait(lambda one: one["what"] == "service" and one["pid"] not in old, since)
    heard = sorted(server.bell.heard[since:], key=lambda one: int(one["at"]))
    ready = next((one["at"] for one in heard if one["what"] == "ready"), at)
    vacant = nobody_there = 0
    ended = None
    for one in heard:
        if one["what"] == "service over":
            ended = one["at"]
        elif one["what"] == "term" and ended is not None:
            vacant += one["at"] - ended
            nobody_there += max(min(ready, one["at"]) - ended, 0)
            ended = None
    term = next(one["at"] for one in heard if one["what"] == "term" and one["pid"] == lasting["pid"])
    return Gap(vacant / 1e6, nobody_there / 1e6, (term - at) / 1e6)

"""``kill -9`` of the leader: from the signal until the next leader's term began, beside a bare blocked ``flock``.

Two gunicorns of equal workers run side by side and are killed in turns: one with onduty, and one whose workers merely
wait in a blocking ``flock``. Before each kill all workers are there, the killed one's replacement too. The kernel frees
a dead process's memory before its files, so the leader's memory is printed: no take-over can be quicker than that.
``began`` is rung by onduty's own event, after the term is durable; "first line" is the service's first line, which
nobody promises a time for.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Gunicorn, gunicorn, resident_mb
from benchmarks.report import Report, Row, median, percentile

KINDS = ("gthread", "gevent")


class Killed:
    """The kills of one server, in ms."""

    def __init__(self, server: Gunicorn) -> None:
        self._bell = server.bell
        self.took: list[float] = []
        self.first_line: list[float] = []
        self.memory: list[float] = []
        self.unasked = 0
        self._leader = self._bell.wait(_is_term)["pid"]
        self._terms = 1

    def kill(self) -> None:
        """Kill the leader, hear the next one, and wait until the server is whole again."""
        self._bell.listen()
        since = len(self._bell.heard)
        terms = [one["pid"] for one in self._bell.heard if _is_term(one)]
        self.unasked += len(terms) - self._terms
        old = terms[-1]
        self.memory.append(resident_mb(old))
        at = time.monotonic_ns()
        os.kill(old, signal.SIGKILL)
        began = self._bell.wait(_is_term, since)
        self._leader = began["pid"]
        self._terms = len(terms) + 1
        self.took.append((began["at"] - at) / 1e6)
        if "service" in {one["what"] for one in self._bell.heard[:since]}:
            first = self._bell.wait(lambda one: one["what"] == "service" and one["pid"] == self._leader, since)
            self.first_line.append((first["at"] - at) / 1e6)
        self._bell.wait(lambda one: one["what"] == "ready", since)
        time.sleep(random.uniform(0.03, 0.06))  # the new one connects; no kill is in step with anything


def _is_term(message: dict[str, Any]) -> bool:
    return bool(message["what"] == "term")


def run(quick: bool) -> Report:
    kills = 15 if quick else 100
    rows = []
    for workers in (4, 16):
        for kind in KINDS:
            ours, peer = _compare(kind, workers, kills)
            rows += _rows(f"{kind}, {workers} workers", ours, peer)
    return Report(
        "Take-over after kill -9, ms from the signal until the next term began",
        [
            f"{kills} kills of each side, in turns. Peer: threads blocked in flock, in workers of the same gunicorn.",
            "Each kill is followed by the import of a new worker on one of the cores, on both sides.",
        ],
        rows,
    )


def _compare(kind: str, workers: int, kills: int) -> tuple[Killed, Killed]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            gunicorn("duty", folder, workers=workers, kind=kind, service="1") as duty,
            gunicorn("flock", folder, workers=workers, kind=kind) as flock,
        ):
            ours, peer = Killed(duty), Killed(flock)
            time.sleep(0.5)
            for _ in range(kills):
                ours.kill()
                peer.kill()
            return ours, peer


def _rows(what: str, ours: Killed, peer: Killed) -> list[Row]:
    p50, peer_p50 = median(ours.took), median(peer.took)
    p99, peer_p99 = percentile(ours.took, 99), percentile(peer.took, 99)
    memory = f"{median(ours.memory):.0f} MB"
    return [
        Row(f"{what}: p50", f"{p50:.2f}", f"{peer_p50:.2f}", p50 / peer_p50, "<= 4 x peer", p50 <= 4 * peer_p50),
        Row(f"{what}: p99", f"{p99:.2f}", f"{peer_p99:.2f}", p99 / peer_p99, "<= 50 ms", p99 <= 50),
        Row(f"{what}: worst", f"{max(ours.took):.2f}", f"{max(peer.took):.2f}"),
        Row(f"{what}: first line of the service, p50", f"{median(ours.first_line):.2f}"),
        Row(f"{what}: leader's memory", memory, f"{median(peer.memory):.0f} MB"),
        Row(f"{what}: terms that nobody's death began", str(ours.unasked), bar="0", met=ours.unasked == 0),
    ]

"""Emits to 200 clients of 4 workers, beside the same app with python-socketio's ``RedisManager``.

*Burst*: 500 emits to everybody, as quickly as they go; the time until ``emit`` has returned for the last time, and the
time until the last of 100,000 messages has been read. *Steady*: 100 emits, one every 20 ms; from each ``emit`` until a
client has the message. A request in one worker makes them, another worker each round, and the two sides take turns.

The clients are the same on both sides: raw WebSockets, 50 at each worker, in one process that does hardly more than
read. WebSockets only, because behind several stock workers a client that polls does not get to connect. gthread has a
hundred threads, of which the peer needs one for each client.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import gunicorn
from benchmarks.report import Report, Row, median, percentile, spread
from benchmarks.socketio import APP
from benchmarks.socketio.clients import Crowd
from benchmarks.socketio.others import redis, versions

WORKERS, CLIENTS = 4, 200
BURST = 500
STEADY, EVERY = 100, 0.02


@dataclass
class Side:
    """What was found, a figure for each round: seconds in ``emit`` and until all was read; ms from emit to client."""

    crowd: Crowd
    emitting: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    def burst(self, turn: int) -> None:
        emitter = self.crowd.emitters[turn % WORKERS]
        path, wanted = f"/burst?count={BURST}", BURST * CLIENTS
        answer, at = self.crowd.hear(emitter, path, lambda data: data.count(b'["burst"'), wanted)
        self.emitting.append(answer["took"] / 1e9)
        self.delivered.append((at - answer["began"]) / 1e9)

    def steady(self, turn: int) -> None:
        emitter = self.crowd.emitters[turn % WORKERS]
        took: list[float] = []

        def take(data: bytes) -> int:
            now = time.monotonic_ns()
            sent = re.findall(rb'"at":(\d+)', data)
            took.extend((now - int(at)) / 1e6 for at in sent)
            return len(sent)

        self.crowd.hear(emitter, f"/steady?count={STEADY}&every={EVERY}", take, STEADY * CLIENTS)
        self.p50.append(median(took))
        self.p99.append(percentile(took, 99))


def run(quick: bool) -> Report:
    rounds = 4 if quick else 12
    about = versions("redis-server")
    rows = []
    for kind in ("gthread", "gevent"):
        with tempfile.TemporaryDirectory() as name, _sides(Path(name), kind) as sides:
            for turn in range(-1, rounds):
                for side in sides if turn % 2 else reversed(sides):
                    side.burst(turn)
                    time.sleep(0.2)
                    side.steady(turn)
                    time.sleep(0.2)
            for side in sides:
                del side.emitting[0], side.delivered[0], side.p50[0], side.p99[0]  # a warm-up
        rows += _rows(kind, *sides)
    notes = [
        f"{rounds} rounds of each side, in turns; median (least..greatest). Peer: RedisManager with {about}.",
        "Ratios: median of the rounds' ratios, and their range in square brackets. Lost, on either side: none.",
    ]
    return Report("Emits to 200 WebSockets, 50 at each of 4 workers", notes, rows)


@contextmanager
def _sides(folder: Path, kind: str) -> Iterator[list[Side]]:
    options = ("--keep-alive", "600", "--threads", "100")
    common: dict[str, Any] = {"kind": kind, "app": APP, "workers": WORKERS, "options": options}
    with (
        redis(folder) as url,
        gunicorn("duty", folder, **common) as ours,
        gunicorn("redis", folder, redis=url, **common) as peer,
    ):
        crowds = [Crowd(server.port, WORKERS, CLIENTS // WORKERS) for server in (ours, peer)]
        yield [Side(crowd) for crowd in crowds]
        for crowd in crowds:
            crowd.close()


def _rows(kind: str, ours: Side, peer: Side) -> list[Row]:
    return [
        _row(f"{kind}, burst: s in emit()", ours.emitting, peer.emitting, 0.35),
        _row(f"{kind}, burst: s until all is read", ours.delivered, peer.delivered, 0.7),
        _row(f"{kind}, steady: ms from emit to client, p50", ours.p50, peer.p50, 1.0),
        _row(f"{kind}, steady: ms from emit to client, p99", ours.p99, peer.p99, None),
    ]


def _row(what: str, ours: list[float], peer: list[float], limit: float | None) -> Row:
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    ratio = median(ratios)
    shown = f"{what} [{min(ratios):.2f}..{max(ratios):.2f}]"
    bar, met = ("", None) if limit is None else (f"<= {limit}", ratio <= limit)
    return Row(shown, spread(ours), spread(peer), ratio, bar, met)

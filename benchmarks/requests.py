"""Requests a second and their p99: does having onduty cost anything, and what does a busy task cost?

*Idle*: three gunicorns of 4 gthread workers take turns at being loaded: plain Flask, the same with onduty that has
nothing to do, and plain Flask once more. Ours is compared with the mean of the two plain ones of its round; what the
third shows beside the first is this machine's noise. *Busy*: a task burns 50 ms of CPU every 100 ms, in the worker on
duty; beside it plain Flask with the same loop in a process of its own. The server whose turn it is not is stopped
there, since its loop would go on burning.

The load comes from ``wrk`` if there is one, 64 connections, else from threads of a process of our own, which is a
slower load; on the same cores as the server in both cases. Ratios are medians of the rounds' ratios: one round is a
turn of each side, in an order that changes.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.processes import ROOT, Gunicorn, answer, gunicorn, side
from benchmarks.report import Report, Row, median, percentile, spread

CONNECTIONS = 64


@dataclass(frozen=True)
class Load:
    per_second: float
    p99_ms: float


@dataclass
class Side:
    name: str
    server: Gunicorn
    wake: Callable[[], None]
    rest: Callable[[], None]
    turns: list[Load]


def run(quick: bool) -> Report:
    seconds, rounds, busy_rounds = (1.0, 6, 6) if quick else (1.0, 100, 40)
    with tempfile.TemporaryDirectory() as name:
        idle = _idle(Path(name), seconds, rounds)
        busy = _busy(Path(name), seconds, busy_rounds)
    rows = [
        *_rows("idle", idle["onduty"], _means(idle["plain"], idle["again"]), 0.98, 1.05),
        *_rows("control, plain again", idle["again"], idle["plain"], None, None),
        *_rows("busy task", busy["onduty"], busy["apart"], 0.95, None),
    ]
    tool = "wrk" if shutil.which("wrk") else "threads of http.client"
    notes = [
        f"{rounds} rounds (busy: {busy_rounds}) of {seconds:g} s for each side; median (least..greatest).",
        f"The load: {tool}, {CONNECTIONS} connections.",
        "Ratios: median of the rounds' ratios, and their range in square brackets.",
    ]
    return Report("Requests: a trivial view, 4 gthread workers of 4 threads", notes, rows)


def _rows(what: str, ours: list[Load], peer: list[Load], at_least: float | None, at_most: float | None) -> list[Row]:
    rates = _row(f"{what}: requests/s", [_rate(one) for one in ours], [_rate(one) for one in peer], 0)
    tails = _row(f"{what}: p99 ms", [_p99(one) for one in ours], [_p99(one) for one in peer], 1)
    assert rates.ratio is not None
    assert tails.ratio is not None
    if at_least is not None:
        rates = replace(rates, bar=f">= {at_least}", met=rates.ratio >= at_least)
    if at_most is not None:
        tails = replace(tails, bar=f"<= {at_most}", met=tails.ratio <= at_most)
    return [rates, tails]


def _row(what: str, ours: list[float], peer: list[float], digits: int) -> Row:
    ratios = [one / other for one, other in zip(ours, peer, strict=True)]
    shown = f"{what} [{min(ratios):.2f}..{max(ratios):.2f}]"
    return Row(shown, spread(ours, digits), spread(peer, digits), median(ratios))


def _means(some: list[Load], others: list[Load]) -> list[Load]:
    return [
        Load((one.per_second + other.per_second) / 2, (one.p99_ms + other.p99_ms) / 2)
        for one, other in zip(some, others, strict=True)
    ]


def _rate(load: Load) -> float:
    return load.per_second


def _p99(load: Load) -> float:
    return load.p99_ms


def _idle(folder: Path, seconds: float, rounds: int) -> dict[str, list[Load]]:
    with (
        gunicorn("plain", folder, workers=4) as plain,
        gunicorn("duty", folder, workers=4, tasks="1") as duty,
        gunicorn("plain", folder, workers=4) as again,
    ):
        sides = [_still("plain", plain), _still("onduty", duty), _still("again", again)]
        return _take_turns(sides, seconds, rounds)


def _busy(folder: Path, seconds: float, rounds: int) -> dict[str, list[Load]]:
    with (
        gunicorn("duty", folder, workers=4, burn="0.05") as duty,
        gunicorn("plain", folder, workers=4) as plain,
        _loop_apart() as loop,
    ):
        duty.freeze()
        sides = [Side("onduty", duty, duty.thaw, duty.freeze, []), Side("apart", plain, loop.wake, loop.rest, [])]
        return _take_turns(sides, seconds, rounds)


def _still(name: str, server: Gunicorn) -> Side:
    return Side(name, server, lambda: None, lambda: None, [])


def _take_turns(sides: list[Side], seconds: float, rounds: int) -> dict[str, list[Load]]:
    for turn in range(rounds + 1):
        for place in range(len(sides)):
            one = sides[(place + turn) % len(sides)]
            one.wake()
            time.sleep(0.2)
            found = load(one.server.port, 1.0 if turn == 0 else seconds)
            one.rest()
            if turn:  # the first round is a warm-up
                one.turns.append(found)
    return {one.name: one.turns for one in sides}


class _Loop:
    """The busy loop in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.burning"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True)

    def wake(self) -> None:
        self._say("go")

    def rest(self) -> None:
        self._say("rest")

    def _say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()


@contextmanager
def _loop_apart() -> Iterator[_Loop]:
    loop = _Loop()
    try:
        yield loop
    finally:
        loop.process.communicate(timeout=10)


# The load


def load(port: int, seconds: float) -> Load:
    """Load the server for so long."""
    if shutil.which("wrk"):
        return _wrk(port, seconds)
    found = answer(side("requests", str(port), str(seconds)))
    return Load(found["per_second"], found["p99_ms"])


def _wrk(port: int, seconds: float) -> Load:
    # wrk takes whole seconds only.
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{max(round(seconds), 1)}s",
        "--latency",
        f"http://127.0.0.1:{port}/",
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", out), re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    if rate is None or p99 is None:
        raise RuntimeError(f"wrk said: {out}")
    return Load(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]])


def _threads(port: int, seconds: float) -> Load:
    took: list[float] = []
    until = time.monotonic() + seconds

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while (began := time.monotonic()) < until:
            connection.request("GET", "/")
            connection.getresponse().read()
            took.append((time.monotonic() - began) * 1000)

    threads = [threading.Thread(target=ask) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(len(took) / seconds, percentile(took, 99))


if __name__ == "__main__":
    measured = _threads(int(sys.argv[1]), float(sys.argv[2]))
    print(json.dumps({"per_second": measured.per_second, "p99_ms": measured.p99_ms}))

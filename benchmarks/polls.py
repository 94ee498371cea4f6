"""What it costs that a poll reaches a worker which is not its session's, beside a sticky balancer.

Ours: gunicorn with 4 workers. One polling session; a connection to its owner (*direct*), and one to another worker,
which forwards what comes on it. Peer: four stock gunicorns of one worker behind nginx with ``ip_hash``; a connection
to the session's gunicorn (*direct*), and one to nginx. On the one connection and then on the other a POST with one
event and the GET of what it emitted are timed, so many times. *Added*: the median of the one less that of the other, of
the same round. Not request by request in turns: what one way still has to clear away, such as nginx its connection,
would be counted as the other's time (seen: 38 µs added instead of 436).

nginx adds that to every request, we to those that reach another worker, with 4 workers three of four. It has two rows:
configured as Flask-SocketIO's documentation shows it, and with connections kept open to the gunicorns besides, which is
the least that nginx can cost. The servers are started anew several times: what a process is once lucky or unlucky with
stays with it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import gunicorn
from benchmarks.report import Report, Row, median, spread
from benchmarks.socketio import APP
from benchmarks.socketio.clients import PATH, Http, begin, join, request
from benchmarks.socketio.others import nginx, versions

WORKERS = 4
LIMIT = 1.2


def run(quick: bool) -> Report:
    starts, rounds, times = (1, 5, 200) if quick else (4, 4, 300)
    about = versions("nginx")
    rows = []
    for kind in ("gthread", "gevent"):
        found: dict[str, list[Round]] = {}
        for _ in range(starts):
            with tempfile.TemporaryDirectory() as name, _sides(Path(name), kind) as sides:
                for side in sides:
                    side.measure(times)  # warm up
                for _ in range(rounds):
                    for side in sides:
                        found.setdefault(side.name, []).append(side.measure(times))
                    sides.append(sides.pop(0))
        rows += _rows(kind, found)
    notes = [
        f"{starts} starts, {rounds} rounds of {times} POSTs and GETs on each connection; median (least..greatest).",
        f"Added: over a direct hit on the owner, on both sides. {about}, its connections to the gunicorns kept or not.",
        "Ratio: of the medians of what is added.",
    ]
    return Report("What is added to a poll that reaches another worker than its session's, µs", notes, rows)


@dataclass
class Round:
    """Of one round, the medians in µs."""

    direct: dict[str, float]
    brought: dict[str, float]

    def added(self, method: str) -> float:
        return self.brought[method] - self.direct[method]


class Side:
    """``direct``: a connection to the session's owner. ``brought``: one from which requests are brought to it."""

    def __init__(self, name: str, direct: Http, brought: Http, sid: str) -> None:
        self.name = name
        self._direct = direct
        self._brought = brought
        self._post = request("POST", f"{PATH}polling&sid={sid}", '42["say","hello"]')
        self._get = request("GET", f"{PATH}polling&sid={sid}")

    def measure(self, times: int) -> Round:
        took: dict[str, dict[str, list[float]]] = {way: {"POST": [], "GET": []} for way in ("direct", "brought")}
        for way, over in (("direct", self._direct), ("brought", self._brought)):
            for _ in range(times):
                began = time.perf_counter_ns()
                over.ask(self._post)
                posted = time.perf_counter_ns()
                heard = over.ask(self._get)
                took[way]["GET"].append((time.perf_counter_ns() - posted) / 1000)
                took[way]["POST"].append((posted - began) / 1000)
                assert b"hello" in heard
        direct, brought = ({method: median(some) for method, some in took[way].items()} for way in took)
        return Round(direct, brought)


@contextmanager
def _sides(folder: Path, kind: str) -> Iterator[list[Side]]:
    common: dict[str, Any] = {"kind": kind, "app": APP, "options": ("--keep-alive", "300"), "inline": "1"}
    with ExitStack() as stack:
        ours = stack.enter_context(gunicorn("duty", folder, workers=WORKERS, **common))
        ports = [stack.enter_context(gunicorn("stock", folder, workers=1, **common)).port for _ in range(WORKERS)]
        plain = stack.enter_context(nginx(folder, ports, keepalive=False))
        kept = stack.enter_context(nginx(folder, ports, keepalive=True))
        yield [_ours(ours.port), _nginx("documented", plain, ports), _nginx("kept", kept, ports)]


def _ours(port: int) -> Side:
    direct = Http(port)
    sid = begin(direct)
    join(direct, sid)
    # Which worker a connection reaches is told by the first eight characters of a session that it begins.
    brought = next(over for over in iter(lambda: Http(port), None) if begin(over)[:8] != sid[:8])
    return Side("ours", direct, brought, sid)


def _nginx(name: str, port: int, ports: list[int]) -> Side:
    brought = Http(port)
    sid = begin(brought)
    join(brought, sid)
    return Side(name, next(over for over in map(Http, ports) if _knows(over, sid)), brought, sid)


def _knows(over: Http, sid: str) -> bool:
    try:
        over.ask(request("POST", f"{PATH}polling&sid={sid}", "3"))
    except OSError:
        return False
    return True


def _rows(kind: str, found: dict[str, list[Round]]) -> list[Row]:
    rows = []
    ours = found.pop("ours")
    for method in ("POST", "GET"):
        mine = [one.added(method) for one in ours]
        for name, peer in found.items():
            theirs = [one.added(method) for one in peer]
            ratio = median(mine) / median(theirs)
            what = f"{kind}, {method}: added, nginx {name}"
            rows.append(Row(what, spread(mine, 0), spread(theirs, 0), ratio, f"<= {LIMIT}", ratio <= LIMIT))
        direct = [one.direct[method] for one in ours]
        theirs = [one.direct[method] for peer in found.values() for one in peer]
        rows.append(Row(f"{kind}, {method}: direct", spread(direct, 0), spread(theirs, 0)))
    return rows

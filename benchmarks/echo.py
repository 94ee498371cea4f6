"""Round trips over a WebSocket that was handed to its worker by another one, beside stock Flask-SocketIO's own.

Ours: gunicorn with 4 workers; a session begins by polling at its owner, and its WebSocket comes in at another worker,
as it does for three of four clients. Peer: stock Flask-SocketIO, which can have one worker only. The one is asked so
many times and then the other: an event with an acknowledgement, answered by its handler. Not in turns trip by trip,
where what one still has to do when it has answered would be the next one's time. A third connection, whose WebSocket
came in at its owner, is taken out of the server's pool of threads all the same; it has a row without a bar.

The servers are started anew several times: what a process is once lucky or unlucky with stays with it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import Gunicorn, gunicorn
from benchmarks.report import Report, Row, median, percentile, spread
from benchmarks.socketio import APP
from benchmarks.socketio.clients import Http, WebSocket, begin

WORKERS = 4
LIMIT = 1.05


def run(quick: bool) -> Report:
    starts, rounds, times = (1, 5, 500) if quick else (5, 5, 1200)
    rows = []
    for kind in ("gthread", "gevent"):
        found = []
        for _ in range(starts):
            with tempfile.TemporaryDirectory() as name, _clients(Path(name), kind) as clients:
                _round(clients, times)  # warm up
                found += [_round(clients, times) for _ in range(rounds)]
        rows += _rows(kind, found)
    notes = [
        f"{starts} starts, {rounds} rounds of {times} round trips for each; median (least..greatest) of the rounds'.",
        "Ratios: median of the rounds' ratios, and their range in square brackets. Peer: stock Flask-SocketIO, -w 1.",
    ]
    return Report("WebSocket: from an event to its acknowledgement, µs", notes, rows)


Took = dict[str, list[float]]


@contextmanager
def _clients(folder: Path, kind: str) -> Iterator[dict[str, WebSocket]]:
    common: dict[str, Any] = {"kind": kind, "app": APP, "options": ("--keep-alive", "300")}
    with (
        gunicorn("duty", folder, workers=WORKERS, **common) as ours,
        gunicorn("stock", folder, workers=1, **common) as stock,
    ):
        clients = {
            "handed over": _handed_over(ours),
            "its own": WebSocket(Http(ours.port)),
            "stock": WebSocket(Http(stock.port)),
        }
        yield clients
        for one in clients.values():
            one.close()


def _handed_over(server: Gunicorn) -> WebSocket:
    sid = begin(Http(server.port))
    # Which worker a connection reaches is told by the first eight characters of a session that it begins.
    over = next(over for over in iter(lambda: Http(server.port), None) if begin(over)[:8] != sid[:8])
    client = WebSocket(over, sid)
    assert _handovers(server) == 1
    return client


def _handovers(server: Gunicorn) -> int:
    """By all workers; each says so of itself only, so ask until all have been asked."""
    found: dict[str, int] = {}
    while len(found) < WORKERS:
        over = Http(server.port)
        about = json.loads(over.get("/status"))["socketio"]
        found[about["workers"][0]["token"]] = about["handed_over"]
        over.close()
    return sum(found.values())


def _round(clients: dict[str, WebSocket], times: int) -> Took:
    took: Took = {name: [] for name in clients}
    for name, client in clients.items():
        for number in range(100, 100 + times):
            began = time.perf_counter_ns()
            answer = client.ask(f'42{number}["echo","hello"]')
            took[name].append((time.perf_counter_ns() - began) / 1000)
            assert answer == f'43{number}["hello"]'.encode()
    return took


def _rows(kind: str, rounds: list[Took]) -> list[Row]:
    return [
        _row(f"{kind}, handed over: p50", "handed over", rounds, 50, LIMIT),
        _row(f"{kind}, handed over: p99", "handed over", rounds, 99, None),
        _row(f"{kind}, came in at its owner: p50", "its own", rounds, 50, None),
    ]


def _row(what: str, name: str, rounds: list[Took], percent: float, limit: float | None) -> Row:
    ours = [percentile(one[name], percent) for one in rounds]
    peer = [percentile(one["stock"], percent) for one in rounds]
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    ratio = median(ratios)
    shown = f"{what} [{min(ratios):.2f}..{max(ratios):.2f}]"
    bar, met = ("", None) if limit is None else (f"<= {limit}", ratio <= limit)
    return Row(shown, spread(ours, 0), spread(peer, 0), ratio, bar, met)

"""How many WebSockets four gthread workers of 4 threads serve at once, beside stock Flask-SocketIO.

500 clients connect at the same time and keep their WebSocket. Once all have connected, or have waited for ten seconds,
each of them is asked again, one after the other: those that are answered by their handler are *served at once*. Then a
page is asked for, on a new connection.

Stock, a WebSocket occupies one of its worker's threads for as long as it lasts, and then there is none left for a page.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import gunicorn, resident_mb
from benchmarks.report import Report, Row, spread
from benchmarks.socketio import APP
from benchmarks.socketio.clients import Http, WebSocket

WORKERS, THREADS = 4, 4
CLIENTS = 500
LIMIT = 400
PATIENCE = 10.0


@dataclass(frozen=True)
class Served:
    """``page_ms``: ``None``, when there was none within the patience. ``mb``: of the server's memory, by client."""

    clients: int
    page_ms: float | None
    mb: float


def run(quick: bool) -> Report:
    times = 1 if quick else 3
    found: dict[str, list[Served]] = {"duty": [], "stock": []}
    for _ in range(times):
        for side, some in found.items():
            with tempfile.TemporaryDirectory() as name:
                some.append(_serve(Path(name), side))
    ours, peer = found["duty"], found["stock"]
    least = min(one.clients for one in ours)
    served, stock = (spread([one.clients for one in some], 0) for some in (ours, peer))
    ratio = least / max(one.clients for one in peer)
    rows = [
        Row(f"served at once, of {CLIENTS}", served, stock, ratio, f">= {LIMIT}", least >= LIMIT),
        Row("ms until a page, beside them", _pages(ours), _pages(peer)),
        Row("MB of the server for each", spread([one.mb for one in ours]), spread([one.mb for one in peer])),
    ]
    notes = [
        f"{times} fresh servers of each side; median (least..greatest). The bar is for the least of ours.",
        "Peer: stock Flask-SocketIO. On both sides the clients begin with a WebSocket.",
    ]
    return Report(f"WebSockets on {WORKERS} gthread workers of {THREADS} threads", notes, rows)


def _serve(folder: Path, side: str) -> Served:
    with gunicorn(side, folder, workers=WORKERS, app=APP, options=("--threads", str(THREADS))) as server:
        before = sum(resident_mb(pid) for pid in server.pids())
        with ThreadPoolExecutor(CLIENTS) as pool:
            came = [one for one in pool.map(lambda _: _connect(server.port), range(CLIENTS)) if one is not None]
        used = sum(resident_mb(pid) for pid in server.pids()) - before
        served = sum(_is_served(one, number) for number, one in enumerate(came))
        page = _page(server.port)
        for one in came:
            one.close()
        return Served(served, page, used / max(served, 1))


def _connect(port: int) -> WebSocket | None:
    over = None
    try:
        over = Http(port, PATIENCE)
        return WebSocket(over)
    except OSError:
        if over is not None:
            over.close()
        return None


def _is_served(client: WebSocket, number: int) -> bool:
    try:
        return client.ask(f'42{number}["echo","hello"]') == f'43{number}["hello"]'.encode()
    except OSError:
        return False


def _page(port: int) -> float | None:
    began = time.perf_counter()
    over = None
    try:
        over = Http(port, PATIENCE)
        over.get("/")
        return (time.perf_counter() - began) * 1000
    except OSError:
        return None
    finally:
        if over is not None:
            over.close()


def _pages(some: list[Served]) -> str:
    taken = [one.page_ms for one in some if one.page_ms is not None]
    return spread(taken, 1) if len(taken) == len(some) else f"none within {PATIENCE:g} s"

"""How long what a standby asks for takes to begin on the worker on duty, beside a bare round trip over a Unix socket.

A gunicorn of four gthread workers; a view triggers a task on whichever worker it is asked, at random moments of an idle
server, and only what standbys asked for counts. From the call of ``trigger`` to the first line of the run, on the clock
that both processes share: within it the request is a row of the journal, the leader is rung, reads it, writes the
run's own row and starts a thread. The peer, in the same minute: two processes that send each other 16 bytes.
"""

from __future__ import annotations

import multiprocessing
import random
import socket
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.processes import Gunicorn, gunicorn
from benchmarks.report import Report, Row, percentile


def run(quick: bool) -> Report:
    times = 60 if quick else 500
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for kind in ("gthread", "gevent"):
            with gunicorn("duty", Path(name), workers=4, kind=kind, echo="1") as server:
                ours, bare = _compare(server, times)
            rows += _rows(kind, ours, bare)
    return Report(
        "From trigger() on a standby to the run's first line on the worker on duty, ms",
        [f"{times} triggers, 20 to 60 ms apart, each followed by a bare round trip."],
        rows,
    )


def _compare(server: Gunicorn, times: int) -> tuple[list[float], list[float]]:
    leader = server.bell.wait(lambda one: one["what"] == "term")["pid"]
    near, far = socket.socketpair()
    echo = multiprocessing.get_context("fork").Process(target=_echo, args=(far,), daemon=True)
    echo.start()
    ours: list[float] = []
    bare: list[float] = []
    while len(ours) < times:
        server.bell.listen()
        since = len(server.bell.heard)
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/trigger", timeout=10).read()
        asked = server.bell.wait(lambda one: one["what"] == "asked", since)
        began = server.bell.wait(lambda one: one["what"] == "echo", since)
        if asked["pid"] != leader and began["pid"] == leader:
            ours.append((began["at"] - asked["since"]) / 1e6)
            bare.append(_round_trip(near))
        time.sleep(random.uniform(0.02, 0.06))
    near.close()
    echo.terminate()
    echo.join()
    return ours, bare


def _echo(far: socket.socket) -> None:
    while data := far.recv(16):
        far.sendall(data)


def _round_trip(near: socket.socket) -> float:
    began = time.monotonic_ns()
    near.sendall(b"x" * 16)
    near.recv(16)
    return (time.monotonic_ns() - began) / 1e6


def _rows(kind: str, ours: list[float], bare: list[float]) -> list[Row]:
    rows = []
    for what, percent, most in (("p50", 50, 10.0), ("p99", 99, 50.0)):
        mine, peer = percentile(ours, percent), percentile(bare, percent)
        rows.append(Row(f"{kind}: {what}", f"{mine:.2f}", f"{peer:.3f}", mine / peer, f"<= {most:g} ms", mine <= most))
    return rows

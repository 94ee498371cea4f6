"""The main job on real input: one worker of several reads this machine's load, keeps it, and can be killed for it.

``collector`` reads load, processor and memory each second into ``ctx.state``, which any worker can show and the next
worker on duty goes on from, and pushes them to every client of every worker: the page asks for nothing. ``tally``
runs each second, ``hourglass`` each minute. Each of them also tells the diary, by itself, that it ran: what the proof
believes is not what onduty says.

All that is pushed goes by one name, ``facts``, and each message holds some of them: everything at the connection, what
moves with each beat, and what has just changed at a kill and a take-over.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from flask import Flask, Response, abort, jsonify, render_template, request, send_from_directory
from flask_socketio import SocketIO, emit

from demo.diary import Diary, now, takeovers
from demo.workers import as_fact, workers
from onduty import Context, OnDuty, TermBegan

HISTORY = 60
"""Readings that the state holds: one minute of them."""

SCRIPTS = Path(__file__).resolve().parents[1] / "node_modules" / "socket.io-client" / "dist"
"""The browser's client of Socket.IO, which set-up has put there."""

folder = Path(os.environ.get("ONDUTY_DIR") or ".demo").absolute()
diary = Diary(folder)
app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")
duty = OnDuty(app, socketio=socketio, dir=folder, name="demo")


@duty.service
def collector(ctx: Context) -> None:
    """A loop that always runs on exactly one worker."""
    while True:
        diary.write("runs", "run", task="collector", slot=None, pid=os.getpid(), term=ctx.term)
        cpu = psutil.cpu_percent(interval=0.1)  # without one it measures since the last call: none in a new worker
        memory = psutil.virtual_memory()
        reading = {"at": now(), "cpu": cpu, "load": psutil.getloadavg()[0], "memory": memory.percent}
        history = [*ctx.state.get("history", []), reading][-HISTORY:]
        heart = {"beat": ctx.state.get("beat", 0) + 1, "pid": os.getpid()}
        ctx.state.update(**heart, history=history)
        socketio.emit("facts", {**facts(), "clients": clients(), "collector": {**heart, "reading": reading}})
        if not ctx.sleep(1 - time.time() % 1):  # until the next full second
            return


@duty.every(seconds=1)
def tally(ctx: Context) -> None:
    """On a grid of full seconds."""
    _tell(ctx, "tally")


@duty.cron("* * * * *")
def hourglass(ctx: Context) -> None:
    """Each full minute, by a cron line."""
    _tell(ctx, "hourglass")


def _tell(ctx: Context, task: str) -> None:
    slot = int(ctx.slot.timestamp()) if ctx.slot else None
    diary.write("runs", "run", task=task, slot=slot, pid=os.getpid(), term=ctx.term)


@duty.on(TermBegan)
def note_term(event: TermBegan) -> None:
    """In the worker that goes on duty: since when, exactly as ``duty.leader().since`` has it."""
    diary.write("terms", "term", at=event.at, pid=os.getpid(), term=event.term)
    leader = {"pid": os.getpid(), "term": event.term, "since": event.at / 1e6}
    socketio.emit("facts", {"leader": leader, "takeovers": recent_takeovers()})


def facts() -> dict[str, Any]:
    """What moves, as any worker knows it."""
    leader = duty.leader()
    return {
        "workers": workers(),
        "leader": leader and {"pid": leader.pid, "term": leader.term, "since": leader.since.timestamp()},
        "takeovers": recent_takeovers(),
        "runs": [as_fact(row) for row in (*hourglass.runs(2), *tally.runs(6))],
    }


def clients() -> dict[int, int]:
    """How many each worker has. It asks them all, so the worker on duty does it, once a second for everybody."""
    return {one["pid"]: one["clients"] for one in duty.status()["socketio"]["workers"]}


def recent_takeovers() -> list[dict[str, Any]]:
    return takeovers(diary.read("terms"))[-8:]


@socketio.on("connect")
def welcome() -> None:
    """Everything, and whose client this is from now on."""
    emit("facts", {**facts(), "connected_to": os.getpid(), "collector": collector.state})


@app.get("/")
def page() -> str:
    """The page; everything that moves on it is pushed."""
    return render_template("page.html", sent_by=os.getpid())


@app.get("/socket.io.js")
def client_script() -> Response:
    return send_from_directory(SCRIPTS, "socket.io.min.js")


@app.get("/api")
def api() -> Response:
    """What the page shows, for those who ask: by whichever worker the kernel gave this request to."""
    answer = jsonify(now=now(), answered_by=os.getpid(), collector=collector.state, **facts())
    answer.headers["Connection"] = "close"  # so that the next question may reach another worker
    return answer


@app.get("/api/runs")
def runs() -> Response:
    """The journal's rows of the scheduled tasks, newest first: for the proof."""
    return jsonify([as_fact(row) for row in (*hourglass.runs(200), *tally.runs(200))])


@app.post("/kill")
def kill() -> Response:
    """SIGKILL to the worker on duty, after this answer is out: it may be this very one.

    ``X-Term``: only if it is still that term's. A browser that got no answer on a connection asks once more by itself.
    """
    if request.headers.get("X-Demo") != "kill":  # another site's page can't send it unasked
        abort(403)
    leader = duty.leader()
    wanted = request.headers.get("X-Term", type=int)
    if leader is not None and wanted is not None and wanted < leader.term:
        return jsonify(killed=None, term=wanted, answered_by=os.getpid())
    if leader is None or leader.pid not in workers():
        abort(409, "nobody is on duty just now: try again")
    socketio.emit("facts", {"killed": {"pid": leader.pid, "term": leader.term}})
    answer = jsonify(killed=leader.pid, term=leader.term, answered_by=os.getpid())
    strike = threading.Thread(target=_strike, args=(leader.pid, leader.term), daemon=True)
    answer.call_on_close(strike.start)
    return answer


def _strike(pid: int, term: int) -> None:
    diary.write("terms", "kill", pid=pid, term=term)
    os.kill(pid, signal.SIGKILL)


@app.after_request
def guard(answer: Response) -> Response:
    """Who answered; and nothing but our own files may act on the page."""
    answer.headers["X-Worker"] = str(os.getpid())
    answer.headers["Content-Security-Policy"] = (
        # Not every browser counts a WebSocket to where the page came from as 'self'.
        f"default-src 'self'; connect-src 'self' ws://{request.host}; img-src data:; frame-ancestors 'none'"
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer

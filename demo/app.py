"""The main job on real input: one worker of several reads this machine's load, keeps it, and can be killed for it.

``collector`` reads load, processor and memory each second into ``ctx.state``, which any worker can show and the next
worker on duty goes on from. ``tally`` runs each second, ``hourglass`` each minute. Each of them also tells the diary,
by itself, that it ran: what the proof believes is not what onduty says.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from flask import Flask, Response, abort, jsonify, render_template, request

from demo.diary import Diary, now, takeovers
from onduty import Context, OnDuty, TermBegan
from onduty.journal import RunRecord

HISTORY = 60
"""Readings that the state holds: one minute of them."""

folder = Path(os.environ.get("ONDUTY_DIR") or ".demo").absolute()
diary = Diary(folder)
app = Flask(__name__)
duty = OnDuty(app, dir=folder, name="demo")


@duty.service
def collector(ctx: Context) -> None:
    """A loop that always runs on exactly one worker."""
    while True:
        diary.write("runs", "run", task="collector", slot=None, pid=os.getpid(), term=ctx.term)
        cpu = psutil.cpu_percent(interval=0.1)  # without one it measures since the last call: none in a new worker
        memory = psutil.virtual_memory()
        reading = {"at": now(), "cpu": cpu, "load": psutil.getloadavg()[0], "memory": memory.percent}
        history = [*ctx.state.get("history", []), reading][-HISTORY:]
        ctx.state.update(beat=ctx.state.get("beat", 0) + 1, pid=os.getpid(), history=history)
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


@app.get("/")
def page() -> str:
    """The page; it asks ``/api`` for everything that moves."""
    return render_template("page.html")


@app.get("/api")
def api() -> Response:
    """All that the page shows, by whichever worker the kernel gave this request to."""
    leader = duty.leader()
    terms = diary.read("terms")
    answer = jsonify(
        now=now(),
        answered_by=os.getpid(),
        workers=_workers(),
        leader=leader and {"pid": leader.pid, "term": leader.term, "since": leader.since.timestamp()},
        collector=collector.state,
        takeovers=takeovers(terms)[-8:],
        runs=[_row(row) for row in (*hourglass.runs(2), *tally.runs(6))],
    )
    answer.headers["Connection"] = "close"  # so that the next question may reach another worker
    return answer


@app.get("/api/runs")
def runs() -> Response:
    """The journal's rows of the scheduled tasks, newest first: for the proof."""
    return jsonify([_row(row) for row in (*hourglass.runs(200), *tally.runs(200))])


@app.post("/kill")
def kill() -> Response:
    """SIGKILL to the worker on duty, after this answer is out: it may be this very one."""
    if request.headers.get("X-Demo") != "kill":  # another site's page can't send it unasked
        abort(403)
    leader = duty.leader()
    if leader is None or leader.pid not in _workers():
        abort(409, "nobody is on duty just now: try again")
    answer = jsonify(killed=leader.pid, term=leader.term, answered_by=os.getpid())
    strike = threading.Thread(target=_strike, args=(leader.pid, leader.term), daemon=True)
    answer.call_on_close(strike.start)
    return answer


def _strike(pid: int, term: int) -> None:
    diary.write("terms", "kill", pid=pid, term=term)
    os.kill(pid, signal.SIGKILL)


def _workers() -> list[int]:
    """The living workers of this server: this one and its brothers."""
    siblings = psutil.Process(os.getppid()).children()
    return sorted(one.pid for one in siblings if _is_alive(one))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _row(row: RunRecord) -> dict[str, Any]:
    return {
        "task": row.task,
        "slot": row.slot and row.slot // 1_000_000,
        "first": row.first_slot and row.first_slot // 1_000_000,
        "pid": row.process.pid,
        "term": row.term,
        "outcome": row.outcome.value if row.outcome else "running",
    }


@app.after_request
def guard(answer: Response) -> Response:
    """Who answered; and nothing but our own files may act on the page."""
    answer.headers["X-Worker"] = str(os.getpid())
    answer.headers["Content-Security-Policy"] = "default-src 'self'; img-src data:; frame-ancestors 'none'"
    answer.headers["Cache-Control"] = "no-store"
    return answer

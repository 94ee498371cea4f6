"""An app whose background work writes down what it does; run by real servers in ``tests/servers``.

Each process appends facts to the file ``FACTS`` in the folder named by ``PROBE_FOLDER``, so that the leaders
themselves say when they led (``begin``, ``beat``, ``end``, on the machine's monotonic clock) and which slots they ran
(``slot``). A file named ``do`` there makes the next run of ``mischief`` do what it says; while a file named ``hang``
exists, the service ``stubborn`` does not listen. ``PROBE_IMPORT_SECONDS``: how long the import takes.
``PROBE_READS=yes``: the journal is read at import. ``PROBE_EVERY``: seconds between two slots of a task,
``PROBE_MISSED``: what ``tick`` does about missed ones. As a program it serves in the way its first argument names.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request

from onduty import Context, OnDuty
from support import facts_file
from support.serving import serve

FOLDER = Path(os.environ.get("PROBE_FOLDER", "."))
FACTS = "facts.jsonl"
EVERY = 0.1
_every = float(os.environ.get("PROBE_EVERY", EVERY))
_missed: Any = os.environ.get("PROBE_MISSED", "once")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def tell(kind: str, **more: Any) -> None:
    facts_file.append(FOLDER / FACTS, {"kind": kind, "pid": os.getpid(), "t": time.monotonic_ns(), **more})


time.sleep(float(os.environ.get("PROBE_IMPORT_SECONDS", "0")))  # as the import of a large app does
app = Flask(__name__)
duty = OnDuty(app)


@duty.service
def watch(ctx: Context) -> None:
    """Its beats are the interval in which this worker led."""
    tell("begin", term=ctx.term)
    while ctx.sleep(0.02):
        tell("beat", term=ctx.term)
    tell("end", term=ctx.term)


@duty.service
def stubborn(ctx: Context) -> None:
    tell("stubborn", term=ctx.term, run=ctx.run_id)
    while ctx.sleep(0.05):
        while (FOLDER / "hang").exists():
            tell("hanging", term=ctx.term, run=ctx.run_id)
            time.sleep(0.05)


@duty.every(seconds=_every, missed=_missed)
def tick(ctx: Context) -> None:
    tell_slot("tick", ctx)


@duty.every(seconds=_every, offset=_every / 2, missed="skip")
def tock(ctx: Context) -> None:
    tell_slot("tock", ctx)


@duty.task
def export(ctx: Context, number: int, seconds: float = 0.0, deaf: float = 0.0) -> int:
    """Asked for by requests, on whichever worker. ``deaf``: seconds for which it hears of no end."""
    tell("export", number=number, run=ctx.run_id, term=ctx.term)
    if deaf:
        time.sleep(deaf)
        tell("heard", number=number, run=ctx.run_id)
        return number * 2
    ctx.log.warning("export %d", number)
    ctx.progress(0.5, "half way")
    if not ctx.sleep(seconds):
        tell("cancelled", number=number, run=ctx.run_id)
    return number * 2


if os.environ.get("PROBE_READS") == "yes":
    tell("read", runs=len(tick.runs()))


def tell_slot(task: str, ctx: Context) -> None:
    assert ctx.slot is not None
    tell("slot", task=task, term=ctx.term, slot=(ctx.slot - _EPOCH) // timedelta(microseconds=1))


@duty.every(seconds=EVERY)
def mischief(ctx: Context) -> None:
    taken = FOLDER / f"do.{os.getpid()}"
    try:
        (FOLDER / "do").rename(taken)  # by one run only
    except FileNotFoundError:
        return
    deed = taken.read_text()
    tell("deed", deed=deed, term=ctx.term, run=ctx.run_id)
    DEEDS[deed]()


def fail() -> None:
    raise RuntimeError("on purpose")


def leave() -> None:
    sys.exit(3)


def fork() -> None:
    if os.fork() == 0:
        tell("heir")
        # In C, for good: where gunicorn's own greenlets turn in the child too, they end it when its parent dies.
        natively_sleep(60)
        os._exit(0)


def natively_sleep(seconds: float) -> None:
    monkey = sys.modules.get("gevent.monkey")
    (monkey.get_original("time", "sleep") if monkey else time.sleep)(seconds)


def fork_and_sleep() -> None:
    """Under gevent all greenlets are copied into the child, and get their turn while it sleeps."""
    if os.fork() == 0:
        tell("sleeper")
        time.sleep(0.4)
        os._exit(0)


def fork_and_return() -> None:
    if os.fork() == 0:
        tell("returning")


def spawn() -> None:
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    tell("heir", child=child.pid)


def close_all() -> None:
    os.closerange(3, 4096)


DEEDS = {
    "fail": fail,
    "leave": leave,
    "fork": fork,
    "fork and return": fork_and_return,
    "fork and sleep": fork_and_sleep,
    "spawn": spawn,
    "close all": close_all,
}


@app.get("/")
def index() -> str:
    return str(os.getpid())


@app.get("/status")
def status() -> Response:
    return jsonify(duty.status())


@app.get("/ask/<what>")
def ask(what: str) -> Response:
    """``/ask/trigger?number=3``, ``/ask/pause?task=tick`` and so on: what a view may do on any worker."""
    given = request.args
    answer: Any = None
    asked = time.monotonic_ns()
    if what == "trigger":
        chosen = export.options(key=given["key"]) if "key" in given else export
        answer = chosen.trigger(int(given["number"]), *(float(given.get(one, 0)) for one in ("seconds", "deaf"))).id
    elif what == "run":
        run = duty.get_run(given["id"])
        answer = run and [run.status, run.result, run.progress, [line.text for line in run.log]]
    elif what == "cancel":
        found = duty.get_run(given["id"])
        assert found is not None
        found.cancel()
    elif what in ("pause", "resume"):
        task = {"tick": tick, "watch": watch}[given["task"]]
        (task.pause if what == "pause" else task.resume)()
    elif what == "schedule":
        export.schedule(given["key"], every=float(given["every"]), kwargs={"number": int(given["number"])})
    elif what == "unschedule":
        answer = export.unschedule(given["key"])
    elif what == "schedules":
        answer = [[one.key, one.schedule, one.kwargs] for one in export.schedules()]
    return jsonify(pid=os.getpid(), leading=duty.is_leading, asked=asked, answer=answer)


@app.get("/slow")
def slow() -> str:
    tell("slow")
    time.sleep(4)
    return str(os.getpid())


if __name__ == "__main__":
    serve(app, sys.argv[1], int(sys.argv[2]))

"""The Flask-SocketIO app of the benchmarks; ``BENCH_SIDE`` says who sees to it that there may be several workers.

``duty``: onduty, by the one line that a user writes. ``redis``: python-socketio's ``RedisManager``, by ``BENCH_REDIS``.
``stock``: nobody. ``BENCH_INLINE``: handlers run in the request that brings their event, so that what they emit waits
for the client when that request is answered.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from flask import Flask, request
from flask_socketio import SocketIO, emit

from benchmarks.bell import ring

# The development environment has gevent-websocket, for other tests. Engine.io would prefer it, and with it WebSockets
# work under none of gunicorn's own workers.
sys.modules["geventwebsocket"] = None  # type: ignore[assignment]

SIDE = os.environ["BENCH_SIDE"]
app = Flask(__name__)
socketio = SocketIO(
    app,
    async_mode="gevent" if os.environ["BENCH_KIND"] == "gevent" else "threading",
    async_handlers="BENCH_INLINE" not in os.environ,
    message_queue=os.environ.get("BENCH_REDIS"),
    ping_interval=600,  # no client has to answer one while it is measured
)


@app.get("/")
def index() -> str:
    """Which worker this is."""
    return str(os.getpid())


@socketio.on("echo")
def echo(data: Any) -> Any:
    return data


@socketio.on("say")
def say(data: Any) -> None:
    emit("said", data)


@app.get("/burst")
def burst() -> dict[str, int]:
    """``count`` emits to everybody, one after the other: when they began, and how long ``emit`` took, in ns."""
    began = time.monotonic_ns()
    for number in range(int(request.args["count"])):
        socketio.emit("burst", {"n": number})
    return {"began": began, "took": time.monotonic_ns() - began}


@app.get("/steady")
def steady() -> dict[str, int]:
    """``count`` emits to everybody, ``every`` so many seconds; each says when it was made."""
    began, every = time.monotonic(), float(request.args["every"])
    for number in range(int(request.args["count"])):
        time.sleep(max(began + number * every - time.monotonic(), 0))
        socketio.emit("steady", {"at": time.monotonic_ns()})
    return {}


if SIDE == "duty":
    from onduty import OnDuty
    from onduty.events import WorkerReady

    duty = OnDuty(app, socketio=socketio, dir=os.environ["BENCH_DIR"])
    duty.on(WorkerReady)(lambda event: ring("ready"))

    @app.get("/status")
    def status() -> dict[str, Any]:
        return duty.status()

else:
    ring("ready")

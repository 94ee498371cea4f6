"""A Flask-SocketIO app for real gunicorn workers and real clients; each request says on which worker it was answered.

``ASYNC_MODE`` is Flask-SocketIO's; ``ORDER=late`` calls ``socketio.init_app`` after ``duty.init_app``; ``PLAIN`` leaves
the duty without its ``socketio``; ``OWN_MANAGER`` brings a client manager. ``TWICE`` says what there are two of: *apps*
of one factory, apps with *names* of their own, *duties* with this SocketIO, or a second one *without* it. A file
``stream`` in ``PROBE_FOLDER`` makes the service emit as many numbers as it says.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request
from flask_socketio import SocketIO, emit, join_room
from socketio import Manager

from onduty import Context, OnDuty

FOLDER = Path(os.environ.get("PROBE_FOLDER", "."))


class OwnManager(Manager):
    """A client manager of the app's own."""


app = Flask(__name__)
socketio = SocketIO(
    client_manager=OwnManager() if os.environ.get("OWN_MANAGER") else None,
    async_mode=os.environ.get("ASYNC_MODE", "threading"),
    cors_allowed_origins=["http://good.example"],
    max_http_buffer_size=10_000_000,
)
TWICE = os.environ.get("TWICE")
duty = OnDuty() if os.environ.get("PLAIN") else OnDuty(socketio=socketio)
if TWICE in ("apps", "names"):
    earlier = Flask(__name__ if TWICE == "apps" else "earlier")
    duty.init_app(earlier)
    socketio.init_app(earlier)
if TWICE in ("duties", "without"):
    OnDuty(app, socketio=socketio if TWICE == "duties" else None, name="jobs")
if os.environ.get("ORDER") == "late":
    duty.init_app(app)
    socketio.init_app(app)
else:
    socketio.init_app(app)
    duty.init_app(app)


@duty.service
def stream(ctx: Context) -> None:
    while ctx.sleep(0.02):
        try:
            count = int((FOLDER / "stream").read_text())
        except (FileNotFoundError, ValueError):
            continue
        (FOLDER / "stream").unlink()
        for number in range(count):
            socketio.emit("stream", {"n": number})


@socketio.on("echo")
def echo(data: Any) -> Any:
    return data


@socketio.on("who")
def who() -> int:
    return os.getpid()


@socketio.on("join")
def join(room: str) -> str:
    join_room(room)
    return room


@socketio.on("say")
def say(data: Any) -> None:
    emit("said", data, broadcast=True)


@socketio.on("how")
def how() -> list[str]:
    """What this client's first request said."""
    return [str(request.environ.get(key)) for key in ("REMOTE_ADDR", "HTTP_COOKIE", "wsgi.url_scheme")]


@app.after_request
def name_the_worker(response: Any) -> Any:
    response.headers["X-Worker"] = str(os.getpid())
    return response


@app.get("/")
def index() -> str:
    return str(os.getpid())


@app.get("/emit")
def emit_some() -> str:
    """``count`` numbered events to everyone or to ``room``; with ``size``, so many characters or bytes besides."""
    size = int(request.args.get("size", 0))
    filling: Any = os.urandom(size) if "binary" in request.args else "x" * size
    for number in range(int(request.args.get("count", 1))):
        data = {"n": number, "filling": filling} if size else {"n": number}
        socketio.emit(request.args.get("event", "tick"), data, to=request.args.get("room"))
    return "emitted"


@app.get("/call")
def call() -> Any:
    return jsonify(socketio.call("question", {"n": 1}, to=request.args["sid"], timeout=5))


@app.get("/enter")
def enter() -> str:
    socketio.server.enter_room(request.args["sid"], request.args["room"])
    return "entered"


@app.get("/kick")
def kick() -> str:
    socketio.server.disconnect(request.args["sid"])
    return "kicked"


@app.get("/status")
def status() -> Any:
    return jsonify(duty.status())

"""What can't work and what won't work well, found at start and told in a sentence with its remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

OLDEST = (5, 14, 2)
"""python-socketio before this sends pickle between workers, or can't send binary."""


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at.

    ``server``: the web server's name, as ``gunicorn gthread``. ``workers``: how many it was told to have, where it
    says. ``patched``: gevent has patched threads. ``gevent_websocket``: the package of that name was loaded by
    engine.io, which prefers it to simple-websocket whenever it can. ``sleeps_for_all``: engine.io's own sleep stops the
    whole worker. ``is_async``: it is an ``AsyncServer``;
    ``has_loop``: the web server runs the app on an asyncio loop we know.
    """

    server: str
    workers: int | None
    http2: bool
    async_mode: str
    patched: bool
    gevent_websocket: bool
    python_socketio: str
    sleeps_for_all: bool = False
    is_async: bool = False
    has_loop: bool = False

    @property
    def has_several(self) -> bool:
        return self.workers is not None and self.workers > 1


def refusals(here: Surroundings) -> list[str]:
    """Why sessions or emits would be lost for certain."""
    found = []
    if _version(here.python_socketio) < OLDEST:
        found.append(
            f"python-socketio {here.python_socketio} exchanges pickles between workers, or can't send binary: "
            'pip install -U "python-socketio>=5.14.2"'
        )
    if here.gevent_websocket and here.has_several:
        found.append(
            "gevent-websocket is installed, engine.io prefers it, and its connections can't be handed to another "
            "worker: pip uninstall gevent-websocket, pip install simple-websocket, and run gunicorn -k gevent"
        )
    if here.async_mode == "gevent" and here.server.startswith("gunicorn") and not here.patched and here.has_several:
        found.append(
            "SocketIO is in async_mode 'gevent', its own choice where gevent is installed, but "
            f'{here.server} works with threads: say SocketIO(app, async_mode="threading"), or run gunicorn -k gevent'
        )
    if here.sleeps_for_all:
        found.append(
            "--preload has loaded SocketIO in async_mode 'threading' before gevent patched the process, and its first "
            "client would stop the worker for 25 s at a time: "
            'say SocketIO(app, async_mode="gevent"), or leave out --preload'
        )
    if here.is_async and here.async_mode != "asgi":
        found.append(
            f"AsyncServer chose async_mode {here.async_mode!r}, which is not known here: say "
            'socketio.AsyncServer(async_mode="asgi") and serve socketio.ASGIApp(sio, app)'
        )
    elif here.is_async and not here.has_loop:
        found.append(
            f"an AsyncServer needs a web server whose asyncio loop is known, and {here.server or 'this one'} has none: "
            "gunicorn -k asgi, gunicorn -k uvicorn_worker.UvicornWorker, or uvicorn"
        )
    return found


def warnings(here: Surroundings) -> list[str]:
    """What works, and not as somebody may expect."""
    found = []
    if here.server == "gunicorn sync":
        found.append(
            "gunicorn's sync worker answers one request at a time, and a client that polls occupies it: "
            "gunicorn -k gthread --threads 100, or -k gevent"
        )
    if here.http2 and not here.is_async:  # where a WebSocket is relayed, it may be one of many on a connection
        found.append(
            "HTTP/2 is on: a WebSocket over HTTP/2 can't be handed to its worker, and its client falls back to "
            "polling; leave h2 out of --http-protocols where clients need WebSockets"
        )
    if here.async_mode not in ("threading", "gevent", "asgi") and here.has_several:
        found.append(
            f"async_mode {here.async_mode!r} is not known here, and WebSockets may stay with the wrong worker: "
            'say SocketIO(app, async_mode="threading") or "gevent"'
        )
    return found


def forsaken(app: Any, socketio: Any) -> str | None:
    """What to say of a Flask app whose SocketIO was given to another app after it: ``init_app`` makes a new server."""
    last = getattr(getattr(socketio, "sockio_mw", None), "flask_app", app)
    if last is app or getattr(app, "extensions", {}).get("socketio") is not socketio:
        return None
    return (
        "one SocketIO was given to several apps, and works for the last one. If that alone is served, all is well; "
        f"clients of an earlier one ({app.name!r}, of {app.import_name}) hear no emit, and do not stay connected under "
        "several workers: make a SocketIO for each"
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])

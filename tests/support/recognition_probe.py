"""An app that writes down what happens to its process; run by real servers in ``tests/servers``.

A probe crew appends one JSON line per fact to the file named by ``PROBE_FACTS``: ``import``, ``start``, ``leave``,
``stop``, and what hooks and children tell. As a program it serves in the way its first argument names.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from typing import Any

if os.environ.get("PROBE_PATCHES") == "yes":  # what many put first in their app
    from gevent import monkey

    monkey.patch_all()

from flask import Flask

from onduty import servers
from onduty._runtime import forks
from onduty._runtime.lifecycle import State, lifecycle
from onduty.errors import ConfigError
from support import facts_file, serving


def tell(event: str, **more: Any) -> None:
    fact = {"event": event, "pid": os.getpid(), "ppid": os.getppid(), "at": time.monotonic(), **more}
    facts_file.append(os.environ["PROBE_FACTS"], fact)


class Probe:
    """A crew of one that looks out for signs as a leader does."""

    def __init__(self) -> None:
        self._told_to_leave = False

    def start(self) -> None:
        if os.environ.get("PROBE_REFUSES") == "yes":
            raise ConfigError("the folder 'nowhere' can't be used")
        loop = lifecycle.loop()
        tell(
            "start",
            why=lifecycle.why,
            server=lifecycle.server,
            grace_limit=lifecycle.grace_limit,
            loop=type(loop).__name__ if loop is not None else None,
        )
        threading.Thread(target=self._look_out, daemon=True).start()

    def leave(self) -> None:
        tell("leave", why=lifecycle.why)
        self._told_to_leave = True

    def stop(self) -> None:
        if not self._told_to_leave:  # another thread, such as gunicorn's reloader, is about to, and ends with us
            self.leave()
        loop: Any = lifecycle.loop()
        tell("stop", loop_runs=bool(loop is not None and not loop.is_closed() and loop.is_running()))

    def _look_out(self) -> None:
        while lifecycle.state is State.READY:
            lifecycle.look()
            time.sleep(0.05)


def _forked(frame: Any) -> None:
    lifecycle.forked()
    servers.after_fork(lifecycle, frame)


def in_a_child() -> None:
    """What a worker's own child may do: import, declare, and end."""
    servers.recognise(lifecycle)
    tell("child", state=lifecycle.state.value, why=lifecycle.why)


threads_before, descriptors_before = threading.active_count(), os.listdir("/proc/self/fd")
forks.install(_forked)
lifecycle.enlist(Probe())
servers.recognise(lifecycle)
servers.recognise(lifecycle)  # two OnDuty objects in one app are no rarity
tell(
    "import",
    state=lifecycle.state.value,
    why=lifecycle.why,
    threads=threading.active_count() - threads_before,
    descriptors=len(os.listdir("/proc/self/fd")) - len(descriptors_before),
)

app = Flask(__name__)


@app.before_request
def last_resort() -> None:
    servers.first_request(lifecycle)


@app.get("/")
def pid() -> str:
    return str(os.getpid())


@app.get("/hang")
def hang() -> str:
    time.sleep(30)
    return "late"


@app.get("/children")
def children() -> str:
    """A forked and a spawned child, as tasks make them."""
    for way in ("fork", "spawn"):
        context: Any = multiprocessing.get_context(way)
        child = context.Process(target=in_a_child)
        child.start()
        child.join()
    return "done"


if "PROBE_SIDE_SHOW" in os.environ:  # a metrics endpoint, started at import
    from werkzeug.serving import make_server

    side_show = make_server("127.0.0.1", int(os.environ["PROBE_SIDE_SHOW"]), app)
    threading.Thread(target=side_show.serve_forever, daemon=True).start()


@app.cli.command("noop")
def noop() -> None:
    """A command of the app's own."""
    tell("command", state=lifecycle.state.value)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The same as an ASGI app with a lifespan."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            tell(message["type"])
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


def serve(way: str, port: int) -> None:
    """Serve until told to stop; ``nothing`` serves nobody."""
    if way == "home-made":
        home_made(port)
    elif way == "nothing":
        print(lifecycle.state.value)
    else:
        serving.serve(app, way, port)


def home_made(port: int) -> None:
    """A server nobody has heard of, that forks after the import and shares its listening socket."""
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    app.test_client().get("/")  # warming up, where nobody listens yet: a request that proves nothing
    server = WSGIServer(("127.0.0.1", port), WSGIRequestHandler)
    server.set_app(app)
    for _ in range(2):
        if os.fork() == 0:
            while True:
                server.handle_request()
    while True:
        os.wait()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))

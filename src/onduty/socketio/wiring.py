"""Puts routing and bus into a Socket.IO server when the worker is ready; takes this worker out of both when it ends.

Nothing of engine.io or python-socketio is patched. Three of the server's methods are replaced on the object itself,
all of them public: ``eio.generate_id``, ``eio.handle_request`` and, beside a gevent loop, ``eio.send_packet``; and its
client manager, unless the app has brought one. That is done at *ready*, so the order of the two ``init_app`` does not
matter, a test's app keeps what it has, and a preloading master has nothing that a fork could copy.

What waits is in one of two *halves*, ``threaded`` for a ``Server`` and ``asgi.half`` for an ``AsyncServer``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from onduty import events as ev
from onduty._runtime import forks
from onduty._runtime.engine import Engine
from onduty._runtime.lifecycle import Lifecycle
from onduty._runtime.threads import is_patched, stops_all_greenlets
from onduty.clock import Clock
from onduty.errors import ConfigError, OnDutyError
from onduty.socketio import unix, wire
from onduty.socketio.bus import FOLDER
from onduty.socketio.checks import Surroundings, refusals, warnings
from onduty.socketio.door import make_folder, passes
from onduty.socketio.half import Half, Place
from onduty.socketio.ids import Ids
from onduty.socketio.lines import Lines
from onduty.socketio.mesh import Seat
from onduty.socketio.patience import PATIENCE, PATIENCE_OF_A_LOOP
from onduty.socketio.peers import COUNTER, tokens

_SAY_AGAIN = 10.0
_ANSWER_WITHIN = 0.5


class SocketCrew:
    """Crew of the lifecycle in place of its ``engine``, started after it: the first run may emit at once."""

    def __init__(
        self, engine: Engine, socketio: Any, life: Lifecycle, clock: Clock, is_test: Callable[[], bool]
    ) -> None:
        if not any(hasattr(socketio, name) for name in ("server", "eio", "engineio_server")):
            raise ConfigError(
                f"socketio={socketio!r} is no flask_socketio.SocketIO, and no socketio.Server, AsyncServer or ASGIApp"
            )
        self._engine = engine
        self._socketio = socketio
        self._life = life
        self._clock = clock
        self._is_test = is_test
        self._folder = engine.folder / FOLDER
        self._forget()
        engine.more["socketio"] = self.snapshot

    def _forget(self) -> None:
        self._ids: Ids | None = None
        self._server: Any = None
        self._half: Half | None = None
        self._lines: Lines | None = None
        self._advice: list[str] = []
        self._told: dict[str, float] = {}

    # The life of the process

    def start(self) -> None:
        if not self._is_test():
            self._wire()
        try:
            self._engine.start()
        except OnDutyError:
            self._end()
            raise

    def leave(self) -> None:
        if self._half is not None:
            self._half.leave()
        self._engine.leave()

    def stop(self) -> None:
        # Runs may emit until they have ended.
        self._engine.stop()
        self._end()

    def _end(self) -> None:
        if self._half is not None:
            self._half.stop()
        if self._lines is not None:
            self._lines.pool.close()

    # Ready

    def _wire(self) -> None:
        server = self._find_server()
        self._check(server)
        self._make_folder()
        forks.in_child(self._forget)

        self._server = server
        self._ids = ids = Ids(server.eio.generate_id)
        server.eio.generate_id = ids.new
        waits_in_threads = not is_patched() and not server.is_asyncio_based()
        self._lines = lines = Lines(self._folder, PATIENCE if waits_in_threads else PATIENCE_OF_A_LOOP)
        seat = Seat(self._folder, ids.token, self._dropped, self._hindered)
        place = Place(seat, server, ids, lines, self._about, self._life.look, self._life.add_midway)
        self._half = _half_for(place, self._life.loop())

    def _make_folder(self) -> None:
        try:
            make_folder(self._folder)
            unix.sweep(self._folder)
        except (OSError, OnDutyError) as error:
            # Too little room, or no descriptor, is no reason to end a site. Whoever makes a socket there says so.
            if not passes(error):
                raise

    def _find_server(self) -> Any:
        for name in ("server", "engineio_server"):  # of a flask_socketio.SocketIO, of a socketio.ASGIApp
            server = getattr(self._socketio, name, self._socketio)
            if server is not self._socketio:
                break
        if server is None:
            raise ConfigError("this SocketIO has no app: call socketio.init_app(app) before the server starts")
        return server

    def _check(self, server: Any) -> None:
        from importlib.metadata import version

        surroundings = Surroundings(
            server=self._life.server,
            workers=self._life.workers,
            http2=self._life.http2,
            async_mode=server.async_mode,
            patched=is_patched(),
            sleeps_for_all=stops_all_greenlets(getattr(server.eio, "_async", {}).get("sleep")),
            gevent_websocket=server.async_mode == "gevent" and sys.modules.get("geventwebsocket") is not None,
            python_socketio=version("python-socketio"),
            has_loop=self._life.loop() is not None,
            is_async=server.is_asyncio_based(),
        )
        for reason in refusals(surroundings):
            raise ConfigError(reason)
        # One line is enough for all workers, so it is left to the one that goes on duty first.
        self._advice = warnings(surroundings)
        self._engine.events.subscribe(ev.TermBegan, self._advise)

    def _advise(self, event: ev.TermBegan) -> None:
        advice, self._advice = self._advice, []
        for text in advice if event.app == self._engine.settings.name else ():
            self._engine.events.emit(ev.Advice(self._clock.now(), event.app, text))

    def _dropped(self, token: str, in_all: int) -> None:
        """Called by whoever emits: the first loss is told at once, then every ten seconds."""
        now = time.monotonic()
        if now - self._told.get(token, -_SAY_AGAIN) >= _SAY_AGAIN:
            self._told[token] = now
            self._engine.events.emit(ev.EmitsDropped(self._clock.now(), self._engine.settings.name, token, in_all))

    def _hindered(self, text: str) -> None:
        """Called by mesh and counter, at the same moment if it is for the same reason: then it is told once."""
        now = time.monotonic()
        if now - self._told.get(text, -_SAY_AGAIN) >= _SAY_AGAIN:
            self._told[text] = now
            self._engine.events.emit(ev.EngineFault(self._clock.now(), self._engine.settings.name, text))

    # Asked

    def _about(self) -> dict[str, Any]:
        """This worker, as others see it."""
        sockets = list(self._server.eio.sockets.values()) if self._server else []
        clients = [one for one in sockets if not one.closed]
        bus = self._half.bus if self._half else None
        return {
            "pid": os.getpid(),
            "token": self._ids.token if self._ids else None,
            "clients": len(clients),
            "websockets": sum(bool(one.upgraded) for one in clients),
            **(bus.mesh.snapshot() if bus else {"peers": {}, "dropped": 0}),
        }

    def snapshot(self) -> dict[str, Any]:
        """Plain data: this worker, and what the others answer within half a second."""
        if self._ids is None or self._half is None or self._lines is None:
            return {}
        known = sorted(tokens(unix.names(self._folder), COUNTER) - {self._ids.token})
        others = self._lines.ask_all(known, wire.request("ask", {}), _ANSWER_WITHIN)
        workers = [self._about(), *map(json.loads, others.values())]
        return {
            "manager": type(self._server.manager).__name__,
            "forwarded": self._half.router.forwarded,
            "handed_over": self._half.router.handed_over,
            "dropped": sum(one["dropped"] for one in workers),
            "workers": workers,
        }


def _half_for(place: Place, loop: Any) -> Half:
    if not place.server.is_asyncio_based():
        from onduty.socketio.threaded import Threaded

        return Threaded(place)
    from onduty.socketio.asgi.half import OnLoop

    return OnLoop(place, loop)

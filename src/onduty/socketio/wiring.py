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
import time
from typing import Any

from onduty import events as ev
from onduty._runtime.engine import Engine
from onduty._runtime.lifecycle import Lifecycle
from onduty._runtime.threads import is_patched
from onduty.clock import Clock
from onduty.errors import OnDutyError
from onduty.socketio import unix, wire
from onduty.socketio.bus import FOLDER, OnMesh
from onduty.socketio.door import make_folder, passes
from onduty.socketio.half import Half, Place
from onduty.socketio.ids import Ids
from onduty.socketio.lines import Lines
from onduty.socketio.mesh import Seat
from onduty.socketio.patience import PATIENCE, PATIENCE_OF_A_LOOP
from onduty.socketio.peers import COUNTER, tokens

_SAY_AGAIN = 10.0
_ANSWER_WITHIN = 0.5


class Wiring:
    """One for each server and process, in the folder of ``engine``'s app. ``stands``: it is at work."""

    _ids: Ids
    _lines: Lines
    _half: Half

    def __init__(self, engine: Engine, server: Any, life: Lifecycle, clock: Clock) -> None:
        self._name = engine.settings.name
        self._events = engine.events
        self._folder = engine.folder / FOLDER
        self._server = server
        self._life = life
        self._clock = clock
        self._told: dict[str, float] = {}
        self._bus: OnMesh | None = None
        self.stands = False

    def begin(self) -> None:
        """Put it to work, until all crew of the lifecycle has stopped: the runs of any may emit until then."""
        self._make_folder()
        server, life = self._server, self._life
        self._ids = ids = Ids(server.eio.generate_id)
        server.eio.generate_id = ids.new
        waits_in_threads = not is_patched() and not server.is_asyncio_based()
        self._lines = Lines(self._folder, PATIENCE if waits_in_threads else PATIENCE_OF_A_LOOP)
        seat = Seat(self._folder, ids.token, self._dropped, self._hindered)
        place = Place(seat, server, ids, self._lines, self._about, life.look, life.add_midway)
        self._half = _half_for(place, life.loop())
        self._bus = self._half.bus
        life.add_last(self._end)
        self.stands = True

    def _make_folder(self) -> None:
        try:
            make_folder(self._folder)
            unix.sweep(self._folder)
        except (OSError, OnDutyError) as error:
            # Too little room, or no descriptor, is no reason to end a site. Whoever makes a socket there says so.
            if not passes(error):
                raise

    def leave(self) -> None:
        """Let nobody hold this worker up. Returns at once; may be called again."""
        self._half.leave()

    def _end(self) -> None:
        self._half.stop()
        self._lines.pool.close()

    def _dropped(self, token: str, in_all: int) -> None:
        """Called by whoever emits: the first loss is told at once, then every ten seconds."""
        now = time.monotonic()
        if now - self._told.get(token, -_SAY_AGAIN) >= _SAY_AGAIN:
            self._told[token] = now
            self._events.emit(ev.EmitsDropped(self._clock.now(), self._name, token, in_all))

    def _hindered(self, text: str) -> None:
        """Called by mesh and counter, at the same moment if it is for the same reason: then it is told once."""
        now = time.monotonic()
        if now - self._told.get(text, -_SAY_AGAIN) >= _SAY_AGAIN:
            self._told[text] = now
            self._events.emit(ev.EngineFault(self._clock.now(), self._name, text))

    # Asked

    def _about(self) -> dict[str, Any]:
        """This worker, as others see it."""
        sockets = list(self._server.eio.sockets.values())
        clients = [one for one in sockets if not one.closed]
        return {
            "pid": os.getpid(),
            "token": self._ids.token,
            "clients": len(clients),
            "websockets": sum(bool(one.upgraded) for one in clients),
            **(self._bus.mesh.snapshot() if self._bus else {"peers": {}, "dropped": 0}),
        }

    def snapshot(self) -> dict[str, Any]:
        """Plain data: this worker, and what the others answer within half a second."""
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

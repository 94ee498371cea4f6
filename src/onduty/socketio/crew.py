"""One app's part in Socket.IO: crew of the lifecycle in place of the app's engine, which it starts and stops.

Two apps, or two duties of one app, may have the same Socket.IO. In each process its server is wired once, by whoever is
ready first, for all who have it, and until the work of all has stopped. Which of their folders it is wired in, and who
tells what there is to tell, does not depend on their order, which may differ from worker to worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from onduty import events as ev
from onduty._runtime import forks
from onduty._runtime.engine import Engine
from onduty._runtime.lifecycle import Lifecycle
from onduty._runtime.threads import is_patched, stops_all_greenlets
from onduty.clock import Clock, Wakeup
from onduty.errors import ConfigError
from onduty.socketio.checks import Surroundings, forsaken, refusals, warnings
from onduty.socketio.wiring import Wiring

_A_MOMENT = 0.01

_wirings: dict[Any, Wiring] = {}
"""Of this process, by server."""


class SocketCrew:
    """Wires before the engine starts: the first run may emit at once. ``app`` is the one whose engine it is."""

    def __init__(
        self, app: Any, engine: Engine, socketio: Any, life: Lifecycle, clock: Clock, is_test: Callable[[], bool]
    ) -> None:
        _server_in(socketio)
        self.app = app
        self.engine = engine
        self.socketio = socketio
        self.is_test = is_test
        self._life = life
        self._clock = clock
        self._forget()
        engine.more["socketio"] = self.snapshot

    def _forget(self) -> None:
        self._wiring: Wiring | None = None

    def start(self) -> None:
        if not self.is_test():
            forks.in_child(self._forget)
            self._wiring = self._wired()
        self.engine.start()

    def leave(self) -> None:
        if self._wiring is not None:
            self._wiring.leave()
        self.engine.leave()

    def stop(self) -> None:
        self.engine.stop()

    def snapshot(self) -> dict[str, Any]:
        """Plain data: this worker, and what the others answer within half a second."""
        return self._wiring.snapshot() if self._wiring is not None else {}

    def _wired(self) -> Wiring:
        server = _server_in(self.socketio)
        if server is None:
            raise ConfigError("this SocketIO has no app: call socketio.init_app(app) before the server starts")
        crew = [one for one in self._life.crew if isinstance(one, SocketCrew) and not one.is_test()]
        sharers = [one for one in crew if _server_in(one.socketio) is server]
        wiring = Wiring(min((one.engine for one in sharers), key=_place), server, self._life, self._clock)
        # Two threads may each make an app in a worker that serves already.
        while (first := _wirings.setdefault(server, wiring)) is not wiring:
            if first.stands:
                return first
            Wakeup().wait(_A_MOMENT)
        try:
            advice = warnings(self._checked(server)) + [forsaken(one.app, one.socketio) for one in sharers]
            forks.in_child(_wirings.clear)
            wiring.begin()
            self._leave_to_one([one.engine for one in sharers], [text for text in advice if text])
        except BaseException:
            del _wirings[server]
            raise
        return wiring

    def _checked(self, server: Any) -> Surroundings:
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
        return surroundings

    def _leave_to_one(self, engines: list[Engine], advice: list[str]) -> None:
        """One line is enough for all workers and apps: the worker says it in which a certain one goes on duty first."""
        teller = min((engine for engine in engines if engine.settings.lead), key=_place, default=None)

        def advise(event: ev.TermBegan) -> None:
            while teller and event.app == teller.settings.name and advice:
                teller.events.emit(ev.Advice(self._clock.now(), event.app, advice.pop(0)))

        if teller:
            teller.events.subscribe(ev.TermBegan, advise)


def _place(engine: Engine) -> str:
    return str(engine.folder)


_INSIDE = ("server", "engineio_app", "engineio_server")
"""Where a ``flask_socketio.SocketIO``, a ``socketio.WSGIApp`` and an ``ASGIApp`` have their server."""


def _server_in(socketio: Any) -> Any:
    """The ``Server`` or ``AsyncServer`` that was given, or is inside; ``None``: a ``SocketIO`` without an app yet."""
    if isinstance(socketio, ModuleType):
        raise ConfigError(
            f"socketio={socketio!r} is a module: give the object that SocketIO(app) has made, or AsyncServer()"
        )
    server = next((getattr(socketio, name) for name in _INSIDE if hasattr(socketio, name)), socketio)
    if server is not None and not hasattr(getattr(server, "eio", None), "generate_id"):
        raise ConfigError(
            f"socketio={socketio!r} is no flask_socketio.SocketIO, "
            "and no socketio.Server, AsyncServer, WSGIApp or ASGIApp"
        )
    return server

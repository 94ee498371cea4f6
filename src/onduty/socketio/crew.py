"""One app's part in Socket.IO: crew of the lifecycle in place of the app's engine, which it starts and stops.

Two apps, or two duties of one app, may have the same Socket.IO. In each process its server is wired once, in the folder
of whoever is ready first, and until the last of them has stopped.
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
from onduty.clock import Clock
from onduty.errors import ConfigError, OnDutyError
from onduty.socketio.checks import Surroundings, forsaken, refusals, warnings
from onduty.socketio.reminder import given
from onduty.socketio.wiring import Wiring

_wirings: dict[Any, Wiring] = {}
"""Of this process, by server."""


class SocketCrew:
    """Wires before the engine starts: the first run may emit at once. ``app`` is the one whose engine it is."""

    def __init__(
        self, app: Any, engine: Engine, socketio: Any, life: Lifecycle, clock: Clock, is_test: Callable[[], bool]
    ) -> None:
        _server_in(socketio)
        given.append(socketio)
        self._app = app
        self._engine = engine
        self._socketio = socketio
        self._life = life
        self._clock = clock
        self._is_test = is_test
        self._forget()
        engine.more["socketio"] = self.snapshot

    def _forget(self) -> None:
        self._wiring: Wiring | None = None
        self._advice: list[str] = []

    def start(self) -> None:
        if not self._is_test():
            self._wire()
        try:
            self._engine.start()
        except OnDutyError:
            self._end()
            raise

    def leave(self) -> None:
        if self._wiring is not None:
            self._wiring.leave()
        self._engine.leave()

    def stop(self) -> None:
        # Runs may emit until they have ended.
        self._engine.stop()
        self._end()

    def _end(self) -> None:
        wiring, self._wiring = self._wiring, None
        if wiring is not None:
            wiring.part()

    def snapshot(self) -> dict[str, Any]:
        """Plain data: this worker, and what the others answer within half a second."""
        return self._wiring.snapshot() if self._wiring is not None else {}

    def _wire(self) -> None:
        server = _server_in(self._socketio)
        if server is None:
            raise ConfigError("this SocketIO has no app: call socketio.init_app(app) before the server starts")
        forks.in_child(self._forget)
        advice = [forsaken(self._app, self._socketio)]
        wiring = _wirings.get(server)
        if wiring is None:
            advice += self._checked(server)
            forks.in_child(_wirings.clear)
            _wirings[server] = wiring = Wiring(self._engine, server, self._life, self._clock)
        wiring.join()
        self._wiring = wiring
        # One line is enough for all workers, so it is left to the one that goes on duty first.
        self._advice = [text for text in advice if text]
        self._engine.events.subscribe(ev.TermBegan, self._advise)

    def _checked(self, server: Any) -> list[str]:
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
        return warnings(surroundings)

    def _advise(self, event: ev.TermBegan) -> None:
        if event.app != self._engine.settings.name:
            return
        advice, self._advice = self._advice, []
        for text in advice:
            self._engine.events.emit(ev.Advice(self._clock.now(), event.app, text))


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

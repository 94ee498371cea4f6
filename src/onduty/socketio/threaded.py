"""The half of a WSGI worker: ``socketio.Server``, in threads or in a gevent loop's greenlets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from onduty._runtime.crossing import here, into_this_loop
from onduty.socketio.bus import Bus
from onduty.socketio.client import Announced
from onduty.socketio.counter import Counter, Wsgi
from onduty.socketio.half import Half, Place
from onduty.socketio.routing import Router
from onduty.socketio.session_queue import quicken

_A_MOMENT = 1.0
_STEP = 0.01


class Threaded(Half):
    """In a gevent loop what a native thread emits crosses into it."""

    router: Router

    def __init__(self, place: Place) -> None:
        from socketio import Manager

        self._server = server = place.server
        eio = server.eio
        cross = into_this_loop() if server.async_mode == "gevent" else here
        if cross is not here:
            send_packet = eio.send_packet
            eio.send_packet = lambda sid, pkt: cross(send_packet, sid, pkt)
        else:
            _announce(eio)
            quicken(eio)
        serve = eio.handle_request
        self._counter = Counter(place, serve, self._wake, self._ended)
        self.router = Router(place.lines, place.ids, eio, serve, self._counter, cross)
        self._counter.start()
        eio.handle_request = self.router
        bus = Bus()
        self.share(server, Manager, bus, lambda: bus.open(place.seat, cross))

    def leave(self) -> None:
        self.router.leave()

    def stop(self) -> None:
        self._counter.stop()
        let_upgrades_finish(self._server.eio)
        if self.bus is not None:
            self.bus.close()
        self.router.stop()

    def _wake(self, sid: str) -> None:
        from engineio.packet import NOOP, Packet

        if sid in self._server.eio.sockets:
            self._server.eio.send_packet(sid, Packet(NOOP))

    def _ended(self, sid: str | None) -> None:
        session = self._server.eio.sockets.get(sid)
        # Cut off in the middle of its upgrade, a session would wait for it for ever and answer polls with nothing.
        if session is not None and session.upgrading and not session.upgraded:
            session.upgrading = False


def let_upgrades_finish(eio: Any) -> None:
    """Return when no client is between polling and its WebSocket, or after a second.

    Cut off there, socket.io-client (4.8) neither polls nor listens until it has missed a ping, which takes 45 s.
    """
    steps = round(_A_MOMENT / _STEP)
    while steps and any(session.upgrading for session in list(eio.sockets.values())):
        time.sleep(_STEP)
        steps -= 1


def _announce(eio: Any) -> None:
    # The one place that knows a session and its connection. An engine.io that is made otherwise says all one by one.
    parts = getattr(eio, "_async", {})
    if parts.get("websocket") is not None:
        vars(eio)["_async"] = {**parts, "websocket": _announced(parts["websocket"])}


def _announced(kind: Callable[[Any, Any], Wsgi]) -> Callable[[Any, Any], Wsgi]:
    """Engine.io's ``kind`` of WebSocket, made to tell our connection how many messages its session took from its queue.

    Engine.io 4 says them all in a row then, in a thread that does nothing else (``Socket._websocket_handler``).
    """

    def make(handler: Any, server: Any) -> Wsgi:
        serve, session = kind(handler, server), handler.__self__

        def take(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            client = environ.get("gunicorn.socket")
            if isinstance(client, Announced):
                session.poll = _telling(session, client, session.poll)
            return serve(environ, start_response)

        return take

    return make


def _telling(session: Any, client: Announced, poll: Callable[[], Any]) -> Callable[[], Any]:
    def polled() -> Any:
        packets = poll()
        if session.upgraded:  # until then it is asked by requests
            client.expect(len(packets))
        return packets

    return polled

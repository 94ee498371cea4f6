"""The half of a WSGI worker: ``socketio.Server``, in threads or in a gevent loop's greenlets."""

from __future__ import annotations

from onduty._runtime.crossing import here, into_this_loop
from onduty.socketio.bus import Bus
from onduty.socketio.counter import Counter
from onduty.socketio.half import Half, Place
from onduty.socketio.routing import Router


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

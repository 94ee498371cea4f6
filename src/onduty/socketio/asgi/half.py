"""The half of an asyncio worker: ``socketio.AsyncServer``, on the loop its web server runs the app on."""

from __future__ import annotations

import asyncio
from typing import Any

from onduty._runtime.aio import Tasks
from onduty.socketio.asgi.bus import AsyncBus
from onduty.socketio.asgi.counter import Asgi, Counter, Receive, Scope, Send
from onduty.socketio.asgi.routing import Router
from onduty.socketio.asgi.streams import Streams
from onduty.socketio.asgi.upgrades import Upgrades
from onduty.socketio.half import Half, Place
from onduty.socketio.route import sid_of_scope


def _seeing_to_it(eio: Any, upgrades: Upgrades, serve: Asgi) -> Asgi:
    """Nobody waits for what does not come any more, which engine.io (4.15) leaves undone on asyncio.

    Cut off amid its upgrade, a session would wait for it for ever and answer polls with nothing. Closed by its client,
    it would leave the client's last poll waiting for 45 s, and that holds up a worker that is to end.
    """

    async def serve_and_see(scope: Scope, receive: Receive, send: Send) -> None:
        session = eio.sockets.get(sid_of_scope(scope))
        try:
            with upgrades.followed(receive, send) as (receive_and_note, send_and_note):
                await serve(scope, receive_and_note, send_and_note)
        finally:
            if session is not None and scope["type"] == "websocket" and not session.upgraded:
                session.upgrading = False
            if session is not None and session.closed:
                session.queue.put_nowait(None)

    return serve_and_see


class OnLoop(Half):
    """The loop may not run yet when this is made, nor any more at its end."""

    router: Router

    def __init__(self, place: Place, loop: asyncio.AbstractEventLoop) -> None:
        from socketio import AsyncManager

        self._server = server = place.server
        self._tasks = Tasks(loop)
        eio = server.eio
        upgrades = Upgrades()
        serve = _seeing_to_it(eio, upgrades, eio.handle_request)
        self._streams = Streams(place.seat.folder)
        self.router = Router(self._streams, place.ids, eio, upgrades, serve)
        place.midway(upgrades.is_midway)
        self._counter = Counter(place, serve, self._wake)
        self._counter.start(self._tasks)
        eio.handle_request = self.router
        bus = AsyncBus()
        self.share(server, AsyncManager, bus, lambda: bus.open(place.seat, loop), self._tasks.call)

    def leave(self) -> None:
        self._tasks.call(self.router.leave, self._tasks)

    def stop(self) -> None:
        self._counter.unlist()
        if self.bus is not None:
            self.bus.close()
        self._tasks.call(self._streams.pool.close)

    async def _wake(self, sid: str) -> None:
        from engineio.packet import NOOP, Packet

        if sid in self._server.eio.sockets:
            await self._server.eio.send_packet(sid, Packet(NOOP))

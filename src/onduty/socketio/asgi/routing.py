"""Session routing under ASGI: a worker that gets a request of another worker's session relays it there.

::

    request ─┬─ our session, or none ──▶ engine.io, here
             └─ another's ─────────────▶ its owner's counter, event by event, both ways

The owner is gone: engine.io answers here what it does for an unknown session, a 400 with CORS headers (a WebSocket is
refused), and the client starts anew. So it is for an owner that is frozen, once that is sure.

It sits where engine.io is entered, behind all middleware.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
from typing import Any

from onduty._runtime.aio import Tasks
from onduty.socketio import unix, wire
from onduty.socketio.asgi.body import beginning_with, with_known_length
from onduty.socketio.asgi.counter import Asgi, Message, Receive, Scope, Send
from onduty.socketio.asgi.relay import Relay
from onduty.socketio.asgi.streams import Streams
from onduty.socketio.asgi.upgrades import Upgrades
from onduty.socketio.ids import Ids
from onduty.socketio.route import Route, Way, route_scope

_A_MOMENT = 0.5
_LONGEST_MIDWAY = 1.0
_UNREACHABLE = (unix.Gone, unix.Wedged, unix.NoDescriptor, PermissionError)
_RESTARTING = 1012
"""What a WebSocket is closed with (RFC 6455 7.4, registered with IANA): come back."""


class Router:
    """One per worker. ``serve`` is engine.io's own entrance, ``eio`` its server.

    A worker that leaves is not held up by those who wait. Polls that are relayed are answered with what there is,
    WebSockets closed, and its own polling sessions ended as they would be in a moment.
    """

    def __init__(self, streams: Streams, ids: Ids, eio: Any, upgrades: Upgrades, serve: Asgi) -> None:
        self._streams = streams
        self._ids = ids
        self._eio = eio
        self._upgrades = upgrades
        self._serve = serve
        self._home = os.getpid()
        self._leaving = False
        self._relays: dict[Relay, tuple[Scope, Route]] = {}
        self._websockets: set[Send] = set()
        self.forwarded = 0
        self.handed_over = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if os.getpid() != self._home:
            await self._serve(scope, receive, send)  # a worker's forked child has its own life
            return
        where = route_scope(scope, self._ids.token)
        if self._leaving and where.sid in self._eio.sockets and scope.get("method") == "GET":
            await self._end(self._eio.sockets[where.sid])  # or its poll would keep us here; now it is a 400
        scope, receive = await with_known_length(scope, receive, self._eio.max_http_buffer_size)
        first = await receive()
        if first["type"] == "http.disconnect":
            return  # before it has said what it wanted; engine.io would stumble over that
        if where.way is Way.FORWARD and await self._relay(scope, first, receive, send, where):
            return
        receive = beginning_with(first, receive)
        if scope["type"] == "websocket":
            self._websockets.add(send)
        try:
            await self._serve(scope, receive, send)
        finally:
            self._websockets.discard(send)

    def leave(self, tasks: Tasks) -> None:
        """Returns at once. Called on the loop."""
        if not self._leaving:
            self._leaving = True
            tasks.submit(self._say_farewell(tasks))

    async def _say_farewell(self, tasks: Tasks) -> None:
        """Again and again until the loop ends: while it winds down, the server still lets some in.

        A WebSocket is not closed in its first moment, nor while a client is midway, for another second at most.
        """
        known: set[Any] = set()
        for turn in itertools.count():
            spares_websockets = self._spares_websockets(turn)
            waiting = {relay: where for relay, (scope, where) in self._relays.items() if scope.get("method") != "POST"}
            for relay in known & waiting.keys():
                if not spares_websockets or self._relays[relay][0]["type"] != "websocket":
                    relay.cut()
            for relay in waiting.keys() - known:
                tasks.submit(self._have_woken(waiting[relay]))
            for send in known & self._websockets:
                tasks.submit(self._part(send, turn))
            known = {*waiting, *self._websockets}
            for session in list(self._eio.sockets.values()):
                await self._end(session)
            await asyncio.sleep(_A_MOMENT)

    def _spares_websockets(self, turn: int) -> bool:
        return self._upgrades.is_midway() and turn * _A_MOMENT <= _LONGEST_MIDWAY

    async def _part(self, send: Send, turn: int) -> None:
        if not self._spares_websockets(turn):  # asked at the very moment: it may have become so just now
            await _close(send)

    async def _end(self, session: Any) -> None:
        if not session.upgraded:
            # Without a word: told that it is closed, python-socketio's client (5.18) takes that as meant, for good.
            await session.close(wait=False, abort=True, reason=self._eio.reason.SERVER_DISCONNECT)
            session.queue.put_nowait(None)  # on asyncio engine.io (4.15) lets its poll wait on

    async def _have_woken(self, where: Route) -> None:
        await self._streams.ask(where.owner, wire.request("wake", {}, (where.sid or "").encode()), _A_MOMENT)

    async def _relay(self, scope: Scope, first: Message, receive: Receive, send: Send, where: Route) -> bool:
        """Whether the client has its answer, or does not wait for one any more."""
        is_websocket = scope["type"] == "websocket"
        self.handed_over += is_websocket
        self.forwarded += not is_websocket
        try:
            request = wire.request("relay", {}, wire.scope(scope)) + wire.event(first)
            stream = await self._streams.reach(where.owner, request)
        except _UNREACHABLE:
            return False
        with self._upgrades.followed(receive, send) as (receive_and_note, send_and_note):
            bring = functools.partial(self._streams.bring, where.owner, stream)
            relay = Relay(stream, bring, receive_and_note, send_and_note)
            self._relays[relay] = scope, where
            try:
                await relay.run(None if is_websocket else self._eio.ping_interval + self._eio.ping_timeout + 10)
            finally:
                del self._relays[relay]
                if relay.is_over and not is_websocket:
                    self._streams.pool.keep(where.owner, stream)
                else:
                    stream.close()
        if relay.is_over or relay.client_is_gone:
            return True
        if relay.is_answered and is_websocket:
            await _close(send)
        return relay.is_answered


async def _close(send: Send) -> None:
    # Engine.io's own "close" would not do: a client heeds it on a poll, and not on a WebSocket.
    with contextlib.suppress(OSError, RuntimeError):  # it is closed already; uvicorn and gunicorn differ in the word
        await send({"type": "websocket.close", "code": _RESTARTING})

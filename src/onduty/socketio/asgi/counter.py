"""The counter of an asyncio worker: as ``onduty.socketio.counter``, in tasks on the server's loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from onduty._runtime.aio import Tasks
from onduty.socketio import unix, wire
from onduty.socketio.asgi.streams import Stream
from onduty.socketio.half import Place
from onduty.socketio.peers import COUNTER

_log = logging.getLogger("onduty.socketio")

_LOOK_EVERY = 0.5

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Counter:
    """``serve`` is engine.io's own entrance, ``wake`` ends the poll that waits for a session."""

    def __init__(self, place: Place, serve: Asgi, wake: Callable[[str], Awaitable[None]]) -> None:
        name = COUNTER + place.ids.token
        self._path = place.folder / name
        self._serve = serve
        self._wake = wake
        self._about = place.about
        self._look = place.look
        self._over = False
        self._listener = unix.listen(place.folder, name)
        self._listener.setblocking(False)

    def start(self, tasks: Tasks) -> None:
        self._tasks = tasks
        tasks.submit(self._accept())
        tasks.submit(self._look_about())

    def unlist(self) -> None:
        """From now on nobody comes any more; what is being served goes on. May be called again, and from any thread."""
        self._over = True
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    async def _look_about(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(_LOOK_EVERY)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except ConnectionAbortedError:
                    continue
                unix.adopt(connection)
                self._tasks.submit(self._attend(connection))
        except OSError as error:
            _log.error("this worker can be reached by the others no more: %r", error)
        finally:
            unix.drop(self._listener)

    async def _attend(self, connection: socket.socket) -> None:
        stream = await Stream.over(connection)
        try:
            unix.refuse_strangers(connection)
            # Engine.io takes a cancelled poll for an empty one, so being cancelled in it would not end this loop.
            while not self._over:
                head, body = await stream.receive()
                do, _ = wire.read_request(head)
                if not wire.is_late(do):
                    await self._answer(stream, do, body)
        except unix.Gone:
            pass  # the caller has ended, or lets go of a line it does not need
        except (OSError, wire.NotOurs) as error:
            _log.debug("a line to this worker ended: %r", error)
        finally:
            stream.close()

    async def _answer(self, stream: Stream, do: str, body: bytes) -> None:
        if do == "relay":
            await stream.send(wire.ACCEPTED)
            await self._serve_over(stream, wire.read_scope(body))
            await stream.send(wire.OVER)
        elif do == "wake":
            await self._wake(body.decode())
            await stream.send(wire.response("200 OK", [], b""))
        else:
            await stream.send(wire.response("200 OK", [], json.dumps(self._about()).encode()))

    async def _serve_over(self, stream: Stream, scope: Scope) -> None:
        """Be the web server of one request, or of one WebSocket until it ends."""

        async def receive() -> Message:
            try:
                return wire.read_event(*await stream.receive())
            except (OSError, wire.NotOurs):
                # The client is gone, or the worker it came in by.
                return {"type": f"{scope['type']}.disconnect", "code": 1006}

        async def send(message: Message) -> None:
            await stream.send(wire.event(message))

        try:
            await self._serve(scope, receive, send)
        except OSError as error:
            _log.debug("a relayed client has gone: %r", error)
        except Exception:  # noqa: BLE001  # the server would log it, and so do we; the next client is served
            _log.exception("a relayed request failed")

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
from onduty.socketio.door import Door
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
        self._serve = serve
        self._wake = wake
        self._about = place.about
        self._look = place.look
        self._home = os.getpid()
        self._over = False
        self._listening: socket.socket | None = None
        self._door = Door(place.seat.folder, COUNTER + place.seat.token, 0, place.seat.hindered)
        self._door.open()

    def start(self, tasks: Tasks) -> None:
        self._tasks = tasks
        tasks.submit(self._look_about())

    def unlist(self) -> None:
        """From now on nobody comes any more; what is being served goes on. May be called again, and from any thread."""
        self._over = True
        self._door.unlist()

    async def _look_about(self) -> None:
        try:
            while not self._door.is_lost():
                if self._door.is_missing():
                    self._be_deaf()
                    self._door.mend()
                self._listen()
                self._look()
                await asyncio.sleep(_LOOK_EVERY)
            _log.error("this worker can be reached by the others no more: its descriptors were closed")
        finally:
            if os.getpid() == self._home:  # a forked child that throws this task away shares the loop's descriptors
                self._be_deaf()
                self._door.drop()

    def _listen(self) -> None:
        """After a while without a free descriptor, too: perhaps there is one now."""
        if self._listening is None and self._door.listener is not None:
            asyncio.get_running_loop().add_reader(self._door.listener, self._accept)
            self._listening = self._door.listener

    def _be_deaf(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(RuntimeError, OSError, ValueError):  # the loop has ended, or it was closed
                self._tasks.loop.remove_reader(listening)

    def _accept(self) -> None:
        while self._listening is not None:
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:
                _log.debug("nobody can come now: %r", error)  # no descriptor is free, as a rule
                self._be_deaf()  # until the next look, or it would be readable for ever
                return
            connection.setblocking(False)
            unix.adopt(connection)
            self._tasks.submit(self._attend(connection))

    async def _attend(self, connection: socket.socket) -> None:
        stream = await Stream.over(connection)
        try:
            unix.refuse_strangers(connection)
            # Engine.io takes a cancelled poll for an empty one, so being cancelled in it would not end this loop.
            while not self._over:
                head, body = await stream.receive()
                if not wire.is_late(head):
                    await self._answer(stream, wire.read_request(head)[0], body)
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

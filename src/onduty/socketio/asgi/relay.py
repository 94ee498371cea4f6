"""One request, or one WebSocket, between its client here and its owner over there: events, both ways, as they come."""

from __future__ import annotations

import asyncio
import logging

from onduty.socketio import unix, wire
from onduty.socketio.asgi.counter import Receive, Send
from onduty.socketio.asgi.streams import Stream

_log = logging.getLogger("onduty.socketio")

_DISCONNECTS = ("http.disconnect", "websocket.disconnect")


class Relay:
    """``stream``: the owner has accepted the request on it, and has its first event; ``bring`` takes it the next."""

    def __init__(self, stream: Stream, bring: Send, receive: Receive, send: Send) -> None:
        self._stream = stream
        self._bring = bring
        self._receive = receive
        self._send = send
        self._down: asyncio.Future[None] | None = None
        self._is_complete = False
        self.is_answered = False
        """The client has heard something; nobody else can answer it now."""
        self.is_over = False
        """The owner has said so: the stream may serve another request."""
        self.client_is_gone = False

    async def run(self, timeout: float | None) -> None:
        """Until the owner is done, the client or the owner is gone, ``timeout`` is over, or :meth:`cut`."""
        self._down = down = asyncio.ensure_future(self._outward())
        up = asyncio.ensure_future(self._inward())
        try:
            await asyncio.wait({down}, timeout=timeout)
        finally:
            down.cancel()
            up.cancel()
            for end in await asyncio.gather(down, up, return_exceptions=True):
                if isinstance(end, Exception) and not isinstance(end, (OSError, wire.NotOurs)):
                    _log.error("a relay has failed", exc_info=end)

    def cut(self) -> None:
        """Let go of both sides."""
        if self._down is not None:
            self._down.cancel()

    async def _outward(self) -> None:
        while True:
            head, body = await self._stream.receive()
            if wire.is_over(head):
                self.is_over = True
                return
            message = wire.read_event(head, body)
            self._is_complete = message["type"] == "http.response.body" and not message.get("more_body")
            self.is_answered = True
            try:
                await self._send(message)
            except Exception:
                self.client_is_gone = True
                raise

    async def _inward(self) -> None:
        while True:
            message = await self._receive()
            if self._is_complete:
                return  # a server says "disconnect" when the response is out, too
            try:
                await self._bring(message)
            except unix.Wedged:
                self.cut()
                raise
            if message["type"] in _DISCONNECTS:
                self.client_is_gone = True
                self.cut()
                return

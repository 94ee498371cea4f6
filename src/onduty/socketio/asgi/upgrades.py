"""A client's change from polling to its WebSocket: short, and not to be cut in the middle.

Told ``3probe`` over its WebSocket, a client stops polling, and goes on there as soon as its last poll is answered. Cut
in between, socket.io-client (4.8) does neither until it has missed a ping, which takes 45 s by default: it takes up
polling again only if the WebSocket fails before that word (engine.io-client, ``_probe``; seen).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onduty.socketio.asgi.counter import Message, Receive, Send

_STOP_POLLING = "3probe"


class Upgrades:
    """Those of one worker, of its own sessions and of others'."""

    def __init__(self) -> None:
        self._midway: set[object] = set()

    def is_midway(self) -> bool:
        """Whether a client neither polls any more nor has gone on over its WebSocket yet."""
        return bool(self._midway)

    @contextmanager
    def followed(self, receive: Receive, send: Send) -> Iterator[tuple[Receive, Send]]:
        """Both sides of one WebSocket, or request, as they were, and heeded."""
        this = object()

        async def receive_and_note() -> Message:
            message = await receive()
            self._midway.discard(this)
            return message

        async def send_and_note(message: Message) -> None:
            if message.get("text") == _STOP_POLLING:
                self._midway.add(this)
            await send(message)

        try:
            yield receive_and_note, send_and_note
        finally:
            self._midway.discard(this)

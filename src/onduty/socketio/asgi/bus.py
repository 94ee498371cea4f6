"""Emits across asyncio workers: python-socketio's ``AsyncPubSubManager`` over the mesh that all workers share."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from socketio.async_pubsub_manager import AsyncPubSubManager

from onduty.socketio.bus import OnMesh
from onduty.socketio.mesh import Seat

_BREATH = 16
"""Messages in a row before others have their turn on the loop."""
_STRETCH = 256 * 1024
_MUCH = 16 * 1024 * 1024
"""Bytes that may wait for a peer before emits are slowed down: a quarter of what may before any is lost, and more than
one that takes nothing is left with."""
_PACE = 50_000_000
"""Bytes a second, then: what a peer takes easily."""


class AsyncBus(OnMesh, AsyncPubSubManager):  # type: ignore[misc]  # python-socketio is untyped
    """The client manager of one asyncio worker. :meth:`open` comes before ``initialize``."""

    def open(self, seat: Seat, loop: asyncio.AbstractEventLoop) -> None:
        self._busy = 0
        self._said = 0
        self.join(seat, Inbox(loop))

    async def _publish(self, data: dict[str, Any]) -> None:
        self._said += self.tell(data)
        if self._said > _STRETCH:
            said, self._said = self._said, 0
            if self.mesh.waiting() > _MUCH:
                # Elsewhere an emitter's thread lets others run; here long emits in a row would fill an outbox before a
                # peer that does read has had the time to.
                await asyncio.sleep(said / _PACE)
                return
        await self._breathe()

    async def _listen(self) -> AsyncIterator[bytes]:
        while True:
            payload = await self._inbox.get()
            self.mesh.taken()
            yield payload
            await self._breathe()

    async def _breathe(self) -> None:
        """Nothing here ever waits, so a thousand emits in a row would keep the loop from everybody else."""
        self._busy += 1
        if self._busy % _BREATH == 0:
            await asyncio.sleep(0)


class Inbox:
    """From the mesh's thread to the loop. The loop is woken once for whatever has come while it slept."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[bytes] = deque()
        self._is_asleep = False
        self._bell = asyncio.Event()

    def put(self, payload: bytes) -> None:
        """Called in the mesh's thread."""
        self._waiting.append(payload)
        if self._is_asleep:
            self._is_asleep = False
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its clients with it
                self._loop.call_soon_threadsafe(self._bell.set)

    def qsize(self) -> int:
        return len(self._waiting)

    async def get(self) -> bytes:
        while not self._waiting:
            self._bell.clear()
            self._is_asleep = True
            # What came just before that line has not rung.
            if not self._waiting:
                await self._bell.wait()
        return self._waiting.popleft()

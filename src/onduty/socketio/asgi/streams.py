"""A line between two asyncio workers: messages of two frames each, over a Unix stream that is used again and again."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Coroutine, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from onduty.socketio import unix, wire
from onduty.socketio.patience import PATIENCE_OF_A_LOOP
from onduty.socketio.pool import Pool

_CHUNK = 64 * 1024
_A_LOOK = 0.05


class Stream:
    """One connection. Neither side has more than a little under way: who sends waits until the other one reads."""

    def __init__(self, connection: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connection = connection
        self._reader = reader
        self._writer = writer
        self._splitter = wire.Splitter()
        self._frames: deque[bytes] = deque()

    @classmethod
    async def over(cls, connection: socket.socket) -> Stream:
        """``connection`` is non-blocking and adopted; from now on it is the stream's."""
        try:
            return cls(connection, *await asyncio.open_unix_connection(sock=connection))
        except BaseException:
            unix.drop(connection)
            raise

    async def receive(self) -> tuple[bytes, bytes]:
        """The next head and its body. Cancelled, it loses nothing.

        Raises:
            Gone: the other side has ended.
            NotOurs: it is no worker of this version.
        """
        while len(self._frames) < 2:
            data = await self._reader.read(_CHUNK)
            if not data:
                raise unix.Gone("end of file")
            self._frames.extend(self._splitter.feed(data))
        return self._frames.popleft(), self._frames.popleft()

    async def send(self, message: bytes) -> None:
        self._writer.write(message)
        await self._writer.drain()

    async def taken(self) -> None:
        """Return when the other side has read all that was sent."""
        while self._writer.transport.get_write_buffer_size() or unix.unread(self._connection):  # noqa: ASYNC110
            await asyncio.sleep(_A_LOOK)  # no event tells of it

    def close(self) -> None:
        """What was sent still goes out. May be called again."""
        unix.disown(self._connection)
        self._writer.close()

    def cut(self) -> None:
        """Close it, with nobody there to take what was sent."""
        unix.disown(self._connection)
        self._writer.transport.abort()


class Streams:
    """The streams from this worker to the counters of the others. ``patience``: as of :class:`Pool`."""

    def __init__(self, folder: Path, patience: float = PATIENCE_OF_A_LOOP) -> None:
        self.pool: Pool[Stream] = Pool(folder, patience)

    async def reach(self, owner: str, request: bytes) -> Stream:
        """Bring ``request`` to ``owner``; the answer is a stream on which it has accepted it.

        Raises:
            Gone: the owner has ended.
            Wedged: the owner lives, and does not answer.
            NoDescriptor: there is no stream to it, and none can be opened.
        """
        stream = await self._stream(owner)
        try:
            await self._while_it_lives(owner, stream, self._accepted(stream, request))
        except unix.Wedged:
            raise  # and cut
        except (ConnectionError, wire.NotOurs) as error:
            stream.close()
            self.pool.forget(owner)
            raise unix.Gone(owner) from error
        except BaseException:
            stream.close()
            raise
        self.pool.is_awake(owner)
        return stream

    async def bring(self, owner: str, stream: Stream, event: MutableMapping[str, Any]) -> None:
        """The next event, on a stream on which ``owner`` has accepted the request.

        Raises:
            Wedged: it has ceased to read a body. What comes over a WebSocket it may hold back for as long as it likes.
        """
        message = wire.event(event)
        if event["type"] != "http.request":
            await stream.send(message)
            return
        await self._while_it_lives(owner, stream, stream.send(message))
        if not event.get("more_body"):
            await self._while_it_lives(owner, stream, stream.taken())

    async def _stream(self, owner: str) -> Stream:
        """An idle one, or a new one. That there is no room for it, here or there, may pass, and is waited for."""
        waits: Iterator[float] | None = None
        while True:
            idle = self.pool.take(owner)
            if idle is not None:
                return idle
            try:
                connection = self.pool.open(owner)
            except (unix.Wedged, unix.NoDescriptor) as error:
                waits = waits or self.pool.waits_for_room(owner)
                wait = next(waits, None)
                if wait is None:
                    self.pool.gave_up(owner, error)
                    raise
                await asyncio.sleep(wait)
            else:
                return await Stream.over(connection)

    async def _while_it_lives(self, owner: str, stream: Stream, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await _during(self.pool.waits(owner), coroutine)
        except asyncio.TimeoutError as error:
            stream.cut()
            self.pool.is_frozen(owner)
            raise unix.Wedged(owner) from error

    async def _accepted(self, stream: Stream, request: bytes) -> None:
        await stream.send(request)
        await stream.receive()

    async def ask(self, owner: str, request: bytes, timeout: float) -> None:
        """Bring ``request``, and wait until it is answered, or until ``timeout`` or its end."""
        try:
            stream = await asyncio.wait_for(self.reach(owner, request), timeout)
        except (OSError, asyncio.TimeoutError):
            return
        self.pool.keep(owner, stream)


async def _during(waits: Iterator[float], coroutine: Coroutine[Any, Any, None]) -> None:
    """As :func:`asyncio.wait_for`, until the last of ``waits``."""
    task = asyncio.ensure_future(coroutine)
    try:
        for seconds in waits:
            done, _ = await asyncio.wait({task}, timeout=seconds)
            if done:
                return task.result()
        raise asyncio.TimeoutError
    finally:
        task.cancel()

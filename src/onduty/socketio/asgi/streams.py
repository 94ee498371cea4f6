"""A line between two asyncio workers: messages of two frames each, over a Unix stream that is used again and again."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from onduty.socketio import unix, wire
from onduty.socketio.patience import PATIENCE_OF_A_LOOP
from onduty.socketio.peers import COUNTER
from onduty.socketio.pool import Pool

_CHUNK = 64 * 1024


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

    def owner(self) -> int:
        """The pid of the process that was connected to."""
        return unix.owner(self._connection)

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

    def close(self) -> None:
        """What was sent still goes out. May be called again."""
        unix.disown(self._connection)
        self._writer.close()


class Streams:
    """The streams from this worker to the counters of the others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pool: Pool[Stream] = Pool(PATIENCE_OF_A_LOOP)

    async def reach(self, owner: str, request: bytes) -> Stream:
        """Bring ``request`` to ``owner``; the answer is a stream on which it has accepted it.

        Raises:
            Gone: the owner has ended.
            Wedged: the owner lives, and does not answer.
        """
        stream = self.pool.take(owner) or await self._open(owner)
        try:
            await _during(self.pool.waits(owner, stream.owner()), self._accepted(stream, request))
        except asyncio.TimeoutError as error:
            stream.close()
            self.pool.is_frozen(owner)
            raise unix.Wedged(owner) from error
        except (ConnectionError, wire.NotOurs) as error:
            stream.close()
            self.pool.forget(owner)
            raise unix.Gone(owner) from error
        except BaseException:
            stream.close()
            raise
        self.pool.is_awake(owner)
        return stream

    async def _open(self, owner: str) -> Stream:
        return await Stream.over(unix.connect(self._folder, COUNTER + owner, 0))

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

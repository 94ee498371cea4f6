"""A client's connection once it has been taken from the web server: what simple-websocket reads from and writes to."""

from __future__ import annotations

import os
import socket
from functools import lru_cache, partial
from typing import Any, Protocol, runtime_checkable

from onduty._runtime import forks
from onduty._runtime.crossing import after_this_turn
from onduty._runtime.threads import is_patched, spawn, stay_behind
from onduty.socketio.outlet import Counted, Gathered, Outlet


def open_client(descriptor: int) -> socket.socket:
    """The client's connection as a blocking socket, which is let go of in forked children."""
    connection = _client_class()(fileno=descriptor)
    connection.setblocking(True)
    return connection


@runtime_checkable
class Announced(Protocol):
    def expect(self, count: int) -> None:
        """The calling thread is about to send so many messages."""


@lru_cache(maxsize=1)
def _client_class() -> type[socket.socket]:
    """Made when the first client comes: by then gevent has put its own class there, or never will."""

    class Client(socket.socket):
        """``send`` sends all: simple-websocket takes it for ``sendall``, and a message cut short breaks the stream."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._outlet = _outlet(self)
            self._home = os.getpid()
            forks.keep_from_children(self.fileno())

        def send(self, data: Any, flags: int = 0, *args: Any) -> int:
            self._outlet.add(data)
            return len(data)

        def expect(self, count: int) -> None:
            if isinstance(self._outlet, Counted):
                self._outlet.expect(count)

        def recv(self, *args: Any) -> bytes:
            try:
                return super().recv(*args)
            finally:
                stay_behind(self._home)  # a greenlet copied by a fork would say goodbye to the parent's client

        def close(self) -> None:
            if self.fileno() >= 0:
                self._outlet.end()
                forks.release(self.fileno())
            super().close()

    return Client


def _outlet(connection: socket.socket) -> Outlet:
    send = partial(_send_all, connection)
    if not is_patched():
        return Counted(lambda data: socket.socket.send(connection, data, socket.MSG_DONTWAIT), send)
    return Gathered(partial(_send_some, connection), send, after_this_turn(), partial(spawn, "rest"))


def _send_all(connection: socket.socket, data: bytes) -> None:
    if connection.fileno() < 0:
        raise BrokenPipeError("the client has gone")  # a session's own thread may say goodbye later than we
    # Not by ``sendall``: gevent's calls ``send``, which is ours.
    done = socket.socket.send(connection, data)
    while done < len(data):
        done += socket.socket.send(connection, memoryview(data)[done:])


def _send_some(connection: socket.socket, data: bytes) -> int:
    """What goes without waiting, in a gevent loop.

    Raises:
        BlockingIOError: nothing does.
    """
    send: Any = socket.socket.send  # gevent's, whose last argument is a time-out
    count: int = send(connection, data, 0, 0.0)
    return count

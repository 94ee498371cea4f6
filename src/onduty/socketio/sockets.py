"""Taking a client's connection from the web server, and serving it outside the server's pool of threads.

gunicorn closes the connection when our call returns, and its close shuts down the connection itself, not just its own
descriptor. So the descriptor it holds is made to be another, dead socket before it gets there.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
from collections.abc import Callable
from typing import Any

from onduty.socketio import unix

_CHUNK = 64 * 1024
_HELD = 1024 * 1024


class Morgue:
    """Keeps the dead socket. One per worker."""

    def __init__(self) -> None:
        self._dead: socket.socket | None = None
        self.is_open()

    def is_open(self) -> bool:
        """Whether anybody can be buried; without a free descriptor not before there is one."""
        if self._dead is None:
            try:
                self._dead, other = socket.socketpair()
            except OSError:
                return False
            other.close()
            unix.adopt(self._dead)
        return True

    def bury(self, connection: socket.socket) -> None:
        """From now on ``connection`` has nothing to do with its client: it is at its end, and can't be written."""
        assert self._dead is not None, "is_open() was asked first"
        os.dup2(self._dead.fileno(), connection.fileno(), inheritable=False)

    def close(self) -> None:
        if self._dead is not None:
            unix.drop(self._dead)


def is_encrypted(connection: Any) -> bool:
    """Whether the cipher's state is in this process, so that the descriptor alone is of no use to another one."""
    return callable(getattr(connection, "cipher", None))


def relay(client: Any, owner: socket.socket, is_over: Callable[[], bool]) -> None:
    """Carry bytes both ways until one side ends or ``is_over()``, in one thread: OpenSSL likes no second one.

    ``client`` is the encrypted connection, ``owner`` our end of a pair whose other end serves it.
    """
    client.setblocking(False)
    owner.setblocking(False)
    inward, outward = _Flow(client, owner), _Flow(owner, client)
    with selectors.DefaultSelector() as selector:
        while not is_over():
            inward.step()
            outward.step()
            if inward.is_done or outward.is_done:
                return
            _watch(selector, client, reads=inward.has_room, writes=bool(outward.held))
            _watch(selector, owner, reads=outward.has_room, writes=bool(inward.held))
            selector.select(1.0)


class _Flow:
    """One direction of a relay."""

    def __init__(self, source: Any, sink: Any) -> None:
        self._source = source
        self._sink = sink
        self._ended = False
        self.held = bytearray()

    @property
    def has_room(self) -> bool:
        return not self._ended and len(self.held) < _HELD

    @property
    def is_done(self) -> bool:
        return self._ended and not self.held

    def step(self) -> None:
        """As much as goes without waiting. What is decrypted already would not wake a selector, so read it all."""
        while self.has_room:
            data = _unless_waiting(lambda: self._source.recv(_CHUNK))
            if data is None:
                break
            self._ended = not data
            self.held += data
        while self.held:
            count = _unless_waiting(lambda: self._sink.send(self.held))
            if not count:  # gevent answers 0 for "not now"
                return
            del self.held[:count]


def _unless_waiting(call: Callable[[], Any]) -> Any:
    """``None``: it would have to wait."""
    try:
        return call()
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


def _watch(selector: selectors.BaseSelector, side: Any, *, reads: bool, writes: bool) -> None:
    wanted = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if writes else 0)
    known = selector.get_map().get(side)
    if known is None:
        if wanted:
            selector.register(side, wanted)
    elif not wanted:
        selector.unregister(side)
    elif known.events != wanted:
        selector.modify(side, wanted)

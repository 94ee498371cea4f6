"""The two ends of a stream between two workers: who emits writes at one, the loop of the mesh reads at the other."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

from onduty.socketio import wire
from onduty.socketio.peers import Outbox

_log = logging.getLogger("onduty.socketio")

STALLED = 5.0
"""Seconds without a byte taken after which a peer counts as one that does not read.

A busy one is silent for a second at times: on a machine full of work, a gevent worker that wrote a burst to its own
clients did not get to read for that long.
"""
CHUNK = 256 * 1024
"""Bytes to send at once."""
MOUTHFUL = 64 * 1024
"""Bytes to read at once. For 128 KiB and more malloc maps new pages (mallopt(3)), at ten times the price of a read."""


class Outgoing:
    """Our stream to one peer. Written by whoever emits and by the loop, hence the lock; never blocking.

    ``first``: what goes before all else, at the first :meth:`push` or :meth:`send`.
    """

    def __init__(self, token: str, connection: socket.socket, first: bytes = b"") -> None:
        self.token = token
        self.connection = connection
        self.outbox = Outbox()
        if first:
            self.outbox.add(first, stalled=False)
        self.watched = 0
        self.is_dead = False
        self._moved = time.monotonic()
        """When it last took something, or when something began to wait."""
        self._asked = False
        """The loop knows, or will at its next turn, that there is something to do here."""
        self._lock = threading.Lock()

    def asks_for_the_loop(self) -> bool:
        """Whether the loop has to be woken for this peer; true for one caller only, until it has attended to it.

        Told under the lock, as :meth:`attended` is: between the loop's last look and its falling asleep nothing may be
        left behind.
        """
        with self._lock:
            asks = not self._asked and (self.outbox.waiting > 0 or self.is_dead)
            self._asked = self._asked or asks
            return asks

    def attended(self) -> bool:
        """The loop has looked; whether it has to wait until more can be written."""
        with self._lock:
            self._asked = self.outbox.waiting > 0
            return self._asked

    def send(self, data: bytes) -> bool:
        """``False``: dropped. What is put behind a dead connection goes with it."""
        with self._lock:
            if not self.outbox.waiting:
                self._moved = time.monotonic()
            if not self.outbox.add(data, stalled=time.monotonic() - self._moved > STALLED):
                return False
            # Also when others wait before it: a greenlet that emits in a tight loop does not let the loop turn.
            self._write()
            return True

    def push(self) -> None:
        with self._lock:
            self._write()

    def look(self) -> None:
        """A peer never answers on this stream: what can be read is its end."""
        try:
            self.is_dead = self.is_dead or not self.connection.recv(1)
        except BlockingIOError:
            pass
        except OSError:
            self.is_dead = True

    def _write(self) -> None:
        try:
            while self.outbox.waiting and not self.is_dead:
                self.outbox.sent(self.connection.send(self.outbox.next(CHUNK)))
                self._moved = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            self.is_dead = True


class Incoming:
    """A peer's stream to us, or an emitter's."""

    def __init__(
        self,
        connection: socket.socket,
        hear: Callable[[str | None], None],
        dismiss: Callable[[Incoming], None],
        receive: Callable[[bytes], None],
    ) -> None:
        self.connection = connection
        self._hear = hear
        self._dismiss = dismiss
        self._receive = receive
        self._splitter = wire.Splitter()
        self._greeted = False

    def read(self) -> None:
        try:
            data = self.connection.recv(MOUTHFUL)
            frames = self._splitter.feed(data)
            if frames and not self._greeted:
                self._greeted = True
                self._hear(wire.read_hello(frames.pop(0)))
        except BlockingIOError:
            return
        except wire.NotOurs as error:
            _log.warning("a stranger on the bus: %s", error)
            self._dismiss(self)
            return
        except OSError:
            data, frames = b"", []
        for payload in frames:
            self._receive(payload)
        if not data:
            self._dismiss(self)

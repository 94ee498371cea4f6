"""How what is said to one client goes out: all of it, in order, no message cut short by another.

Engine.io says every message by itself, and in a burst that is a system call for each message and each client, and each
wakes the client. *Counted*, where threads wait: engine.io takes all that is to be said to a client out of its queue,
and is made to say how much that is. *Gathered*, in a gevent loop: in a burst all of it is there before the loop gets to
turn at all, so it is put together until the greenlets that can run have run, which takes no longer than they do. The
first one goes out at once: mostly it is alone, and would only be late.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

ENOUGH = 64 * 1024
"""Bytes that do not wait for the end of the turn; whoever says so much waits until it is out."""

Send = Callable[[bytes], None]
"""Sends all, and may wait."""
Attempt = Callable[[bytes], int]
"""Sends what goes without waiting, and says how much that was. Raises ``BlockingIOError``: nothing does."""


class Outlet(Protocol):
    def add(self, data: bytes) -> None:
        """Say something more.

        Raises:
            OSError: the client is gone. What was said before may be the first to have found that out.
        """

    def end(self) -> None:
        """The connection will be closed. Waits for nothing."""


class Counted:
    """Goes out when as much has been said as was announced; what was not announced goes out at once."""

    def __init__(self, attempt: Attempt, send: Send) -> None:
        self._attempt = attempt
        self._send = send
        self._held: list[bytes] = []
        self._size = 0
        self._who = self._left = 0
        self._sending = threading.Lock()
        """A pong must not get between the pieces of a long message."""

    def expect(self, count: int) -> None:
        """This thread is about to say so many messages, and waits for nothing in between."""
        with self._sending:
            self._who, self._left = threading.get_ident(), count

    def add(self, data: bytes) -> None:
        with self._sending:
            self._held.append(data)
            self._size += len(data)
            if self._who == threading.get_ident():
                self._left -= 1
                if self._left > 0 and self._size < ENOUGH:
                    return
            self._send(self._take())

    def end(self) -> None:
        """Something may be held if whoever announced it could not go on."""
        if self._held and self._sending.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError):
                    self._attempt(self._take())
            finally:
                self._sending.release()

    def _take(self) -> bytes:
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held, self._size = [], 0
        return data


class Gathered:
    """``soon`` has a call made at the end of the turn, where nothing may wait; ``apart`` in a greenlet of its own."""

    def __init__(
        self,
        attempt: Attempt,
        send: Send,
        soon: Callable[[Callable[[], None]], Any],
        apart: Callable[[Callable[[], None]], Any],
    ) -> None:
        self._attempt = attempt
        self._send = send
        self._soon = soon
        self._apart = apart
        self._held: list[bytes] = []
        self._size = 0
        self._is_due = False
        self._failed: OSError | None = None
        self._sending = threading.Lock()
        """Whoever has it goes on until nothing is held."""

    def add(self, data: bytes) -> None:
        if self._failed is not None:
            raise self._failed
        self._held.append(data)
        self._size += len(data)
        if self._size >= ENOUGH:
            self._flush()
        elif not self._is_due:
            self._is_due = True
            self._soon(self._turned)
            self.end()

    def _turned(self) -> None:
        self._is_due = False
        self.end()

    def end(self) -> None:
        """What goes at once goes out, the rest has a greenlet of its own."""
        if not self._held or self._sending.locked():
            return
        data = self._take()
        try:
            count = self._attempt(data)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._failed = error
            return
        if count < len(data):
            self._held, self._size = [data[count:]], len(data) - count
            self._apart(self._flush_quietly)

    def _take(self) -> bytes:
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held, self._size = [], 0
        return data

    def _flush(self) -> None:
        with self._sending:
            while self._held:
                try:
                    self._send(self._take())
                except OSError as error:
                    self._failed = error
                    raise

    def _flush_quietly(self) -> None:
        with contextlib.suppress(OSError):  # whoever says something more will hear it
            self._flush()

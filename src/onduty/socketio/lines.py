"""A line between two workers: frames in order, over a Unix stream that is used again and again."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from onduty.socketio import unix, wire
from onduty.socketio.peers import COUNTER
from onduty.socketio.pool import NO_PATIENCE, PATIENCE, Pool

CHUNK = 64 * 1024
_A_LOOK = 0.001
"""Seconds for an answer that is there already."""


class Line:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._splitter = wire.Splitter()
        self._frames: deque[bytes] = deque()

    def receive(self) -> bytes:
        """The next frame.

        Raises:
            Gone: the other side has ended.
        """
        while not self._frames:
            self.feed(self.connection.recv(CHUNK))
        return self._frames.popleft()

    def feed(self, data: bytes) -> None:
        if not data:
            raise unix.Gone("end of file")
        self._frames.extend(self._splitter.feed(data))

    def close(self) -> None:
        unix.drop(self.connection)


class Lines:
    """The lines from this worker to the counters of the others, kept for the next request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pool: Pool[Line] = Pool()

    def exchange(self, owner: str, request: bytes, timeout: float, patience: float = PATIENCE) -> tuple[bytes, bytes]:
        """Bring ``request`` to ``owner`` and return both frames of its answer, within ``timeout`` seconds.

        ``patience``: seconds in which the owner must have read it.

        Raises:
            Gone: the owner has ended.
            Wedged: the owner lives, and does not read or does not answer.
        """
        line = self.pool.take(owner) or self.open(owner)
        try:
            line.connection.settimeout(min(patience, self.pool.patience(owner)))
            self._send(line, owner, request)
            self._await(line, owner, timeout)
            answer = line.receive(), line.receive()
        except (BrokenPipeError, ConnectionResetError) as error:
            line.close()
            raise unix.Gone(owner) from error
        except TimeoutError as error:
            line.close()
            raise unix.Wedged(owner) from error
        except BaseException:
            line.close()
            raise
        self.pool.keep(owner, line)
        return answer

    def ask_all(self, owners: Iterable[str], request: bytes, within: float) -> dict[str, bytes]:
        """Bring ``request`` to them all, then wait ``within`` seconds in all for what they answer, by owner."""
        began = time.monotonic()
        asked: dict[str, Line] = {}
        answers: dict[str, bytes] = {}
        for owner in owners:
            with contextlib.suppress(OSError):  # gone, or frozen for so long that it can't be reached
                asked[owner] = line = self.pool.take(owner) or self.open(owner)
                line.connection.settimeout(NO_PATIENCE)
                line.connection.sendall(request)
        for owner, line in asked.items():
            left = began + min(within, self.pool.patience(owner)) - time.monotonic()
            line.connection.settimeout(max(left, _A_LOOK))
            try:
                line.receive()
                answers[owner] = line.receive()
            except OSError:
                if _unread(line.connection):
                    self.pool.is_frozen(owner)
                line.close()
            else:
                self.pool.keep(owner, line)
        return answers

    def open(self, owner: str) -> Line:
        return Line(unix.connect(self._folder, COUNTER + owner, PATIENCE))

    def _send(self, line: Line, owner: str, request: bytes) -> None:
        try:
            line.connection.sendall(request)
        except TimeoutError:
            self.pool.is_frozen(owner)
            raise

    def _await(self, line: Line, owner: str, timeout: float) -> None:
        """Until an answer begins to come. A poll may take its time, but only at an owner that has read it."""
        try:
            line.feed(line.connection.recv(CHUNK))
        except TimeoutError:
            if _unread(line.connection):
                self.pool.is_frozen(owner)
                raise
            line.connection.settimeout(timeout)
            line.feed(line.connection.recv(CHUNK))
        line.connection.settimeout(timeout)


def _unread(connection: socket.socket) -> int:
    """Bytes the other side has not taken yet; 0 where the system does not say (unix(7), ``SIOCOUTQ``)."""
    if not sys.platform.startswith("linux"):
        return 0
    import termios

    (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(count)

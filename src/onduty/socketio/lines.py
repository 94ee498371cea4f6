"""A line between two workers: frames in order, over a Unix stream that is used again and again."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import threading
import time
from collections import deque
from pathlib import Path

from onduty.socketio import unix, wire
from onduty.socketio.peers import COUNTER

CHUNK = 64 * 1024
PATIENCE = 2.0
"""Seconds in which an owner reads what was sent to it; longer means that it is frozen."""
NO_PATIENCE = 0.1
"""As much a frozen owner gets while we remember that it is."""
REMEMBERED = 10.0
IDLE_LIMIT = 32


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
        self._lock = threading.Lock()
        self._idle: dict[str, list[Line]] = {}
        self._frozen: dict[str, float] = {}

    def exchange(self, owner: str, request: bytes, timeout: float, patience: float = PATIENCE) -> tuple[bytes, bytes]:
        """Bring ``request`` to ``owner`` and return both frames of its answer, within ``timeout`` seconds.

        ``patience``: seconds in which the owner must have read it.

        Raises:
            Gone: the owner has ended.
            Wedged: the owner lives, and does not read or does not answer.
        """
        line = self._take(owner) or self.open(owner)
        try:
            line.connection.settimeout(min(patience, self.patience(owner)))
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
        self._keep(owner, line)
        return answer

    def open(self, owner: str) -> Line:
        return Line(unix.connect(self._folder, COUNTER + owner, PATIENCE))

    def patience(self, owner: str) -> float:
        return NO_PATIENCE if self._frozen.get(owner, 0) > time.monotonic() else PATIENCE

    def is_frozen(self, owner: str) -> None:
        self._frozen[owner] = time.monotonic() + REMEMBERED

    def close(self) -> None:
        with self._lock:
            lines = [line for lines in self._idle.values() for line in lines]
            self._idle.clear()
        for line in lines:
            line.close()

    def _send(self, line: Line, owner: str, request: bytes) -> None:
        try:
            line.connection.sendall(request)
        except TimeoutError:
            self.is_frozen(owner)
            raise

    def _await(self, line: Line, owner: str, timeout: float) -> None:
        """Until an answer begins to come. A poll may take its time, but only at an owner that has read it."""
        try:
            line.feed(line.connection.recv(CHUNK))
        except TimeoutError:
            if _unread(line.connection):
                self.is_frozen(owner)
                raise
            line.connection.settimeout(timeout)
            line.feed(line.connection.recv(CHUNK))
        line.connection.settimeout(timeout)

    def _take(self, owner: str) -> Line | None:
        with self._lock:
            idle = self._idle.get(owner)
            return idle.pop() if idle else None

    def _keep(self, owner: str, line: Line) -> None:
        with self._lock:
            idle = self._idle.setdefault(owner, [])
            if len(idle) < IDLE_LIMIT:
                idle.append(line)
                return
        line.close()

    def forget(self, owner: str) -> None:
        """It is gone, and its lines with it."""
        with self._lock:
            lines = self._idle.pop(owner, [])
            self._frozen.pop(owner, None)
        for line in lines:
            line.close()


def _unread(connection: socket.socket) -> int:
    """Bytes the other side has not taken yet; 0 where the system does not say (unix(7), ``SIOCOUTQ``)."""
    if not sys.platform.startswith("linux"):
        return 0
    import termios

    (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(count)

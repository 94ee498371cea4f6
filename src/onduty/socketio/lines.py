"""A line between two workers: frames in order, over a Unix stream that is used again and again."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from onduty.socketio import unix, wire
from onduty.socketio.patience import MOST_PATIENCE, NO_PATIENCE, PATIENCE
from onduty.socketio.pool import REMEMBERED, Pool

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

    def send(self, data: bytes, waits: Iterable[float]) -> None:
        """Raises ``TimeoutError`` when the last of ``waits`` is over and the other side has not taken it all."""
        left = memoryview(data)
        for seconds in waits:
            self.connection.settimeout(seconds)
            try:
                while left:
                    left = left[self.connection.send(left) :]
            except TimeoutError:
                continue
            return
        raise TimeoutError

    def next(self, waits: Iterable[float], size: int = CHUNK) -> bytes:
        """What comes next, up to ``size`` bytes. Raises ``TimeoutError`` when nothing came while they lasted."""
        for seconds in waits:
            self.connection.settimeout(seconds)
            try:
                return self.connection.recv(size)
            except TimeoutError:
                continue
        raise TimeoutError

    def feed(self, data: bytes) -> None:
        if not data:
            raise unix.Gone("end of file")
        self._frames.extend(self._splitter.feed(data))

    def close(self) -> None:
        unix.drop(self.connection)


class Lines:
    """The lines from this worker to the counters of the others, kept for the next request.

    ``patience``: seconds for an owner that does nothing, until it has read a request of one of its clients.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self._silent: dict[str, float] = {}
        self.pool: Pool[Line] = Pool(folder, patience)

    def exchange(self, owner: str, request: bytes, timeout: float) -> tuple[bytes, bytes]:
        """Bring ``request`` to ``owner`` and return both frames of its answer, within ``timeout`` seconds.

        Less ``timeout`` than patience is a question that can wait: no answer to it does not make the owner frozen.

        Raises:
            Gone: the owner has ended.
            Wedged: the owner lives, and does not read or does not answer.
            NoDescriptor: there is no line to it, and none can be opened.
        """
        line = self.line(owner, timeout)
        try:
            self._send(line, owner, request, timeout)
            self._await(line, owner, timeout)
            line.connection.settimeout(timeout)
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
        self.pool.is_awake(owner)
        self.pool.keep(owner, line)
        return answer

    def ask_all(self, owners: Iterable[str], request: bytes, within: float) -> dict[str, bytes]:
        """Bring ``request`` to them all, then wait ``within`` seconds in all for what they answer, by owner.

        Who is silent gets less the next time. It is only asked for its numbers less patiently: what its clients want of
        it is not affected, it may just be busy.
        """
        began = time.monotonic()
        asked: dict[str, Line] = {}
        answers: dict[str, bytes] = {}
        for owner in owners:
            with contextlib.suppress(OSError):  # gone, or frozen for so long that it can't be reached
                asked[owner] = line = self.line(owner, 0)
                line.connection.settimeout(NO_PATIENCE)
                line.connection.sendall(request)
        for owner, line in asked.items():
            patience = NO_PATIENCE if self._silent.pop(owner, 0) > began else within
            left = began + patience - time.monotonic()
            line.connection.settimeout(max(left, _A_LOOK))
            try:
                line.receive()
                answers[owner] = line.receive()
            except OSError:
                if unix.unread(line.connection):
                    self._silent[owner] = began + REMEMBERED
                line.close()
            else:
                self.pool.keep(owner, line)
        return answers

    def line(self, owner: str, timeout: float = MOST_PATIENCE, *, is_new: bool = False) -> Line:
        """An idle line, or a new one. That there is no room for it, here or there, may pass, and is waited for.

        Raises: as :meth:`exchange`.
        """
        waits: Iterator[float] | None = None
        while True:
            idle = None if is_new else self.pool.take(owner)
            if idle is not None:
                return idle
            try:
                connection = self.pool.open(owner)
            except (unix.Wedged, unix.NoDescriptor) as error:
                waits = waits or self.pool.waits_for_room(owner, timeout)
                wait = next(waits, None)
                if wait is None:
                    if timeout >= self.pool.patience:
                        self.pool.gave_up(owner, error)
                    raise
                time.sleep(wait)
            else:
                connection.settimeout(PATIENCE)
                return Line(connection)

    def _send(self, line: Line, owner: str, request: bytes, timeout: float) -> None:
        try:
            line.send(request, self.pool.waits(owner, timeout))
        except TimeoutError:
            self._suspect(owner, timeout)
            raise

    def _await(self, line: Line, owner: str, timeout: float) -> None:
        """Until an answer begins to come. A poll may take its time, but only at an owner that has read it."""
        try:
            line.feed(line.next(self.pool.waits(owner, timeout)))
        except TimeoutError:
            if unix.unread(line.connection):
                self._suspect(owner, timeout)
                raise
            line.connection.settimeout(timeout)
            line.feed(line.connection.recv(CHUNK))

    def _suspect(self, owner: str, timeout: float) -> None:
        if timeout >= self.pool.patience:
            self.pool.is_frozen(owner)

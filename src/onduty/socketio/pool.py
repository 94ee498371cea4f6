"""The lines from this worker to the others: opened, kept for the next request; and who of them was found frozen."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from onduty.socketio import unix
from onduty.socketio.patience import MOST_PATIENCE, waits
from onduty.socketio.peers import COUNTER, tokens

_log = logging.getLogger("onduty.socketio")

REMEMBERED = 10.0
"""Seconds."""
IDLE_LIMIT = 32


class Closable(Protocol):
    def close(self) -> None: ...


L = TypeVar("L", bound=Closable)


class Pool(Generic[L]):
    """Of one worker, by the owner's token. May be used by many threads.

    ``patience``: seconds for an owner that does nothing.
    """

    def __init__(self, folder: Path, patience: float) -> None:
        self._folder = folder
        self.patience = patience
        self._lock = threading.Lock()
        self._idle: dict[str, list[L]] = {}
        self._frozen: dict[str, float] = {}
        self._pids: dict[str, int] = {}
        self._short_until = 0.0

    def open(self, owner: str) -> socket.socket:
        """A new connection to ``owner``, non-blocking.

        Raises: as :func:`unix.connect`.
        """
        try:
            connection = unix.connect(self._folder, COUNTER + owner, 0)
        except unix.Gone:
            self.forget(owner)
            raise
        with self._lock:
            self._pids[owner] = unix.owner(connection)
        self._short_until = 0.0
        self._forget_the_dead()
        return connection

    def _forget_the_dead(self) -> None:
        """Nobody may ever ask for one of them again, and workers that are recycled come and go for weeks."""
        try:
            living = tokens(os.listdir(self._folder), COUNTER)
        except OSError:  # it is gone for now, or there is no descriptor to look into it
            return
        for owner in self._pids.keys() - living:
            self.forget(owner)

    def take(self, owner: str) -> L | None:
        with self._lock:
            idle = self._idle.get(owner)
            return idle.pop() if idle else None

    def keep(self, owner: str, line: L) -> None:
        """``line`` may serve again; not if ``owner`` was forgotten while it answered on it, as one does that leaves."""
        with self._lock:
            if owner in self._pids:
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
            self._pids.pop(owner, None)
        for line in lines:
            line.close()

    def close(self) -> None:
        with self._lock:
            lines = [line for lines in self._idle.values() for line in lines]
            self._idle.clear()
        for line in lines:
            line.close()

    def waits(self, owner: str, most: float = MOST_PATIENCE) -> Iterator[float]:
        """The waits to be made for ``owner``, of no more than ``most`` seconds in all."""
        return self._waits(owner, self._pids.get(owner, unix.UNKNOWN), most)

    def waits_for_room(self, owner: str, most: float = MOST_PATIENCE) -> Iterator[float]:
        """The waits to be made until a line to ``owner`` can be opened. What it does meanwhile is not looked at."""
        return self._waits(owner, unix.UNKNOWN, most)

    def _waits(self, owner: str, pid: int, most: float) -> Iterator[float]:
        return waits(self.patience, pid, suspected=self.is_suspected(owner), most=min(most, MOST_PATIENCE))

    def is_suspected(self, owner: str) -> bool:
        """Whether it was found frozen, and nobody has heard of it since."""
        return self._frozen.get(owner, 0) > time.monotonic()

    def is_frozen(self, owner: str) -> None:
        with self._lock:
            is_news = owner not in self._frozen
            self._frozen[owner] = time.monotonic() + REMEMBERED
        if is_news:
            _log.warning(
                "worker %s is frozen: whose session is there, and comes in here, has to start a new one", owner
            )

    def gave_up(self, owner: str, error: unix.Wedged | unix.NoDescriptor) -> None:
        """No line could be opened for as long as ``owner`` is waited for; it is said why, once in a while."""
        if isinstance(error, unix.Wedged):
            self.is_frozen(owner)
            return
        now = time.monotonic()
        with self._lock:
            is_news = now >= self._short_until
            self._short_until = now + REMEMBERED
        if is_news:
            _log.warning(
                "no line to another worker can be opened (%s): whose session is there, and comes in here, has to start "
                "a new one; more descriptors are allowed by ulimit -n, or LimitNOFILE= of systemd",
                error.strerror,
            )

    def is_awake(self, owner: str) -> None:
        if owner in self._frozen:
            with self._lock:
                self._frozen.pop(owner, None)

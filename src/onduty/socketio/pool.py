"""The idle lines from this worker to the others, kept for the next request, and who of them was found frozen."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from onduty.socketio.patience import MOST_PATIENCE, PATIENCE, waits

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

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._lock = threading.Lock()
        self._idle: dict[str, list[L]] = {}
        self._frozen: dict[str, float] = {}

    def take(self, owner: str) -> L | None:
        with self._lock:
            idle = self._idle.get(owner)
            return idle.pop() if idle else None

    def keep(self, owner: str, line: L) -> None:
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

    def close(self) -> None:
        with self._lock:
            lines = [line for lines in self._idle.values() for line in lines]
            self._idle.clear()
        for line in lines:
            line.close()

    def waits(self, owner: str, pid: int, most: float = MOST_PATIENCE) -> Iterator[float]:
        """The waits to be made for ``owner``, the process ``pid``, of no more than ``most`` seconds in all."""
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

    def is_awake(self, owner: str) -> None:
        if owner in self._frozen:
            with self._lock:
                self._frozen.pop(owner, None)

"""The idle lines from this worker to the others, kept for the next request, and how long each of those may take.

An owner that does not read is *frozen*. Whoever says so too early ends its clients' sessions: a gevent or asyncio
worker does not read while something computes, and a whole machine may stand still for seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

_log = logging.getLogger("onduty.socketio")

PATIENCE = 2.0
"""Seconds in which an owner reads what was sent to it; longer means that it is frozen."""
PATIENCE_OF_A_LOOP = 10.0
"""The same where waiting holds no thread of the server up, and where owners compute on the loop that reads.

Of a hundred clients that came to four workers at once, on two cores that had other work, some waited for 5 s.
"""
STEP = 0.25
NO_PATIENCE = 0.1
"""As much a frozen owner gets while we remember that it is."""
REMEMBERED = 10.0
IDLE_LIMIT = 32


class Closable(Protocol):
    def close(self) -> None: ...


L = TypeVar("L", bound=Closable)


class Pool(Generic[L]):
    """Of one worker, by the owner's token. May be used by many threads."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
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

    def patience(self, owner: str) -> float:
        return NO_PATIENCE if self._frozen.get(owner, 0) > time.monotonic() else self._patience

    def is_frozen(self, owner: str) -> None:
        if owner not in self._frozen:
            _log.warning(
                "worker %s is frozen: whose session is there, and comes in here, has to start a new one", owner
            )
        self._frozen[owner] = time.monotonic() + REMEMBERED

    def is_awake(self, owner: str) -> None:
        self._frozen.pop(owner, None)


def steps(seconds: float) -> Iterator[float]:
    """``seconds`` in steps to be waited for one by one: of a time in which nobody here ran, only one step counts."""
    count = max(1, round(seconds / STEP))
    return (seconds / count for _ in range(count))

"""Who the others are, and what waits for each of them: the decisions of the mesh, without its sockets.

Every worker connects to every other one. Whoever binds second finds the first in the folder and says hello to it; who
hears a hello connects back. So no pair is missed, and nobody has to be asked who is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from onduty.socketio.ids import is_token, owner_of

BUS = "bus."
COUNTER = "counter."
STALLED_LIMIT = 8 * 1024 * 1024
"""Bytes that may wait for a peer that takes none of them. It loses what is emitted beyond; nobody waits for it."""
BUSY_LIMIT = 64 * 1024 * 1024
"""Bytes that may wait for a peer that reads, only not as quickly as we emit: a burst is no reason to lose anything."""


def tokens(names: Iterable[str], kind: str = BUS) -> set[str]:
    """The workers that have a socket of ``kind`` among the file names of the folder."""
    return {name[len(kind) :] for name in names if name.startswith(kind) and is_token(name[len(kind) :])}


def to_meet(names: Iterable[str], own: str | None, known: Collection[str]) -> set[str]:
    """Whom to connect to."""
    return tokens(names) - {own} - set(known)


def addressee(message: Mapping[str, Any], own: str, known: Collection[str]) -> str | None:
    """The one worker a message concerns, by its token; ``None``: all.

    An answer to a callback concerns the worker that asked. What names one client concerns that client's owner; a
    room may be called anything, but not by chance begin with the token of a worker that lives.
    """
    if message.get("method") == "callback":
        name = message.get("host_id")
    elif message.get("method") == "emit":
        room = message.get("room")
        name = owner_of(room) if isinstance(room, str) else None
    else:
        sid = message.get("sid")
        name = owner_of(sid) if isinstance(sid, str) else None
    return name if name == own or name in known else None


class Outbox:
    """What waits for one peer: whole frames, and at most the rest of one that has gone out in part.

    A frame is taken while less than the limit waits, however long it is itself: the bound is on what piles up, and
    not on how much one may say. ``dropped`` counts those that found no place.
    """

    def __init__(self, stalled_limit: int = STALLED_LIMIT, busy_limit: int = BUSY_LIMIT) -> None:
        self._stalled_limit = stalled_limit
        self._busy_limit = busy_limit
        self._parts: deque[bytes | memoryview] = deque()
        self.waiting = 0
        self.dropped = 0

    def add(self, data: bytes, *, stalled: bool) -> bool:
        """Put a frame at the end; ``False``: it was dropped. ``stalled``: the peer has taken nothing for a while."""
        if self.waiting >= (self._stalled_limit if stalled else self._busy_limit):
            self.dropped += 1
            return False
        self._parts.append(data)
        self.waiting += len(data)
        return True

    def next(self, size: int) -> bytes | memoryview:
        """The bytes to send next, about ``size`` of them; they stay until :meth:`sent`."""
        if not self._parts or len(self._parts[0]) >= size:
            return self._parts[0] if self._parts else b""
        taken, length = [], 0
        while self._parts and length < size:
            part = self._parts.popleft()
            taken.append(part)
            length += len(part)
        joined = b"".join(taken)
        self._parts.appendleft(joined)
        return joined

    def sent(self, count: int) -> None:
        """So many bytes of what :meth:`next` answered are out."""
        first = self._parts.popleft()
        if count < len(first):
            # A view, so that a long frame is not copied once for each piece of it that goes out.
            self._parts.appendleft(memoryview(first)[count:])
        self.waiting -= count

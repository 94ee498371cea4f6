"""How long to wait for the owner of a session to take what is brought to it, and when to call it frozen.

Who says so too early ends its clients' sessions, and who says it late keeps its clients waiting. An owner does not read
while something computes on its loop, while it waits for a processor, or while the whole machine stands still: then it
is merely busy. So the kernel is asked what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onduty.process import Doing, doing
from onduty.socketio.unix import UNKNOWN

PATIENCE = 2.0
"""Seconds for an owner that does nothing, where waiting for it holds a thread of the server up; or that is stopped."""
PATIENCE_OF_A_LOOP = 10.0
"""Seconds for an owner that does nothing, where waiting costs nothing: it may sleep on the loop that reads."""
NO_PATIENCE = 0.1
"""Seconds for an owner that was found frozen a moment ago, and is stopped still."""
MOST_PATIENCE = 20.0
"""Seconds for an owner that is busy. After as long without a sign its clients give it up (engine.io: pingTimeout)."""
_STEP = 0.25
_BUSY = 0.02
"""The share of a processor that makes it busy. What a worker does beside its requests takes a tenth of that."""


def in_doubt_busy(owner: int) -> Doing | None:
    """As :func:`doing`. Without a free descriptor nobody can be looked at, and that is not the owner's fault."""
    try:
        return doing(owner) if owner != UNKNOWN else None
    except OSError:
        return Doing(stopped=False, runs=True, cpu_seconds=0.0)


def waits(
    patience: float,
    owner: int,
    *,
    suspected: bool = False,
    most: float = MOST_PATIENCE,
    look: Callable[[int], Doing | None] = in_doubt_busy,
) -> Iterator[float]:
    """The waits, in seconds, to be made for the process ``owner`` one by one; their end means that it is frozen.

    Many short ones: of a time in which nobody here ran, only one counts. ``patience`` begins anew for who is busy, up
    to ``most`` seconds in all. ``suspected``: it was found frozen a moment ago, and may be awake again.
    """
    if suspected and ((now := look(owner)) is None or now.stopped):
        yield min(NO_PATIENCE, most)
        return
    step = min(_STEP, patience, most)
    waited = since = stopped = 0.0
    before: Doing | None = None
    ran = False
    while waited < most:
        yield step
        waited += step
        now = look(owner)
        before = before or now
        ran = ran or (now is not None and now.runs)
        stopped = stopped + step if now is not None and now.stopped else 0.0
        if stopped >= min(patience, PATIENCE):
            return
        if waited - since >= patience:
            if not ran and _spent(before, now) < _BUSY * patience:
                return
            since, before, ran = waited, now, False


def _spent(before: Doing | None, now: Doing | None) -> float:
    """Processor seconds; none by a process that can't be seen from here."""
    return now.cpu_seconds - before.cpu_seconds if before and now else 0.0

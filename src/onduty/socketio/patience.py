"""How long to wait for the owner of a session to take what is brought to it, and when to call it frozen.

Who says so too early ends its clients' sessions, and who says it late keeps its clients waiting. An owner does not read
while something computes on its loop, while it waits for a processor, or while the whole machine stands still: then it
is merely busy. So the kernel is asked what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onduty.process import Doing, doing

PATIENCE = 2.0
"""Seconds for an owner that does nothing, where waiting for it holds a thread of the server up; or that is stopped."""
PATIENCE_OF_A_LOOP = 10.0
"""Seconds for an owner that does nothing, where waiting costs nothing: it may sleep on the loop that reads."""
NO_PATIENCE = 0.1
"""Seconds for an owner that was found frozen a moment ago."""
MOST_PATIENCE = 20.0
"""Seconds for an owner that is busy. After as long without a sign its clients give it up (engine.io: pingTimeout)."""
_STEP = 0.25
_BUSY = 0.02
"""The share of a processor that makes it busy. What a worker does beside its requests takes a tenth of that."""


def waits(patience: float, owner: int, look: Callable[[int], Doing | None] = doing) -> Iterator[float]:
    """The waits, in seconds, to be made for the process ``owner`` one by one; their end means that it is frozen.

    Many short ones: of a time in which nobody here ran, only one counts. ``patience`` begins anew for who is busy.
    """
    step = min(_STEP, patience)
    waited = since = 0.0
    before: Doing | None = None
    while waited < MOST_PATIENCE:
        yield step
        waited += step
        now = look(owner)
        before = before or now
        if now is not None and now.stopped and waited >= min(patience, PATIENCE):
            return
        if waited - since >= patience:
            if not _is_busy(before, now, patience):
                return
            since, before = waited, now


def _is_busy(before: Doing | None, now: Doing | None, seconds: float) -> bool:
    if before is None or now is None:
        return False  # it can't be seen from here
    return now.runs or now.cpu_seconds - before.cpu_seconds >= _BUSY * seconds

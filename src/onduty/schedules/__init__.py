"""When is it due? Pure arithmetic on instants: no clock, no thread, no state.

An instant is whole microseconds since the epoch, UTC; see ``onduty.clock``. All processes name a slot alike,
which is what makes a unique row of it.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import NamedTuple, Protocol

__all__ = ["Schedule", "Slots"]


class Slots(NamedTuple):
    """The slots in a span of time, without naming each: there may be millions."""

    first: int
    last: int
    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody misses


class Schedule(Protocol):
    """Gives slots; frozen, hashable, and equal when it gives the same ones."""

    @property
    def zone(self) -> tzinfo:
        """The time zone in which ``ctx.slot`` is shown."""

    @property
    def runs_when_first_seen(self) -> bool:
        """Whether a task never seen before runs its current slot at once."""

    @property
    def set_back_after(self) -> int:
        """How far, in microseconds, the clock may lie behind the last slot before it counts as set back for good.

        Until then nothing is due, so that no slot runs twice; from then on the schedule goes on.
        """

    def next_after(self, instant: int) -> int | None:
        """The first slot later than ``instant``; ``None``: there is none any more."""

    def latest(self, instant: int) -> int | None:
        """The last slot at or before ``instant``; ``None``: there was none yet."""

    def between(self, after: int, until: int) -> Slots | None:
        """The slots later than ``after`` and not later than ``until``; ``None``: no slot.

        Exact for intervals. A schedule that can only count by walking stops at 100,000 slots and
        counts no further; ``first`` and ``last`` are exact even then.
        """

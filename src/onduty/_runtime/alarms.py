"""What is to be done after a while: on the monotonic clock, in the thread that asks."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from onduty.clock import Clock


class Alarms:
    """A heap of calls; those set for the same instant ring in the order in which they were set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def set(self, seconds: float, ring: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self._clock.mono() + seconds, next(self._order), ring))

    def ring(self) -> None:
        """Make the calls whose time has come."""
        now = self._clock.mono()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()

    def until_next(self, longest: float) -> float:
        """Seconds until the next one, at most ``longest``; negative when it is overdue."""
        return min(longest, self._heap[0][0] - self._clock.mono()) if self._heap else longest

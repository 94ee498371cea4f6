"""Time, chance and what has been told: the stage on which a story is played, in one thread.

What happens is a function at an instant. Whoever waits *within* a call, for a slow disk or because its process is
stopped, lets the others play on meanwhile (:meth:`World.elapse`), and finds another world when the call goes on: that
is how a leader that wakes up late is made without a thread.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import NoReturn

from onduty.clock import SECOND
from onduty.schedules import Schedule


class Killed(BaseException):
    """A process ends here, in the middle of what it did. Nothing in production catches it."""


class Violated(BaseException):
    """A promise was broken; its text is the promise."""


class World:
    """``now``: microseconds since the story began, true time, which no process of the story can read.

    ``is_calm``: faults have ended, and everything has to come right. ``violation``: the broken promise, if any.
    ``plans``: every schedule of the story, by its text.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0
        self.is_calm = False
        self.violation: str | None = None
        self.plans: dict[str, Schedule] = {}
        self.lines: list[tuple[int, str]] = []
        self._numbers = count()
        self._ahead: list[tuple[int, int, Callable[[], None]]] = []
        self._horizon = 0

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._ahead, (self.now + max(round(seconds * SECOND), 1), next(self._numbers), happen))

    def play(self, until: int, may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Let happen what lies ahead, up to and with the instant ``until``."""
        ahead, outer = self._ahead, self._horizon
        self._horizon = until
        try:
            while ahead and ahead[0][0] <= until and may_go_on():
                at, _, happen = heapq.heappop(ahead)
                self.now = max(self.now, at)
                happen()
        finally:
            self._horizon = outer
        if may_go_on():
            self.now = until

    def elapse(self, seconds: float, may_go_on: Callable[[], bool]) -> None:
        """Time passes inside a call. Whoever waits in the same way further out is not held up beyond its own end."""
        self.play(min(self.now + max(round(seconds * SECOND), 1), self._horizon), may_go_on)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def tell(self, text: str) -> None:
        self.lines.append((self.now, text))

    def violate(self, promise: str) -> NoReturn:
        if self.violation is None:
            self.violation = promise
            self.tell(f"BROKEN: {promise}")
        raise Violated(promise)

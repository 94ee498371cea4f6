"""The clock of a rehearsal: whoever waits on it lets time pass, and what comes due meanwhile is run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from onduty.clock import Wakeup
from onduty.testing.clock import ManualClock
from onduty.testing.performing import Part

if TYPE_CHECKING:
    import asyncio

Passing = Callable[[float, Callable[[], bool]], Iterator[Part | None]]
"""Lets so many seconds pass, or fewer once it is over; yields each part to be performed, and ``None`` at each step."""


class PassingClock:
    """``manual``'s time. In a thread of its own a wait only moves it: runs belong to the thread of the test."""

    lag = 0.0

    def __init__(self, manual: ManualClock, passing: Passing) -> None:
        self._manual = manual
        self._passing = passing
        self._home = threading.get_ident()

    def now(self) -> int:
        return self._manual.now()

    def mono(self) -> float:
        return self._manual.mono()

    def wait(self, wakeup: Wakeup, timeout: float | None) -> bool:
        assert timeout is not None, "nobody would end this wait: there is no other thread"
        if threading.get_ident() != self._home:
            self._manual.advance(timeout)
            return wakeup.is_set()
        for part in self._passing(timeout, wakeup.is_set):
            if part is not None:
                part.runner.perform(part)
        return wakeup.is_set()

    async def await_for(self, woken: asyncio.Event, timeout: float) -> None:
        import asyncio

        for part in self._passing(timeout, woken.is_set):
            if part is not None:
                await part.runner.aperform(part)
            # The loop's other tasks get their turn, among them what sets the event.
            await asyncio.sleep(0)

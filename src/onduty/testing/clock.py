"""A clock that moves only when it is told to, and really wakes whoever waits on it.

``advance()`` lets time pass, on the wall and on the monotonic clock alike, and returns when every wait that came due
has ended. So a test needs no sleep of its own::

    clock = ManualClock()
    ...  # start loops that wait on this clock
    clock.wait_for_sleepers(1)  # the loop has nothing to do until time passes
    clock.advance(seconds=5)  # its wait has ended
    clock.wait_for_sleepers(1)  # and it has done what was due

Time passes in one leap, as for a machine that was suspended: a loop that waits for each of ten slots sees all ten
passed at once. To go slot by slot, advance slot by slot.

Not promised: that a loop woken by ``advance()`` has *done* anything when it returns. That is what
``wait_for_sleepers()`` is for.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from onduty.clock import SECOND, Wakeup, to_micros

if TYPE_CHECKING:
    import asyncio

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def micros_of(seconds: float | timedelta, minutes: float, hours: float) -> int:
    """How long all of it is together, in microseconds."""
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    try:
        total = seconds + 60 * minutes + 3600 * hours
    except OverflowError:  # of a whole number that no float can hold
        total = math.inf
    if not math.isfinite(total):
        raise ValueError(f"{seconds!r:.40} s, {minutes!r} min, {hours!r} h are no duration that a clock can show")
    return round(total * SECOND)


@dataclass(eq=False)
class _Sleeper:
    wakeup: Wakeup
    until: int | None  # on the monotonic clock, microseconds; None: only the wakeup ends this wait

    def is_due(self, mono: int) -> bool:
        return self.until is not None and self.until <= mono


class ManualClock:
    """Time in a test's hand; one clock may be shared by any number of threads."""

    lag = 0.0

    def __init__(self, start: datetime | int = _START) -> None:
        """``start``: an aware ``datetime``, or microseconds since the epoch."""
        if isinstance(start, datetime):
            if start.utcoffset() is None:
                raise ValueError(f"start={start!r} has no time zone, so it names no instant: add tzinfo=timezone.utc")
            start = to_micros(start)
        # Guards the fields below and tells of changes: advance() waits for sleepers to go, tests for them to come.
        self._changed = threading.Condition(threading.Lock())
        self._wall = start
        self._mono = 0
        self._sleepers: list[_Sleeper] = []

    def now(self) -> int:
        return self._wall

    def mono(self) -> float:
        return self._mono / SECOND

    def wait(self, wakeup: Wakeup, timeout: float | None) -> bool:
        """Park until ``wakeup`` is set (``True``) or ``timeout`` seconds of this clock have passed (``False``)."""
        with self._asleep(wakeup, timeout) as sleeper:
            while not wakeup.is_set():
                if sleeper.is_due(self._mono):
                    return False
                # A nudge between the line above and this one goes unheard; advance() nudges until it is heard.
                wakeup.wait()
            return True

    async def await_for(self, woken: asyncio.Event, timeout: float) -> None:
        """The same on an event loop, which goes on: it looks again every millisecond of real time."""
        import asyncio

        with self._asleep(Wakeup(), timeout) as sleeper:
            # Whoever moves time knows nothing of this loop, so nobody sets an event of it.
            while not (woken.is_set() or sleeper.is_due(self._mono)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    @contextmanager
    def _asleep(self, wakeup: Wakeup, timeout: float | None) -> Iterator[_Sleeper]:
        with self._changed:
            sleeper = _Sleeper(wakeup, self._deadline(timeout))
            self._sleepers.append(sleeper)
            self._changed.notify_all()
        try:
            yield sleeper
        finally:
            with self._changed:
                self._sleepers.remove(sleeper)
                self._changed.notify_all()

    def advance(self, seconds: float | timedelta = 0.0, *, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let time pass, in one leap, so many seconds or a ``timedelta``; return when the waits that came due ended.

        Raises:
            ValueError: Time would go back, which only the wall clock can do: see :meth:`step`.
        """
        micros = micros_of(seconds, minutes, hours)
        if micros < 0:
            raise ValueError(f"can't advance by {micros / SECOND} s: to set the wall clock back, use step()")
        with self._changed:
            self._wall += micros
            self._mono += micros
            mono = self._mono
            due = [sleeper for sleeper in self._sleepers if sleeper.is_due(mono)]
        while due:
            for sleeper in due:
                sleeper.wakeup.nudge()
            with self._changed:
                if any(sleeper in self._sleepers for sleeper in due):
                    self._changed.wait(0.002)
                due = [sleeper for sleeper in due if sleeper in self._sleepers]

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back and nothing else, as an administrator or a time server may.

        Nobody is woken: a real wait does not notice either.
        """
        with self._changed:
            self._wall += round(seconds * SECOND)

    @property
    def sleepers(self) -> int:
        """How many waits are parked: neither due nor woken."""
        with self._changed:
            return self._parked()

    def wait_for_sleepers(self, n: int, timeout: float = 10.0) -> None:
        """Return when at least ``n`` waits are parked, so that nothing happens until time or a wakeup moves them.

        Raises:
            AssertionError: Fewer were, after ``timeout`` real seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._parked() < n:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{self._parked()} of {n} sleepers are parked after {timeout:g} s")
                # Wakeup.clear() tells nobody, so look again now and then.
                self._changed.wait(min(left, 0.05))

    def _parked(self) -> int:
        return sum(not sleeper.wakeup.is_set() and not sleeper.is_due(self._mono) for sleeper in self._sleepers)

    def _deadline(self, timeout: float | None) -> int | None:
        if timeout is None or timeout == math.inf:
            return None
        if timeout <= 0:
            return self._mono
        # At least a microsecond: a loop that waits for less must not find its wait over before time has moved.
        return self._mono + max(1, round(timeout * SECOND))

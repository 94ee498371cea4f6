"""Time as a guest: whoever needs it is handed a :class:`Clock`, and waiting belongs to the clock too.

Instants are whole microseconds since 1970-01-01T00:00Z (``int``), exact in ``datetime``, JSON and SQL
alike. Durations are seconds (``float``). Monotonic readings end in ``_mono`` and are never stored.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """An aware ``datetime`` as microseconds since the epoch, without passing through a float."""
    return (instant - _EPOCH) // _MICROSECOND


def to_datetime(micros: int, zone: tzinfo = timezone.utc) -> datetime:
    """The inverse of :func:`to_micros`, seen from ``zone``."""
    return (_EPOCH + timedelta(microseconds=micros)).astimezone(zone)


class Wakeup:
    """A flag that one thread waits for and others set; the clock may nudge its waiters without setting it.

    Made after the fork and after any monkey patching, because it holds a lock of the kind the server uses.
    """

    __slots__ = ("_changed", "_flag")

    def __init__(self) -> None:
        # Reentrant: a signal handler that sets it may have interrupted this very thread in the middle of set().
        self._changed = threading.Condition(threading.RLock())
        self._flag = False

    def is_set(self) -> bool:
        return self._flag

    def set(self) -> None:
        with self._changed:
            self._flag = True
            self._changed.notify_all()

    def clear(self) -> None:
        self._flag = False

    def nudge(self) -> None:
        """Let every waiter look again; used by a clock that has been moved by hand."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Return when set, nudged or timed out; the answer says whether the flag is set."""
        with self._changed:
            if not self._flag:
                self._changed.wait(timeout)
            return self._flag


class Clock(Protocol):
    """The only source of time in the engine.

    ``lag``: seconds by which other clocks of this machine may be behind :meth:`now`.
    """

    lag: float

    def now(self) -> int:
        """Wall clock, microseconds since the epoch, UTC. May step."""

    def mono(self) -> float:
        """Seconds that only grow; the zero point means nothing."""

    def wait(self, wakeup: Wakeup, timeout: float | None) -> bool:
        """Wait until ``wakeup`` is set (``True``) or ``timeout`` seconds of this clock have passed (``False``)."""

    async def await_for(self, woken: asyncio.Event, timeout: float) -> None:
        """As :meth:`wait`, without holding up the event loop that runs; ``woken`` is of that loop."""


def _lag() -> float:
    """``time.localtime()`` and ``time.strftime()`` ask C's ``time()``, which shows the kernel's last tick (time(7)).

    A tick is what ``CLOCK_REALTIME_COARSE`` is exact to, 4 ms as a rule. What it shows then are whole ticks of the
    processor's counter, the last of which may be over for almost another one (seen: 7.4 ms behind, and 0 to 4 on the
    same machine before); half a tick more is for the one that is late.
    """
    if not sys.platform.startswith("linux"):
        return 0.0
    return 2.5 * time.clock_getres(5)  # that clock's number in linux/time.h; Python has no name for it


class SystemClock:
    """The machine's clock."""

    lag = _lag()

    def now(self) -> int:
        return time.time_ns() // 1000

    def mono(self) -> float:
        return time.monotonic()

    def wait(self, wakeup: Wakeup, timeout: float | None) -> bool:
        return wakeup.wait(timeout)

    async def await_for(self, woken: asyncio.Event, timeout: float) -> None:
        import asyncio

        try:
            await asyncio.wait_for(woken.wait(), timeout)
        except asyncio.TimeoutError:
            pass

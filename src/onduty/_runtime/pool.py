"""The threads in which runs are performed: a few for quick work, and as many as there are runs for work that waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onduty._runtime.execution import Execution
from onduty._runtime.threads import spawn
from onduty.clock import Clock

EAGER_THREADS = 8
MOST_THREADS = 200
SLOW = 0.02
"""Seconds. When those that were given until then have not all ended after it, they are no quick work."""


class Pool:
    """Those that are put in are given to ``perform`` in order, each in a thread. Only ``perform`` is called by others
    than the one that owns the pool.
    """

    def __init__(self, clock: Clock, perform: Callable[[Execution], None]) -> None:
        import queue  # here: most workers never lead

        self._clock = clock
        self._perform = perform
        self._queue: Any = queue.SimpleQueue()
        self._threads = 0
        self._killed: list[int] = []
        self._given = 0
        self._ended = 0
        self._mark = 0
        """So many were given when it was looked at whether work is slow, at ``_mark_mono``."""
        self._mark_mono = 0.0

    def put(self, execution: Execution) -> None:
        """It waits for a thread; say :meth:`grow` when all are put in that come together."""
        self._given += 1
        self._queue.put(execution)

    def has_ended(self) -> None:
        """One of them has, and its thread is free."""
        self._ended += 1

    def grow(self) -> bool:
        """Add the threads that are missing: at once while there are few, and beyond that twice as many, if those that
        are there have slow work.

        Answers whether some are missing still that may come: look again after ``SLOW`` seconds.
        """
        while self._killed:
            self._threads -= self._killed.pop()
        wanted = min(self._given - self._ended, MOST_THREADS)
        most = 2 * self._threads if self._is_slow(wanted) else self._threads
        self._spawn(min(wanted, max(most, EAGER_THREADS)) - self._threads)
        return self._threads < wanted

    def stop(self) -> None:
        """Let idle threads end; busy ones end when their run does."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _is_slow(self, wanted: int) -> bool:
        mono = self._clock.mono()
        if wanted <= self._threads or self._ended >= self._mark:
            self._mark, self._mark_mono = self._given, mono
            return False
        if mono - self._mark_mono < SLOW:
            return False
        self._mark_mono = mono
        return True

    def _spawn(self, more: int) -> None:
        for _ in range(more):
            try:
                spawn(f"run-{self._threads + 1}", self._work)
            except RuntimeError:
                return  # the machine has no more of them now; asked again soon, or one of the others becomes free
            self._threads += 1

    def _work(self) -> None:
        take = self._queue.get
        try:
            while (execution := take()) is not None:
                self._perform(execution)
        except BaseException:
            self._killed.append(1)  # a greenlet that somebody's killall found idle: another one is to take its place
            raise

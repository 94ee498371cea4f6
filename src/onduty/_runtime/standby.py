"""What a standby does between two tries for the lock: stay connected to who leads, ask, and hear the end.

The only order without a lost wake-up is: try the lock, connect, *try the lock again*, wait. The elector tries.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from pathlib import Path

from onduty._runtime import policy
from onduty._runtime.hub import Line
from onduty._runtime.sentry import Sentry


class Standby:
    """``may_accept``: asked when the leader wants to leave, whether this worker stays, and so goes on duty."""

    def __init__(
        self, folder: Path, selector: selectors.BaseSelector, sentry: Sentry, may_accept: Callable[[], bool]
    ) -> None:
        self._folder = folder
        self._selector = selector
        self._sentry = sentry
        self._may_accept = may_accept
        self._line: Line | None = None
        self._vacant_mono: float | None = None
        self._next_ask = 0.0

    def turn(self, now: float) -> float:
        """After the lock was not to be had; answers the seconds until it is worth another try, unless woken before."""
        if self._line is None:
            return self._connect(now)
        self._line.look()
        if self._line.ended:
            # Not connected again in this turn: whoever may have won this moment is not there yet.
            self._vacant_mono = now
            self.close()
            return policy.next_try(0.0)
        self._converse(self._line, now)
        return policy.next_try(None)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _connect(self, now: float) -> float:
        self._line = Line.connect(self._folder, self._selector)
        if self._line is None:
            self._sentry.nobody_answers(now)
            return policy.next_try(None if self._vacant_mono is None else now - self._vacant_mono)
        self._vacant_mono = None
        # At once: until it knows its place among them, it is woken by the leader's end like those that come next.
        self._next_ask = now
        return 0.0

    def _converse(self, line: Line, now: float) -> None:
        if line.offered and self._may_accept():
            line.accept()
        if answers := line.take_answers():
            self._sentry.hear(answers)
            line.heed(line.accepted or policy.is_next(self._sentry.place))
        if now >= self._next_ask:
            self._next_ask = now + policy.ASK_EVERY
            self._sentry.watch(now)
            line.ask()

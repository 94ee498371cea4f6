"""The end of a term that is told to end: what its runs are told, how long they are waited for, and who holds it up."""

from __future__ import annotations

from collections.abc import Sequence

from onduty import events as ev
from onduty._runtime.execution import Execution
from onduty.clock import Clock
from onduty.events import Events

A_WHILE = 1.0
"""Seconds after which a worker that leaves says what it is waiting for."""


class Closing:
    """Of one term. ``why``: what its runs are told; ``None``: it goes on. From any thread."""

    def __init__(self, app: str, clock: Clock, events: Events) -> None:
        self._app = app
        self._clock = clock
        self._events = events
        self._give_up_mono = self._complain_mono = 0.0
        self.why: str | None = None

    def begin(self, why: str, grace: float) -> bool:
        """The runs in progress have ``grace`` seconds from now. ``False``: it has begun before, and that counts."""
        if self.why is not None:
            return False
        mono = self._clock.mono()
        self._give_up_mono, self._complain_mono = mono + grace, mono + A_WHILE
        self.why = why
        return True

    @property
    def seconds_left(self) -> float:
        return max(self._give_up_mono - self._clock.mono(), 0.0)

    def say_who_holds_up(self, lingering: Sequence[Execution]) -> None:
        """Once: nobody else knows what a worker that leaves is waiting for."""
        names = sorted({run.task_name for run in lingering})
        if names and self._clock.mono() >= self._complain_mono:
            self._complain_mono = self._give_up_mono
            text = (
                f"{', '.join(names)} was told to end, and is given {self.seconds_left:.0f} s more; what ends at once"
                " asks ctx.stopping, or pauses by ctx.sleep()"
            )
            self._events.emit(ev.Advice(self._clock.now(), self._app, text))

"""What each worker does for itself, ``on="every_worker"``: from *ready* until it leaves, whoever is on duty."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from onduty.clock import Clock, Wakeup
from onduty.errors import NotOnDuty
from onduty.journal import Journal
from onduty.process import this_process

if TYPE_CHECKING:
    from onduty._runtime.scheduler import Scheduler
    from onduty._runtime.term import Term


class OwnWork:
    """Of one engine. ``recruit`` makes who does it, and gives it to :meth:`take`; ``cool_down`` waits a while;
    ``fault`` tells of what is not done.
    """

    def __init__(
        self,
        app: str,
        open_scratch: Callable[[], Journal],
        recruit: Callable[[Term], Scheduler],
        cool_down: Callable[[], None],
        fault: Callable[[str], None],
    ) -> None:
        self._app = app
        self._open_scratch = open_scratch
        self._recruit = recruit
        self._cool_down = cool_down
        self._fault = fault
        self._is_leaving = False
        self._is_over = Wakeup()
        self.scheduler: Scheduler | None = None

    def take(self, scheduler: Scheduler | None) -> None:
        self.scheduler = scheduler

    def begin(self, clock: Clock) -> None:
        from onduty._runtime.term import Term

        journal, me = self._open_scratch(), this_process()
        journal.open(me)
        scheduler = self._recruit(Term(self._app, journal.begin_term(0, clock.now()), 0, journal, lambda: True, me))

        def has_ended() -> None:
            """In its own last moment: it was told to, or it failed, and then another one takes its place."""
            if not self._is_leaving:
                self._cool_down()
            if self._is_leaving:
                self._is_over.set()
            else:
                self.begin(clock)

        scheduler.when_over = has_ended
        try:
            scheduler.start()
        except RuntimeError as error:
            self.take(None)
            self._is_over.set()
            self._fault(f"this worker serves, but does no work of its own until it is restarted: {error}")

    def leave(self, grace: float) -> None:
        """Begin to stop; returns at once, and may be called again."""
        self._is_leaving = True
        if self.scheduler is not None:
            self.scheduler.close("the worker is leaving", grace)

    def wait(self, clock: Clock, seconds: float) -> None:
        """Until it has stopped."""
        if self.scheduler is not None:
            clock.wait(self._is_over, seconds)

    @property
    def journal(self) -> Journal | None:
        """``None``: this process has no work of its own, or no longer."""
        return None if self.scheduler is None or self.scheduler.is_over else self.scheduler.journal

    def of(self, task: str) -> Scheduler:
        """Who does ``task`` here.

        Raises:
            NotOnDuty: nobody does.
        """
        if self.scheduler is None or self.scheduler.is_over:
            raise NotOnDuty(f"{task} runs in each worker, and this process (pid {os.getpid()}) is none")
        return self.scheduler

"""Terms of this worker that are over, and whose runs are not: they linger, and still tell how they ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onduty._runtime.scheduler import Scheduler


class Past:
    """Asked by the elector again and again; a worker with a past is no candidate."""

    def __init__(self) -> None:
        self._schedulers: list[Scheduler] = []

    def add(self, scheduler: Scheduler) -> None:
        """Remember it, if anything of it is left."""
        if scheduler.lingering or scheduler.has_unwritten:
            self._schedulers.append(scheduler)

    def settle(self) -> bool:
        """Write down lingering runs that have ended; whether any is left. Raises ``StoreUnavailable``."""
        for scheduler in self._schedulers:
            if scheduler.is_over:
                scheduler.settle()
        self._schedulers = [one for one in self._schedulers if not one.is_over or one.lingering or one.has_unwritten]
        return bool(self._schedulers)

    def forget(self) -> None:
        self._schedulers = []

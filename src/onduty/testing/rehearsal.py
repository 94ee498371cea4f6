"""An app's background work in the hand of a test: production's decisions, without threads and with time standing still.

::

    with use(app) as t:  # or: use(duty)
        client.post("/export")  # export.trigger(...) leaves a request, as on any worker
        runs = t.run_due()  # this thread goes on duty and runs what is due
        t.advance(hours=24)  # slot by slot, each run at its instant

What decides (claims, overlap, retries, missed slots, pauses, terms) is the code that decides in production, on a
journal in memory that begins empty and ends with the block. Nothing shared is touched: no folder, no lock, no thread.

Not like production: runs that are due at one instant run one after the other, and time stands still while code runs.
It moves by :meth:`Rehearsal.advance`, and while somebody waits in ``ctx.sleep`` or ``run.wait``. What comes due then is
run on top of the sleeper, so if it sleeps longer than that one, it wakes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from onduty._runtime.desk import SERVICE_BACKOFF
from onduty._runtime.engine import Engine
from onduty.clock import SECOND, to_micros
from onduty.duty import OnDuty
from onduty.errors import AppError, StoreFull, StoreUnavailable
from onduty.journal import RunRecord
from onduty.run import Run
from onduty.tasks import Declared, Service, Task
from onduty.testing.clock import ManualClock, micros_of
from onduty.testing.play import Play


@contextmanager
def use(
    target: Any, *, clock: ManualClock | None = None, new: bool = False, raising: bool = True
) -> Iterator[Rehearsal]:
    """The background work of ``target`` (a Flask app that has an ``OnDuty``, or an ``OnDuty``) in the test's hand.

    It is as if the app had been on duty until now, with nothing left to do; with ``new`` as on the day of its first
    deploy, when each ``every`` runs its current slot at once and each ``once`` runs. ``clock`` tells where time begins.
    ``raising``: see :meth:`Rehearsal.run_due`.

    Raises:
        AppError: ``target`` has no ``OnDuty``, or more than one: then give the ``OnDuty`` itself.
        AlreadyStarted: It is at work in this process in earnest, or used already.
    """
    rehearsal = Rehearsal(_engine_of(target), clock or ManualClock(), new=new, raising=raising)
    try:
        yield rehearsal
    finally:
        rehearsal.close()


class Rehearsal:
    """The handle that :func:`use` gives. Its methods run what they run in the calling thread; keep to one thread."""

    def __init__(self, engine: Engine, clock: ManualClock, *, new: bool, raising: bool) -> None:
        self.clock = clock
        self._raising = raising
        self._timezone = engine.settings.timezone
        self._play = Play(engine, clock, new=new)

    def run_due(self, *, raising: bool | None = None) -> list[Run]:
        """Run everything that is due or requested now; answers the runs in the order in which they began.

        Slots, triggers, retries whose time has come, and what these runs themselves ask for. Services are run by
        :meth:`turns` only, since they never end.

        What a run raises is its outcome, and with ``raising`` it is raised here too, after all else that was due has
        run. That is the default, so that a test does not pass over a task that is broken; a run that will be tried
        again has not failed yet, and raises nothing.
        """
        return self.advance(raising=raising)

    def advance(
        self,
        seconds: float | timedelta = 0.0,
        *,
        minutes: float = 0.0,
        hours: float = 0.0,
        until: datetime | None = None,
        raising: bool | None = None,
    ) -> list[Run]:
        """Let time pass, from one slot to the next, and run what comes due at its instant, as :meth:`run_due` does.

        ``until``: an instant, such as ``task.next_slot()``. Raises ``ValueError`` if it has passed.
        """
        micros = micros_of(seconds, minutes, hours)
        if until is not None:
            micros += to_micros(until) - self.clock.now()
        if micros < 0:
            raise ValueError(f"can't advance by {micros / SECOND:g} s: time only goes forward")
        with self._play.scene(raising=self._says(raising)) as ran:
            self._play.perform(micros / SECOND)
        return ran

    def turns(self, service: Service, count: int = 1, *, raising: bool | None = None) -> Run:
        """Run the service until ``ctx.sleep`` has answered ``True`` so many times; then it is told to end.

        What comes due while it sleeps is run as well. It can be given turns again: a second later, as a cancelled
        service begins again.

        Raises:
            AssertionError: It does not run: it has returned in this term, or is paused. Or it does not end.
        """
        services = self._play.cast.services
        with self._play.scene(raising=self._says(raising)) as ran:
            self._play.perform()
            waited = 0
            while service.name not in services:
                if waited > SERVICE_BACKOFF:
                    raise AssertionError(f"{service.name} does not run: it has returned in this term, or is paused")
                self._play.perform(1)
                waited += 1
            part = services.pop(service.name)
            part.runner.perform(part, count)
            self._play.perform()
        return next(run for run in ran if run.id == part.execution.run_id)

    def lose_leadership(self) -> None:
        """The term is lost now, inside a run or between runs: another worker's has begun.

        Runs in progress are stopping, what they write raises ``TermLost``, and what was queued or waits for a retry is
        left to the next term. That one begins with the next call of ``run_due`` and its like.
        """
        self._play.lose_term()

    def miss(self, task: Task[Any, Any], slots: int = 1, *, raising: bool | None = None) -> list[Run]:
        """Nobody is on duty while so many slots of ``task`` pass; then a term begins, and does what ``missed`` says.

        Answers all runs that this led to: other tasks' slots pass as well, and ``run.task`` tells which is whose.
        """
        with self._play.scene(raising=self._says(raising)) as ran:
            self._play.perform()
            instant = self._after(task, slots)
            self._play.end_term("the worker is leaving")
            self.clock.advance((instant - self.clock.now()) / SECOND)
            self._play.perform()
        return ran

    def _after(self, task: Task[Any, Any], slots: int) -> int:
        """An instant after so many slots: beyond the last, which would be on time otherwise, and before the next."""
        schedule = task.schedule_in(self._timezone)
        slot: int | None = self.clock.now()
        for _ in range(slots):
            slot = schedule.next_after(slot) if schedule and slot is not None else None
        if schedule is None or slot is None:
            raise ValueError(f"{task.name} has no {slots} slots to miss")
        following = schedule.next_after(slot)
        return slot + (SECOND if following is None else min(SECOND, (following - slot) // 2))

    @contextmanager
    def fail_journal(self, *, full: bool = False) -> Iterator[None]:
        """Within it the journal can't be asked (tasks are held), or, ``full``, not be written (tasks run on)."""
        kind = StoreFull if full else StoreUnavailable
        self._play.faults.error = kind("the journal fails, as the test wants it to")
        try:
            yield
        finally:
            self._play.faults.error = None

    def runs(self, task: Declared | str) -> list[RunRecord]:
        """All rows of a task, oldest first: runs, and slots that were skipped or missed."""
        name = task if isinstance(task, str) else task.name
        return self._play.kept.recent(name, 1_000_000)[::-1]

    def close(self) -> None:
        """The end of the test; ``use`` calls it."""
        self._play.close()

    def _says(self, raising: bool | None) -> bool:
        return self._raising if raising is None else raising


def _engine_of(target: Any) -> Engine:
    if isinstance(target, OnDuty):
        return target.engine()
    engines = list(getattr(target, "extensions", {}).get("onduty", {}).values())
    if len(engines) != 1:
        raise AppError(
            f"use({target!r}): it has {len(engines) or 'no'} OnDuty of its own; give an app with one, or the OnDuty"
        )
    engine: Engine = engines[0]
    return engine

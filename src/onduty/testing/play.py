"""What drives a rehearsal: terms begin and end, time passes bit by bit, and what is due is performed.

The scheduler decides as ever, one turn at a time; only nobody loops over it, and what it starts is performed here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from onduty import events as ev
from onduty._runtime import orders
from onduty._runtime.engine import Engine
from onduty._runtime.past import Past
from onduty._runtime.policy import RESERVE
from onduty._runtime.scheduler import Scheduler
from onduty._runtime.term import Term
from onduty.backends import open_scratch
from onduty.clock import SECOND
from onduty.errors import StoreUnavailable
from onduty.journal import Journal, Outcome, Request
from onduty.process import this_process
from onduty.run import Run
from onduty.testing.clock import ManualClock
from onduty.testing.faults import FaultyJournal
from onduty.testing.passing import PassingClock
from onduty.testing.performing import Cast, HereRunner, Part
from onduty.testing.understudy import Understudy, already_known

KEPT = 1_000_000
"""Rows of history."""

ENDLESS = 100_000
"""Runs at one instant, after which a test is taken for one that never ends."""


class Play:
    """``kept`` is the journal; the engine sees it as ``faults``. ``cast``: who is to be run."""

    def __init__(self, engine: Engine, clock: ManualClock, *, new: bool) -> None:
        self._engine = engine
        self._clock = clock
        self._local_journal = open_scratch(KEPT)
        self._runners: dict[HereRunner, Journal] = {}
        self._ran: list[Run] = []
        self._reserved_until = 0
        self._past = Past()
        self._leader: Scheduler | None = None
        self._local: Scheduler | None = None
        self._understudy = Understudy(engine.settings.name)
        self.kept = open_scratch(KEPT)
        self.faults = FaultyJournal(self.kept)
        self.cast = Cast(self._note)
        passing = PassingClock(clock, self.passing)
        self._over = engine.rehearse(passing, self.faults.as_journal(), self._understudy)
        for journal in (self.kept, self._local_journal):
            journal.open(this_process())
            if not new:
                already_known(engine, journal, clock.now())
        if any(one.chosen.on == "every_worker" for one in engine.tasks):
            term = self._term_of(self._local_journal)._replace(fencing=0)
            self._local = engine.recruit_local(term, partial(self._hire, self._local_journal))

    def close(self) -> None:
        self.faults.error = None
        self.end_term("the test is over")
        self.cast.loops.close()
        self._over()

    # Terms

    def go_on_duty(self) -> None:
        """Unless somebody is: this process. Without a journal nobody can be."""
        if self._leader is not None:
            return
        try:
            term = self._term_of(self.faults.as_journal())
        except StoreUnavailable:
            return
        lost_until = min(self._reserved_until, self._clock.now())
        self._reserve(bool(lost_until))
        term = term._replace(lost_until=lost_until, reserve=self._reserve)
        self._leader = self._engine.recruit(term, partial(self._hire, self.kept))
        self._understudy.begin(term.number, self._clock.now(), self._leader)
        self._engine.events.emit(ev.TermBegan(self._clock.now(), term.app, term.number))

    def lose_term(self) -> None:
        """To another worker, which has begun the next."""
        if self._leader is not None:
            self.kept.begin_term(0, self._clock.now())
            self.end_term("the term was lost")

    def end_term(self, why: str) -> None:
        leader, self._leader = self._leader, None
        if leader is None:
            return
        leader.fault = why
        leader.end()
        for runner, journal in self._runners.items():
            for execution in self.cast.dismiss(runner) if journal is self.kept else []:
                execution.outcome, execution.ended_at = Outcome.STOPPED, self._clock.now()
                execution.keeper.came_back(execution)
        number = self._understudy.end()
        self._past.add(leader)
        self._settle()
        facts = (self._clock.now(), self._engine.settings.name, number, why, len(leader.lingering))
        self._engine.events.emit(ev.TermEnded(*facts))

    def _term_of(self, journal: Journal) -> Term:
        number = journal.begin_term(0, self._clock.now())
        # Nothing is claimed ahead: time is as exact as the test moves it.
        return Term(
            self._engine.settings.name, number, number, journal, lambda: True, this_process(), may_linger=True, ahead=0
        )

    def _reserve(self, gap: bool) -> None:
        # What the lock's record says to the next leader: slots up to then may have run without a row.
        self._reserved_until = self._clock.now() + RESERVE if gap else 0

    def _hire(self, journal: Journal, *arguments: Any) -> HereRunner:
        runner = HereRunner(self.cast, *arguments)
        self._runners[runner] = journal
        return runner

    def _settle(self) -> None:
        try:
            self._past.settle()
        except StoreUnavailable:
            pass  # asked again after the next scene

    # Scenes

    @contextmanager
    def scene(self, *, raising: bool) -> Iterator[list[Run]]:
        """What is performed within, each run once; at its end the first failure that nothing will mend is raised."""
        first, failures = len(self._ran), len(self.cast.failed)
        ran: list[Run] = []
        self.go_on_duty()
        try:
            yield ran
        finally:
            self._settle()
            ran += {run.id: run for run in self._ran[first:]}.values()
            errors = dict(self.cast.failed[failures:])
            if not self.cast.on_stage:  # else it is a scene within another one's
                del self._ran[first:], self.cast.failed[failures:]
        for run in ran if raising else []:
            if run.id in errors and run.outcome is Outcome.FAILED:
                raise errors[run.id]

    def perform(self, seconds: float = 0) -> None:
        """What is due now, and what comes due within so many seconds, at its instant."""
        for part in self.passing(seconds):
            if part is not None:
                part.runner.perform(part)

    def passing(self, seconds: float, is_woken: Callable[[], bool] | None = None) -> Iterator[Part | None]:
        """See ``onduty.testing.passing``.

        Who can be woken (a run that sleeps) goes on as soon as its time has come, and leaves what is due then to those
        below. The others perform all that came due by then, though it may take them longer.
        """
        if not self.cast.on_stage:
            self.go_on_duty()
        until, last = self._clock.mono() + seconds, self._clock.now() + round(seconds * SECOND)
        while True:
            for part in self._due(last if is_woken is None else None):
                yield part
                if is_woken is not None and (is_woken() or self._clock.mono() > until):
                    return
            left = until - self._clock.mono()
            if left < 0.5 / SECOND or (is_woken is not None and is_woken()):
                return
            step = min([left, *(one.until_next(left) for one in self._at_work())])
            self._clock.advance(max(step, 1 / SECOND))
            yield None

    def _due(self, last: int | None) -> Iterator[Part]:
        """One by one: the next is decided on when the one before has ended. What was claimed after ``last`` is left."""
        for _ in range(ENDLESS):
            for scheduler in self._at_work():
                scheduler.ring()
                scheduler.turn()
            if self.cast.ready:
                part = self.cast.ready.popleft()
                if last is None or self._claimed_at(part) <= last:
                    yield part
                else:
                    self.cast.later.append(part)
            elif not any(scheduler.until_next() <= 0 for scheduler in self._at_work()):
                self.cast.ready, self.cast.later = self.cast.later, deque()
                return
        raise AssertionError(f"{ENDLESS} runs, and more are due, without time passing: does a task trigger itself?")

    def _claimed_at(self, part: Part) -> int:
        row = self._runners[part.runner].get(part.execution.run_id)
        return row.created_at if row else part.since  # no row: it is on account, while the journal is full

    def _at_work(self) -> list[Scheduler]:
        return [one for one in (self._leader, self._local) if one is not None]

    def _note(self, part: Part) -> None:
        execution, journal = part.execution, self._runners[part.runner]
        is_own = execution.declared.chosen.on == "every_worker"
        cancel = partial(orders.cancel, self._engine, execution.task_name, is_own=is_own)
        asked = Request(execution.run_id, "trigger", execution.task_name, part.since, execution.kwargs)
        self._ran.append(Run(asked.id, journal.get, journal.log, cancel, self._engine.clock, lambda run_id: asked))

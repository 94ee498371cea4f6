"""One worker of the app: a candidate that stands by, leads, steps down and settles, as the elector's loop does.

The scheduler, and all it consists of, is the one of production, and so are the decisions of the elector (``policy``)
and what it remembers of its past. What is told here in other words is the elector's own waiting: it turns a selector,
and here the world comes and says that something has happened.
"""

from __future__ import annotations

from onduty._runtime import policy
from onduty._runtime.past import Past
from onduty._runtime.scheduler import Scheduler
from onduty._runtime.term import AHEAD, Term
from onduty.errors import JournalDamaged, OnDutyError, StoreUnavailable
from onduty.journal import Newest
from onduty.testing.simulator.door import Door
from onduty.testing.simulator.hands import Hands
from onduty.testing.simulator.lock import Candidacy
from onduty.testing.simulator.process import Process
from onduty.testing.simulator.recruiting import recruit
from onduty.testing.simulator.stage import Stage


class Worker(Process):
    """``newest_term``: what it has heard of, as over the hub. ``is_out``: its descriptors were closed, so it takes no
    further part. ``is_leaving``: it was told to leave, and another one takes its place.
    """

    def __init__(self, stage: Stage, place: str, name: str) -> None:
        super().__init__(stage.world, stage.machine, place, name)
        self.stage = stage
        self.clock = stage.machine.clock
        self.journal = Door(self, stage.store, stage.weather)
        self.election = Candidacy(stage.lock, self.me)
        self.scheduler: Scheduler | None = None
        self.newest_term = 0
        self._doubted_until = 0
        self.is_out = False
        self.is_leaving = False
        self._hands: Hands | None = None
        self._past = Past()
        self._leaving: str | None = None
        self._vacant_mono: float | None = None
        self._is_busy = False
        self._is_called = False
        self._turn_number = 0
        self.later(self.world.random.uniform(0, 0.3), self._begin)

    def _begin(self) -> None:
        try:
            self.journal.open(self.me)
        except StoreUnavailable:
            pass  # whoever goes on duty sets it aside
        self._round()

    # What the world does to it

    def ring(self) -> None:
        """Somebody has asked for something."""
        if self.scheduler is not None:
            self.scheduler.ring()
            self._turn_in(self.world.random.uniform(0, 0.002))

    def leave(self, why: str) -> None:
        self.is_leaving = True  # though it may be stopped, and hear of it much later
        self.later(0.001, lambda: self._leave(why))

    def died(self) -> None:
        held = self.election.still_mine()
        self.stage.runs.process_died(self.me)
        if held:
            self.stage.lock.orphaned(self._let_go_in())

    def _let_go_in(self) -> float:
        chance = self.world.random
        if not self.world.is_calm and chance.random() < 0.1:
            return chance.uniform(0.5, 6)  # a child has inherited the descriptor
        return chance.uniform(0, 0.03)

    # Standing by

    def _round(self) -> None:
        if self.scheduler is not None or self.is_out:
            return
        if self._is_busy:
            self.later(policy.SLOW_POLL, self._round)
            return
        self._is_busy = True
        try:
            if self._past.settle():
                self.later(policy.SLOW_POLL, self._round)
            elif self._leaving is not None:
                self.tell("ends")
                self.die()
            elif self.election.campaign():
                self._vacant_mono = None
                self._take_office()
            else:
                self._stand_by()
        except OnDutyError as error:
            self.tell(f"stays away: {type(error).__name__}")
            self.election.resign()
            self.later(policy.COOL_DOWN, self._round)
        finally:
            self._is_busy = False

    def _stand_by(self) -> None:
        lock, now = self.stage.lock, self.clock.mono()
        if lock.holder is not None:
            self._vacant_mono = None
            lock.tell.append(lambda: self.later(self.world.random.uniform(0.0002, 0.002), self._round))
            return
        self._vacant_mono = now if self._vacant_mono is None else self._vacant_mono
        self.later(policy.next_try(now - self._vacant_mono) * 4, self._round)

    # Leading

    def _take_office(self) -> None:
        last = self.election.last()
        floor = max(last.term if last else 0, self.newest_term)
        try:
            known, number = self._begin_term(floor)
        except JournalDamaged as error:
            self.journal.set_aside(error.kind)
            known, number = self._begin_term(floor)
        self.newest_term = number
        now = self.clock.now()
        until = policy.lost_until(last, self.me.boot, known, now)
        self._doubted_until = until
        self.election.began(number, now, max(now + policy.RESERVE, until), bool(until), known.row)
        term = Term(
            "simulated",
            number,
            number,
            self.journal,
            self.election.still_mine,
            self.me,
            may_linger=last is None or last.clean,
            lost_until=until,
            reserve=self._reserve,
            keep_runs=self.stage.keep_runs,
        )
        self._hands = Hands(self, self.clock, self.journal, self.stage.runs, self._woken)
        self.scheduler = recruit(term, self, self.stage, self._hands)
        self.tell(f"leads, term {number}" + (f", slots up to {until} in doubt" if until else ""))
        self.stage.term_began(self, number)
        self._turn_in(0.0001)
        self.later(policy.RENEW_EVERY, self._look)

    def _begin_term(self, floor: int) -> tuple[Newest, int]:
        self.journal.open(self.me)
        return self.journal.newest(), self.journal.begin_term(floor, self.clock.now())

    def _newest_row(self) -> int | None:
        try:
            return self.journal.newest().row
        except StoreUnavailable:
            return None

    def _reserve(self, gap: bool) -> None:
        self._doubted_until = self._doubted_until if gap else 0
        until = max(self.clock.now() + policy.RESERVE, self._doubted_until)
        self.election.reserve(until, gap, self.journal.newest().row)

    def _turn_in(self, seconds: float) -> None:
        self._turn_number += 1
        number = self._turn_number
        self.later(seconds, lambda: self._turn(number))

    def _turn(self, number: int) -> None:
        if number != self._turn_number or self.scheduler is None:
            return
        if self._is_busy:  # it waits in a call, and turns again after that
            self._is_called = True
            return
        scheduler = self.scheduler
        self._is_busy, self._is_called = True, False
        try:
            seconds = scheduler.step()
        finally:
            self._is_busy = False
        self._look_at_runs()
        if seconds is None:
            self._end_term(scheduler)
        elif number == self._turn_number or self._is_called:
            self._turn_in((0.0 if self._is_called else seconds) + self.world.random.uniform(1e-5, 2e-3))

    def _woken(self) -> None:
        """A run has come back."""
        if self.scheduler is not None:
            self._turn_in(self.world.random.uniform(1e-5, 1e-3))

    def _look(self) -> None:
        """What the elector's thread does each second, and when it was told to leave."""
        scheduler = self.scheduler
        if scheduler is None:
            return
        seen = policy.Signs(self._leaving, self.election.still_mine(), scheduler.term_lost, scheduler.fault)
        reason = policy.why_step_down(seen)
        if reason:
            scheduler.close(reason, self.stage.grace if policy.deserves_grace(seen) else 0.0)
            self._turn_in(0.0001)
        self.later(policy.RENEW_EVERY, self._look)

    def _end_term(self, scheduler: Scheduler) -> None:
        if scheduler.fault is not None and scheduler.damage is None:
            self.world.violate(f"The scheduler never fails, yet {scheduler.fault}.")
        scheduler.end()
        scheduler.close("the term is over", 0.0)
        self._look_at_runs()
        self.scheduler = None
        if scheduler.damage is not None and self.election.still_mine():
            self.journal.set_aside(scheduler.damage.kind)
        self._past.add(scheduler)
        lingering = ", ".join(run.run_id for run in scheduler.lingering)
        self.tell("leads no more" + (f"; {lingering} linger" if lingering else ""))
        self.election.resign(max(self.clock.now() + AHEAD, self._doubted_until), self._newest_row())
        self.later(0.001 if self._leaving else policy.COOL_DOWN, self._round)

    def _look_at_runs(self) -> None:
        if self._hands is not None:
            self._hands.look()

    def _leave(self, why: str) -> None:
        if self._leaving is not None:
            return
        self._leaving = why
        self.tell(f"is told to leave: {why}")
        # Its server kills it after a while, whatever still runs.
        self.later(self.stage.grace + self.world.random.uniform(1, 10), self._killed_by_server)
        if self.scheduler is not None:
            self._look()
        else:
            self._round()

    def _killed_by_server(self) -> None:
        self.tell("is killed by its server")
        self.die()

"""Which slots are due: the agenda of a term, and what pausing, and what the journal knows of each lane, do to it.

It brings to the desk what is to be run and what has to be accounted for; what becomes of either is decided there.
"""

from __future__ import annotations

from collections.abc import Mapping

from onduty._runtime.agenda import Agenda, Due
from onduty._runtime.desk import PAUSED, Desk
from onduty._runtime.lanes import Lane
from onduty._runtime.term import Term
from onduty.clock import SECOND, Clock
from onduty.journal import Mark, Outcome
from onduty.journal.entries import Era, Seen
from onduty.schedules import Schedule

BATCH = 64
"""Due tasks decided at once. The first of thousands shall begin before the last is written; and what a batch makes
lives until it is written, so that a batch of 10,000 was measured to cost twice as much for each, in the garbage
collector."""

UNWRITTEN = "the leader before may have run it, and could not write it down"


class Planner:
    """One per term. As the desk, it reads the clock that it is given, and no journal and no thread."""

    def __init__(self, term: Term, lanes: Mapping[str, Lane], clock: Clock, desk: Desk) -> None:
        self._term = term
        self._lanes = lanes
        self._clock = clock
        self._desk = desk
        self.agenda = Agenda()

    def plan(self, lane: Lane, mark: Mark | None) -> None:
        """Put the lane on the agenda, unless it is paused; ``mark``: how far the journal knows it."""
        lane.mark = mark
        if lane.schedule is None:
            return
        if lane.paused:
            self._tell_lost(lane)
            return
        options, now = lane.declared.chosen, self._clock.now()
        opened = self.agenda.add(lane.name, lane.schedule, options, mark, now, self._lost_until(lane), lane.since)
        if opened.era is not None:
            self._desk.write(Era(lane.task, opened.era, lane.key))
        if opened.seen is not None:
            self._desk.write(Seen(lane.task, opened.seen, lane.key, str(lane.schedule)))

    def decide_due(self) -> None:
        """Bring the desk what is due, a batch of it at most, and what may be claimed ahead."""
        now = self._clock.now()
        for name in self.agenda.set_back(now):
            self._desk.write(Era(self._lanes[name].task, now, self._lanes[name].key))
        overdue = self.agenda.due(now, BATCH)
        self._bring(overdue)
        if len(overdue) < BATCH:
            self._bring(self.agenda.soon(now, now + self._term.ahead, BATCH, self._is_idle))

    def pause(self, lane: Lane) -> None:
        """Nothing becomes due there any more; triggered runs are run all the same. A service is told to end."""
        lane.paused = True
        mark = self.agenda.remove(lane.name)
        if mark is not None:
            lane.mark = mark
            self._tell_lost(lane)
        if lane.declared.is_service:
            self._desk.halt_all(lane, PAUSED)

    def resume(self, lane: Lane) -> None:
        """Go on from now; what would have been due meanwhile is written down as skipped."""
        lane.paused = False
        now, mark = self._clock.now(), lane.mark
        # A schedule that was changed meanwhile begins now; it had no slots before.
        is_known = mark is not None and mark.plan in {None, str(lane.schedule)}
        if lane.schedule is not None and mark is not None and mark.slot is not None and is_known:
            passed = lane.schedule.between(mark.slot, now)
            if passed is not None:
                self._desk.pass_over(lane, passed, Outcome.SKIPPED, PAUSED)
            mark = mark._replace(slot=max(mark.slot, now))
        self.plan(lane, mark)
        self._desk.freed(lane)
        self._desk.run_once(lane)

    def until_next(self, longest: float) -> float:
        """Seconds until a slot is due or may be claimed ahead, at most ``longest``; less than 0: one is overdue."""
        slot = self.agenda.next_at()
        if slot is None:
            return longest
        left, ahead = slot - self._clock.now(), self._term.ahead
        # Nearer than that, what could be claimed ahead has been.
        return min(longest, (left - ahead if left > ahead else left) / SECOND)

    def _bring(self, batch: list[Due]) -> None:
        """First what is only written down: what is alike and in a row costs the journal less."""
        for due in batch:
            lane = self._lanes[due.name]
            if due.decided is not None:
                self._desk.write(Era(lane.task, due.decided, lane.key))
            if due.passed is not None:
                self._desk.pass_over(lane, due.passed, Outcome.MISSED)
            if due.lost is not None:
                self._desk.pass_over(lane, due.lost, Outcome.LOST, UNWRITTEN)
        for due in batch:
            lane = self._lanes[due.name]
            for slot in due.run:
                early = self._early(lane, slot, due.at)
                self._desk.due(lane, slot, due.stands_for, early, catching_up=len(due.run) > 1)

    def _early(self, lane: Lane, slot: int, at: int) -> float:
        """Seconds until the run may begin: not before ``at``, nor before all clocks show the second that it is for."""
        longest = self._term.ahead
        if _is_read_off_a_clock(lane.schedule, slot):
            lag = round(self._clock.lag * SECOND)
            at, longest = max(at, slot + lag), longest + lag
        # No longer than that, should the clock be set back right now.
        return min(at - self._clock.now(), longest) / SECOND

    def _tell_lost(self, lane: Lane) -> None:
        """Of a lane that is paused: once nothing is in doubt any more, the next leader knows nothing of it."""
        mark = lane.mark
        if lane.schedule is None or mark is None or mark.slot is None or mark.plan not in {None, str(lane.schedule)}:
            return
        lost = lane.schedule.between(mark.slot, min(self._lost_until(lane), self._clock.now()))
        if lost is not None:
            self._desk.pass_over(lane, lost, Outcome.LOST, UNWRITTEN)
            lane.mark = mark._replace(slot=lost.last)

    def _lost_until(self, lane: Lane) -> int:
        return 0 if lane.declared.chosen.retry_lost else self._term.lost_until

    def _is_idle(self, name: str) -> bool:
        lane = self._lanes[name]
        return not lane.in_progress and not lane.waiting


def _is_read_off_a_clock(schedule: Schedule | None, slot: int) -> bool:
    """Whether a run may well ask which second, or day, it is: 0.1 s after the one before, nobody does."""
    if schedule is None or slot % SECOND:
        return False
    following = schedule.next_after(slot)
    return following is None or following - slot >= SECOND

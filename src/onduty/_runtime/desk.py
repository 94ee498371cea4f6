"""The scheduler's decisions: what becomes of a due slot, a trigger, a finished run.

Each decision is a :data:`Step`: an entry for the journal, and what to do once it is accepted. The desk reads the clock
that it is
given, but no journal and no thread: all of it can be driven by hand. A run is in its lane from the moment it is
decided, so that the next
decision in the same batch knows of it; a refused step takes it out again.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Literal

from onduty import events as ev
from onduty._runtime.agenda import Agenda, Due
from onduty._runtime.execution import Execution
from onduty._runtime.lanes import Lane
from onduty._runtime.runner import TIMED_OUT
from onduty._runtime.term import Term
from onduty.clock import SECOND, Clock
from onduty.events import Events
from onduty.journal import Begin, Claim, Entry, Finish, Mark, Outcome, Passed, RunRecord, Seen
from onduty.schedules import Slots

SERVICE_BACKOFF = 60.0
"""Seconds that a service waits at most before it is run again; the first time it is 1, then it doubles."""

BATCH = 64
"""Due tasks decided at once. The first of thousands shall begin before the last is written; and what a batch makes
lives until it is written, so that a batch of 10,000 was measured to cost twice as much for each, in the garbage
collector."""

AHEAD = 2_000
"""Microseconds before its slot at which a run may be claimed, if its task is idle; its thread holds it until the slot.
So neither the journal nor the change of threads makes it late. A leader that dies in between leaves it *lost*."""

CANCELLED = "it was cancelled"
REPLACED = "a newer run took its place"

Step = tuple[Entry, Literal["start", "queue", "note"], "Execution | None"]


class Desk:
    """Holds the lanes, the agenda and the alarms of one term; ``steps`` is the batch in the making."""

    def __init__(
        self,
        term: Term,
        lanes: Mapping[str, Lane],
        clock: Clock,
        events: Events,
        came_back: Callable[[Execution], None],
    ) -> None:
        self._term = term
        self._lanes = lanes
        self._clock = clock
        self._events = events
        self._came_back = came_back
        self._numbers = count(1)
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self._retrying: dict[str, Execution] = {}
        self._closed = False
        self.agenda = Agenda(clock.now())
        self.steps: list[Step] = []

    # What a term begins with

    def open_agenda(self, marks: Mapping[tuple[str, str], Mark]) -> None:
        self.agenda = Agenda(self._clock.now())
        for name, lane in self._lanes.items():
            if lane.schedule is not None:
                mark = marks.get((name, ""))
                seen = self.agenda.add(name, lane.schedule, lane.declared.options, mark.slot if mark else None)
                if seen is not None:
                    self.steps.append((Seen(name, seen), "note", None))

    def requeue(self, record: RunRecord) -> None:
        """A run that an earlier term had accepted and not begun."""
        lane = self._lanes[record.task]
        lane.waiting.append(
            self._execution(lane, record.slot, record.run_id, record.kwargs, triggered=record.slot is None)
        )

    def freed(self, lane: Lane) -> None:
        """Something in this lane has stopped counting as running: begin what waits, or leave it to the next leader."""
        if self._closed:
            return
        if lane.declared.is_service and not lane.in_progress:
            self._start_service(lane)
        while lane.waiting and lane.in_progress < lane.declared.options.concurrency:
            run = lane.waiting.popleft()
            lane.running[run.run_id] = run
            self._begin(run)

    # What comes up during it

    def decide_due(self) -> None:
        now = self._clock.now()
        overdue = self.agenda.due(now, BATCH)
        for due in overdue:
            self._decide(due)
        if len(overdue) < BATCH:
            for due in self.agenda.soon(now, now + AHEAD, BATCH, self._is_idle):
                self._decide(due)

    def request(self, run: Execution) -> None:
        self._admit(self._lanes[run.task_name], run)

    def requested(self, name: str, kwargs: str) -> Execution:
        """A run to be handed to :meth:`request` later; may be called from any thread."""
        return self._execution(self._lanes[name], None, kwargs=kwargs, triggered=True)

    def cancel(self, run_id: str) -> None:
        """Tell a run in progress to end, or take a waiting one out of the queue; any other is left alone."""
        for lane in self._lanes.values():
            if run_id in lane.running:
                self._halt(lane.running[run_id], CANCELLED)
            for run in [run for run in lane.waiting if run.run_id == run_id]:
                lane.waiting.remove(run)
                self._finish(run, Outcome.STOPPED, CANCELLED)

    def finished(self, run: Execution) -> None:
        """It has brought back its outcome: write it down, try it again, or, a service, start it anew."""
        lane, outcome = self._lanes[run.task_name], run.outcome
        assert outcome is not None
        lane.running.pop(run.run_id, None)
        failed = outcome in (Outcome.FAILED, Outcome.TIMED_OUT)
        lane.count(outcome, failed=failed)
        halted = run.stopping and run.why != TIMED_OUT
        retry_in: float | None = None
        if run.declared.is_service:
            self._finish(run, outcome, run.error)
            if (failed and not halted) or run.why == CANCELLED:
                retry_in = self._revive(lane, run)
        elif failed and not halted and not self._closed and run.attempt <= run.declared.options.retries:
            retry_in = run.declared.options.backoff * _doubled(run.attempt - 1) * random.uniform(0.8, 1.2)
            lane.running[run.run_id] = self._retrying[run.run_id] = run
            self.alarm(retry_in, lambda: self._try_again(lane, run))
        else:
            self._finish(run, outcome, run.error)
        self._tell_outcome(run, outcome, retry_in)
        if lane.waiting:
            self.freed(lane)

    def close(self) -> None:
        """Nothing begins any more. What is queued stays so, for the next leader; what waits for a retry has failed."""
        self._closed = True
        for run in list(self._retrying.values()):
            self._give_up_retrying(run)

    def refused(self, run: Execution) -> None:
        """Somebody else has run that slot, or closed that row: an answer, not an error."""
        lane = self._lanes[run.task_name]
        lane.running.pop(run.run_id, None)
        if run in lane.waiting:
            lane.waiting.remove(run)

    # Alarms, on the monotonic clock

    def alarm(self, seconds: float, ring: Callable[[], None]) -> None:
        heapq.heappush(self._alarms, (self._clock.mono() + seconds, next(self._numbers), ring))

    def ring_alarms(self) -> None:
        now = self._clock.mono()
        while self._alarms and self._alarms[0][0] <= now:
            heapq.heappop(self._alarms)[2]()

    def until_next(self, longest: float) -> float:
        """Seconds until something is due, at most ``longest``."""
        slot = self.agenda.next_at()
        if slot is not None:
            left = slot - self._clock.now()
            # Nearer than that, what could be claimed ahead has been.
            longest = min(longest, (left - AHEAD if left > AHEAD else left) / SECOND)
        if self._alarms:
            longest = min(longest, self._alarms[0][0] - self._clock.mono())
        return max(longest, 0.0)

    # One step each

    def _decide(self, due: Due) -> None:
        lane = self._lanes[due.name]
        if due.passed is not None:
            self._pass(lane, due.passed, Outcome.MISSED)
        for slot in due.run:
            run = self._execution(lane, slot, missed=due.stands_for)
            if due.at:
                # No longer than that, should the clock be set back right now.
                run.not_before_mono = self._clock.mono() + min(due.at - self._clock.now(), AHEAD) / SECOND
            self._admit(lane, run, catching_up=len(due.run) > 1)

    def _admit(self, lane: Lane, run: Execution, *, catching_up: bool = False) -> None:
        verdict = lane.admit(triggered=run.triggered, catching_up=catching_up)
        if verdict == "skip":
            assert run.slot is not None
            self._pass(lane, Slots(run.slot, run.slot, 1), Outcome.SKIPPED)
            return
        if verdict == "cancel":
            for old in list(lane.running.values()):
                self._halt(old, REPLACED)
            while lane.waiting:
                self._finish(lane.waiting.popleft(), Outcome.SKIPPED, REPLACED)
        begin = verdict == "start"
        if begin:
            lane.running[run.run_id] = run
        else:
            lane.waiting.append(run)
        at = max(self._clock.now(), run.slot or 0)
        claim = Claim(run.run_id, run.task_name, run.slot, at, begin, run.kwargs)
        self.steps.append((claim, "start" if begin else "queue", run))

    def _is_idle(self, name: str) -> bool:
        lane = self._lanes[name]
        return not lane.in_progress and not lane.waiting

    def _start_service(self, lane: Lane) -> None:
        run = self._execution(lane, None)
        lane.running[run.run_id] = run
        self.steps.append((Claim(run.run_id, run.task_name, None, self._clock.now()), "start", run))

    def _revive(self, lane: Lane, run: Execution) -> float:
        if self._clock.mono() - run.started_mono >= SERVICE_BACKOFF:
            lane.in_a_row = 1
        seconds = min(SERVICE_BACKOFF, _doubled(lane.in_a_row - 1))
        self.alarm(seconds, lambda: None if lane.in_progress else self._start_service(lane))
        return seconds

    def _begin(self, run: Execution) -> None:
        self.steps.append((Begin(run.run_id, run.attempt, self._clock.now()), "start", run))

    def _try_again(self, lane: Lane, run: Execution) -> None:
        if self._retrying.pop(run.run_id, None) is None:
            return  # it was cancelled meanwhile
        again = self._execution(
            lane, run.slot, run.run_id, run.kwargs, run.missed, triggered=run.triggered, attempt=run.attempt + 1
        )
        lane.running[run.run_id] = again
        self._begin(again)

    def _halt(self, run: Execution, why: str) -> None:
        run.halt(why)
        if run.run_id in self._retrying:
            self._give_up_retrying(run)

    def _give_up_retrying(self, run: Execution) -> None:
        del self._retrying[run.run_id]
        self._lanes[run.task_name].running.pop(run.run_id, None)
        assert run.outcome is not None
        self._finish(run, run.outcome, run.error)
        facts = (self._clock.now(), self._term.app, run.task_name, run.run_id, run.slot, run.attempt)
        self._events.emit(ev.RetryDropped(*facts, run.why or "the worker is leaving"))

    def _finish(self, run: Execution, outcome: Outcome, error: str | None) -> None:
        ended = run.ended_at or self._clock.now()
        self.steps.append((Finish(run.run_id, outcome, ended, error, run.result), "note", None))

    def _pass(self, lane: Lane, slots: Slots, outcome: Outcome) -> None:
        now, name = self._clock.now(), lane.declared.name
        entry = Passed(self._new_id(), name, slots.first, slots.last, slots.count, outcome, now)
        self.steps.append((entry, "note", None))
        if self._events.wants(ev.SlotsPassed):
            self._events.emit(
                ev.SlotsPassed(now, self._term.app, name, slots.first, slots.last, slots.count, outcome.value)
            )

    def _new_id(self) -> str:
        return f"{self._term.number:x}-{next(self._numbers):x}"

    def _execution(
        self,
        lane: Lane,
        slot: int | None,
        run_id: str | None = None,
        kwargs: str = "{}",
        missed: Slots | None = None,
        *,
        triggered: bool = False,
        attempt: int = 1,
    ) -> Execution:
        return Execution(
            lane.declared,
            run_id or self._new_id(),
            slot,
            self._term.fencing,
            clock=self._clock,
            box=lane.box,
            finished=self._came_back,
            zone=lane.schedule.zone if lane.schedule else None,
            kwargs=kwargs,
            missed=missed,
            triggered=triggered,
            attempt=attempt,
        )

    def _tell_outcome(self, run: Execution, outcome: Outcome, retry_in: float | None) -> None:
        kind = _EVENTS[outcome]
        if not self._events.wants(kind):
            return
        facts = (run.ended_at, self._term.app, run.task_name, run.run_id, run.slot, run.attempt)
        seconds = self._clock.mono() - run.started_mono
        if outcome is Outcome.FAILED:
            self._events.emit(ev.RunFailed(*facts, seconds, run.error or "", run.trace or "", retry_in))
        elif outcome is Outcome.TIMED_OUT:
            self._events.emit(ev.RunTimedOut(*facts, seconds, retry_in))
        elif outcome is Outcome.STOPPED:
            self._events.emit(ev.RunStopped(*facts, seconds, run.why or run.error or ""))
        else:
            self._events.emit(ev.RunSucceeded(*facts, seconds))


def _doubled(times: int) -> float:
    return 2.0 ** min(max(times, 0), 30)  # whoever fails for weeks would come to numbers that are none


_EVENTS: dict[Outcome, Any] = {
    Outcome.SUCCEEDED: ev.RunSucceeded,
    Outcome.FAILED: ev.RunFailed,
    Outcome.TIMED_OUT: ev.RunTimedOut,
    Outcome.STOPPED: ev.RunStopped,
}

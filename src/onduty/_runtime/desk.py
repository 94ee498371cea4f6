"""The scheduler's decisions: what becomes of a due slot, a trigger, a finished run.

Each decision is a :data:`Step`: an entry for the journal, and what to do once it is accepted. The desk reads the clock
that it is given, but no journal and no thread: all of it can be driven by hand. A run is in its lane from the moment it
is decided, so that the next decision in the same batch knows of it; a refused step takes it out again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from onduty import events as ev
from onduty._runtime.alarms import Alarms
from onduty._runtime.execution import Execution
from onduty._runtime.lanes import Lane
from onduty._runtime.runner import TIMED_OUT
from onduty._runtime.term import Term
from onduty.clock import SECOND, Clock
from onduty.events import Events
from onduty.journal import Outcome, RunRecord
from onduty.journal.entries import Again, Begin, Claim, Entry, Finish, Lost, Note, Passed
from onduty.options import LONGEST
from onduty.schedules import Slots

if TYPE_CHECKING:
    from onduty._runtime.execution import Keeper

SERVICE_BACKOFF = 60.0
"""Seconds that a service waits at most before it is run again; the first time it is 1, then it doubles."""

RETRY_LOST = 3
"""How often ``retry_lost`` runs again, beyond ``retries``, what its workers died of."""

ONCE_MORE = 1.0
"""Seconds until a ``once`` task whose worker died is tried again."""

CANCELLED = "it was cancelled"
REPLACED = "a newer run took its place"
PAUSED = "it was paused"
_HOW_TO_STAY = "one that is to stay loops, while ctx.sleep(1): ..."

Step = tuple[Entry, Literal["start", "queue", "note"], "Execution | None"]


class Desk:
    """Holds the lanes and the alarms of one term; ``steps`` is the batch in the making."""

    def __init__(
        self,
        term: Term,
        lanes: Mapping[str, Lane],
        clock: Clock,
        events: Events,
        keeper: Keeper,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._term = term
        self._lanes = lanes
        self._clock = clock
        self._events = events
        self._keeper = keeper
        self._spread = spread
        self._numbers = count(1)
        self._retrying: dict[str, tuple[Execution, Outcome, str | None]] = {}
        self._closed = False
        self.alarms = Alarms(clock)
        self.steps: list[Step] = []

    # What a term begins with

    def requeue(self, lane: Lane, record: RunRecord, log: str | None = None) -> None:
        """A run that an earlier term had accepted and not begun, or was to try again. ``log``: what it has said."""
        run = self._again(lane, record, log)
        if record.retry_at is None:
            lane.waiting.append(run)
        elif lane.in_progress >= lane.declared.chosen.concurrency:
            # Each had a lane of its own; the schedule of one is gone, and what it has left runs in that of its task.
            self._wait_first(lane, run)
        else:
            # No longer than it was to wait, should the clock have been set back since.
            longest = lane.declared.chosen.backoff * _doubled(record.attempt - 1) * 1.2
            seconds = min(max(record.retry_at - self._clock.now(), 0) / SECOND, longest)
            self._retry_in(seconds, lane, run, Outcome.FAILED, record.error)

    def lost(self, lane: Lane, record: RunRecord, log: str | None = None) -> bool:
        """Its process died while it ran: whether it will run again. It waits before all that was never begun; ask
        :meth:`freed` to begin it.
        """
        options = lane.declared.chosen
        is_wanted = not lane.declared.is_service and record.run_id not in lane.unwanted
        again = options.retry_lost and is_wanted and record.attempt <= options.retries + RETRY_LOST
        self.write(Lost(record.run_id, self._clock.now(), again))
        if again:
            self._wait_first(lane, self._again(lane, record, log))
        elif record.once:
            self.alarms.set(ONCE_MORE, lambda: self.run_once(lane))
        return again

    @staticmethod
    def _wait_first(lane: Lane, again: Execution) -> None:
        """Behind others that have begun before, and before all that has not."""
        lane.waiting.insert(sum(run.attempt > 1 for run in lane.waiting), again)

    def run_once(self, lane: Lane) -> None:
        """The journal refuses it if it has succeeded before, or is in progress somewhere."""
        if lane.once_key is not None and not self._closed and not lane.paused:
            run = self._execution(lane, None)
            run.triggered, run.key, run.once = True, lane.once_key, True
            self._admit(lane, run)

    def freed(self, lane: Lane) -> None:
        """Something in this lane has stopped counting as running: begin what waits, or leave it to the next leader."""
        if self._closed:
            return
        if lane.declared.is_service:
            self._start_service(lane)
        while lane.waiting and lane.in_progress < lane.declared.chosen.concurrency:
            run = lane.waiting.popleft()
            lane.running[run.run_id] = run
            self._begin(run)

    # What comes up during it

    def due(self, lane: Lane, slot: int, missed: Slots | None, early: float, *, catching_up: bool) -> None:
        """``missed``: the slots that this run stands for. ``early``: seconds from now before which it may not begin."""
        run = self._execution(lane, slot)
        run.missed = missed
        if early > 0:
            run.not_before_mono = self._clock.mono() + early
        self._admit(lane, run, catching_up=catching_up)

    def pass_over(self, lane: Lane, slots: Slots, outcome: Outcome, why: str | None = None) -> None:
        """Account for slots that are not run."""
        now, name = self._clock.now(), lane.task
        self.write(Passed(self._new_id(), name, slots.first, slots.last, slots.count, outcome, now, lane.key, why))
        if self._events.wants(ev.SlotsPassed):
            facts = (name, slots.first, slots.last, slots.count, outcome.value, lane.key)
            self._events.emit(ev.SlotsPassed(now, self._term.app, *facts))

    def request(self, run: Execution) -> None:
        self._admit(self._lanes[run.lane], run)

    def requested(self, name: str, kwargs: str, run_id: str | None = None, key: str | None = None) -> Execution:
        """A run to be handed to :meth:`request` later; may be called from any thread."""
        run = self._execution(self._lanes[name], None, run_id, kwargs)
        run.triggered, run.key = True, key
        return run

    def decline(self, run: Execution) -> None:
        """Write down a run that was cancelled before it was begun."""
        self._claim(self._lanes[run.lane], run, "queue")
        self._never_begin(run)

    def cancel(self, run_id: str) -> None:
        """Tell a run in progress to end, or take a waiting one out of the queue. One of another process can't be told;
        should it be lost, it is not tried again. Any other is left alone.
        """
        for lane in self._lanes.values():
            lane.unwanted |= lane.foreign & {run_id}
            if run_id in lane.running:
                self._halt(lane.running[run_id], CANCELLED)
            for run in [run for run in lane.waiting if run.run_id == run_id]:
                lane.waiting.remove(run)
                self._never_begin(run)

    def cancel_all(self, task: str) -> None:
        """The same for all runs of a task."""
        for lane in self._lanes.values():
            if lane.task == task:
                lane.unwanted |= lane.foreign
                self.halt_all(lane, CANCELLED)
                while lane.waiting:
                    self._never_begin(lane.waiting.popleft())

    def halt_all(self, lane: Lane, why: str) -> None:
        """Tell what is in progress there to end."""
        for run in list(lane.running.values()):
            self._halt(run, why)

    def finished(self, run: Execution) -> None:
        """It has brought back its outcome: write it down, try it again, or, a service, start it anew. Its lane is to be
        told of by :meth:`freed`.
        """
        lane, outcome = self._lanes[run.lane], run.outcome
        assert outcome is not None
        lane.running.pop(run.run_id, None)
        failed = outcome in (Outcome.FAILED, Outcome.TIMED_OUT)
        lane.count(outcome, failed=failed)
        halted = run.stopping and run.why != TIMED_OUT
        retry_in: float | None = None
        self.note(run)
        if run.declared.is_service:
            self._finish(run, outcome, run.error)
            if (failed and not halted) or run.why == CANCELLED:
                retry_in = self._revive(lane, run)
            elif run.why == PAUSED:  # and resumed meanwhile, or else it is not begun
                self.alarms.set(0.0, lambda: self.freed(lane))
            elif outcome is Outcome.SUCCEEDED and not halted:
                text = f"the service {lane.task} has returned, and is not started again in this term: {_HOW_TO_STAY}"
                self._events.emit(ev.Advice(self._clock.now(), self._term.app, text))
        elif failed and run.why not in (CANCELLED, REPLACED) and run.attempt <= run.declared.chosen.retries:
            backoff = min(run.declared.chosen.backoff * _doubled(run.attempt - 1), LONGEST)
            retry_in = backoff * self._spread(0.8, 1.2)
            at = self._clock.now()
            self.write(Again(run.run_id, run.attempt, at + round(retry_in * SECOND), at, run.error))
            self._retry_in(retry_in, lane, self._again(lane, run, run.log()), outcome, run.error)
        else:
            self._finish(run, outcome, run.error)
        self._tell_outcome(run, outcome, retry_in)

    def close(self) -> None:
        """Nothing begins any more. What is queued or waits for a retry stays so, for the next leader."""
        self._closed = True
        for run, _, _ in self._retrying.values():
            self._lanes[run.lane].running.pop(run.run_id, None)
        self._retrying.clear()

    def take_steps(self) -> list[Step]:
        steps, self.steps = self.steps, []
        return steps

    def write(self, entry: Entry) -> None:
        """With the next batch; nothing else is to be done for it."""
        self.steps.append((entry, "note", None))

    def note(self, run: Execution) -> None:
        """Write down how far it is and what it has said, if that is news."""
        if run.is_noted:
            run.is_noted = False
            self.write(Note(run.run_id, run.progress, run.text, run.log()))

    def refused(self, run: Execution) -> None:
        """Somebody else has run that slot, or closed that row: an answer, not an error."""
        lane = self._lanes[run.lane]
        self._vacate(lane, run)
        if run in lane.waiting:
            lane.waiting.remove(run)

    # One step each

    def _admit(self, lane: Lane, run: Execution, *, catching_up: bool = False) -> None:
        verdict = lane.admit(triggered=run.triggered, catching_up=catching_up)
        if verdict == "skip":
            assert run.slot is not None
            self.pass_over(lane, Slots(run.slot, run.slot, 1), Outcome.SKIPPED)
            return
        if verdict == "cancel":
            self.halt_all(lane, REPLACED)
            while lane.waiting:
                self._finish(lane.waiting.popleft(), Outcome.SKIPPED, REPLACED)
        if verdict == "start":
            lane.running[run.run_id] = run
            self._claim(lane, run, "start")
        else:
            lane.waiting.append(run)
            self._claim(lane, run, "queue")

    def _claim(self, lane: Lane, run: Execution, then: Literal["start", "queue"]) -> None:
        slot, at = run.slot, self._clock.now()
        if slot is not None and slot > at:
            at = slot
        claim = Claim(run.run_id, lane.task, slot, at, then == "start", run.kwargs, lane.key, run.key, run.once)
        self.steps.append((claim, then, run))

    def _never_begin(self, run: Execution) -> None:
        self._finish(run, Outcome.STOPPED, CANCELLED)
        facts = (self._clock.now(), self._term.app, run.task_name, run.run_id, run.slot, run.attempt)
        self._events.emit(ev.RunStopped(*facts, 0.0, CANCELLED))

    def _vacate(self, lane: Lane, run: Execution) -> None:
        """It is not in progress any more, though it has not come back: whoever waits begins in the next turn."""
        if lane.running.pop(run.run_id, None) is not None:
            self.alarms.set(0.0, lambda: self.freed(lane))

    def _start_service(self, lane: Lane) -> None:
        if lane.in_progress or lane.paused:
            return
        run = self._execution(lane, None)
        lane.running[run.run_id] = run
        self.steps.append((Claim(run.run_id, run.task_name, None, self._clock.now()), "start", run))

    def _revive(self, lane: Lane, run: Execution) -> float:
        if self._clock.mono() - run.started_mono >= SERVICE_BACKOFF:
            lane.in_a_row = 1
        seconds = min(SERVICE_BACKOFF, _doubled(lane.in_a_row - 1))
        self.alarms.set(seconds, lambda: self._start_service(lane))
        return seconds

    def _begin(self, run: Execution) -> None:
        self.steps.append((Begin(run.run_id, run.attempt, self._clock.now()), "start", run))

    def _again(self, lane: Lane, run: Execution | RunRecord, log: str | None) -> Execution:
        """The next attempt of a run, of this term or an earlier one. It goes on with the log of those before it."""
        again = self._execution(lane, run.slot, run.run_id, run.kwargs)
        again.missed = run.missed if isinstance(run, Execution) else None
        again.triggered, again.attempt = run.slot is None, run.attempt + 1
        again.key, again.once = run.key, run.once
        again.take_over(log)
        return again

    def _retry_in(self, seconds: float, lane: Lane, run: Execution, outcome: Outcome, error: str | None) -> None:
        """``outcome`` and ``error`` of the attempt before: what it has come to, should it be cancelled meanwhile."""
        if self._closed:
            return
        lane.running[run.run_id] = run
        self._retrying[run.run_id] = (run, outcome, error)
        self.alarms.set(seconds, lambda: self._begin(run) if self._retrying.pop(run.run_id, None) else None)

    def _halt(self, run: Execution, why: str) -> None:
        run.halt(why, unwanted=True)
        if run.run_id not in self._retrying:
            return
        _, outcome, error = self._retrying.pop(run.run_id)
        self._vacate(self._lanes[run.lane], run)
        self._finish(run, outcome, error)
        facts = (self._clock.now(), self._term.app, run.task_name, run.run_id, run.slot, run.attempt - 1)
        self._events.emit(ev.RetryDropped(*facts, why))

    def _finish(self, run: Execution, outcome: Outcome, error: str | None) -> None:
        ended = run.ended_at or self._clock.now()
        why = run.why if outcome is Outcome.STOPPED else None
        self.write(Finish(run.run_id, outcome, ended, error or why or None, run.result))

    def _new_id(self) -> str:
        term, number = self._term, next(self._numbers)
        # What each worker does for itself has numbers of its own, so the worker is named too.
        return f"{term.number:x}-{number:x}" if term.fencing else f"{term.number:x}.{term.me.pid:x}-{number:x}"

    def _execution(
        self, lane: Lane, slot: int | None, run_id: str | None = None, kwargs: str | None = None
    ) -> Execution:
        run = Execution(
            lane.declared,
            run_id or self._new_id(),
            slot,
            self._term.fencing,
            lane.name,
            lane.kwargs if kwargs is None else kwargs,
            lane.box,
            self._keeper,
            self._clock,
        )
        if lane.schedule is not None:
            run.zone = lane.schedule.zone
        return run

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

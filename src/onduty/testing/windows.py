"""The windows of one task: when each slot's run may begin, and what it may come to. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onduty._runtime.agenda import delay
from onduty._runtime.desk import RETRY_LOST
from onduty.clock import SECOND
from onduty.journal import Outcome, RunRecord
from onduty.options import Options
from onduty.schedules import Schedule, Slots
from onduty.schedules.cron import COUNT_LIMIT
from onduty.tasks import Declared, Task
from onduty.testing.report import shown

if TYPE_CHECKING:
    from onduty.testing.checker import Ran

EARLY = 2_000
"""Microseconds before its window opens at which a run may be claimed."""

RAN = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT)
NEVER_RAN = (Outcome.SKIPPED, Outcome.MISSED)
NEED_NOT_HAVE_RUN = (*NEVER_RAN, Outcome.LOST)
"""What may be said of many slots in one row."""


class Windows:
    """``name`` is that of the task once it is known; ``most_attempts``: how often one slot may run."""

    def __init__(
        self, of: Declared | Schedule | None, options: Options | None, timezone: str, within: float | None
    ) -> None:
        self._options = of.chosen if options is None and isinstance(of, Declared) else options
        self._within = within
        self._given = of.name if isinstance(of, Declared) else None
        self._seen: str | None = None
        self.schedule: Schedule | None = None
        if isinstance(of, Task):
            self.schedule = of.schedule_in(timezone)
        elif not isinstance(of, Declared):
            self.schedule = of

    @property
    def name(self) -> str:
        return self._given or self._seen or "no task"

    @property
    def concurrency(self) -> int:
        return self._options.concurrency if self._options else 1

    @property
    def most_attempts(self) -> int:
        options = self._options or Options()
        return 1 + options.retries + (RETRY_LOST if options.retry_lost else 0)

    def concerns(self, task: str) -> bool:
        """Whether that is the task that is judged. Raises ``ValueError`` if nobody said which of several is."""
        if self._given is not None:
            return task == self._given
        if self._seen not in (None, task):
            raise ValueError(f"these are of several tasks, {self._seen} and {task}: give those of one, or the task")
        self._seen = task
        return True

    def opens(self, slot: int) -> int:
        """The instant from which its run may begin."""
        jitter = round(self._options.jitter * SECOND) if self._options else 0
        return slot + delay(self.name, slot, jitter) if jitter else slot

    def slot_of(self, fact: Ran) -> int:
        """Whose window it is in. Raises ``ValueError`` if it says neither its slot nor when it began."""
        if fact.slot is not None:
            return fact.slot
        if fact.started is None or self.schedule is None:
            raise ValueError(f"{fact} names neither its slot nor when it began")
        slot = self.schedule.latest(fact.started + EARLY)
        while slot is not None and self.opens(slot) > fact.started + EARLY:
            slot = self.schedule.latest(slot - 1)
        return fact.started if slot is None else slot

    def objections(self, row: RunRecord, *, settled: bool) -> Iterator[str]:
        """What can't be so about a row."""
        if row.slot is not None and row.first_slot is not None and self.schedule is not None:
            yield from self._slots(Slots(row.first_slot, row.slot, row.slots))
            if row.slots == 1 and row.started_at is not None:
                yield from self._begins(row.slot, row.started_at)
        if row.outcome is not None:
            yield from self._ends(row, row.outcome)
        elif settled:
            yield "it has no outcome"
        if self._options is not None and row.attempt > self.most_attempts:
            yield f"it was tried {row.attempt} times, at most {self.most_attempts} are allowed"

    def _ends(self, row: RunRecord, outcome: Outcome) -> Iterator[str]:
        options = self._options or Options()
        if row.slots > 1 and outcome not in NEED_NOT_HAVE_RUN:
            yield f"{row.slots} slots in one row are {outcome.value}"
        if outcome in RAN and row.started_at is None:
            yield f"it is {outcome.value} and never began"
        if outcome in NEVER_RAN and row.started_at is not None and options.overlap != "cancel":
            yield f"it began and is {outcome.value}"
        if row.started_at is not None and row.ended_at is not None and row.ended_at < row.started_at:
            yield "it ended before it began"
        if outcome is Outcome.TIMED_OUT and self._options is not None and options.timeout is None:
            yield "it timed out, and the task has no timeout"

    def objections_to(self, fact: Ran, slot: int) -> Iterator[str]:
        """What can't be so about an execution."""
        yield from self._slots(Slots(slot, slot, 1))
        if fact.started is not None:
            yield from self._begins(slot, fact.started)
            if fact.ended is not None and fact.ended < fact.started:
                yield "it ended before it began"

    def _slots(self, slots: Slots) -> Iterator[str]:
        assert self.schedule is not None
        if (self.schedule.latest(slots.first), self.schedule.latest(slots.last)) != (slots.first, slots.last):
            yield f"{shown(slots)} is no slot of {self.schedule}"
            return
        real = self.schedule.between(slots.first - 1, slots.last)
        count = real.count if real else 0
        if count != slots.count and count < COUNT_LIMIT:
            yield f"it counts {shown(slots)}, and there are {count}"

    def _begins(self, slot: int, started: int) -> Iterator[str]:
        late = started - self.opens(slot)
        if late < -EARLY:
            yield f"{shown(Slots(slot, slot, 1))} began {-late / SECOND:g} s before its time"
        if self._within is not None and late > self._within * SECOND:
            yield f"{shown(Slots(slot, slot, 1))} began {late / SECOND:g} s late"

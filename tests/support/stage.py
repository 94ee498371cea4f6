"""One duty, one journal and one term after the other, with real functions, on a clock that is moved by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from onduty import OnDuty, Outcome
from onduty._runtime import capture
from onduty._runtime.lanes import JournalState, Lane
from onduty._runtime.runner import Runner
from onduty._runtime.scheduler import Scheduler
from onduty._runtime.term import Term
from onduty.journal import Dynamic, Journal, Request, RunRecord
from onduty.journal.memory import MemoryJournal
from onduty.process import this_process
from onduty.schedules.spec import from_spec
from onduty.tasks import Declared, Task
from onduty.testing import ManualClock
from support.waiting import eventually


class Stage:
    """``holds``: whether the election says that the leader still leads. ``gap``: what was reserved last, at
    ``reserved_at``.
    """

    def __init__(self) -> None:
        self.duty = OnDuty()
        self.clock = ManualClock()
        self.journal: Journal = MemoryJournal()
        self.journal.open(this_process())
        self.holds = True
        self.gap = False
        self.reserved_at = 0
        self.schedulers: list[Scheduler] = []
        self.heard: list[Any] = []
        capture.install()

    def hear(self, kind: type[Any]) -> None:
        self.duty.on(kind)(self.heard.append)

    def begin(self, *, lost_until: int = 0) -> Scheduler:
        """One more term, by this process; whoever led before does not know."""
        number = self.journal.begin_term(0, self.clock.now())
        self._reserve(bool(lost_until))
        term = Term(
            "story",
            number,
            number,
            self.journal,
            self._holds,
            this_process(),
            lost_until=lost_until,
            reserve=self._reserve,
        )
        lanes = [self._lane(one, number) for one in self.duty.tasks]
        for lane in lanes:
            lane.once_key = lane.declared.once_key()
        runner = Runner(self.clock, None, lambda: None)
        scheduler = Scheduler(
            term, lanes, self.clock, self.duty._events, runner, lambda one: self._dynamic(one, number)
        )
        self.schedulers.append(scheduler)
        scheduler.start()
        return scheduler

    def begin_until(self, task: str, runs: int) -> Scheduler:
        """One more term, until the task has succeeded so often in all."""
        scheduler = self.begin()
        tick(self, lambda: len(self.rows(task)) >= runs)
        return scheduler

    def end(self, scheduler: Scheduler, grace: float = 5.0) -> None:
        scheduler.close("the story ends", grace)
        eventually(lambda: scheduler.is_over)

    def ask(self, wanted: Request) -> str:
        """What another process does: write it down, then ring."""
        run_id = self.journal.request(wanted)
        self.ring()
        return run_id

    def ring(self) -> None:
        for scheduler in self.schedulers:
            scheduler.ring()

    def settle(self) -> None:
        """Until the loops of all terms wait for time to pass, if they come to it: one may be held up by the story."""
        deadline = time.monotonic() + 0.5
        while self.clock.sleepers < sum(not one.is_over for one in self.schedulers) and time.monotonic() < deadline:
            time.sleep(0.001)

    def rows(self, task: str, outcome: Outcome | None = Outcome.SUCCEEDED) -> list[RunRecord]:
        """Oldest first."""
        return [record for record in reversed(self.journal.recent(task, 500)) if record.outcome is outcome]

    def _holds(self) -> bool:
        os.stat("/")  # a system call, as of the election by file: it lets go of the interpreter for a moment
        return self.holds

    def _reserve(self, gap: bool) -> None:
        self.reserved_at = self.clock.now()
        self.gap = gap

    def _box(self, number: int, task: str, key: str = "") -> JournalState:
        return JournalState(
            lambda: self.journal.state(task, key), lambda text: self.journal.set_state(number, task, text, key)
        )

    def _lane(self, declared: Declared, number: int) -> Lane:
        schedule = declared.schedule_in("UTC") if isinstance(declared, Task) else None
        return Lane(declared, self._box(number, declared.name), schedule)

    def _dynamic(self, one: Dynamic, number: int) -> Lane | None:
        declared = next((task for task in self.duty.tasks if task.name == one.task), None)
        if declared is None:
            return None
        return Lane(declared, self._box(number, one.task, one.key), from_spec(one.spec, "UTC"), one.key, one.kwargs)


def tick(stage: Stage, done: Callable[[], Any], seconds: float = 0.5) -> None:
    """Move the clock until it is so, and not before those whom it is for have seen where it is: else they are late."""

    def step() -> bool:
        if done():
            return True
        stage.settle()
        if done():
            return True
        stage.clock.advance(seconds)
        return bool(done())

    eventually(step)

"""Somebody who triggers, cancels, pauses and schedules, at random, from a process that is no worker."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from onduty.errors import StoreUnavailable
from onduty.journal import Dynamic, Request
from onduty.testing.simulator.cast import EXPORT, SPECS
from onduty.testing.simulator.door import Door
from onduty.testing.simulator.process import Process
from onduty.testing.simulator.stage import Stage


class User(Process):
    """Repeats what got no answer, under the same id, as the handle of a run does; gives up after a few times.

    Not when the journal was pruned meanwhile: an id means something only for as long as its row is kept.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.world, stage.machine, stage.machine.places[0], "user")
        self._stage = stage
        self._journal = Door(self, stage.store, stage.weather)
        self._numbers = count(1)
        self._asked: list[str] = []
        self._paused: list[str] = []
        self._prunings = 0

    def act(self) -> None:
        """One thing."""
        chance = self.world.random
        deed = chance.choices(
            (self._trigger, self._cancel, self._pause, self._resume, self._schedule, self._unschedule, self._prune),
            (8, 2, 1, 1, 1.5, 0.7, 1),
        )[0]
        deed()

    def come_to_an_end(self) -> None:
        """All pauses are over, whatever became of the wish before."""
        for task in self._stage.tasks:
            self._ask(f"resumes {task.name}", lambda name=task.name: self._journal.set_paused(name, None))  # type: ignore[misc]

    def _trigger(self) -> None:
        chance, run_id = self.world.random, f"r{next(self._numbers)}"
        task = EXPORT if chance.random() < 0.6 else chance.choice(self._stage.tasks)
        if task.is_service:
            return
        key = chance.choice(("k1", "k2")) if chance.random() < 0.3 else None
        self._asked.append(run_id)
        wanted = Request(run_id, "trigger", task.name, self._now(), "{}", key)
        self._ask(f"triggers {task.name} as {run_id}, key {key}", lambda: self._journal.request(wanted))

    def _cancel(self) -> None:
        chance, task = self.world.random, self.world.random.choice(self._stage.tasks)
        target = chance.choice(self._asked) if self._asked and chance.random() < 0.5 else None
        name = EXPORT.name if target else task.name
        wanted = Request(f"c{next(self._numbers)}", "cancel", name, self._now(), target=target)
        self._ask(f"cancels {target or name}", lambda: self._journal.request(wanted))

    def _pause(self) -> None:
        name, at = self.world.random.choice(self._stage.tasks).name, self._now()
        self._ask(f"pauses {name}", lambda: self._journal.set_paused(name, at))

    def _resume(self) -> None:
        name = self.world.random.choice(self._stage.tasks).name
        self._ask(f"resumes {name}", lambda: self._journal.set_paused(name, None))

    def _schedule(self) -> None:
        chance = self.world.random
        wanted = Dynamic(EXPORT.name, chance.choice(("d1", "d2")), chance.choice(SPECS), "{}", self._now())
        self._ask(f"schedules {wanted.key}: {wanted.spec}", lambda: self._journal.put_schedule(wanted))

    def _unschedule(self) -> None:
        key = self.world.random.choice(("d1", "d2"))
        self._ask(f"unschedules {key}", lambda: self._journal.drop_schedule(EXPORT.name, key))

    def _prune(self) -> None:
        now = self._now()
        self._prunings += 1
        self._ask("prunes the journal", lambda: self._journal.prune(self._stage.keep_runs, now))

    def _ask(self, what: str, deed: Callable[[], object], times: int = 3) -> None:
        try:
            self._journal.open(self.me)
            deed()
        except StoreUnavailable:
            if times:
                known = self._prunings
                self.later(self.world.random.uniform(0.1, 1), lambda: self._ask_again(what, deed, times - 1, known))
            return
        self.tell(what)
        if self.world.chance(0.9):
            self._stage.ring()

    def _ask_again(self, what: str, deed: Callable[[], object], times: int, known: int) -> None:
        if not self.world.is_calm and known == self._prunings:
            self._ask(what, deed, times)

    def _now(self) -> int:
        return self._stage.machine.clock.now()

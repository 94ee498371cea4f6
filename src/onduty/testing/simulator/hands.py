"""Runs without functions: each is a span of time and an outcome, drawn when it starts.

It may end well or badly, at once or late, and may be deaf: then it goes on though it was told to stop, also when its
term is over.
"""

from __future__ import annotations

from collections.abc import Callable

from onduty._runtime.execution import Execution
from onduty._runtime.runner import Runner, judge
from onduty.clock import Clock
from onduty.errors import StoreUnavailable, TermLost
from onduty.testing.simulator.door import Door
from onduty.testing.simulator.process import Process
from onduty.testing.simulator.runs import Runs


class Hands(Runner):
    """Takes the place of the runner's threads. ``wake``: the scheduler has something to do."""

    def __init__(self, process: Process, clock: Clock, door: Door, runs: Runs, wake: Callable[[], None]) -> None:
        self._process = process
        self._world = process.world
        self._clock = clock
        self._door = door
        self._runs = runs
        self._wake = wake
        self._told: set[str] = set()
        self._writing: set[int] = set()
        """Boxes whose turn it is: whoever wants to write there meanwhile waits, and who writes has not come back."""
        self.in_hand: dict[str, tuple[Execution, bool]] = {}

    def start(self, execution: Execution) -> None:
        process, chance = self._process, self._world.random
        process.crash_point(f"before {execution.run_id} starts")
        execution.started_mono = max(self._clock.mono(), execution.not_before_mono)
        self._runs.start(execution, process.me, self._door)
        process.tell(
            f"starts {execution.task_name} {execution.run_id} (attempt {execution.attempt}, slot {execution.slot})"
        )
        early = max(execution.not_before_mono - self._clock.mono(), 0.0)
        is_deaf = not self._world.is_calm and chance.random() < 0.05
        self.in_hand[execution.run_id] = (execution, is_deaf)
        span = self._span(execution)
        if span is not None:
            process.later(early + span, lambda: self._come_back(execution, chance.random() < 0.25))
        process.crash_point(f"after {execution.run_id} was started")

    def finished(self, execution: Execution) -> None:
        pass

    def grow(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    def look(self) -> None:
        """Those that were told to stop, and listen, do so in a moment."""
        for run_id, (execution, is_deaf) in list(self.in_hand.items()):
            if execution.stopping and run_id not in self._told:
                self._told.add(run_id)
                span = self._world.random.uniform(2, 8) if is_deaf else self._world.random.uniform(0, 0.1)
                self._process.later(span, lambda one=execution: self._come_back(one, False, told=True))  # type: ignore[misc]

    def _span(self, execution: Execution) -> float | None:
        chance = self._world.random
        if execution.declared.is_service:
            return None if self._world.is_calm or chance.random() < 0.7 else chance.uniform(0.5, 20)
        if self._world.is_calm or chance.random() < 0.8:
            return chance.uniform(0.001, 0.6)
        return chance.uniform(1, 9)

    def _come_back(self, execution: Execution, fails: bool, *, told: bool = False) -> None:
        if not self._has(execution):
            return
        process = self._process
        if id(execution.box) in self._writing:
            process.later(0.01, lambda: self._come_back(execution, fails, told=told))
            return
        process.crash_point(f"before {execution.run_id} ends")
        error: Exception | None = ValueError("on purpose") if fails and not self._world.is_calm else None
        if not told and self._world.chance(0.1):
            error = self._keep_state(execution) or error
        if not self._has(execution):
            return
        del self.in_hand[execution.run_id]
        execution.told = execution.told or told
        execution.outcome = judge(execution, error)
        execution.error = str(error) if error else None
        execution.ended_at = self._clock.now()
        self._runs.end(execution)
        self._told.discard(execution.run_id)
        process.tell(f"{execution.run_id} (attempt {execution.attempt}) {execution.outcome.value}")
        execution.keeper.came_back(execution)
        self._wake()
        process.crash_point(f"after {execution.run_id} ended")

    def _has(self, execution: Execution) -> bool:
        """Whether this attempt is still to come back."""
        return self.in_hand.get(execution.run_id, (None,))[0] is execution

    def _keep_state(self, execution: Execution) -> Exception | None:
        execution.note_progress(0.5, "half of it")
        self._writing.add(id(execution.box))
        try:
            execution.change_state(lambda state: '{"n":1}')
        except (TermLost, StoreUnavailable) as error:
            return error
        finally:
            self._writing.discard(id(execution.box))
        return None

"""Every run that was ever started, in whichever process, and the promises about them.

* Nothing starts that is not in the journal, unless the journal is full.
* No slot is run by two runs (in one era), and no attempt of a run is started twice.
* Of one task, or dynamic schedule, no more are in progress than its ``concurrency``: also across terms, as far as the
  processes of the runs can be seen.
* Triggered runs start in the order in which they were asked for.
"""

from __future__ import annotations

from typing import NamedTuple

from onduty._runtime.execution import Execution
from onduty.process import ProcessId
from onduty.testing.simulator.door import Door
from onduty.testing.simulator.ledger import Row
from onduty.testing.simulator.machine import Machine
from onduty.testing.simulator.store import Store
from onduty.testing.simulator.world import World


class InProgress(NamedTuple):
    """A run that has begun and not ended. ``at``: when it began."""

    run: Execution
    process: ProcessId
    at: int


class Runs:
    """``started``: how many there were."""

    def __init__(self, world: World, machine: Machine, store: Store) -> None:
        self._world = world
        self._machine = machine
        self._store = store
        self._identity, self._losses = store.identity, store.losses
        self._begun: dict[tuple[str, int, int], str] = {}
        self._attempts: set[tuple[str, int]] = set()
        self._newest: dict[str, int] = {}
        self.in_progress: list[InProgress] = []
        self.started = 0

    def start(self, run: Execution, process: ProcessId, door: Door) -> None:
        if self._identity != self._store.identity:
            self._forget()
        self.started += 1
        row = self._store.ledger.rows.get(run.run_id)
        is_known = row is not None and _says(row, run, process)
        if not (is_known or self._may_go_unseen(row) or door.is_full or door.is_stale):
            self._violate(f"Nothing starts that is not in the journal, yet {_shown(run)} did.")
        if not door.is_stale:  # else its claim is one of those that an older copy has forgotten
            self._check_attempt(run)
            self._check_slot(run, row)
        if is_known:
            self._check_overlap(run)
        self._check_order(run)
        # What was accepted by a file that is gone counts as begun in it.
        at = self._store.replaced_at if door.is_stale else self._world.now
        self.in_progress.append(InProgress(run, process, at))

    def end(self, run: Execution) -> None:
        self.in_progress = [one for one in self.in_progress if one.run is not run]

    def process_died(self, process: ProcessId) -> None:
        self.in_progress = [one for one in self.in_progress if one.process != process]

    def _forget(self) -> None:
        """The journal knows less than it did: what it has forgotten may be asked for, and run, again."""
        self._identity = self._store.identity
        self._newest.clear()
        self._attempts.clear()
        if self._losses != self._store.losses:
            self._losses = self._store.losses
            self._begun.clear()

    def forget_unwritten(self) -> None:
        """With the lock's record, what it said of slots that went without a row is gone."""
        self._begun = {place: run for place, run in self._begun.items() if run in self._store.ledger.rows}

    def _check_attempt(self, run: Execution) -> None:
        if (run.run_id, run.attempt) in self._attempts:
            self._violate(f"An attempt is started once, yet {_shown(run)} was twice.")
        self._attempts.add((run.run_id, run.attempt))

    def _check_slot(self, run: Execution, row: Row | None) -> None:
        if run.slot is None:
            return
        task, key = run.task_name, run.lane.partition("\x1f")[2]
        place = (run.lane, row.era if row else self._store.ledger.lines.of(task, key).era, run.slot)
        before = self._begun.get(place, run.run_id)
        self._begun[place] = run.run_id
        # What may have run without a row is run again where that was asked for; also before it has begun, if its leader
        # was stopped just then and is none any more.
        begins_late = row is None and run.term < self._store.ledger.term
        is_unseen = begins_late or before not in self._store.ledger.rows
        if before != run.run_id and not (run.declared.chosen.retry_lost and is_unseen):
            self._violate(f"A slot is run once, yet {_shown(run)} runs slot {run.slot}, which {before} has run.")

    def _may_go_unseen(self, row: Row | None) -> bool:
        """Whether another container may have taken its process for dead; nobody there can know."""
        return row is not None and len(self._machine.places) > 1

    def _check_overlap(self, run: Execution) -> None:
        beside = [one for one in self.in_progress if one.run.lane == run.lane and self._counts(one)]
        if len(beside) >= run.declared.chosen.concurrency:
            others = ", ".join(f"{_shown(one.run)} in {one.process.pid}" for one in beside)
            self._violate(f"Runs of a task do not overlap, yet {_shown(run)} was started beside {others}.")

    def _counts(self, one: InProgress) -> bool:
        row = self._store.ledger.rows.get(one.run.run_id)
        if row is None or one.at <= self._store.replaced_at:
            return False  # it went without a row; or an older copy knows it as it was before it began
        return _says(row, one.run, one.process) or not self._may_go_unseen(row)

    def _check_order(self, run: Execution) -> None:
        asked = self._store.ledger.asked.get(run.run_id)
        if (
            asked is None
            or run.attempt != 1
            or run.declared.chosen.concurrency != 1
            or run.term != self._store.ledger.term
        ):
            return
        if asked < self._newest.get(run.lane, -1):
            self._violate(f"Triggered runs start in order, yet {_shown(run)} came after a later one.")
        self._newest[run.lane] = asked

    def _violate(self, promise: str) -> None:
        self._world.violate(promise)


def _says(row: Row, run: Execution, process: ProcessId) -> bool:
    """Whether this very attempt runs there."""
    return (row.process, row.attempt, row.outcome) == (process, run.attempt, None)


def _shown(run: Execution) -> str:
    return f"{run.task_name} {run.run_id} (attempt {run.attempt})"

"""What must be so when faults have ended and time has passed: progress, and nothing left in the dark."""

from __future__ import annotations

from typing import Any

from onduty.clock import SECOND
from onduty.tasks import Task
from onduty.testing.simulator.stage import Stage

LATELY = 4 * SECOND
"""Of what is younger than that, nothing is said yet."""

LONG_AGO = 8 * SECOND


def check(stage: Stage) -> None:
    """Raises ``Violated``."""
    world = stage.world
    if len(stage.leaders) != 1:
        world.violate(f"Once faults have ended somebody leads, yet {len(stage.leaders)} do.")
    leader = stage.leaders[0]
    if leader.scheduler is None or leader.scheduler.is_held:
        world.violate(f"Once faults have ended tasks go on, yet {leader.name} holds them.")
    _check_slots(stage)
    _check_rows(stage)
    _check_requests(stage)


def _check_slots(stage: Stage) -> None:
    now = stage.machine.clock.now()
    until = now - LATELY
    ledger = stage.store.ledger
    lanes = [(task.name, "", task.schedule_in("UTC")) for task in stage.tasks if isinstance(task, Task)]
    lanes += [(one.task, one.key, ledger.lines.of(one.task, one.key).plan) for one in stage.store.journal.schedules()]
    for task, key, schedule in lanes:
        newest = schedule.latest(until) if schedule else None
        mark = ledger.lines.of(task, key).mark
        if schedule and mark is not None and mark - now > schedule.set_back_after:
            stage.world.violate(
                f"A clock set back for good silences nothing, yet {task}/{key} is at {mark}, long after {now}."
            )
        if newest is not None and (mark is None or mark < newest):
            stage.world.violate(
                f"Each slot that was due has a row or a range, yet {task}/{key} is at {mark}, not {newest}."
            )


def _check_rows(stage: Stage) -> None:
    world = stage.world
    scheduler = stage.leaders[0].scheduler
    shown = scheduler.snapshot() if scheduler else {}
    in_progress = {one.run.run_id for one in stage.runs.in_progress}
    for run_id, row in stage.store.ledger.rows.items():
        if row.outcome is None and run_id not in in_progress and world.now - row.since > LONG_AGO:
            if row.since == stage.store.replaced_at and stage.machine.truly_lives(row.process):
                continue  # it has ended, in the file that was replaced; its process alone could say so
            is_queued = row.attempt == 0 or row.retries
            if is_queued and shown[row.claim.task]["waiting"]:
                continue  # it is one of many
            world.violate(
                f"Each run ends, or is lost and said to be, yet nobody runs {row.claim.task} {run_id}, which is"
                f" {'queued' if is_queued else 'running'} since {row.since / SECOND:.3f} (attempt {row.attempt})."
            )


def _check_requests(stage: Stage) -> None:
    scheduler = stage.leaders[0].scheduler
    shown = scheduler.snapshot() if scheduler else {}
    waiting = stage.store.ledger.waiting.values()
    left = [one for one in waiting if one.kind != "trigger" or not _is_full(shown[one.task])]
    if left:
        stage.world.violate(f"Each request is answered, yet {left[0].kind} {left[0].id} of {left[0].task} still waits.")


def _is_full(lane: dict[str, Any]) -> bool:
    return bool(lane["running"] or lane["lingering_elsewhere"])

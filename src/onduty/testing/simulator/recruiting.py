"""The scheduler of a term, with its lanes: made as the engine makes it, but for what is simulated."""

from __future__ import annotations

from onduty._runtime.lanes import JournalState, Lane
from onduty._runtime.scheduler import Scheduler
from onduty._runtime.term import Term
from onduty.events import Events
from onduty.journal import Dynamic
from onduty.schedules.spec import from_spec
from onduty.tasks import Declared, Task
from onduty.testing.simulator.hands import Hands
from onduty.testing.simulator.process import Process
from onduty.testing.simulator.stage import Stage


def recruit(term: Term, process: Process, stage: Stage, hands: Hands) -> Scheduler:
    lanes = [_lane(one, term) for one in stage.tasks]
    for lane in lanes:
        lane.once_key = lane.declared.once_key()
    return Scheduler(
        term,
        lanes,
        stage.machine.clock,
        Events(),
        hands,
        lambda one: _dynamic(one, term, stage),
        lambda other: stage.machine.is_alive(process.me, other),
        stage.world.random.uniform,
    )


def _lane(declared: Declared, term: Term) -> Lane:
    schedule = declared.schedule_in("UTC") if isinstance(declared, Task) else None
    return Lane(declared, _box(term, declared.name), schedule)


def _dynamic(one: Dynamic, term: Term, stage: Stage) -> Lane | None:
    declared = next((task for task in stage.tasks if task.name == one.task), None)
    if declared is None:
        return None
    schedule = from_spec(one.spec, "UTC")
    stage.world.plans[str(schedule)] = schedule
    return Lane(declared, _box(term, one.task, one.key), schedule, one.key, one.kwargs)


def _box(term: Term, task: str, key: str = "") -> JournalState:
    read, write = term.journal.state, term.journal.set_state
    return JournalState(lambda: read(task, key), lambda text: write(term.number, task, text, key))

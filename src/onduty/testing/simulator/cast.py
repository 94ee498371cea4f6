"""The tasks of a story: a few of each kind, declared as an app would, except that nobody calls their functions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from onduty.clock import SECOND, to_datetime
from onduty.options import Options
from onduty.schedules import Schedule
from onduty.schedules.cron import Cron
from onduty.schedules.interval import Interval
from onduty.schedules.once import At
from onduty.tasks import Declared, Service, Task
from onduty.testing.simulator.machine import BEGIN
from onduty.testing.simulator.world import World

if TYPE_CHECKING:
    from onduty.tasks import Owner

NOBODY = cast("Owner", None)
"""Tasks are declared without an ``OnDuty``: what users ask of them goes to the journal directly."""


def _function(ctx: Any) -> None:
    raise NotImplementedError("a simulated run is a span of time and an outcome")


def _task(name: str, schedule: Schedule | None, once: str | None = None, **options: Any) -> Task[Any, Any]:
    make = None if schedule is None else lambda zone: schedule
    return Task(NOBODY, _function, name, Options(**options), make, once)


def _every(seconds: float) -> Interval:
    return Interval(round(seconds * SECOND))


SCHEDULED = (
    _task("beat", _every(2)),
    _task("jittery", _every(5), jitter=1.5),
    _task("queued", _every(3), overlap="queue", retries=2, backoff=0.5),
    _task("replaced", _every(4), overlap="cancel", retries=1, backoff=2.0),
    _task("all", _every(4), missed="all"),
    _task("wide", _every(3), concurrency=2, retries=1),
    _task("again", _every(6), retry_lost=True, retries=1),
    _task("hasty", _every(5), timeout=2.0, retries=1),
    _task("skipping", _every(7), missed="skip"),
    _task("brief", _every(3), missed_window=5.0),
    _task("minutely", Cron("* * * * *")),
    _task("instant", At(to_datetime(BEGIN) + timedelta(hours=1))),
)
EXPORT = _task("export", None, retries=1)
"""Runs when it is triggered, and by dynamic schedules."""

MIGRATE = _task("migrate", None, once="v1", retries=1)
COLLECTOR = Service(NOBODY, _function, "collector", Options())

SPECS = ('{"every":2.5}', '{"every":4}', '{"cron":"* * * * *"}')
"""What dynamic schedules are made of."""


def choose(world: World) -> list[Declared]:
    """The tasks of one story."""
    chosen: list[Declared] = [EXPORT]
    chosen += world.random.sample(SCHEDULED, world.random.randint(1, 3))
    if world.chance(0.3):
        chosen.append(MIGRATE)
    if world.chance(0.5):
        chosen.append(COLLECTOR)
    for task in chosen:
        schedule = task.schedule_in("UTC") if isinstance(task, Task) else None
        if schedule is not None:
            world.plans[str(schedule)] = schedule
    return chosen

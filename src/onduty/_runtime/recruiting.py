"""From what was declared to those who do the work of a term: its lanes, and the scheduler.

With all it needs this is half of what there is to import, so it is imported by the thread that stands by: a worker is
ready, and serves, without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from onduty._runtime.lanes import JournalState, Lane, NoState
from onduty._runtime.runner import Runner
from onduty._runtime.scheduler import Scheduler
from onduty._runtime.term import Term
from onduty.clock import Clock
from onduty.config import Settings
from onduty.events import Events
from onduty.journal import Dynamic
from onduty.registry import Registry
from onduty.tasks import Declared, Task

if TYPE_CHECKING:
    from onduty._runtime.execution import StateBox


class Recruiter:
    """``fault``: told, in words, what can't be made; all else runs."""

    def __init__(
        self, registry: Registry, settings: Settings, clock: Clock, events: Events, fault: Callable[[str], None]
    ) -> None:
        self._registry = registry
        self._zone = settings.timezone
        self._clock = clock
        self._events = events
        self._fault = fault

    def for_leader(self, term: Term, runner: Runner) -> Scheduler:
        lanes = [self._lane(one, _box(term, one.name)) for one in self._registry if one.chosen.on == "leader"]
        for lane in lanes:
            lane.once_key = self._once_key(lane.declared)
        return Scheduler(term, lanes, self._clock, self._events, runner, partial(self._dynamic, term))

    def for_every_worker(self, term: Term, runner: Runner) -> Scheduler:
        lanes = [self._lane(one, NoState()) for one in self._registry if one.chosen.on == "every_worker"]
        return Scheduler(term, lanes, self._clock, self._events, runner)

    def _dynamic(self, term: Term, dynamic: Dynamic) -> Lane | None:
        """``None``: it is of a newer or older version of this app."""
        declared = self._registry.find(dynamic.task)
        if declared is None or declared.chosen.on != "leader":
            return None
        from onduty.schedules.spec import from_spec  # here: many apps have no schedules of this kind

        try:
            schedule = from_spec(dynamic.spec, self._zone)
        except Exception as error:  # noqa: BLE001  # whatever stands there, the others are to run
            self._fault(f"the schedule {dynamic.key!r} of {dynamic.task} can't be read here: {error}")
            return None
        return Lane(declared, _box(term, dynamic.task, dynamic.key), schedule, dynamic.key, dynamic.kwargs)

    def _lane(self, declared: Declared, box: StateBox) -> Lane:
        return Lane(declared, box, declared.schedule_in(self._zone) if isinstance(declared, Task) else None)

    def _once_key(self, declared: Declared) -> str | None:
        try:
            return declared.once_key()
        except BaseException as error:  # noqa: BLE001  # it is the user's function; the others are to run all the same
            self._fault(f"{declared.name} is not run: its once key raised {type(error).__name__}: {error}")
            return None


def _box(term: Term, task: str, key: str = "") -> StateBox:
    read, write = term.journal.state, term.journal.set_state
    return JournalState(lambda: read(task, key), lambda text: write(term.number, task, text, key))

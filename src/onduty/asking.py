"""What tasks and services want of the ``OnDuty`` that holds them, for the app that the caller is in.

What is read comes from the journal, in any process; what is wanted is written there, and the worker on duty is rung.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from onduty._runtime import orders
from onduty._runtime.engine import Engine
from onduty.clock import to_datetime
from onduty.errors import DeclarationError
from onduty.journal import Dynamic, Journal, Mark, Request, RunRecord
from onduty.run import Run
from onduty.schedules import Schedule
from onduty.tasks import Declared, DynamicSchedule, Task


class Asking:
    """Satisfies ``onduty.tasks.Owner``; ``engine`` answers the one that is meant."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def trigger(self, task: Task[Any, Any], kwargs: str, key: str | None = None) -> Run:
        return self.run(task.name, orders.trigger(self._engine(), task, kwargs, key), is_own=_is_own(task))

    def cancel(self, declared: Declared) -> None:
        orders.cancel(self._engine(), declared.name, is_own=_is_own(declared))

    def set_paused(self, declared: Declared, paused: bool) -> None:
        engine = self._engine()
        if _is_own(declared):
            raise DeclarationError(f'{declared.name} has on="every_worker" and can\'t be paused: no one keeps it')
        engine.journal_to_write().set_paused(declared.name, engine.clock.now() if paused else None)
        engine.ring(f"the pause of {declared.name}" if paused else f"that {declared.name} goes on")

    def put_schedule(self, task: Task[Any, Any], key: str, spec: str, kwargs: str) -> None:
        engine = self._engine()
        engine.journal_to_write().put_schedule(Dynamic(task.name, key, spec, kwargs, engine.clock.now()))
        engine.ring(f"the schedule {key!r} of {task.name}")

    def drop_schedule(self, task: Task[Any, Any], key: str) -> bool:
        engine = self._engine()
        dropped = engine.journal_to_write().drop_schedule(task.name, key)
        engine.ring(f"the end of the schedule {key!r} of {task.name}")
        return dropped

    def read_schedules(self, task: Task[Any, Any]) -> list[DynamicSchedule]:
        from onduty.schedules.spec import from_spec

        journal, zone = self._engine().journal, self._engine().settings.timezone
        if journal is None:
            return []
        paused, marks = journal.paused(), journal.marks()
        found = []
        for one in journal.schedules(task.name):
            try:
                schedule = from_spec(one.spec, zone)
            except Exception as error:  # noqa: BLE001  # of another version; it can be taken away all the same
                found.append(DynamicSchedule(one.key, f"can't be read here: {error}", {}, False, None))
                continue
            off = (task.name, "") in paused or (task.name, one.key) in paused
            due = None if off else self._next_slot(schedule, marks.get((task.name, one.key)))
            found.append(DynamicSchedule(one.key, str(schedule), json.loads(one.kwargs), off, due))
        return found

    def read_next_slot(self, task: Task[Any, Any]) -> datetime | None:
        journal, schedule = self._engine().journal, task.schedule_in(self._engine().settings.timezone)
        if schedule is None or (journal and (task.name, "") in journal.paused()):
            return None
        return self._next_slot(schedule, journal.marks().get((task.name, "")) if journal else None)

    def _next_slot(self, schedule: Schedule, mark: Mark | None) -> datetime | None:
        decided = mark.slot if mark and mark.slot is not None else 0
        slot = schedule.next_after(max(self._engine().clock.now(), decided))
        return None if slot is None else to_datetime(slot, schedule.zone)

    def read_state(self, declared: Declared) -> dict[str, Any]:
        journal = self._engine().journal
        found: dict[str, Any] = json.loads(journal.state(declared.name)) if journal else {}
        return found

    def read_runs(self, declared: Declared, limit: int) -> list[RunRecord]:
        engine = self._engine()
        journal = engine.own_journal if _is_own(declared) else engine.journal
        return journal.recent(declared.name, limit) if journal else []

    def run(self, task: str, run_id: str, *, is_own: bool) -> Run:
        """``is_own``: it is kept in the memory of this worker, and not in the app's journal."""
        engine = self._engine()

        def journal() -> Journal | None:
            return engine.own_journal if is_own else engine.journal

        def read(wanted: str) -> RunRecord | None:
            kept = journal()
            return kept.get(wanted) if kept else None

        def read_log(wanted: str) -> str:
            kept = journal()
            return kept.log(wanted) if kept else "[]"

        def asked(wanted: str) -> Request | None:
            if is_own:  # it is accepted in a moment, and asked for in no journal
                return Request(wanted, "trigger", task, engine.clock.now())
            return engine.journal.asked(wanted) if engine.journal else None

        cancel = partial(orders.cancel, engine, task, is_own=is_own)
        return Run(run_id, read, read_log, cancel, engine.clock, asked, in_time=engine.is_rehearsing)


def _is_own(declared: Declared) -> bool:
    return declared.chosen.on == "every_worker"

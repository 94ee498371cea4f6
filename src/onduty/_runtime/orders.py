"""What is wanted of a task, from any process: written into the journal, or told to this worker's own work."""

from __future__ import annotations

import secrets

from onduty._runtime.engine import Engine
from onduty.errors import JournalBusy
from onduty.journal import Request
from onduty.tasks import Declared


def trigger(engine: Engine, declared: Declared, kwargs: str, key: str | None) -> str:
    """Ask for a run; durable when this returns. Answers its id, or that of the one that has the key already."""
    if declared.chosen.on == "every_worker":
        return engine.own_work(declared.name).told.submit(declared, kwargs)
    now = engine.clock.now()
    run_id = _request(engine, Request(new_id(now), "trigger", declared.name, now, kwargs, key))
    engine.ring(f"run {run_id} of {declared.name}")
    return run_id


def cancel(engine: Engine, task: str, run_id: str | None = None, *, is_own: bool) -> None:
    """Of all runs of ``task`` the one named, or all. ``is_own``: those of this worker's own work."""
    if is_own:
        told = engine.own_work(task).told
        if run_id is None:
            told.cancel_all(task)
        else:
            told.cancel(run_id)
        return
    now = engine.clock.now()
    _request(engine, Request(new_id(now), "cancel", task, now, target=run_id))
    engine.ring(f"the cancellation of {task}")


def _request(engine: Engine, wanted: Request) -> str:
    journal = engine.journal_to_write()
    try:
        return journal.request(wanted)
    except JournalBusy:
        return journal.request(wanted)


def new_id(now: int) -> str:
    """One that nobody guesses. Those made together lie together in an index, and a batch of them touches few pages."""
    return f"{now // 1000:x}-{secrets.token_hex(8)}"

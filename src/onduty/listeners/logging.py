"""Events as log lines, on the logger ``onduty``; every sentence onduty says is here.

A library's INFO lines are invisible in a program that never configured logging, and "who is on duty" is worth a line
in the console. So, as Werkzeug does for its own logger, a level and a handler are set if the program has set neither;
the handler keeps silent once the program has one of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from onduty import events as ev
from onduty.clock import SECOND, to_datetime
from onduty.events import Events

log = logging.getLogger("onduty")


def subscribe(events: Events) -> None:
    """Log what an operator wants to know; successful runs are told by status and journal, not here."""
    for kind, (level, sentence) in _SENTENCES.items():
        events.subscribe(kind, _line(level, sentence))
    events.subscribe(ev.SlotsPassed, _PassedSlots())


def make_visible() -> None:
    """Give the logger INFO and a handler on standard error, unless the program has configured it or the root."""
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.addFilter(lambda record: not _is_heard_beside(handler))
        handler.setFormatter(logging.Formatter("[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s"))
        log.addHandler(handler)


def _is_heard_beside(ours: logging.Handler) -> bool:
    """Whether the program has configured logging since: many do so after they have made their app."""
    logger: logging.Logger | None = log
    while logger is not None:
        if any(handler is not ours for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _line(level: int, sentence: Callable[[Any], str]) -> Callable[[ev.Event], None]:
    def listen(event: ev.Event) -> None:
        if log.isEnabledFor(level):
            log.log(level, "%s", sentence(event))

    return listen


def _meanwhile(event: ev.JournalFailed) -> str:
    return "runs go on and are written down later" if event.runs_go_on else "tasks are held, services go on"


def _which(event: ev.TaskPaused | ev.TaskResumed) -> str:
    return f"{event.task}, schedule {event.key!r}," if event.key else event.task


def _slot(slot: int | None) -> str:
    return "" if slot is None else f" of {to_datetime(slot).isoformat()}"


def _again(event: ev.RunFailed | ev.RunTimedOut) -> str:
    return "" if event.retry_in is None else f"; again in {event.retry_in:.1f} s"


def _failed(event: ev.RunFailed) -> str:
    what = f"{event.task} failed, run {event.run_id}{_slot(event.slot)}, attempt {event.attempt}"
    return f"{what}{_again(event)}\n{event.trace}"


def _frozen(event: ev.LeaderFrozen) -> str:
    waiting = "waiting" if event.may_kill else 'waiting; frozen_leader="kill" would end one that stays so'
    done = "killed it" if event.killed else waiting
    return f"the worker on duty, pid {event.pid}, has been {event.state} for {event.seconds:.0f} s: {done}"


def _heirs(event: ev.LockHeldByOthers) -> str:
    who = ", ".join(map(str, event.pids)) or "a process that can't be seen from here"
    return (
        f"the worker on duty, pid {event.dead}, is dead, but its lock lives on in: {who}. It inherited the descriptor; "
        "nobody can go on duty until it ends"
    )


class _PassedSlots:
    """Slots that were not run: one line a minute for each task, since one that is always late would fill the log."""

    def __init__(self) -> None:
        self._untold: dict[tuple[str, str], tuple[int, int, int]] = {}

    def __call__(self, event: ev.SlotsPassed) -> None:
        key = (event.task, event.outcome)
        told_at, first, slots = self._untold.get(key, (0, event.first, 0))
        first, slots = (first, slots + event.slots) if slots else (event.first, event.slots)
        if event.at - told_at < 60 * SECOND:
            self._untold[key] = (told_at, first, slots)
            return
        self._untold[key] = (event.at, first, 0)
        which = f"{slots} slots" if slots > 1 else "1 slot"
        since = f"{to_datetime(first).isoformat()} to " if first != event.last else ""
        log.warning("%s: %s %s, %s%s", event.task, which, event.outcome, since, to_datetime(event.last).isoformat())


_SENTENCES: dict[type[ev.Event], tuple[int, Callable[[Any], str]]] = {
    ev.WorkerReady: (
        logging.INFO,
        lambda e: f"{e.app}: worker ready under {e.server or 'an unknown server'}, {e.tasks} tasks, folder {e.folder}",
    ),
    ev.TermBegan: (logging.INFO, lambda e: f"{e.app}: pid {os.getpid()} is on duty, term {e.term}"),
    ev.TermEnded: (logging.INFO, lambda e: f"{e.app}: pid {os.getpid()} is off duty, term {e.term}: {e.why}"),
    ev.LeaderFrozen: (logging.WARNING, _frozen),
    ev.LeaderThawed: (logging.INFO, lambda e: f"the worker on duty, pid {e.pid}, turns its loop again"),
    ev.LockHeldByOthers: (logging.ERROR, _heirs),
    ev.JournalFailed: (
        logging.ERROR,
        lambda e: f"{_meanwhile(e)}: {e.error}",
    ),
    ev.JournalRecovered: (logging.INFO, lambda e: "the journal answers again; what was held back goes on"),
    ev.JournalSetAside: (
        logging.ERROR,
        lambda e: f"the journal was set aside as {e.moved}, and a new one begun; what it knew is lost: {e.error}",
    ),
    ev.TaskPaused: (logging.WARNING, lambda e: f"{_which(e)} is paused: resume() lets it go on"),
    ev.TaskResumed: (logging.INFO, lambda e: f"{_which(e)} goes on"),
    ev.EngineFault: (logging.ERROR, lambda e: e.error),
    ev.Advice: (logging.WARNING, lambda e: e.text),
    ev.EmitsDropped: (
        logging.WARNING,
        lambda e: f"worker {e.peer} does not read: {e.dropped} emits to its clients were dropped so far",
    ),
    ev.RunFailed: (logging.ERROR, _failed),
    ev.RetryDropped: (
        logging.WARNING,
        lambda e: f"{e.task} is not tried again after attempt {e.attempt}, run {e.run_id}: {e.why}",
    ),
    ev.RunTimedOut: (
        logging.WARNING,
        lambda e: f"{e.task} ended {e.seconds:.1f} s after its start, timed out, run {e.run_id}{_again(e)}",
    ),
    ev.RunOverdue: (
        logging.WARNING,
        lambda e: f"{e.task} has run for {e.timeout:g} s and was asked to end, run {e.run_id}",
    ),
    ev.RunStopped: (
        logging.INFO,
        lambda e: f"{e.task} was stopped{f' after {e.seconds:.1f} s' if e.seconds else ''}: {e.why}, run {e.run_id}",
    ),
    ev.RunLingers: (
        logging.WARNING,
        lambda e: f"{e.task} still runs though its term is over, run {e.run_id}: it lingers until it ends",
    ),
    ev.RunLost: (
        logging.WARNING,
        lambda e: (
            f"{e.task}{_slot(e.slot)} was lost: its worker ended before it, run {e.run_id}"
            f"{'; it runs again' if e.again else ''}"
        ),
    ),
}

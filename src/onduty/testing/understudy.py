"""Stands where the elector would, so that ``duty.is_leading``, ``leader()`` and ``status()`` know of a rehearsal."""

from __future__ import annotations

from typing import Any

from onduty._runtime.engine import Engine
from onduty._runtime.scheduler import Scheduler
from onduty.clock import Wakeup
from onduty.journal import Journal, Outcome
from onduty.journal.entries import Claim, Entry, Finish, Seen
from onduty.process import this_process
from onduty.tasks import Declared, Task


class Understudy:
    """On duty whenever the test says so; asks nobody."""

    frozen: str | None = None

    def __init__(self, app: str) -> None:
        self._app = app
        self._since = 0
        self.term: int | None = None
        self.scheduler: Scheduler | None = None
        self.resigned = Wakeup()
        self.resigned.set()

    def begin(self, term: int, since: int, scheduler: Scheduler) -> None:
        self.term, self._since, self.scheduler = term, since, scheduler

    def end(self) -> int:
        """Which term it was."""
        number, self.term, self.scheduler = self.term or 0, None, None
        return number

    def about_me(self) -> dict[str, Any]:
        me = this_process()
        return {
            "app": self._app,
            "host": me.host,
            "pid": me.pid,
            "process": me.as_dict(),
            "term": self.term,
            "since": self._since,
            "beat": 0,
        }

    @property
    def known_leader(self) -> dict[str, Any] | None:
        return None if self.term is None else self.about_me()

    def leave(self, why: str) -> None:
        """The test says when a term ends, not the server."""


def already_known(engine: Engine, journal: Journal, now: int) -> None:
    """Write down that everything has been on duty until ``now``: nothing is due, and each ``once`` has succeeded."""
    term, entries = journal.begin_term(0, now), list[Entry]()
    for number, one in enumerate(engine.tasks):
        schedule = one.schedule_in(engine.settings.timezone) if isinstance(one, Task) else None
        if schedule is not None:
            entries.append(Seen(one.name, now, plan=str(schedule)))
        key = _once_key(one)
        if key is not None:
            run_id = f"{term:x}-{number:x}"
            claim = Claim(run_id, one.name, None, now, key=key, once=True)
            entries += [claim, Finish(run_id, Outcome.SUCCEEDED, now)]
    journal.write(term, entries)
    journal.prune(0, now + 1)  # the history begins with the test


def _once_key(declared: Declared) -> str | None:
    try:
        return declared.once_key()
    except Exception:  # noqa: BLE001  # it is the user's function; the engine tells of it when a term begins
        return None

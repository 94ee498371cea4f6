"""Everything one app has in one process: put together when the process is ready, taken apart when it leaves.

Before *ready* there is no thread, no descriptor and no lock. In a forked child there is nothing again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from onduty import events as ev
from onduty._runtime import forks, policy
from onduty._runtime.elector import COOL_DOWN, Elector
from onduty._runtime.execution import Scope, StateBox
from onduty._runtime.hub import ask
from onduty._runtime.lanes import JournalState, Lane, NoState
from onduty._runtime.lifecycle import Lifecycle, State
from onduty._runtime.runner import Runner
from onduty._runtime.scheduler import Scheduler
from onduty._runtime.term import Term
from onduty._runtime.threads import Offload, make_offload, spawn, stay_behind
from onduty.clock import SECOND, Clock, Wakeup
from onduty.config import Settings
from onduty.election import Election
from onduty.errors import ConfigError, NotOnDuty
from onduty.events import Events
from onduty.folder import prepare, scope_folder
from onduty.journal import Journal
from onduty.process import ProcessId, this_process
from onduty.tasks import Declared, Registry, Task

ASK_TIMEOUT = 1.0


class Engine:
    """Crew of the lifecycle. ``open_journal`` and ``open_scratch`` make the journals: no back end is known here.

    ``is_test``: asked at the start; a test's app starts nothing.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        events: Events,
        life: Lifecycle,
        clock: Clock,
        *,
        open_journal: Callable[[Path, Offload], Journal],
        open_scratch: Callable[[], Journal],
        open_election: Callable[[Path, ProcessId], Election],
        scope: Callable[[], Scope] | None,
        is_test: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.folder = scope_folder(settings.dir, settings.name)
        self.events = events
        self._registry = registry
        self._life = life
        self._clock = clock
        self._open_journal = open_journal
        self._open_scratch = open_scratch
        self._open_election = open_election
        self._scope = scope
        self._is_test = is_test
        self.more: dict[str, Callable[[], Any]] = {}
        """What else belongs to a snapshot, by name."""
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._journal: Journal | None = None
        self._elector: Elector | None = None
        self._local: Scheduler | None = None
        self._is_leaving = False

    # The life of the process

    def start(self) -> None:
        if self._is_test():
            return
        self._registry.close()
        grace = self._check_grace()
        prepare(self.folder)
        me = this_process()
        journal = self._connect()
        forks.in_child(self._in_child)
        self.events.emit(
            ev.WorkerReady(
                self._clock.now(),
                self.settings.name,
                self._life.server,
                self._life.why,
                str(self.folder),
                len(self._registry),
            )
        )
        self._start_local()
        if self.settings.lead:
            self._elector = Elector(
                app=self.settings.name,
                folder=self.folder,
                me=me,
                election=self._open_election(self.folder, me),
                journal=journal,
                clock=self._clock,
                events=self.events,
                life=self._life,
                grace=grace,
                patience=self._patience(grace),
                kill_frozen=self.settings.frozen_leader == "kill",
                recruit=self._recruit,
            )
            spawn("elector", self._elector.run)

    def leave(self) -> None:
        self._is_leaving = True
        if self._local is not None:
            self._local.close("the worker is leaving", self.settings.grace)
        if self._elector is not None:
            self._elector.leave(f"the worker is leaving: {self._life.why}")

    def stop(self) -> None:
        self.leave()
        grace = self.settings.grace
        if self._local is not None:
            self._clock.wait(self._local_is_over, grace + 2)
        if self._elector is not None:
            self._clock.wait(self._elector.resigned, self._patience(grace) + grace + 2)

    def _in_child(self) -> None:
        if self._journal is not None:
            self._journal.forget_in_child()
        _left_behind.append((self._journal, self._elector, self._local))
        self._forget()

    def _patience(self, grace: float) -> float:
        return policy.patience(grace, self._life.grace_limit)

    def _check_grace(self) -> float:
        limit, grace = self._life.grace_limit, self.settings.grace
        if limit is None or grace < limit:
            return grace
        if "grace" in self.settings.sources and self.settings.sources["grace"] != "default":
            raise ConfigError(
                f"grace={grace:g} s is not shorter than the {limit:g} s after which {self._life.server} kills "
                "a stopping worker: make grace shorter, or the server's own time (gunicorn: --graceful-timeout) longer"
            )
        return limit * 0.8

    # The parts

    def _connect(self) -> Journal:
        self._here()
        if self._journal is None:
            journal = self._open_journal(self.folder / "journal.sqlite3", make_offload())
            journal.open(this_process())
            self._journal = journal
            forks.before(self._before_fork)
        return self._journal

    def _before_fork(self) -> None:
        # Whoever read the journal at import, such as the master of --preload, forks the workers that will need it, and
        # a file that was open in a fork can't be opened again. A worker keeps it: its children have no part in it.
        if self._journal is not None and self._life.state in (State.IDLE, State.NEVER):
            self._journal.close()
            self._journal = None

    def _recruit(self, term: Term) -> Scheduler:
        journal, number = term.journal, term.number
        lanes = [
            self._lane(
                one, JournalState(partial(journal.state, one.name), partial(journal.set_state, number, one.name))
            )
            for one in self._registry
            if one.options.on == "leader"
        ]
        runner = Runner(self._clock, self._scope, self._life.loop)
        keep_for = self.settings.keep_days * 86_400 * SECOND
        term = term._replace(keep_runs=self.settings.keep_runs, keep_for=keep_for)
        return Scheduler(term, lanes, self._clock, self.events, runner)

    def _lane(self, declared: Declared, box: StateBox) -> Lane:
        schedule = declared.schedule_in(self.settings.timezone) if isinstance(declared, Task) else None
        return Lane(declared, box, schedule)

    def _start_local(self) -> None:
        lanes = [self._lane(one, NoState()) for one in self._registry if one.options.on == "every_worker"]
        if not lanes:
            return
        journal, me = self._open_scratch(), this_process()
        journal.open(me)
        number = journal.begin_term(0, self._clock.now())
        term = Term(self.settings.name, number, 0, journal, lambda: True, me)
        runner = Runner(self._clock, self._scope, self._life.loop)
        self._local_is_over = Wakeup()
        self._local = Scheduler(term, lanes, self._clock, self.events, runner)
        self._local.when_over = self._local_has_ended
        self._local.start()

    def _local_has_ended(self) -> None:
        """In its own last moment: it was told to, or it failed, and then another one takes its place."""
        if not self._is_leaving:
            self._clock.wait(Wakeup(), COOL_DOWN)
            stay_behind(self._pid)
        if self._is_leaving:
            self._local_is_over.set()
        else:
            self._start_local()

    def _here(self) -> None:
        if self._pid != os.getpid():  # forked in C, where nobody told us
            self._in_child()

    # Questions and orders, from any thread

    @property
    def is_leading(self) -> bool:
        self._here()
        return self._elector is not None and self._elector.term is not None

    @property
    def journal(self) -> Journal | None:
        """Open for reading in any process; ``None`` when there is none yet."""
        self._here()
        if self._journal is None and not (self.folder / "journal.sqlite3").exists():
            return None
        return self._connect()

    def leader(self) -> dict[str, Any] | None:
        """Who is on duty: asked of itself, then of the hub. ``None``: nobody answers."""
        if self.is_leading:
            assert self._elector is not None
            return self._elector.about_me()
        return ask(self.folder, ASK_TIMEOUT)

    def trigger(self, declared: Declared, kwargs: str) -> str:
        return self._scheduler(declared).submit(declared, kwargs)

    def cancel(self, declared: Declared, run_id: str) -> None:
        self._scheduler(declared).cancel(run_id)

    def _scheduler(self, declared: Declared) -> Scheduler:
        self._here()
        local = declared.options.on == "every_worker"
        scheduler = self._local if local else self._elector.scheduler if self._elector and self.is_leading else None
        if scheduler is None or scheduler.is_over:
            leader = self.leader()
            who = f"the worker on duty is pid {leader['pid']}" if leader else "nobody is on duty"
            raise NotOnDuty(
                f"{declared.name} can be triggered in the worker on duty only, and this process is not it: {who}. "
                "From any worker: write the wish into your database, and let an every() task or a service look for it"
            )
        return scheduler

    def snapshot(self) -> dict[str, Any]:
        """Plain data: who this process is, who leads, and, on the leader, what every task does."""
        self._here()
        elector = self._elector
        scheduler = elector.scheduler if elector and elector.term is not None else None
        return {
            "app": self.settings.name,
            "folder": str(self.folder),
            "pid": os.getpid(),
            "server": self._life.server,
            "state": self._life.state.value,
            "leading": self.is_leading,
            "leader": elector.known_leader if elector else ask(self.folder, ASK_TIMEOUT),
            "frozen_leader": elector.frozen if elector else None,
            "held": bool(scheduler and scheduler.is_held),
            "tasks": scheduler.snapshot() if scheduler else {},
            "every_worker": self._local.snapshot() if self._local else {},
            **{name: look() for name, look in self.more.items()},
        }


_left_behind: list[Any] = []
"""What a forked child inherited: kept, so that collecting it closes nothing of its parent's."""

"""Everything one app has in one process: put together when the process is ready, taken apart when it leaves.

Before *ready* there is no thread, no descriptor and no lock. In a forked child there is nothing again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from onduty import events as ev
from onduty._runtime import forks
from onduty._runtime.journal_here import JournalHere
from onduty._runtime.lifecycle import Lifecycle
from onduty._runtime.own_work import OwnWork
from onduty._runtime.threads import make_offload, spawn, stay_behind
from onduty.clock import SECOND, Clock, Wakeup
from onduty.config import Settings
from onduty.election import Election
from onduty.errors import (
    AlreadyStarted,
    ConfigError,
    JournalDamaged,
    NotOnDuty,
    StoreUnavailable,
)
from onduty.events import Events
from onduty.folder import prepare, scope_folder, unusable
from onduty.journal import Journal
from onduty.process import ProcessId, this_process
from onduty.registry import Registry
from onduty.tasks import Declared

if TYPE_CHECKING:
    from onduty._runtime.elector import Elector
    from onduty._runtime.execution import Scope
    from onduty._runtime.recruiting import Recruiter
    from onduty._runtime.runner import Runner
    from onduty._runtime.scheduler import Scheduler
    from onduty._runtime.term import Term
    from onduty._runtime.threads import Offload

Hire: TypeAlias = "Callable[[Clock, Callable[[], Scope] | None, Callable[[], Any]], Runner]"
"""Makes what runs users' functions, of the engine's clock, scope and event loop."""

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
        load_for_duty: Callable[[], None],
        open_journal: Callable[[Path, Offload], Journal],
        open_scratch: Callable[[], Journal],
        open_election: Callable[[Path, ProcessId, Offload], Election],
        scope: Callable[[], Scope] | None,
        is_test: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.folder = scope_folder(settings.dir, settings.name)
        self.events = events
        self._registry = registry
        self._life = life
        self._clock = clock
        self._load_for_duty = load_for_duty
        self._open_scratch = open_scratch
        self._open_election = open_election
        self._scope = scope
        self._is_test = is_test
        self._journal = JournalHere(self.folder, life, is_test, open_journal, open_scratch)
        self.more: dict[str, Callable[[], Any]] = {}
        """What else belongs to a snapshot, by name."""
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._elector: Elector | None = None
        self._own = OwnWork(self.settings.name, self._open_scratch, self.recruit_local, self._cool_down, self._fault)
        self._has_started = False
        self._is_leaving = False
        self.is_rehearsing = False

    # The life of the process

    def start(self) -> None:
        if self._is_test():
            return
        self._here()
        self._has_started = True
        self._registry.close()
        grace = self._check_grace()
        me = this_process()
        journal = self._journal.made()
        try:
            prepare(self.folder)
            journal.open(me)
        except JournalDamaged:
            pass  # whoever goes on duty sets it aside, and tells
        except StoreUnavailable as error:
            # A full disk shall not take the web site with it: the elector tries again, and a server that gets no worker
            # to boot would end.
            self._fault(f"this worker can't go on duty yet: {error}")
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
        if any(one.chosen.on == "every_worker" for one in self._registry):
            self._own.begin(self._clock)
        if self.settings.lead:
            try:
                spawn("elector", self._stand_by, partial(self._made_elector, journal, grace, me))
            except RuntimeError as error:
                self._fault(f"this worker serves and never goes on duty, until it is restarted: {error}")

    def _stand_by(self, make: Callable[[], Elector], told: str | None = None) -> None:
        """The whole life of a thread, which ends when this worker leaves. ``told``: the last trouble.

        All that electing and leading need is loaded here: a worker is ready and serves without it, and no take-over
        waits for it.
        """
        while True:
            try:
                if told is not None:
                    self._cool_down()
                import onduty._runtime.recruiting  # noqa: F401

                self._load_for_duty()
                if self._elector is None:
                    self._elector = make()
                if self._is_leaving:  # told so when there was no elector yet
                    self._elector.leave(self._why_it_leaves())
                self._elector.run()
                return
            except BaseException as error:
                said = f"this worker can't go on duty, and tries again: {type(error).__name__}: {error}"
                if said != told:
                    self._fault(said)
                told = said
                if not isinstance(error, Exception):
                    # A greenlet that the app has killed is to die, since somebody may wait for that.
                    spawn("elector", self._stand_by, make, told)
                    raise

    def _made_elector(self, journal: Journal, grace: float, me: ProcessId) -> Elector:
        from onduty._runtime.elector import Elector

        return Elector(
            app=self.settings.name,
            folder=self.folder,
            me=me,
            election=self._open_election(self.folder, me, make_offload()),
            journal=journal,
            clock=self._clock,
            events=self.events,
            life=self._life,
            grace=grace,
            patience=self._patience(grace),
            kill_frozen=self.settings.frozen_leader == "kill",
            is_kept=self.settings.journal != "memory",
            reach=self._reach,
            recruit=self.recruit,
        )

    def _cool_down(self) -> None:
        from onduty._runtime.policy import COOL_DOWN

        home = self._pid
        self._clock.wait(Wakeup(), COOL_DOWN)
        stay_behind(home)

    def _why_it_leaves(self) -> str:
        return f"the worker is leaving: {self._life.why}"

    def leave(self) -> None:
        self._is_leaving = True
        self._own.leave(self.settings.grace)
        if self._elector is not None:
            self._elector.leave(self._why_it_leaves())

    def stop(self) -> None:
        self.leave()
        grace = self.settings.grace
        self._own.wait(self._clock, grace + 2)
        if self._elector is not None:
            self._clock.wait(self._elector.resigned, self._patience(grace) + grace + 2)

    def _in_child(self) -> None:
        _left_behind.append((self._journal.forget_in_child(), self._elector, self._own))
        self._forget()

    def _patience(self, grace: float) -> float:
        from onduty._runtime import policy

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

    def recruit(self, term: Term, hire: Hire | None = None) -> Scheduler:
        """Who does the work of the leader's term."""
        from onduty._runtime import capture

        capture.install()
        keep_for = self.settings.keep_days * 86_400 * SECOND
        term = term._replace(keep_runs=self.settings.keep_runs, keep_for=keep_for)
        return self._recruiter().for_leader(term, self._hired(hire))

    def _recruiter(self) -> Recruiter:
        from onduty._runtime.recruiting import Recruiter

        return Recruiter(self._registry, self.settings, self._clock, self.events, self._fault)

    def _hired(self, hire: Hire | None) -> Runner:
        from onduty._runtime.runner import Runner

        return (hire or Runner)(self._clock, self._scope, self._life.loop)

    def _reach(self, gap: bool) -> int:
        # With every commit on the disk there are no rows that a power cut could take.
        from onduty._runtime.policy import RESERVE

        return 0 if self.settings.durability == "full" and not gap else self._clock.now() + RESERVE

    def _fault(self, text: str) -> None:
        self.events.emit(ev.EngineFault(self._clock.now(), self.settings.name, text))

    def recruit_local(self, term: Term, hire: Hire | None = None) -> Scheduler:
        """Who does the work that each worker has for itself."""
        scheduler = self._recruiter().for_every_worker(term, self._hired(hire))
        self._own.take(scheduler)
        return scheduler

    def _here(self) -> None:
        if self._pid != os.getpid():  # forked in C, where nobody told us
            self._in_child()

    # In a test: the same decisions, on another clock, and nothing started or shared

    def rehearse(self, clock: Clock, journal: Journal, understudy: Any) -> Callable[[], None]:
        """From now on ``clock`` tells the time and all is kept in ``journal``, until the answer is called.

        ``understudy`` stands where the elector would.

        Raises:
            AlreadyStarted: The work of this process has begun in earnest, or is being rehearsed already.
        """
        self._here()
        if self._has_started or self.is_rehearsing:
            raise AlreadyStarted(
                f"the background work of {self.settings.name!r} has begun in this process, so it can't be tested here; "
                "use it in one test at a time, and where no server serves it"
            )
        before = self._clock, self._is_test
        self._clock, self._is_test = clock, lambda: True
        self._elector, self.is_rehearsing = understudy, True
        self._journal.lend(journal)

        def end() -> None:
            self._clock, self._is_test = before
            self._elector, self.is_rehearsing = None, False
            self._journal.lend(None)
            self._own.take(None)

        return end

    @property
    def tasks(self) -> list[Declared]:
        """Everything declared, in order."""
        return list(self._registry)

    @property
    def clock(self) -> Clock:
        """What tells the time here."""
        return self._clock

    # Questions and orders, from any thread

    @property
    def is_leading(self) -> bool:
        self._here()
        return self._elector is not None and self._elector.term is not None

    @property
    def journal(self) -> Journal | None:
        """Open for reading in any process; ``None`` when there is none yet."""
        self._here()
        return self._journal.to_read()

    @property
    def own_journal(self) -> Journal | None:
        """Of the work that each worker has for itself; ``None``: this process has none."""
        self._here()
        return self._own.journal

    def journal_to_write(self) -> Journal:
        """Open in any process, made if there is none yet: who asks for something may be the first to come.

        Raises:
            NotOnDuty: The journal is in memory, and so nobody else would hear of it.
        """
        self._here()
        if self.settings.journal == "memory" and not self.is_leading and not self._is_test():
            raise NotOnDuty(
                'with journal="memory" each process has a journal of its own, and only the worker on duty can be asked;'
                " this one is not. Leave journal= out, and any worker, command or script can ask"
            )
        return self._journal.to_write()

    def leader(self) -> dict[str, Any] | None:
        """Who is on duty: asked of itself, then of the hub. ``None``: nobody is, as far as this process knows."""
        if self.is_leading:
            assert self._elector is not None
            return self._elector.about_me()
        answer = self._ask()
        if answer is None and self._elector is not None and self._elector.frozen:
            return self._elector.known_leader  # it does not answer, and still is the one
        return answer

    def _ask(self) -> dict[str, Any] | None:
        from onduty._runtime.hub import ask

        try:
            return ask(self.folder, ASK_TIMEOUT)
        except TimeoutError:  # too busy to answer, and still the one
            return self._elector.known_leader if self._elector is not None else None
        except (PermissionError, NotADirectoryError) as error:
            raise unusable(f"the folder {self.folder} can't be entered", error) from error

    def ring(self, what: str) -> None:
        """Wake the worker on duty; where there is none, say that ``what`` waits for one."""
        from onduty._runtime.hub import ring

        if self._is_test():
            return
        if self._elector is not None and self._elector.scheduler is not None and self.is_leading:
            self._elector.scheduler.ring()
            return
        try:
            if ring(self.folder):
                return
            advice = f"nobody is on duty: {what} waits until a worker is"
        except OSError as error:  # what was asked for is written down: this is no failure of it
            advice = f"nobody can be told of {what} ({error.strerror}): whoever is on duty finds it within a second"
        self.events.emit(ev.Advice(self._clock.now(), self.settings.name, advice))

    def own_work(self, task: str) -> Scheduler:
        """Of this worker, which has ``task`` for itself."""
        self._here()
        return self._own.of(task)

    def snapshot(self) -> dict[str, Any]:
        """Plain data: who this process is, who leads, and, on the leader, what every task does."""
        self._here()
        elector, own = self._elector, self._own.scheduler
        scheduler = elector.scheduler if elector and elector.term is not None else None
        return {
            "app": self.settings.name,
            "folder": str(self.folder),
            "pid": os.getpid(),
            "server": self._life.server,
            "state": self._life.state.value,
            "leading": self.is_leading,
            "leader": elector.known_leader if elector else self._ask(),
            "frozen_leader": elector.frozen if elector else None,
            "held": bool(scheduler and scheduler.is_held),
            "tasks": scheduler.snapshot() if scheduler else {},
            "every_worker": own.snapshot() if own else {},
            **{name: look() for name, look in self.more.items()},
        }


_left_behind: list[Any] = []
"""What a forked child inherited: kept, so that collecting it closes nothing of its parent's."""

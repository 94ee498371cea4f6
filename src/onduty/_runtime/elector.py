"""The thin loop of one candidate: ask, lead or stand by, step down.

One thread per worker does all of it, driven by one selector: as a leader it serves the hub and looks for signs of
leaving, as a standby it waits for the leader's end-of-file, with a slow poll under it. What to decide is in ``policy``.
"""

from __future__ import annotations

import errno
import selectors
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onduty import events as ev
from onduty._runtime import policy
from onduty._runtime.bell import Bell
from onduty._runtime.hub import Hub, Line
from onduty._runtime.lifecycle import Lifecycle
from onduty._runtime.past import Past
from onduty._runtime.sentry import Sentry
from onduty._runtime.standby import Standby
from onduty._runtime.term import AHEAD, Term
from onduty._runtime.threads import stay_behind
from onduty.clock import Clock, Wakeup
from onduty.election import Election
from onduty.errors import JournalDamaged, OnDutyError, StoreUnavailable
from onduty.events import Events
from onduty.folder import prepare
from onduty.journal import Journal, Newest
from onduty.process import ProcessId

if TYPE_CHECKING:
    from onduty._runtime.scheduler import Scheduler

_FORGOTTEN = (
    "the journal has not heard of term {}: it was deleted, or replaced by an older copy. What it does not know is"
    " lost: runs, requests, states, pauses, schedules, and which once tasks have succeeded"
)


class Elector:
    """``recruit`` makes the scheduler of a term. ``reach``: up to when slots may be run without the next leader's
    knowing, asked with whether rows may be missing. ``is_kept``: the journal outlives the process. ``resigned`` is set
    once this worker leads no more and never will.

    ``term`` is the present term's number while leading, else ``None``; read by any thread, written by the loop only.
    """

    def __init__(
        self,
        *,
        app: str,
        folder: Path,
        me: ProcessId,
        election: Election,
        journal: Journal,
        clock: Clock,
        events: Events,
        life: Lifecycle,
        grace: float,
        patience: float,
        kill_frozen: bool,
        is_kept: bool,
        reach: Callable[[bool], int],
        recruit: Callable[[Term], Scheduler],
    ) -> None:
        self._app = app
        self._folder = folder
        self._me = me
        self._election = election
        self._journal = journal
        self._clock = clock
        self._events = events
        self._life = life
        self._grace = grace
        self._patience = patience
        self._is_kept = is_kept
        self._reach = reach
        self._recruit = recruit
        self._sentry = Sentry(app, clock, events, election, kill_frozen)
        self._selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._bell = Bell(self._selector)
        self._past = Past()
        self._leaving: str | None = None
        self._told_mono: float | None = None
        self._complained = False
        self._newest_term = 0
        self._doubted_until = 0
        self.scheduler: Scheduler | None = None
        self.term: int | None = None
        self.since = 0
        self.resigned = Wakeup()

    # From other threads

    def leave(self, why: str) -> None:
        """Begin to stop; returns at once, and is safe in a signal handler: it takes no lock."""
        self._leaving = self._leaving or why
        self._bell.ring()

    @property
    def known_leader(self) -> dict[str, Any] | None:
        """Who leads, as far as this worker has heard."""
        return self.about_me() if self.term is not None else self._sentry.leader

    def about_me(self) -> dict[str, Any]:
        """The answer of the hub."""
        scheduler = self.scheduler
        return {
            "app": self._app,
            "host": self._me.host,
            "pid": self._me.pid,
            "process": self._me.as_dict(),
            "term": self.term,
            "since": self.since,
            "beat": scheduler.pulse if scheduler else 0,
        }

    @property
    def frozen(self) -> str | None:
        return self._sentry.frozen

    # The loop

    def run(self) -> None:
        """Until this worker leaves; to be called again when something else ends it, such as a greenlet's kill."""
        while self._leaving is None:
            try:
                self._round()
            except OnDutyError as error:
                self._stay_away(error)
            except OSError as error:
                self._trouble(error)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # of a user's function, asked in this thread
                self._stay_away(error)
            except BaseException:
                self._election.resign()
                raise
        self._election.resign()
        self.resigned.set()
        self._settle_to_the_end()

    def _round(self) -> None:
        if self._past.settle():
            self._wait(policy.SLOW_POLL)
        elif self._win():
            self._lead()
        else:
            self._stand_by()

    def _win(self) -> bool:
        self._life.look()
        if self._leaving is not None or not self._election.campaign():
            return False
        if self._election.is_new and (line := Line.connect(self._folder, self._selector)):
            # We made the lock file, yet somebody answers: its file was deleted under it, and it will notice within a
            # second.
            line.close()
            self._election.resign()
            self._wait(policy.RENEW_EVERY)
            return False
        return True

    # Standing by

    def _stand_by(self) -> None:
        """Until this worker wins or leaves."""
        standby = Standby(self._folder, self._selector, self._sentry, self._may_accept)
        try:
            while self._leaving is None and not self._win():
                self._wait(standby.turn(self._clock.mono()))
        finally:
            standby.close()
        if self._leaving is None:
            self._lead()

    def _may_accept(self) -> bool:
        """Whether to accept what the leader offers: not if this worker has been told to leave as well."""
        self._clock.wait(Wakeup(), policy.SECOND_LOOK)
        stay_behind(self._me.pid)
        self._life.look()
        return self._leaving is None

    # Leading

    def _lead(self) -> None:
        try:
            number, scheduler = self._take_office()
        except BaseException:
            self.term = None
            self._election.resign()
            raise
        hub: Hub | None = None
        why = "a fault"
        try:
            # Before the work, which may keep the interpreter: whoever connects can see that. It is served after what is
            # due, which need not wait for that; and who rang before it was there was not heard.
            hub = self._open_hub()
            self._events.emit(ev.TermBegan(self.since, self._app, number))
            scheduler.when_begun = scheduler.when_over = self._bell.ring
            scheduler.start()
            self._wait(policy.FIRST_TURN)
            scheduler.ring()
            why = self._hold_office(scheduler, hub)
        except OSError as error:
            why = f"a fault: {error}"  # most likely its descriptors were closed
            raise
        finally:
            self._end_term(scheduler, hub, number, why)
        if self._leaving is None:
            self._wait(policy.COOL_DOWN)

    def _take_office(self) -> tuple[int, Scheduler]:
        last = self._election.last()
        # Lock and journal may have been deleted together: what this worker has heard of counts too.
        floor = max(last.term if last else 0, self._newest_term, self._sentry.newest_term)
        known, number = self._begin_term(floor)
        self._newest_term = number
        now = self._clock.now()
        lost_until = policy.lost_until(last, self._me.boot, known, now)
        in_doubt = bool(lost_until)
        self._doubted_until = lost_until
        self._election.began(number, now, max(self._reach(in_doubt), lost_until), in_doubt, known.row)
        if self._is_kept and last is not None and known.term < last.term:
            self._events.emit(ev.Advice(now, self._app, _FORGOTTEN.format(last.term)))
        term = Term(
            self._app,
            number,
            number,
            self._journal,
            self._election.still_mine,
            self._me,
            may_linger=last is None or last.clean,
            lost_until=lost_until,
            reserve=self._reserve,
        )
        self.scheduler = scheduler = self._recruit(term)
        self.since, self.term = now, number
        self._complained = False
        self._sentry.forget()
        return number, scheduler

    def _begin_term(self, floor: int) -> tuple[Newest, int]:
        """The newest that the journal knew, and our term."""
        opens = False
        while True:
            try:
                if opens:
                    self._journal.open(self._me)
                return self._journal.newest(), self._journal.begin_term(floor, self._clock.now())
            except JournalDamaged as error:
                self._set_aside(error)  # each time something less is in the way: old logs, then a file
                opens = True
            except StoreUnavailable:
                if opens:
                    raise
                opens = True  # it may have been deleted or replaced since

    def _reserve(self, gap: bool) -> None:
        # What was in doubt when the term began is, for the next one too, until all of it is written down as lost.
        self._doubted_until = self._doubted_until if gap else 0
        self._election.reserve(max(self._reach(gap), self._doubted_until), gap, self._journal.newest().row)

    def _set_aside(self, error: JournalDamaged) -> None:
        """Only in office: nobody else begins a new file meanwhile."""
        moved = self._journal.set_aside(error.kind)
        self._events.emit(ev.JournalSetAside(self._clock.now(), self._app, str(error), str(moved)))

    def _open_hub(self) -> Hub | None:
        try:
            return Hub(self._folder, self._selector, self.about_me, self._rung)
        except OSError as error:
            # A file system without sockets: standbys have their slow poll.
            self._events.emit(
                ev.EngineFault(self._clock.now(), self._app, f"no hub, take-over by polling only: {error}")
            )
            return None

    def _rung(self) -> None:
        if self.scheduler is not None:
            self.scheduler.ring()

    def _hold_office(self, scheduler: Scheduler, hub: Hub | None) -> str:
        """Serve the hub until there is a reason to stop, then until the runs have ended or ``grace`` is over."""
        renew_at = 0.0
        holds = True
        why: str | None = None
        while not scheduler.is_over:
            self._life.look()
            now = self._clock.mono()
            if now >= renew_at:
                renew_at, holds = now + policy.RENEW_EVERY, self._election.still_mine()
                if hub is not None and holds:
                    hub.listen()
            leaving = self._leaving if self._leaving is None or not self._awaits_successor(hub, now) else None
            seen = policy.Signs(leaving, holds, scheduler.term_lost, scheduler.fault)
            reason = policy.why_step_down(seen)
            if reason and why is None:
                why = reason
                scheduler.close(reason, self._grace if policy.deserves_grace(seen) else 0.0)
            self._wait(policy.LEADER_LOOK)
        ended = policy.Signs(self._leaving, holds, scheduler.term_lost, scheduler.fault)
        return why or policy.why_step_down(ended) or "the scheduler ended"

    def _awaits_successor(self, hub: Hub | None, now: float) -> bool:
        """Told to leave: whether to stay on duty, because another worker is about to come and none has accepted yet.

        Otherwise nobody would be on duty for as long as the workers of a reload import the app.
        """
        if self._told_mono is None:
            self._told_mono = now
        since = now - self._told_mono
        if hub is None or hub.accepted or since >= self._patience or not self._life.successors():
            return False
        if since >= policy.OFFER_AFTER:
            hub.offer()
        return True

    def _end_term(self, scheduler: Scheduler, hub: Hub | None, number: int, why: str) -> None:
        scheduler.close(why, 0.0)
        self.term = None
        lingering = scheduler.lingering
        if scheduler.damage is not None and self._election.still_mine():
            try:
                self._set_aside(scheduler.damage)
            except StoreUnavailable as error:
                self._complain(error)
        self._past.add(scheduler)
        # The lock first: whoever is woken by the end-of-file shall find it free.
        self._election.resign(max(self._clock.now() + AHEAD, self._doubted_until), self._newest_row())
        if hub is not None:
            hub.close()
        now = self._clock.now()
        if why == policy.LOCK_LOST:
            self._events.emit(ev.EngineFault(now, self._app, f"{why}; what ran here may run once more"))
        for run in lingering:
            self._events.emit(ev.RunLingers(now, self._app, run.task_name, run.run_id, run.slot, run.attempt))
        self._events.emit(ev.TermEnded(now, self._app, number, why, len(lingering)))

    def _newest_row(self) -> int | None:
        try:
            return self._journal.newest().row
        except StoreUnavailable:
            return None  # what was said of it last must do

    def _settle_to_the_end(self) -> None:
        """For as long as the process lives, which is not ours to say."""
        while True:
            try:
                if not self._past.settle():
                    return
            except StoreUnavailable as error:
                self._complain(error)
            self._clock.wait(Wakeup(), policy.SLOW_POLL)
            stay_behind(self._me.pid)

    # Waiting

    def _wait(self, seconds: float) -> None:
        happened = self._selector.select(seconds)
        stay_behind(self._me.pid)
        for key, _ in happened:
            key.data()

    def _stay_away(self, error: BaseException) -> None:
        """Not now: leave it to another worker for a while. The folder may have been deleted: make it anew."""
        self._complain(error)
        self._election.resign()
        self._wait(policy.COOL_DOWN)
        try:
            prepare(self._folder)
        except OnDutyError as again:
            self._complain(again)

    def _complain(self, error: BaseException) -> None:
        if not self._complained:
            self._complained = True
            what = str(error) if isinstance(error, OnDutyError) else f"{type(error).__name__}: {error}"
            self._events.emit(ev.EngineFault(self._clock.now(), self._app, f"this worker can't go on duty: {what}"))

    def _trouble(self, error: OSError) -> None:
        """The machine refuses something: wait, or, when our descriptors were closed, take no further part.

        What a run closed cannot be made whole: SQLite's locks went too, and the numbers may be other files by now.
        """
        if error.errno != errno.EBADF and self._election.is_intact:
            self._events.emit(ev.EngineFault(self._clock.now(), self._app, f"the election can't go on now: {error}"))
            self._wait(policy.COOL_DOWN)
            return
        self._leaving = "this process closed the descriptors of its own background work"
        self._past.forget()
        self._journal.forget_in_child()
        self._events.emit(
            ev.EngineFault(
                self._clock.now(), self._app, f"{self._leaving}; it takes no further part: restart this worker"
            )
        )

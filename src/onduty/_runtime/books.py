"""What is decided is written down before it is acted on; what to do when it can't be.

::

    written          ──▶ acted on
    the file is busy,
    deleted, damaged ──▶ held: the same batch is written again, unchanged, before anything new is decided
    the disk is full ──▶ on account: acted on, and written as soon as there is room. The next leader is told, in the
                         lock's record, that slots may have been run without a row, so that it runs none of them again
                         aside: what is no slot's, such as a request or a retry, and would be run again by the next
                         leader, is neither written nor acted on before there is room
"""

from __future__ import annotations

from collections.abc import Sequence

from onduty import events as ev
from onduty._runtime.desk import Step
from onduty._runtime.policy import RESERVE
from onduty._runtime.term import Term
from onduty.clock import Clock
from onduty.errors import JournalDamaged, StoreFull, StoreUnavailable, TermLost
from onduty.events import Events
from onduty.journal import Outcome
from onduty.journal.entries import Again, Begin, Claim, Entry, Finish

TRY_AGAIN = 1.0
"""Seconds between two tries to write what is on account."""

MOST_ON_ACCOUNT = 20_000
"""Entries; beyond that, tasks are held."""


class Books:
    """The writing of one term. ``unwritten``, ``aside``: decided, not acted on. ``on_account``: acted on, not written.

    ``in_doubt``: what is unwritten may have been written, and only the answer was lost. ``doubts``: the leader before
    us may have run slots without a row, and not all of those have been written down as lost yet.
    """

    def __init__(self, term: Term, clock: Clock, events: Events) -> None:
        self._term = term
        self._clock = clock
        self._events = events
        self._failing = False
        self._next_try = 0.0
        self._reserved_at = 0
        self.unwritten: list[Step] = []
        self.on_account: list[Entry] = []
        self.aside: list[Step] = []
        self.in_doubt = False
        self.doubts = bool(term.lost_until)

    @property
    def is_on_account(self) -> bool:
        return bool(self.on_account or self.aside)

    @property
    def is_held(self) -> bool:
        """Whether tasks wait because the journal can't be written."""
        return self._failing and not self.is_on_account

    @property
    def wants_to_write(self) -> bool:
        """Whether something is left that another try may bring into the journal now."""
        # While it fails, even with nothing to write: only a write tells whether there is room, or another file.
        return bool(self.unwritten) or (self._failing and self._clock.mono() >= self._next_try)

    def write(self, steps: list[Step]) -> list[tuple[Step, bool]] | None:
        """What may be acted on, with the journal's verdicts; ``None``: nothing, it is all *unwritten* now.

        Raises:
            TermLost: Another term has begun, or the lock is no longer ours; the steps are *unwritten*.
            JournalDamaged: It never will be written; they are as well.
        """
        self.unwritten = steps
        if not self._term.holds():
            # In doubt we do not lead.
            raise TermLost(f"term {self._term.number} is over: its lock is no longer ours")
        if self.is_on_account and self._clock.mono() < self._next_try:
            return self._take_on_account(steps)
        decided = [*self.aside, *steps] if self.aside else steps
        before = len(self.on_account)
        try:
            self.reconnect()
            entries = [*self.on_account, *(step[0] for step in decided)] if before else [step[0] for step in decided]
            accepted = self._term.journal.write(self._term.number, entries)
        except StoreFull as error:
            self._next_try = self._clock.mono() + TRY_AGAIN
            accepted_anyway = self._take_on_account(steps)
            self.fails(error, runs_go_on=accepted_anyway is not None)
            return accepted_anyway
        except JournalDamaged:
            raise  # no other try will do: it ends the term, and the next one sets the file aside
        except StoreUnavailable as error:
            self._next_try = self._clock.mono() + TRY_AGAIN
            self.in_doubt = True
            self.fails(error)
            return None
        self.unwritten, self.aside, self.in_doubt = [], [], False
        if before:
            self.on_account = []
            try:
                self._term.reserve(self.doubts)
            except StoreUnavailable:
                pass  # written it is; the next leader will doubt more than it must
        self.answers()
        return list(zip(decided, accepted[before:] if before else accepted, strict=True))

    def write_finished(self) -> None:
        """After the term: how the runs ended that are left. Raises ``StoreUnavailable``, and they stay left."""
        told = [*self.on_account, *(entry for entry, _, _ in self.unwritten)]
        # Of each run its last word.
        ended = list({entry.run_id: entry for entry in told if isinstance(entry, (Finish, Again))}.values())
        if ended:
            self.unwritten, self.on_account = [(entry, "note", None) for entry in ended], []
            try:
                # A file that was deleted or replaced knows none of these runs; to be told so is an answer too.
                self._term.journal.open(self._term.me)
                if not self._write_late(ended):
                    # The outcomes were written all the same. A retry can't be handed over any more: the next leader
                    # has looked already, and takes the run for one in progress here while it has no outcome.
                    self._write_late([_as_failed(entry) for entry in ended if isinstance(entry, Again)])
            except JournalDamaged:
                pass  # whoever leads next sets the file aside; if all waited here to write into it, nobody did
        self.unwritten, self.on_account = [], []

    def _write_late(self, ended: Sequence[Entry]) -> bool:
        """Whether the term was the newest still."""
        try:
            self._term.journal.write(self._term.number, ended)
            return True
        except TermLost:
            return False

    def _take_on_account(self, steps: list[Step]) -> list[tuple[Step, bool]] | None:
        if len(self.on_account) + len(self.aside) + len(steps) > MOST_ON_ACCOUNT:
            return None
        now = self._clock.now()
        if not self.is_on_account or now - self._reserved_at > RESERVE // 2:  # the clock may have been set forward
            try:
                self._term.reserve(True)
            except StoreUnavailable:
                return None  # the next leader could not be told
            self._reserved_at = now
        self.unwritten = []
        waiting = {_run_of(step) for step in self.aside}
        taken: list[tuple[Step, bool]] = []
        for step in steps:
            if _needs_its_row(step) or _run_of(step) in waiting:
                self.aside.append(step)
                waiting.add(_run_of(step))
            else:
                self.on_account.append(step[0])
                taken.append((step, True))
        return taken

    def reconnect(self) -> None:
        """After a failure: a file that was deleted or replaced is opened anew, and that one does not know our term."""
        if self._failing:
            self._term.journal.open(self._term.me)

    def fails(self, error: StoreUnavailable, *, runs_go_on: bool = False) -> None:
        if not self._failing:
            self._failing = True
            self._events.emit(ev.JournalFailed(self._clock.now(), self._term.app, str(error), runs_go_on))

    def answers(self) -> None:
        if self._failing:
            self._failing = False
            self._events.emit(ev.JournalRecovered(self._clock.now(), self._term.app))


def _needs_its_row(step: Step) -> bool:
    """Whether the next leader would begin it again: what is reserved for slots does not stand for it."""
    entry, _, run = step
    if isinstance(entry, Claim):
        return entry.slot is None and not (run and run.declared.is_service)
    return isinstance(entry, Begin)


def _run_of(step: Step) -> str | None:
    return getattr(step[0], "run_id", None)


def _as_failed(again: Again) -> Finish:
    return Finish(again.run_id, Outcome.FAILED, again.at, again.error)

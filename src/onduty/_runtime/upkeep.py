"""What a term does now and then beside its runs: it prunes the journal, lets it rest, and tells the lock how far it may
run slots without the next leader's knowing.
"""

from __future__ import annotations

from collections.abc import Callable

from onduty._runtime.agenda import Agenda
from onduty._runtime.alarms import Alarms
from onduty._runtime.books import Books
from onduty._runtime.term import Term
from onduty.clock import Clock
from onduty.errors import StoreUnavailable

TIDY_EVERY = 60.0
"""Seconds between two prunings of the journal."""

RESERVE_EVERY = 30.0
"""Seconds between two writings of how far slots may be run without the next leader's knowing."""

LONG_ENOUGH_TO_REST = 0.05
"""Seconds without anything due in which the journal may catch up on its own work."""


class Upkeep:
    """``ask`` puts a question to the journal that can wait: one that does not answer is told of elsewhere."""

    def __init__(
        self,
        term: Term,
        alarms: Alarms,
        agenda: Agenda,
        books: Books,
        clock: Clock,
        ask: Callable[[Callable[[], None]], None],
    ) -> None:
        self._term = term
        self._alarms = alarms
        self._agenda = agenda
        self._books = books
        self._clock = clock
        self._ask = ask

    def begin(self) -> None:
        self._alarms.set(TIDY_EVERY, self._tidy)
        self._alarms.set(RESERVE_EVERY, self._reserve)

    def rest(self, seconds: float) -> None:
        """Nothing is due for ``seconds``."""
        if seconds >= LONG_ENOUGH_TO_REST:
            self._ask(self._term.journal.rest)

    def dispel_doubts(self) -> None:
        """Once all slots that the leader before us may have run have been written down as lost, the lock may say so."""
        if not self._books.doubts:
            return
        due = self._agenda.next_at()
        if not (self._books.unwritten or self._books.on_account) and (due is None or due > self._term.lost_until):
            self._books.doubts = False
            self._reserve_now()

    def _tidy(self) -> None:
        pruned = 0

        def prune() -> None:
            nonlocal pruned
            pruned = self._term.journal.prune(self._term.keep_runs, self._clock.now() - self._term.keep_for)

        self._ask(prune)
        # In small steps: a long one would hold up the runs that are due.
        self._alarms.set(TIDY_EVERY / 60 if pruned else TIDY_EVERY, self._tidy)

    def _reserve(self) -> None:
        self._reserve_now()
        self._alarms.set(RESERVE_EVERY, self._reserve)

    def _reserve_now(self) -> None:
        try:
            self._term.reserve(self._books.doubts or bool(self._books.on_account))
        except StoreUnavailable:
            pass  # what it is for, runs whose rows a power cut takes, is promised less; the journal itself still works

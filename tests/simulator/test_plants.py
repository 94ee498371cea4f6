"""Bugs that we plant: the simulator is worth something only for as long as it finds them.

Each was a hole in a plan once. Production has no switch for any of them: they are made here, in a journal of our own or
by replacing what asks the question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from onduty.journal import Journal, memory_book
from onduty.journal.entries import Entry, Era
from onduty.journal.memory import MemoryJournal
from onduty.testing.simulator import simulate
from onduty.testing.simulator.machine import Machine

SEEDS = 1000


def found(make_journal: Callable[[], Journal] = MemoryJournal) -> str:
    """The first promise that is broken."""
    for seed in range(SEEDS):
        violation = simulate(seed, make_journal).violation
        if violation is not None:
            print(f"seed {seed}: {violation}")
            return violation
    raise AssertionError(f"{SEEDS} seeds did not find it")


class _AcceptsAnyTerm(MemoryJournal):
    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        return super().write(self.term(), entries)


def test_a_journal_that_does_not_check_the_term_is_found() -> None:
    """A leader that is stopped in mid-call, and wakes when another one leads, writes on."""
    assert found(_AcceptsAnyTerm).startswith("A write of term")


def test_a_lock_released_before_the_runs_have_stopped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lingers in a living process counts as running; here the next leader takes it for lost."""
    monkeypatch.setattr(Machine, "is_alive", lambda *_: False)

    assert "overlap" in found()


class _Forgetful(MemoryJournal):
    """A claim moves no mark, and no row stands in the way of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._book._move_mark = lambda *_: True  # type: ignore[method-assign]


def test_a_claim_without_mark_and_unique_row_is_found() -> None:
    """The next leader begins where the mark is, and runs again what has been run."""
    assert found(_Forgetful).startswith("A slot is decided once")


class _Reopening(MemoryJournal):
    """The mark is no more than the newest row."""

    def prune(self, keep_runs: int, before: int) -> int:
        pruned = super().prune(keep_runs, before)
        kept = {(row.task, row.schedule) for row in self.recent(limit=10_000) if row.slot is not None}
        slots = self._book._slots
        self._book._slots = {place: slot for place, slot in slots.items() if place in kept}
        return pruned


def test_pruning_that_reopens_slots_is_found() -> None:
    """A task whose rows have gone is not one that was never seen."""
    found(_Reopening)


class _Eternal(MemoryJournal):
    """A clock set back begins no era: the mark stays."""

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        accepted = iter(super().write(term, [entry for entry in entries if not isinstance(entry, Era)]))
        return [not isinstance(entry, Era) and next(accepted) for entry in entries]


def test_an_era_that_is_not_begun_is_found() -> None:
    """A heartbeat would be silent until the clock is where it was."""
    found(_Eternal)


def test_a_lost_answer_taken_for_a_refusal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row says that it runs, and nobody runs it."""
    monkeypatch.setattr(memory_book.MemoryBook, "_is_repeated", lambda *_: False)

    found()

"""What is special to a journal that lives in one process: how much it remembers."""

from __future__ import annotations

import pytest

from onduty.errors import StoreUnavailable
from onduty.journal import Mark, Outcome
from onduty.journal.entries import Claim, Finish
from onduty.journal.memory import MemoryJournal
from onduty.process import this_process

NOW = 1_800_000_000_000_000


def test_it_remembers_the_newest_rows_and_every_mark() -> None:
    """A task of ten runs a second must not fill the memory; a slot stays taken all the same."""
    journal, term = _begun(keep=3)
    for slot in range(1, 11):
        journal.write(term, [_claim(slot), Finish(f"r{slot}", Outcome.SUCCEEDED, NOW)])

    assert [record.run_id for record in journal.recent()] == ["r10", "r9", "r8"]
    assert journal.get("r7") is None
    assert journal.marks() == {("task", ""): Mark(10, None)}
    assert journal.write(term, [_claim(2)]) == [False]


def test_what_still_runs_is_remembered_and_keeps_its_place() -> None:
    """However many rows have come after it, and without keeping those."""
    journal, term = _begun(keep=3)
    journal.write(term, [_claim(1)])
    for slot in range(2, 11):
        journal.write(term, [_claim(slot), Finish(f"r{slot}", Outcome.SUCCEEDED, NOW)])

    assert [record.run_id for record in journal.recent()] == ["r10", "r9", "r1"]
    assert journal.write(term, [Finish("r1", Outcome.SUCCEEDED, NOW)]) == [True]


def test_a_run_of_another_process_is_not_ours_to_end() -> None:
    """As in a store that processes share."""
    journal, term = _begun()
    journal.write(term, [_claim(1)])
    me = this_process()
    journal.open(me._replace(pid=me.pid + 1))

    assert journal.write(term, [Finish("r1", Outcome.SUCCEEDED, NOW)]) == [False]


def test_a_forked_child_begins_with_nothing() -> None:
    """And says that it is not open, rather than wait for a lock that a thread of its parent held."""
    journal, term = _begun()
    journal.write(term, [_claim(1)])

    journal.forget_in_child()

    with pytest.raises(StoreUnavailable, match="not open"):
        journal.marks()
    journal.open(this_process())
    assert journal.marks() == {}


def _begun(keep: int = 100) -> tuple[MemoryJournal, int]:
    journal = MemoryJournal(keep)
    journal.open(this_process())
    return journal, journal.begin_term(0, NOW)


def _claim(slot: int) -> Claim:
    return Claim(f"r{slot}", "task", slot, NOW)

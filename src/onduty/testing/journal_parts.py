"""What the parts of the journal's contract have in common: who writes, when, and short ways to say it."""

from __future__ import annotations

from collections.abc import Sequence

from onduty.errors import TermLost
from onduty.journal import Journal, Outcome, Request, RunRecord
from onduty.journal.entries import Claim, Entry, Passed
from onduty.process import this_process

ME = this_process()
OTHER = ME._replace(pid=ME.pid + 1)
NOW = 1_800_000_000_000_000


def begun(journal: Journal) -> int:
    """The number of a new term."""
    return journal.begin_term(0, NOW)


def claim(run_id: str, slot: int | None, *, task: str = "task", begin: bool = True, schedule: str = "") -> Claim:
    return Claim(run_id, task, slot, NOW, begin, schedule=schedule)


def keyed(run_id: str, key: str, *, task: str = "task", begin: bool = True, once: bool = False) -> Claim:
    return Claim(run_id, task, None, NOW, begin, key=key, once=once)


def passed(run_id: str, first: int, last: int, schedule: str = "") -> Passed:
    return Passed(run_id, "task", first, last, last - first + 1, Outcome.MISSED, NOW, schedule)


def trigger(run_id: str, key: str | None = None, task: str = "task") -> Request:
    return Request(run_id, "trigger", task, NOW, key=key)


def found(journal: Journal, run_id: str) -> RunRecord:
    record = journal.get(run_id)
    assert record is not None, run_id
    return record


def refuses(journal: Journal, term: int, entries: Sequence[Entry]) -> None:
    """It raises ``TermLost``."""
    try:
        journal.write(term, entries)
    except TermLost:
        return
    raise AssertionError(f"an older term wrote {entries}")

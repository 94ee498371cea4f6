"""What each entry does to the marks, states and rows that one process remembers.

Plain data without a lock: the journal that owns it has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from onduty.journal import Mark, Outcome, Request
from onduty.journal.entries import Again, Answered, Begin, Claim, Entry, Era, Finish, Lost, Note, Passed, Renamed, Seen
from onduty.journal.memory_requests import MemoryRequests, renamed
from onduty.journal.memory_rows import MemoryRows, Row
from onduty.process import ProcessId


class MemoryBook:
    """``term`` is the newest; ``me`` the process that writes."""

    def __init__(self, keep: int) -> None:
        self.me: ProcessId | None = None
        self.term = 0
        self.rows = MemoryRows(keep)
        self.requests = MemoryRequests()
        # Apart, and no Mark for each slot: what is remembered and moves with every run is what the collector walks.
        self._slots: dict[tuple[str, str], int] = {}
        self._plans: dict[tuple[str, str], str | None] = {}
        self._furthest: dict[tuple[str, str], int] = {}
        self.states: dict[tuple[str, str], str] = {}
        self.successes: dict[tuple[str, str], bool] = {}  # by (task, key), of which the value says nothing more
        self._tasks: set[str] = set()

    def write(self, term: int, entries: Iterable[Entry]) -> list[bool]:
        writers = self._WRITERS
        return [writers[type(entry)](self, term, entry) for entry in entries]

    def marks(self) -> dict[tuple[str, str], Mark]:
        return {
            place: Mark(slot, self._plans.get(place), self._furthest.get(place)) for place, slot in self._slots.items()
        }

    def set_state(self, task: str, schedule: str, state: str) -> None:
        self._tasks.add(task)
        self.states[task, schedule] = state

    def request(self, wanted: Request) -> str:
        task, key = wanted.task, wanted.key
        if self.rows.get(wanted.id) is not None:
            return wanted.id
        if wanted.kind == "trigger" and key is not None:
            same = self._in_progress(task, key) or self.requests.requested(task, key)
            if same is not None:
                return same
        self.requests.add(wanted)
        return wanted.id

    def _in_progress(self, task: str, key: str) -> str | None:
        """What is to be cancelled before it begins is no answer: it will not do what is asked for."""
        run_id = self.rows.in_progress.get((task, key))
        row = self.rows.unended(run_id) if run_id else None
        waits = row is not None and (row.attempt == 0 or row.retry_at is not None)
        return None if run_id and waits and self.requests.cancels(task, run_id) else run_id

    def drop_schedule(self, task: str, key: str) -> bool:
        if not self.requests.drop_schedule(task, key):
            return False
        if (task, key) in self._slots:
            self._plans[task, key] = ""
        return True

    # One entry each

    def _claim(self, term: int, claim: Claim) -> bool:
        task, slot, key = claim.task, claim.slot, claim.key
        known = self.rows.get(claim.run_id)
        if known is not None:
            return self._is_repeated(known, term, task, slot, claim.schedule)
        if key is not None and ((task, key) in self.rows.in_progress or (claim.once and (task, key) in self.successes)):
            return False
        if slot is None:
            self.requests.answer(claim.run_id)
        elif not self._move_mark(task, claim.schedule, slot):
            return False
        self._insert(claim, term)
        return True

    def _begin(self, term: int, begin: Begin) -> bool:
        row = self.rows.unended(begin.run_id)
        if row is None:
            return False
        if row.attempt != begin.attempt - 1:
            known = (row.attempt, row.term, row.started_at, row.retry_at)
            return known == (begin.attempt, term, begin.at, None)
        row.attempt, row.term, row.process = begin.attempt, term, self._writer()
        row.started_at, row.retry_at = begin.at, None
        return True

    def _again(self, term: int, again: Again) -> bool:
        row = self.rows.unended(again.run_id)
        if row is None or row.attempt != again.attempt or row.process != self.me:
            return False
        row.retry_at, row.error = again.retry_at, again.error
        return True

    def _finish(self, term: int, finish: Finish) -> bool:
        row = self.rows.unended(finish.run_id)
        if row is None or not (row.process == self.me or (row.is_queued and term == self.term)):
            return False
        row.error, row.result = finish.error, finish.result
        self.rows.end(row, finish.outcome, finish.at)
        if row.once and row.key is not None and finish.outcome is Outcome.SUCCEEDED:
            self.successes[row.task, row.key] = True
        return True

    def _passed(self, term: int, passed: Passed) -> bool:
        known = self.rows.get(passed.run_id)
        if known is not None:
            return self._is_repeated(known, term, passed.task, passed.last, passed.schedule)
        if not self._move_mark(passed.task, passed.schedule, passed.last):
            return False
        self._insert(passed, term)
        return True

    def _seen(self, term: int, seen: Seen) -> bool:
        self._tasks.add(seen.task)
        place = (seen.task, seen.schedule)
        slot, plan = self._slots.get(place), self._plans.get(place)
        if slot is None:
            self._slots[place], self._plans[place] = seen.at, seen.plan
            return True
        if seen.plan is None or seen.plan == plan:
            return False
        self._plans[place] = seen.plan
        if plan is None:
            return False
        self._slots[place] = max(slot, seen.at)
        return True

    def _renamed(self, term: int, entry: Renamed) -> bool:
        old, new = entry.old, entry.new
        if new in self._tasks:
            return False
        self._tasks.discard(old)
        self._tasks.add(new)
        self._slots = renamed(self._slots, old, new)
        self._plans = renamed(self._plans, old, new)
        self._furthest = renamed(self._furthest, old, new)
        self.states = renamed(self.states, old, new)
        self.successes = renamed(self.successes, old, new)
        self.rows.rename(old, new)
        self.requests.rename(old, new)
        return True

    def _era(self, term: int, era: Era) -> bool:
        # Rows have no part in what is accepted here, so an era needs no number: the mark alone decides.
        place = (era.task, era.schedule)
        slot = self._slots.get(place)
        furthest = self._furthest.get(place)
        if slot is None or slot == era.at or (slot < era.at and furthest != era.at):
            return False
        self._furthest[place] = slot if furthest is None else max(slot, furthest)
        self._slots[place] = era.at
        return True

    def _lost(self, term: int, lost: Lost) -> bool:
        row = self.rows.unended(lost.run_id)
        if row is None or (lost.again and row.term >= term):
            return False
        if lost.again:
            row.retry_at = lost.at
        else:
            self.rows.end(row, Outcome.LOST, lost.at)
        return True

    def _note(self, term: int, note: Note) -> bool:
        row = self.rows.unended(note.run_id)
        if row is None:
            return False
        row.progress, row.text = note.progress, note.text
        if note.log is not None:
            self.rows.logs[note.run_id] = note.log
        return True

    def _answered(self, term: int, answered: Answered) -> bool:
        return self.requests.answer(answered.request_id)

    _WRITERS: ClassVar[dict[type, Any]] = {
        Claim: _claim,
        Begin: _begin,
        Again: _again,
        Finish: _finish,
        Passed: _passed,
        Seen: _seen,
        Renamed: _renamed,
        Era: _era,
        Lost: _lost,
        Note: _note,
        Answered: _answered,
    }

    # Rows and marks

    def _move_mark(self, task: str, schedule: str, slot: int) -> bool:
        place = task, schedule
        last = self._slots.get(place)
        if last is not None and slot <= last:
            return False
        self._slots[place] = slot
        return True

    def _is_repeated(self, row: Row, term: int, task: str, slot: int | None, schedule: str) -> bool:
        """Perhaps it is asked for again: it had been accepted, and only the answer was lost.

        An era that was begun before it, and now again, has set back the mark.
        """
        is_repeated = (row.term, row.task, row.slot, row.schedule) == (term, task, slot, schedule)
        if is_repeated and slot is not None:
            self._move_mark(task, schedule, slot)
        return is_repeated

    def _writer(self) -> ProcessId:
        assert self.me is not None
        return self.me

    def _insert(self, entry: Claim | Passed, term: int) -> None:
        self._tasks.add(entry.task)
        self.rows.insert(Row(entry, term, self._writer()))

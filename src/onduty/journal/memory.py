"""The journal in this process's memory: every promise of the port, for as long as the process lives.

For tests, for tasks that run in every worker, and for those who can do without history: after a take-over the next
leader knows of nothing that went before.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar

from onduty.clock import SECOND
from onduty.errors import StoreUnavailable, TermLost
from onduty.journal import Begin, Claim, Entry, Finish, Lost, Outcome, Passed, RunRecord, Seen
from onduty.process import ProcessId

PRUNE_STEP = 1000


class _Row:
    __slots__ = ("attempt", "entry", "finish", "outcome", "owner", "started_at", "term")

    def __init__(self, entry: Claim | Passed, term: int, owner: ProcessId) -> None:
        self.entry = entry
        self.term = term
        self.owner = owner
        begun = isinstance(entry, Claim) and entry.begin
        self.attempt = int(begun)
        self.started_at = entry.at if begun else None
        self.outcome: Outcome | None = None if isinstance(entry, Claim) else entry.outcome
        self.finish: Finish | Lost | Passed | None = None if isinstance(entry, Claim) else entry


class MemoryJournal:
    """``keep``: about how many rows are remembered, of all tasks together; marks and unfinished rows always are."""

    def __init__(self, keep: int = 20_000) -> None:
        self._keep = keep
        self._lock: threading.Lock | None = None
        self._me: ProcessId | None = None
        self._term = 0
        self._rows: dict[str, _Row] = {}
        self._order: deque[str] = deque()
        self._marks: dict[str, int] = {}
        self._states: dict[str, str] = {}

    def open(self, me: ProcessId) -> None:
        self._me = me
        if self._lock is None:
            self._lock = threading.Lock()

    def close(self) -> None:
        self._me = None

    def forget_in_child(self) -> None:
        self.__init__(self._keep)  # type: ignore[misc]  # a child begins with nothing

    def term(self) -> int:
        return self._term

    def begin_term(self, floor: int, now: int) -> int:
        with self._opened():
            newest = max(floor, self._term)
            self._term = newest + 1 if newest else max(now // SECOND, 1)
            return self._term

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        with self._opened():
            if term != self._term:
                for entry in entries:
                    if type(entry) is Finish:
                        self._finish(term, entry)
                raise TermLost(f"term {term} is over: a newer one has begun, and what was to be written was refused")
            return [self._WRITERS[type(entry)](self, term, entry) for entry in entries]

    def marks(self) -> dict[str, int]:
        with self._opened():
            return dict(self._marks)

    def unfinished(self) -> list[RunRecord]:
        with self._opened():
            return [_record(row) for row in self._rows.values() if row.outcome is None]

    def get(self, run_id: str) -> RunRecord | None:
        with self._opened():
            row = self._rows.get(run_id)
            return _record(row) if row else None

    def recent(self, task: str | None = None, limit: int = 20) -> list[RunRecord]:
        with self._opened():
            rows = (self._rows[run_id] for run_id in reversed(self._order))
            wanted = (row for row in rows if task is None or row.entry.task == task)
            return [_record(row) for row in islice(wanted, limit)]

    def prune(self, keep_runs: int, before: int) -> int:
        with self._opened():
            seen: Counter[str] = Counter()
            doomed: list[str] = []
            for run_id in reversed(self._order):
                row = self._rows[run_id]
                seen[row.entry.task] += 1
                if row.finish is not None and (seen[row.entry.task] > keep_runs or row.finish.at < before):
                    doomed.append(run_id)
            doomed = doomed[-PRUNE_STEP:]  # the oldest
            for run_id in doomed:
                del self._rows[run_id]
            self._order = deque(run_id for run_id in self._order if run_id in self._rows)
            return len(doomed)

    def rest(self) -> None:
        pass

    def state(self, task: str) -> str:
        with self._opened():
            return self._states.get(task, "{}")

    def set_state(self, term: int, task: str, state: str) -> None:
        with self._opened():
            if term != self._term:
                raise TermLost(f"term {term} is over: a newer one has begun, and the state of {task} was not changed")
            self._states[task] = state

    def _opened(self) -> threading.Lock:
        if self._lock is None or self._me is None:
            raise StoreUnavailable("the journal is not open in this process: call open() first")
        return self._lock

    # One entry each

    def _claim(self, term: int, claim: Claim) -> bool:
        known = self._rows.get(claim.run_id)
        if known is not None:
            # Perhaps it is asked for again: it had been accepted, and only the answer was lost.
            return _is_repeated(known, term, claim.task, claim.slot)
        if claim.slot is not None:
            if claim.slot <= self._marks.get(claim.task, claim.slot - 1):
                return False
            self._marks[claim.task] = claim.slot
        self._insert(claim, term)
        return True

    def _begin(self, term: int, begin: Begin) -> bool:
        row = self._rows.get(begin.run_id)
        if row is None or row.outcome is not None or row.attempt != begin.attempt - 1:
            return False
        assert self._me is not None
        row.attempt, row.term, row.started_at, row.owner = begin.attempt, term, begin.at, self._me
        return True

    def _finish(self, term: int, finish: Finish) -> bool:
        row = self._rows.get(finish.run_id)
        if row is None or row.outcome is not None or row.owner != self._me:
            return False
        row.outcome, row.finish = finish.outcome, finish
        return True

    def _passed(self, term: int, passed: Passed) -> bool:
        known = self._rows.get(passed.run_id)
        if known is not None:
            return _is_repeated(known, term, passed.task, passed.last)
        if passed.last <= self._marks.get(passed.task, passed.last - 1):
            return False
        self._marks[passed.task] = passed.last
        self._insert(passed, term)
        return True

    def _seen(self, term: int, seen: Seen) -> bool:
        if seen.task in self._marks:
            return False
        self._marks[seen.task] = seen.at
        return True

    def _lost(self, term: int, lost: Lost) -> bool:
        row = self._rows.get(lost.run_id)
        if row is None or row.outcome is not None:
            return False
        row.outcome, row.finish = Outcome.LOST, lost
        return True

    _WRITERS: ClassVar[dict[type, Any]] = {
        Claim: _claim,
        Begin: _begin,
        Finish: _finish,
        Passed: _passed,
        Seen: _seen,
        Lost: _lost,
    }

    def _insert(self, entry: Claim | Passed, term: int) -> None:
        assert self._me is not None
        self._rows[entry.run_id] = _Row(entry, term, self._me)
        self._order.append(entry.run_id)
        if len(self._order) > self._keep:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        for place, run_id in enumerate(self._order):  # the first, unless something old still runs
            if self._rows[run_id].outcome is not None:
                del self._order[place], self._rows[run_id]
                return


def _is_repeated(row: _Row, term: int, task: str, slot: int | None) -> bool:
    entry = row.entry
    known = entry.last if isinstance(entry, Passed) else entry.slot
    return (row.term, entry.task, known) == (term, task, slot)


def _record(row: _Row) -> RunRecord:
    entry, finish = row.entry, row.finish
    blank = RunRecord(
        run_id=entry.run_id,
        task=entry.task,
        slot=None,
        first_slot=None,
        slots=1,
        term=row.term,
        attempt=row.attempt,
        process=row.owner,
        created_at=entry.at,
        started_at=row.started_at,
        ended_at=finish.at if finish else None,
        outcome=row.outcome,
        kwargs="{}",
        result=finish.result if isinstance(finish, Finish) else None,
        error=finish.error if isinstance(finish, Finish) else None,
    )
    if isinstance(entry, Passed):
        return blank._replace(slot=entry.last, first_slot=entry.first, slots=entry.count)
    return blank._replace(slot=entry.slot, first_slot=entry.slot, kwargs=entry.kwargs)

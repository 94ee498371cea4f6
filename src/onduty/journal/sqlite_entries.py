"""What each entry does to the tables, inside the transaction of the whole batch. Each answers whether it was accepted.

A plain claim costs two statements and its end one, however many rows there are: what is rarer pays for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, ClassVar

from onduty.journal import Outcome
from onduty.journal import sqlite_many as many
from onduty.journal.entries import Again, Answered, Begin, Claim, Entry, Era, Finish, Lost, Note, Passed, Renamed, Seen
from onduty.journal.sqlite_reading import newest_term
from onduty.journal.sqlite_requests import rename as rename_requests
from onduty.journal.sqlite_session import Session


class Writer:
    """Writes in the name of the process ``me``, as the terms table spells it."""

    def __init__(self, me: str) -> None:
        self._me = me

    def write(self, session: Session, term: int, entries: Sequence[Entry]) -> list[bool]:
        """What is alike, and in a row, at once. Raises ``Mixed``: say :meth:`write_each`, in another transaction."""
        accepted: list[bool] = []
        for kind, alike in groupby(entries, many.kind_of):
            left = list(alike)
            if kind is not None and self._is_own(session, term):
                for size in many.SIZES:
                    while len(left) >= size:
                        accepted += self._write_many(session, term, kind, left[:size])
                        del left[:size]
            accepted += self.write_each(session, term, left)
        return accepted

    def write_each(self, session: Session, term: int, entries: Sequence[Entry]) -> list[bool]:
        writers = self._WRITERS
        return [writers[type(entry)](self, session, term, entry) for entry in entries]

    def _write_many(self, session: Session, term: int, kind: many.Kind, alike: list[Any]) -> list[bool]:
        if kind == "finish":
            many.finish(session, term, alike)
        elif kind == "begin":
            many.begin(session, term, alike)
        else:
            tasks = [place(session, entry.task, "")[0] for entry in alike]
            if kind == "asked":
                many.claim(session, term, alike, tasks)
            elif len(set(tasks)) < len(tasks):
                return self.write_each(session, term, alike)
            elif kind == "slot":
                many.claim_slots(session, term, alike, tasks)
            else:
                many.pass_over(session, term, alike, tasks)
        return [True] * len(alike)

    def write_late(self, session: Session, term: int, entries: Sequence[Entry]) -> None:
        """Of a term that is over, how its runs have ended."""
        self.write_each(session, term, [entry for entry in entries if isinstance(entry, Finish)])

    def set_state(self, session: Session, task: str, schedule: str, state: str) -> None:
        _, number = place(session, task, schedule)
        session.cursor.execute("insert or replace into states(task, body) values (?, ?)", (number, state))

    def _claim(self, session: Session, term: int, claim: Claim) -> bool:
        execute, slot, at = session.cursor.execute, claim.slot, claim.at
        task, schedule = place(session, claim.task, claim.schedule)
        row = (claim.run_id, slot, term, int(claim.begin), at, at if claim.begin else None, claim.kwargs)
        line = 0
        if claim.key is None and schedule == task:
            execute(_INSERT_PLAIN, (*row, task, slot, slot))
        else:
            line = 0 if schedule == task else schedule
            once = int(claim.once and claim.key is not None)
            execute(_INSERT_OTHER, (*row, claim.key, once, task, line, schedule, slot, slot, once, task, claim.key))
        if session.cursor.rowcount != 1:
            return _is_repeated(session, claim.run_id, term, (task, schedule, line), slot)
        _move_mark(session, task, schedule, slot)
        if slot is None:
            execute("delete from requests where id = ?", (claim.run_id,))
        return True

    def _begin(self, session: Session, term: int, begin: Begin) -> bool:
        session.cursor.execute(
            "update runs set attempt = ?, term = ?, started_at = ?, retry_at = null"
            " where run_id = ? and attempt = ? and outcome is null",
            (begin.attempt, term, begin.at, begin.run_id, begin.attempt - 1),
        )
        if session.cursor.rowcount == 1:
            return True
        repeated = session.cursor.execute(
            "select 1 from runs where run_id = ? and attempt = ? and term = ? and started_at = ?"
            " and retry_at is null and outcome is null",
            (begin.run_id, begin.attempt, term, begin.at),
        ).fetchone()
        return repeated is not None

    def _again(self, session: Session, term: int, again: Again) -> bool:
        row = session.cursor.execute(
            "select term from runs where run_id = ? and attempt = ? and outcome is null", (again.run_id, again.attempt)
        ).fetchone()
        if row is None or not self._is_own(session, row[0]):
            return False
        session.cursor.execute(
            "update runs set retry_at = ?, error = ? where run_id = ?", (again.retry_at, again.error, again.run_id)
        )
        return True

    def _finish(self, session: Session, term: int, finish: Finish) -> bool:
        execute, run_id = session.cursor.execute, finish.run_id
        end = (finish.outcome.value, finish.at, finish.error, finish.result, run_id)
        if self._is_own(session, term):
            # Nearly all: claimed or begun by this process in the very term that now writes.
            execute(_END_PLAIN, (*end, term))
            if session.cursor.rowcount == 1:
                return True
        row = execute(
            "select term, attempt = 0 or retry_at is not null, once from runs where run_id = ? and outcome is null",
            (run_id,),
        ).fetchone()
        if row is None:
            return False
        of_term, is_queued, once = row
        if not self._is_own(session, of_term) and not (is_queued and newest_term(session) == term):
            return False
        execute(_END, end)
        if once and finish.outcome is Outcome.SUCCEEDED:
            execute(_KEEP_SUCCESS, (run_id,))
        return True

    def _passed(self, session: Session, term: int, passed: Passed) -> bool:
        last, at = passed.last, passed.at
        task, schedule = place(session, passed.task, passed.schedule)
        line = 0 if schedule == task else schedule
        row = (passed.run_id, last, passed.first, passed.count, term, at, at, passed.outcome.value, passed.why)
        session.cursor.execute(_INSERT_PASSED, (*row, task, line, schedule, last))
        if session.cursor.rowcount == 1:
            _move_mark(session, task, schedule, last)
            return True
        return _is_repeated(session, passed.run_id, term, (task, schedule, line), last)

    def _seen(self, session: Session, term: int, seen: Seen) -> bool:
        _, schedule = place(session, seen.task, seen.schedule)
        mark, plan = session.cursor.execute("select last_slot, plan from tasks where id = ?", (schedule,)).fetchone()
        has_changed = None not in (plan, seen.plan) and plan != seen.plan
        if mark is None or has_changed or (plan is None and seen.plan is not None):
            moved = seen.at if mark is None else max(mark, seen.at) if has_changed else mark
            session.cursor.execute(
                "update tasks set last_slot = ?, plan = coalesce(?, plan) where id = ?", (moved, seen.plan, schedule)
            )
        return mark is None or has_changed

    def _renamed(self, session: Session, term: int, renamed: Renamed) -> bool:
        old, new = renamed
        execute = session.cursor.execute
        if execute("select 1 from tasks where name = ?", (new,)).fetchone():
            return False
        execute("update tasks set name = ? where name = ?", (new, old))
        if session.cursor.rowcount == 0:
            execute("insert into tasks(name) values (?)", (new,))
        session.places.clear()
        rename_requests(session, old, new)
        return True

    def _era(self, session: Session, term: int, era: Era) -> bool:
        session.cursor.execute(
            "update tasks set furthest = max(last_slot, coalesce(furthest, last_slot)), last_slot = ?, era = era + 1"
            " where name = ? and schedule = ? and (last_slot > ? or (last_slot < ? and furthest = ?))",
            (era.at, era.task, era.schedule, era.at, era.at, era.at),
        )
        return session.cursor.rowcount == 1

    def _lost(self, session: Session, term: int, lost: Lost) -> bool:
        if lost.again:
            session.cursor.execute(
                "update runs set retry_at = ? where run_id = ? and outcome is null and term < ?",
                (lost.at, lost.run_id, term),
            )
            return session.cursor.rowcount == 1
        session.cursor.execute(
            "update runs set outcome = ?, ended_at = ?, retry_at = null where run_id = ? and outcome is null",
            (Outcome.LOST.value, lost.at, lost.run_id),
        )
        return session.cursor.rowcount == 1

    def _note(self, session: Session, term: int, note: Note) -> bool:
        session.cursor.execute(
            "update runs set progress = ?, text = ? where run_id = ? and outcome is null",
            (note.progress, note.text, note.run_id),
        )
        if session.cursor.rowcount == 0:
            return False
        if note.log is not None:
            session.cursor.execute(
                "insert or replace into logs(run, lines) select id, ? from runs where run_id = ?",
                (note.log, note.run_id),
            )
        return True

    def _answered(self, session: Session, term: int, answered: Answered) -> bool:
        session.cursor.execute("delete from requests where id = ?", (answered.request_id,))
        return session.cursor.rowcount == 1

    def _is_own(self, session: Session, term: int) -> bool:
        if term not in session.own_terms:
            row = session.cursor.execute("select process from terms where term = ?", (term,)).fetchone()
            if row is None or row[0] != self._me:
                return False
            session.own_terms.add(term)
        return True

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


def place(session: Session, task: str, schedule: str) -> tuple[int, int]:
    """The ids of the task and of its schedule, which are the same for its own; made if they are missing."""
    found = session.places.get((task, schedule))
    if found is None:
        number = _id(session, task, "")
        found = number, _id(session, task, schedule) if schedule else number
        session.places[task, schedule] = found
    return found


def _id(session: Session, task: str, schedule: str) -> int:
    session.cursor.execute("insert or ignore into tasks(name, schedule) values (?, ?)", (task, schedule))
    return int(session.cursor.execute(_ID, (task, schedule)).fetchone()[0])


def _move_mark(session: Session, task: int, schedule: int, slot: int | None) -> None:
    """Without a slot there is no mark to move. The rows of all schedules are counted in the task's own."""
    if schedule == task:
        session.cursor.execute(
            "update tasks set rows = rows + 1, last_slot = coalesce(?, last_slot) where id = ?", (slot, task)
        )
        return
    session.cursor.execute("update tasks set rows = rows + 1 where id = ?", (task,))
    session.cursor.execute("update tasks set last_slot = coalesce(?, last_slot) where id = ?", (slot, schedule))


def _is_repeated(session: Session, run_id: str, term: int, at: tuple[int, int, int], slot: int | None) -> bool:
    """Perhaps it is asked for again: it had been accepted, and only the answer was lost.

    An era that was begun before it, and now again, has set back the mark: the slot could be claimed anew.
    """
    task, schedule, line = at
    row = session.cursor.execute(
        "select 1 from runs where run_id = ? and term = ? and task = ? and line = ? and slot is ?",
        (run_id, term, task, line, slot),
    ).fetchone()
    if row is not None and slot is not None:
        session.cursor.execute("update tasks set last_slot = max(last_slot, ?) where id = ?", (slot, schedule))
    return row is not None


_ID = "select id from tasks where name = ? and schedule = ?"
_KEEP_SUCCESS = (
    "insert or ignore into successes(task, key) select task, key from runs where run_id = ? and key is not null"
)
# The row is made only if the slot is later than the mark, and the mark moves only if the row was made.
_INSERT_PLAIN = (
    "insert into runs(run_id, slot, slots, term, attempt, created_at, started_at, kwargs, task, era)"
    " select ?, ?, 1, ?, ?, ?, ?, ?, id, era from tasks"
    " where id = ? and (? is null or last_slot is null or last_slot < ?) on conflict do nothing"
)
# The same with a key or for a dynamic schedule: what is nothing in nearly all rows costs these alone.
_INSERT_OTHER = (
    "insert into runs(run_id, slot, slots, term, attempt, created_at, started_at, kwargs, key, once, task, line, era)"
    " select ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, era from tasks"
    " where id = ? and (? is null or last_slot is null or last_slot < ?)"
    " and not (? and exists (select 1 from successes where task = ? and key = ?)) on conflict do nothing"
)
_INSERT_PASSED = (
    "insert into runs(run_id, slot, first_slot, slots, term, attempt, created_at, ended_at, outcome, error, kwargs,"
    " task, line, era) select ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, '{}', ?, ?, era from tasks"
    " where id = ? and (last_slot is null or last_slot < ?) on conflict do nothing"
)
_END = (
    "update runs set outcome = ?, ended_at = ?, error = ?, result = ?, retry_at = null"
    " where run_id = ? and outcome is null"
)
_END_PLAIN = f"{_END} and term = ? and once = 0"

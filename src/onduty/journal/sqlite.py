"""The journal in one SQLite file, shared by all workers of a machine.

What it decides is decided inside one ``BEGIN IMMEDIATE`` transaction, so that of any number of processes that claim a
slot one is accepted. After a power cut the newest commits may be gone (``durability="full"`` keeps them, for an fsync
each); a killed process loses nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from onduty.clock import SECOND
from onduty.errors import TermLost
from onduty.journal import Begin, Claim, Entry, Finish, Lost, Outcome, Passed, RunRecord, Seen
from onduty.journal.sqlite_file import Durability, Offload, Session, SqliteFile
from onduty.process import ProcessId

PRUNE_STEP = 1000
_RECORD = (
    "select r.run_id, t.name, r.slot, r.first_slot, r.slots, r.term, r.attempt, p.process, r.created_at, r.started_at,"
    " r.ended_at, r.outcome, r.kwargs, r.result, r.error"
    " from runs r join tasks t on t.id = r.task join terms p on p.term = r.term"
)


class SqliteJournal:
    """See ``onduty.journal.Journal`` for the promises, and ``SqliteFile`` for the arguments."""

    def __init__(
        self,
        path: str | Path,
        *,
        offload: Offload | None = None,
        durability: Durability = "normal",
        busy_seconds: float = 10.0,
    ) -> None:
        self._file = SqliteFile(path, offload=offload, durability=durability, busy_seconds=busy_seconds)
        self._me = ""

    def open(self, me: ProcessId) -> None:
        self._me = json.dumps(me.as_dict(), sort_keys=True)
        self._file.open()

    def close(self) -> None:
        self._file.close()

    def forget_in_child(self) -> None:
        self._file.forget_in_child()

    def term(self) -> int:
        return self._file.read(_newest_term)

    def begin_term(self, floor: int, now: int) -> int:
        def work(session: Session) -> int:
            newest = max(floor, _newest_term(session))
            number = newest + 1 if newest else max(now // SECOND, 1)
            session.cursor.execute(
                "insert into terms select ?, ?, ?, coalesce(max(id), 0) + 1 from runs", (number, self._me, now)
            )
            return number

        return self._file.write(work)

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        def work(session: Session) -> list[bool] | None:
            if _newest_term(session) != term:
                for entry in entries:
                    if isinstance(entry, Finish):
                        self._finish(session, term, entry)
                return None
            return [self._WRITERS[type(entry)](self, session, term, entry) for entry in entries]

        accepted = self._file.write(work)
        if accepted is None:
            raise TermLost(f"term {term} is over: a newer one has begun, and what was to be written was refused")
        return accepted

    def marks(self) -> dict[str, int]:
        def work(session: Session) -> dict[str, int]:
            return dict(session.cursor.execute("select name, last_slot from tasks where last_slot is not null"))

        return self._file.read(work)

    def unfinished(self) -> list[RunRecord]:
        return self._records("where r.ended_at is null order by r.id")

    def get(self, run_id: str) -> RunRecord | None:
        found = self._records("where r.run_id = ?", run_id)
        return found[0] if found else None

    def recent(self, task: str | None = None, limit: int = 20) -> list[RunRecord]:
        if task is None:
            return self._records("order by r.id desc limit ?", limit)
        return self._records(
            "where r.task = (select id from tasks where name = ?) order by r.id desc limit ?", task, limit
        )

    def prune(self, keep_runs: int, before: int) -> int:
        def work(session: Session) -> int:
            cursor = session.cursor
            doomed: dict[int, int] = dict(cursor.execute(_TOO_OLD, (before, PRUNE_STEP)))
            for task, surplus in cursor.execute(_CROWDED, (keep_runs, keep_runs)).fetchall():
                room = PRUNE_STEP - len(doomed)
                if room <= 0:
                    break
                doomed.update((run, task) for (run,) in cursor.execute(_TOO_MANY, (task, surplus, room)))
            cursor.executemany("delete from runs where id = ?", ((run,) for run in doomed))
            gone = Counter(doomed.values())
            cursor.executemany("update tasks set rows = rows - ? where id = ?", ((n, task) for task, n in gone.items()))
            cursor.execute(_FORGET_TERMS)
            return len(doomed)

        return self._file.write(work)

    def rest(self) -> None:
        self._file.checkpoint()

    def state(self, task: str) -> str:
        def work(session: Session) -> str:
            row = session.cursor.execute(
                "select body from states where task = (select id from tasks where name = ?)", (task,)
            ).fetchone()
            return str(row[0]) if row else "{}"

        return self._file.read(work)

    def set_state(self, term: int, task: str, state: str) -> None:
        def work(session: Session) -> None:
            if _newest_term(session) != term:
                raise TermLost(f"term {term} is over: a newer one has begun, and the state of {task} was not changed")
            session.cursor.execute(
                "insert into states values (?, ?) on conflict(task) do update set body = excluded.body",
                (_task_id(session, task), state),
            )

        self._file.write(work)

    # One entry each

    def _claim(self, session: Session, term: int, claim: Claim) -> bool:
        task, slot, at = _task_id(session, claim.task), claim.slot, claim.at
        began = at if claim.begin else None
        row = (claim.run_id, slot, None, 1, term, int(claim.begin), at, began, None, None, claim.kwargs)
        if _insert(session, task, slot, row):
            return True
        # Perhaps it is asked for again: it had been accepted, and only the answer was lost.
        session.cursor.execute(_REPEATED, (claim.run_id, term, task, slot))
        return session.cursor.fetchone() is not None

    def _begin(self, session: Session, term: int, begin: Begin) -> bool:
        session.cursor.execute(
            "update runs set attempt = ?, term = ?, started_at = ?"
            " where run_id = ? and attempt = ? and outcome is null",
            (begin.attempt, term, begin.at, begin.run_id, begin.attempt - 1),
        )
        return session.cursor.rowcount == 1

    def _finish(self, session: Session, term: int, finish: Finish) -> bool:
        row = session.cursor.execute(
            "select term from runs where run_id = ? and outcome is null", (finish.run_id,)
        ).fetchone()
        if row is None or not self._is_own(session, row[0]):
            return False
        session.cursor.execute(
            "update runs set outcome = ?, ended_at = ?, error = ?, result = ? where run_id = ?",
            (finish.outcome.value, finish.at, finish.error, finish.result, finish.run_id),
        )
        return True

    def _is_own(self, session: Session, term: int) -> bool:
        if term not in session.own_terms:
            row = session.cursor.execute("select process from terms where term = ?", (term,)).fetchone()
            if row is None or row[0] != self._me:
                return False
            session.own_terms.add(term)
        return True

    def _passed(self, session: Session, term: int, passed: Passed) -> bool:
        task, last, at = _task_id(session, passed.task), passed.last, passed.at
        row = (passed.run_id, last, passed.first, passed.count, term, 0, at, None, at, passed.outcome.value, "{}")
        if _insert(session, task, last, row):
            return True
        session.cursor.execute(_REPEATED, (passed.run_id, term, task, last))
        return session.cursor.fetchone() is not None

    def _seen(self, session: Session, term: int, seen: Seen) -> bool:
        task = _task_id(session, seen.task)
        session.cursor.execute("update tasks set last_slot = ? where id = ? and last_slot is null", (seen.at, task))
        return session.cursor.rowcount == 1

    def _lost(self, session: Session, term: int, lost: Lost) -> bool:
        session.cursor.execute(
            "update runs set outcome = ?, ended_at = ? where run_id = ? and outcome is null",
            (Outcome.LOST.value, lost.at, lost.run_id),
        )
        return session.cursor.rowcount == 1

    _WRITERS: ClassVar[dict[type, Any]] = {
        Claim: _claim,
        Begin: _begin,
        Finish: _finish,
        Passed: _passed,
        Seen: _seen,
        Lost: _lost,
    }

    def _records(self, where: str, *values: Any) -> list[RunRecord]:
        def work(session: Session) -> list[RunRecord]:
            return [_record(row) for row in session.cursor.execute(f"{_RECORD} {where}", values)]

        return self._file.read(work)


# The row is made only if the slot is later than the mark, and the mark moves only if the row was made.
_INSERT = (
    "insert into runs(run_id, slot, first_slot, slots, term, attempt, created_at, started_at, ended_at, outcome,"
    " kwargs, task) select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, id from tasks"
    " where id = ? and (? is null or last_slot is null or last_slot < ?) on conflict do nothing"
)
_MOVE_MARK = "update tasks set rows = rows + 1, last_slot = coalesce(?, last_slot) where id = ?"
_REPEATED = "select 1 from runs where run_id = ? and term = ? and task = ? and slot is ?"

_TOO_OLD = "select id, task from runs where ended_at < ? order by ended_at limit ?"
_CROWDED = "select id, rows - ? from tasks where rows > ?"
# Of the oldest rows of a task, as many as there are too many, those that have ended.
_TOO_MANY = (
    "select id from (select id, ended_at from runs where task = ? order by id limit ?)"
    " where ended_at is not null order by id limit ?"
)
# A term's runs have ids below the first_run of the next: a run that begins again takes the newest term.
_FORGET_TERMS = (
    "delete from terms where term < (select max(term) from terms"
    " where first_run <= coalesce((select min(id) from runs), first_run))"
)


def _newest_term(session: Session) -> int:
    return int(session.cursor.execute("select coalesce(max(term), 0) from terms").fetchone()[0])


def _task_id(session: Session, name: str) -> int:
    number = session.task_ids.get(name)
    if number is None:
        session.cursor.execute("insert or ignore into tasks(name) values (?)", (name,))
        number = int(session.cursor.execute("select id from tasks where name = ?", (name,)).fetchone()[0])
        session.task_ids[name] = number
    return number


def _insert(session: Session, task: int, slot: int | None, row: tuple[Any, ...]) -> bool:
    """Make the row and move the mark, or neither. Without a slot there is no mark to move."""
    cursor = session.cursor
    cursor.execute(_INSERT, (*row, task, slot, slot))
    if cursor.rowcount != 1:
        return False
    cursor.execute(_MOVE_MARK, (slot, task))
    return True


def _record(row: tuple[Any, ...]) -> RunRecord:
    (
        run_id,
        task,
        slot,
        first,
        slots,
        term,
        attempt,
        process,
        created,
        started,
        ended,
        outcome,
        kwargs,
        result,
        error,
    ) = row
    return RunRecord(
        run_id=run_id,
        task=task,
        slot=slot,
        first_slot=slot if first is None else first,
        slots=slots,
        term=term,
        attempt=attempt,
        process=ProcessId.from_dict(json.loads(process)),
        created_at=created,
        started_at=started,
        ended_at=ended,
        outcome=Outcome(outcome) if outcome else None,
        kwargs=kwargs,
        result=result,
        error=error,
    )

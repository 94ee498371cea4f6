"""Rows as they are read: each function is one statement, so that it sees a single moment.

None of them looks through more rows than it answers, however long the history is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onduty.journal import Mark, Newest, Outcome, RunRecord
from onduty.journal.sqlite_session import Nonsense, Session
from onduty.process import ProcessId

# In the order of RunRecord. "cross join": from the rows that are wanted to what is told of each, in that order.
_RECORD = (
    "select r.run_id, t.name, r.slot, coalesce(r.first_slot, r.slot), r.slots, r.term, r.attempt, p.process,"
    " r.created_at, r.started_at, r.ended_at, r.outcome, r.kwargs, r.result, r.error, coalesce(s.schedule, ''), r.key,"
    " r.once, coalesce(r.progress, 0.0), coalesce(r.text, ''), r.retry_at"
    " from runs r cross join tasks t on t.id = r.task cross join terms p on p.term = r.term"
    " left join tasks s on s.id = r.line"
)
UNFINISHED = f"{_RECORD} where r.ended_at is null order by r.id"
ONE = f"{_RECORD} where r.run_id = ?"
RECENT = f"{_RECORD} order by r.id desc limit ?"
RECENT_OF_TASK = (
    f"{_RECORD} where r.task = (select id from tasks where name = ? and schedule = '')"  # noqa: S608  # of our own making
    " order by r.id desc limit ?"
)
_LOG = "select lines from logs where run = (select id from runs where run_id = ?)"
_SUCCESSES = "select key from successes where task = (select id from tasks where name = ? and schedule = '')"
_STATE = "select body from states where task = (select id from tasks where name = ? and schedule = ?)"


def newest_term(session: Session) -> int:
    return int(session.cursor.execute("select coalesce(max(term), 0) from terms").fetchone()[0])


def newest(session: Session) -> Newest:
    asked = "select (select coalesce(max(term), 0) from terms), (select coalesce(max(id), 0) from runs)"
    return Newest(*session.cursor.execute(asked).fetchone())


def records(session: Session, query: str, *values: Any) -> list[RunRecord]:
    found = session.cursor.execute(query, values)
    with _sense():
        return [_record(RunRecord(*row)) for row in found]


def marks(session: Session) -> dict[tuple[str, str], Mark]:
    found = session.cursor.execute(
        "select name, schedule, last_slot, plan, furthest from tasks where last_slot is not null"
    )
    with _sense():
        return {
            (name, schedule): Mark(int(slot), plan, None if furthest is None else int(furthest))
            for name, schedule, slot, plan, furthest in found
        }


def log(session: Session, run_id: str) -> str:
    row = session.cursor.execute(_LOG, (run_id,)).fetchone()
    return str(row[0]) if row else "[]"


def successes(session: Session, task: str) -> set[str]:
    return {key for (key,) in session.cursor.execute(_SUCCESSES, (task,))}


def state(session: Session, task: str, schedule: str) -> str:
    row = session.cursor.execute(_STATE, (task, schedule)).fetchone()
    return str(row[0]) if row else "{}"


@contextmanager
def one_moment(session: Session) -> Iterator[None]:
    """For several statements: none of them sees what others commit meanwhile."""
    session.cursor.execute("begin")
    try:
        yield
    finally:
        if session.connection.in_transaction:
            session.cursor.execute("rollback")  # nothing was written


@contextmanager
def _sense() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, KeyError) as error:
        raise Nonsense(f"{type(error).__name__}: {error}") from error


def _record(raw: RunRecord) -> RunRecord:
    """As SQLite gave it, until the last step: text for a process and an outcome, 0 for false."""
    process: Any = raw.process
    for number in (raw.slot, raw.retry_at):
        int(number or 0)  # SQLite keeps any text where a number belongs
    return raw._replace(
        process=ProcessId.from_dict(json.loads(process)),
        outcome=Outcome(raw.outcome) if raw.outcome else None,
        once=bool(raw.once),
    )

"""Nearly all that is ever written, many to a statement: claims, begins, how runs have ended, what passed without one.

Measured: the three statements of a run take 16 µs, and its share of statements for 64 runs takes 9.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from onduty.journal.entries import Begin, Claim, Entry, Finish, Passed
from onduty.journal.sqlite_session import Mixed, Session

SIZES = (64, 16, 4)
"""Rows to a statement. What is left over goes one by one."""

KNOWS_UPDATE_FROM = sqlite3.sqlite_version_info >= (3, 33)
"""Whether this SQLite does (lang_update.html)."""


Kind = Literal["asked", "slot", "passed", "begin", "finish"]


def kind_of(entry: Entry) -> Kind | None:
    """Of two entries in a row with the same kind each can be written together with the other.

    Those with a *slot*, or *passed*, only if they are of different tasks: a statement looks at all marks before one is
    moved.
    """
    if isinstance(entry, Finish):
        return "finish" if KNOWS_UPDATE_FROM else None
    if isinstance(entry, Claim):
        if entry.key is not None or entry.schedule:
            return None
        return "asked" if entry.slot is None else "slot" if KNOWS_UPDATE_FROM else None
    if isinstance(entry, Passed):
        return "passed" if KNOWS_UPDATE_FROM and not entry.schedule else None
    return "begin" if isinstance(entry, Begin) and KNOWS_UPDATE_FROM else None


def claim(session: Session, term: int, claims: Sequence[Claim], tasks: Sequence[int]) -> None:
    """What was asked for: all of them; ``tasks``: their tasks, by number. Raises ``Mixed``."""
    execute, rows, count = session.cursor.execute, list[Any](), len(claims)
    for one, task in zip(claims, tasks, strict=True):
        rows += (one.run_id, one.at, one.at if one.begin else None, int(one.begin), one.kwargs, task)
    execute(_CLAIM[count], (*rows, term))
    if session.cursor.rowcount != count:
        raise Mixed
    for task, more in Counter(tasks).items():
        execute("update tasks set rows = rows + ? where id = ?", (more, task))
    execute(_ANSWER[count], [one.run_id for one in claims])


def claim_slots(session: Session, term: int, claims: Sequence[Claim], tasks: Sequence[int]) -> None:
    """All of them; ``tasks``: their tasks, by number, each once. Raises ``Mixed``."""
    rows, marks = list[Any](), list[Any]()
    for one, task in zip(claims, tasks, strict=True):
        rows += (one.run_id, one.slot, one.at, one.at if one.begin else None, int(one.begin), one.kwargs, task)
        marks += (task, one.slot)
    _insert(session, _CLAIM_SLOT[len(claims)], rows, term, marks)


def pass_over(session: Session, term: int, passed: Sequence[Passed], tasks: Sequence[int]) -> None:
    """The same for what has passed without a run."""
    rows, marks = list[Any](), list[Any]()
    for one, task in zip(passed, tasks, strict=True):
        rows += (one.run_id, one.last, one.first, one.count, one.at, one.outcome._value_, one.why, task)
        marks += (task, one.last)
    _insert(session, _PASS[len(passed)], rows, term, marks)


def _insert(session: Session, statement: str, rows: list[Any], term: int, marks: list[Any]) -> None:
    """Rows that have slots, and where that moves the marks of their tasks."""
    count = len(marks) // 2
    session.cursor.execute(statement, (*rows, term))
    if session.cursor.rowcount != count:
        raise Mixed
    session.cursor.execute(_MOVE[count], marks)


def begin(session: Session, term: int, begins: Sequence[Begin]) -> None:
    """All of them, each for the first time. Raises ``Mixed``."""
    rows = list[Any]()
    for one in begins:
        rows += (one.run_id, one.attempt, one.at)
    session.cursor.execute(_BEGIN[len(begins)], (term, *rows))
    if session.cursor.rowcount != len(begins):
        raise Mixed


def finish(session: Session, term: int, finishes: Sequence[Finish]) -> None:
    """All of them, which this process has claimed or begun in this very ``term``. Raises ``Mixed``."""
    rows = list[Any]()
    for one in finishes:
        rows += (one.run_id, one.outcome._value_, one.at, one.error, one.result)
    session.cursor.execute(_END[len(finishes)], (*rows, term))
    if session.cursor.rowcount != len(finishes):
        raise Mixed


def _of_each_size(statement: str, columns: int) -> dict[int, str]:
    row = f"({', '.join('?' * columns)})"
    return {size: statement.format(", ".join([row] * size)) for size in SIZES}


_CLAIM = _of_each_size(
    "insert into runs(run_id, slots, term, attempt, created_at, started_at, kwargs, task, era)"
    " with claimed(run_id, at, began, attempt, kwargs, task) as (values {})"
    " select run_id, 1, ?, attempt, at, began, kwargs, task, era from claimed cross join tasks on tasks.id = task"
    " where true on conflict do nothing",
    6,
)
# As for one: the row is made only if the slot is later than the mark, and the mark moves only if the row was made.
_CLAIM_SLOT = _of_each_size(
    "insert into runs(run_id, slot, slots, term, attempt, created_at, started_at, kwargs, task, era)"
    " with claimed(run_id, slot, at, began, attempt, kwargs, task) as (values {})"
    " select run_id, slot, 1, ?, attempt, at, began, kwargs, task, era from claimed cross join tasks on tasks.id = task"
    " where last_slot is null or last_slot < slot on conflict do nothing",
    7,
)
_PASS = _of_each_size(
    "insert into runs(run_id, slot, first_slot, slots, term, attempt, created_at, ended_at, outcome, error, kwargs,"
    " task, era) with passed(run_id, slot, first_slot, slots, at, outcome, why, task) as (values {})"
    " select run_id, slot, first_slot, slots, ?, 0, at, at, outcome, why, '{{}}', task, era"
    " from passed cross join tasks on tasks.id = task"
    " where last_slot is null or last_slot < slot on conflict do nothing",
    8,
)
_MOVE = _of_each_size(
    "update tasks set rows = rows + 1, last_slot = moved.column2 from (values {}) as moved where id = moved.column1", 2
)
_ANSWER = _of_each_size("delete from requests where id in (values {})", 1)
_BEGIN = _of_each_size(
    "update runs set attempt = begun.column2, term = ?, started_at = begun.column3, retry_at = null"
    " from (values {}) as begun"
    " where run_id = begun.column1 and attempt = begun.column2 - 1 and outcome is null",
    3,
)
_END = _of_each_size(
    "update runs set outcome = ended.column2, ended_at = ended.column3, error = ended.column4, result = ended.column5,"
    " retry_at = null from (values {}) as ended"
    " where run_id = ended.column1 and outcome is null and term = ? and once = 0",
    5,
)

"""Nearly all that is ever written, many to a statement: claims of what was asked for, begins, and how runs have ended.

Measured: the three statements of a run take 16 µs, and its share of statements for 64 runs takes 9.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any

from onduty.journal.entries import Begin, Claim, Entry, Finish
from onduty.journal.sqlite_session import Mixed, Session

SIZES = (64, 16, 4)
"""Rows to a statement. What is left over goes one by one."""

KNOWS_UPDATE_FROM = sqlite3.sqlite_version_info >= (3, 33)
"""Whether this SQLite does (lang_update.html)."""


def kind_of(entry: Entry) -> type | None:
    """Of two entries in a row with the same kind each can be written together with the other."""
    if isinstance(entry, Claim):
        return Claim if entry.slot is None and entry.key is None and not entry.schedule else None
    return type(entry) if isinstance(entry, (Begin, Finish)) and KNOWS_UPDATE_FROM else None


def claim(session: Session, term: int, claims: Sequence[Claim], tasks: Sequence[int]) -> None:
    """All of them; ``tasks``: their tasks, by number. Raises ``Mixed``."""
    execute, rows, count = session.cursor.execute, list[Any](), len(claims)
    for one, task in zip(claims, tasks, strict=True):
        rows += (one.run_id, one.at, one.at if one.begin else None, int(one.begin), one.kwargs, task)
    execute(_CLAIM[count], (*rows, term))
    if session.cursor.rowcount != count:
        raise Mixed
    for task, more in Counter(tasks).items():
        execute("update tasks set rows = rows + ? where id = ?", (more, task))
    execute(_ANSWER[count], [one.run_id for one in claims])


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

"""What processes ask of the leader, in the tables: requests, pauses and dynamic schedules.

Each function is the work of one short transaction, or of one reading statement. Tasks stand here by name: whoever asks
need not know whether the leader has ever heard of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from onduty.journal import Dynamic, Kind, Request
from onduty.journal.sqlite_session import Nonsense, Session


def request(session: Session, wanted: Request) -> str:
    execute = session.cursor.execute
    if execute(_IS_KNOWN, (wanted.id, wanted.id)).fetchone():
        return wanted.id
    if wanted.kind == "trigger" and wanted.key is not None:
        same = execute(_SAME_KEY, {"task": wanted.task, "key": wanted.key}).fetchone()
        if same is not None:
            return str(same[0])
    execute("insert into requests(id, kind, task, at, kwargs, key, target) values (?, ?, ?, ?, ?, ?, ?)", wanted)
    _revise(session)
    return wanted.id


def requests(
    session: Session, tasks: Collection[str] | None, at_most: int | None, kind: Kind | None, before: str | None
) -> list[Request]:
    where, values = [], list[str | int]()
    if kind is not None:
        where.append(_OF_KIND[kind])
    if tasks is not None:
        # Of one task the rows lie in their order already; of several they are sorted.
        where.append("task = ?" if len(tasks) == 1 else "task in (select value from json_each(?))")
        values.append(next(iter(tasks)) if len(tasks) == 1 else json.dumps(list(tasks)))
    if before is not None:
        where.append("number < (select number from requests where id = ?)")
        values.append(before)
    values.append(-1 if at_most is None else at_most)
    which = " and ".join(where) or "true"
    return [
        Request(*row) for row in session.cursor.execute(f"{_REQUESTS} where {which} order by number limit ?", values)
    ]


def asked_of(session: Session) -> set[tuple[str, str]]:
    return {(kind, task) for kind, task in session.cursor.execute(_ASKED_OF)}


def count_asked(session: Session, task: str) -> int:
    found = session.cursor.execute("select count(*) from requests where kind = 'trigger' and task = ?", (task,))
    return int(found.fetchone()[0])


def asked(session: Session, request_id: str) -> Request | None:
    row = session.cursor.execute(f"{_REQUESTS} where id = ?", (request_id,)).fetchone()
    return Request(*row) if row else None


def pause(session: Session, task: str, at: int, schedule: str) -> None:
    session.cursor.execute("insert or ignore into paused(task, schedule, at) values (?, ?, ?)", (task, schedule, at))
    if session.cursor.rowcount == 1:
        _revise(session)


def resume(session: Session, task: str, schedule: str) -> None:
    session.cursor.execute("delete from paused where task = ? and schedule = ?", (task, schedule))
    if session.cursor.rowcount == 1:
        _revise(session)


def paused(session: Session) -> dict[tuple[str, str], int]:
    found = session.cursor.execute("select task, schedule, at from paused")
    return {(task, schedule): at for task, schedule, at in found}


def put_schedule(session: Session, dynamic: Dynamic) -> None:
    session.cursor.execute(
        "insert or replace into schedules(task, key, spec, kwargs, at) values (?, ?, ?, ?, ?)", dynamic
    )
    _revise(session)


def drop_schedule(session: Session, task: str, key: str) -> bool:
    session.cursor.execute("delete from schedules where task = ? and key = ?", (task, key))
    if session.cursor.rowcount == 0:
        return False
    # No schedule's plan: should it be made again, it is another one.
    session.cursor.execute("update tasks set plan = '' where name = ? and schedule = ?", (task, key))
    _revise(session)
    return True


def schedules(session: Session, task: str | None) -> list[Dynamic]:
    found = session.cursor.execute(
        "select task, key, spec, kwargs, at from schedules where ? is null or task = ? order by task, key", (task, task)
    )
    return [Dynamic(*row) for row in found]


def revision(session: Session) -> int:
    row = session.cursor.execute("select number from revision").fetchone()
    if row is None:
        raise Nonsense("no revision")
    return int(row[0])


def rename(session: Session, old: str, new: str) -> None:
    """What was asked of ``old`` is asked of ``new``, unless the same was already asked of that."""
    for statement in _RENAME:
        session.cursor.execute(statement, {"old": old, "new": new})
    _revise(session)


def _revise(session: Session) -> None:
    session.cursor.execute("update revision set number = number + 1")


_REQUESTS = "select id, kind, task, at, kwargs, key, target from requests"
# As the indexes say it, or they are not used.
_OF_KIND: dict[Kind, str] = {"trigger": "kind = 'trigger'", "cancel": "kind = 'cancel'"}
# From each name to the next one, and never along all its rows.
_ASKED_OF = " union all ".join(
    f"select '{kind}', task from (with recursive asked(task) as (select min(task) from requests where {is_so}"  # noqa: S608
    f" union all select (select min(task) from requests where {is_so} and task > asked.task)"
    " from asked where asked.task is not null) select task from asked where task is not null)"
    for kind, is_so in _OF_KIND.items()
)
_RENAME = (
    "update requests set task = :new where task = :old",
    "update or ignore paused set task = :new where task = :old",
    "delete from paused where task = :old",
    "update or ignore schedules set task = :new where task = :old",
    "delete from schedules where task = :old",
)
_IS_KNOWN = "select 1 from runs where run_id = ? union all select 1 from requests where id = ?"
_CANCELLED = "select 1 from requests c where c.kind = 'cancel' and c.task = :task and coalesce(c.target, {id}) = {id}"
# What is to be cancelled before it begins is no answer: it will not do what is asked for.
_SAME_KEY = (
    "select run_id from runs"  # noqa: S608  # of our own making
    " where task = (select id from tasks where name = :task and schedule = '') and key = :key and ended_at is null"
    f" and not ((attempt = 0 or retry_at is not null) and exists ({_CANCELLED.format(id='run_id')}))"
    " union all select id from requests q where task = :task and key = :key and kind = 'trigger'"
    f" and not exists ({_CANCELLED.format(id='q.id')} and c.number > q.number)"
)

"""Old rows are deleted in small steps, so that no claim waits long for one; what must outlive them is elsewhere."""

from __future__ import annotations

from collections import Counter

from onduty.journal.sqlite_session import Session

STEP = 1000

_TOO_OLD = "select id, task from runs where ended_at < ? order by ended_at limit ?"
_CROWDED = "select id, rows - ? from tasks where rows > ?"
# Of the oldest rows of a task, as many as there are too many, those that have ended. Not put in order once more, so
# that it ends as soon as it has found enough, instead of looking at a million rows that are too many.
_TOO_MANY = (
    "select id from (select id, ended_at from runs where task = ? order by id limit ?)"
    " where ended_at is not null limit ?"
)
# A term's runs have ids below the first_run of the next: a run that begins again takes the newest term.
_FORGET_TERMS = (
    "delete from terms where term < (select max(term) from terms"
    " where first_run <= coalesce((select min(id) from runs), first_run))"
)


def prune(session: Session, keep_runs: int, before: int) -> int:
    cursor = session.cursor
    doomed: dict[int, int] = dict(cursor.execute(_TOO_OLD, (before, STEP)))
    for task, surplus in cursor.execute(_CROWDED, (keep_runs, keep_runs)).fetchall():
        room = STEP - len(doomed)
        if room <= 0:
            break
        doomed.update((run, task) for (run,) in cursor.execute(_TOO_MANY, (task, surplus, room)))
    cursor.executemany("delete from runs where id = ?", ((run,) for run in doomed))
    cursor.executemany("delete from logs where run = ?", ((run,) for run in doomed))
    gone = Counter(doomed.values())
    cursor.executemany("update tasks set rows = rows - ? where id = ?", ((n, task) for task, n in gone.items()))
    cursor.execute(_FORGET_TERMS)
    return len(doomed)

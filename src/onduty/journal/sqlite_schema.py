"""The tables of the SQLite journal, as numbered migrations: once released, a migration is never edited.

::

    terms  1 ──── n  runs  n ──── 1  tasks  1 ──── 0..1  states
                      1              1
                      │              │
                     0..1 logs       n  successes         requests, paused, schedules: by the task's name

A row of ``terms`` names the process that was given the term, so that a run, which carries its term, need not
repeat that name. A row of ``tasks`` is one schedule of a task and holds its mark; it outlives every run. The one whose
``schedule`` is ``""`` is the task's own: its id stands for the task.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x6F6E6475
"""Written into the file's header ("ondu"), so that another program's database is never taken for ours."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # first_run: the id the next run had when the term began. Runs of earlier terms all lie below it.
        "create table terms(term integer primary key, process text, began_at integer, first_run integer)",
        # rows: how many runs the task has; kept here so that pruning need not count them.
        "create table tasks(id integer primary key, name text not null unique, last_slot integer, rows default 0)",
        # slot: the last one of a range; first_slot: only set for a range.
        """create table runs(
            id integer primary key, run_id text not null unique, task integer not null,
            slot integer, first_slot integer, slots integer not null, term integer not null,
            attempt integer not null, created_at integer not null, started_at integer, ended_at integer,
            outcome text, kwargs text not null, result text, error text)""",
        "create unique index runs_slot on runs(task, slot) where slot is not null",
        # The row's id is the hidden last column of an index: this one serves "the newest of a task" ...
        "create index runs_task on runs(task)",
        # ... and this one both "no end yet, oldest first" and "ended before".
        "create index runs_ended on runs(ended_at)",
        "create table states(task integer primary key, body text not null)",
    ),
    (
        # A task has many schedules now, each with a mark. Its name alone was unique, which only a new table can lift.
        "alter table tasks rename to tasks_1",
        # rows: as before, in the task's own row. plan: a text that names what the mark was moved by.
        """create table tasks(
            id integer primary key, name text not null, schedule text not null default '', last_slot integer,
            era integer not null default 0, plan text, rows integer not null default 0, unique(name, schedule))""",
        "insert into tasks(id, name, last_slot, rows) select id, name, last_slot, rows from tasks_1",
        "drop table tasks_1",
        # line: the row of tasks whose slot it was; 0 for the task's own, which costs a row nothing.
        "alter table runs add column line integer not null default 0",
        "alter table runs add column era integer not null default 0",
        "alter table runs add column key text",
        "alter table runs add column once integer not null default 0",
        "alter table runs add column progress real",
        "alter table runs add column text text",
        "alter table runs add column retry_at integer",
        "drop index runs_slot",
        "create unique index runs_slot on runs(task, line, era, slot) where slot is not null",
        # At most one with a key is queued or running. Rows without a key, nearly all, have no part in it.
        "create unique index runs_key on runs(task, key) where key is not null and ended_at is null",
        "create table successes(task integer, key text, primary key(task, key)) without rowid",
        "create table logs(run integer primary key, lines text not null)",
        """create table requests(
            number integer primary key, id text not null unique, kind text not null, task text not null,
            at integer not null, kwargs text not null, key text, target text)""",
        "create index requests_key on requests(task, key) where key is not null",
        "create table paused(task text, schedule text, at integer not null, primary key(task, schedule)) without rowid",
        """create table schedules(
            task text, key text, spec text not null, kwargs text not null, at integer not null,
            primary key(task, key)) without rowid""",
        "create table revision(number integer not null)",
        "insert into revision values (0)",
    ),
    (
        # furthest: where last_slot was before the clock was set back.
        "alter table tasks add column furthest integer",
    ),
    (
        # The oldest of a task among any number of others; cancellations are few, and looked for among all the rest.
        "create index requests_runs on requests(task) where kind = 'trigger'",
        "create index requests_cancels on requests(task) where kind = 'cancel'",
    ),
)
LATEST = len(MIGRATIONS)


def version(connection: sqlite3.Connection) -> int | None:
    """The number of migrations the file has had; 0 for an empty file, ``None`` when it is not a journal of ours."""
    # One statement, hence one moment: between two, another process could create the tables.
    application, number, tables = connection.execute(
        "select (select application_id from pragma_application_id), (select user_version from pragma_user_version),"
        " (select count(*) from sqlite_master)"
    ).fetchone()
    if application == APPLICATION_ID:
        return int(number)
    return None if tables or application else 0


def migrate(connection: sqlite3.Connection, start: int) -> None:
    """Bring a file of version ``start`` up to :data:`LATEST`, all or nothing.

    Other processes may try at the same time: nothing is done when one of them was first.
    """
    connection.execute("begin immediate")
    try:
        if version(connection) == start:
            for statement in (each for migration in MIGRATIONS[start:] for each in migration):
                connection.execute(statement)
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {LATEST}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise

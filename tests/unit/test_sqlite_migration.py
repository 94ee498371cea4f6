"""A journal of the first version goes on as one of the present: nothing that was claimed is open again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from onduty.journal import Mark, Outcome, sqlite_schema
from onduty.journal.entries import Begin, Claim, Finish, Seen
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
from support.at_once import at_once

NOW = 1_800_000_000_000_000
TERM = 1_800_000_000
ME = this_process()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the first version left it: two terms, two tasks, a range, runs that have ended and have not."""
    path = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("pragma journal_mode = wal")
        for statement in sqlite_schema.MIGRATIONS[0]:
            old.execute(statement)
        old.execute(f"pragma application_id = {sqlite_schema.APPLICATION_ID}")
        old.execute("pragma user_version = 1")
        process = json.dumps(ME.as_dict(), sort_keys=True)
        old.executemany("insert into terms values (?, ?, ?, ?)", [(TERM, process, NOW, 1), (TERM + 1, process, NOW, 4)])
        old.executemany("insert into tasks values (?, ?, ?, ?)", [(1, "push", 30, 4), (2, "export", None, 1)])
        old.executemany(
            "insert into runs values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (1, "p", 1, 20, 11, 10, TERM, 0, NOW, None, NOW, "missed", "{}", None, None),
                (2, "a", 1, 21, None, 1, TERM, 1, NOW, NOW, NOW + 5, "succeeded", "{}", "7", None),
                (3, "e", 2, None, None, 1, TERM, 0, NOW, None, None, None, '{"user":3}', None, None),
                (4, "b", 1, 30, None, 1, TERM + 1, 1, NOW, NOW, None, None, "{}", None, None),
                (5, "f", 1, 29, None, 1, TERM + 1, 1, NOW, NOW, NOW + 1, "failed", "{}", None, "no"),
            ],
        )
        old.execute("insert into states values (1, ?)", ('{"seen":1}',))
    return path


def test_all_of_it_is_there(path: Path) -> None:
    """With what is new at rest."""
    journal = _opened(path)

    assert journal.term() == TERM + 1
    assert journal.marks() == {("push", ""): Mark(30, None)}
    assert journal.state("push") == '{"seen":1}'
    assert [run.run_id for run in journal.recent()] == ["f", "b", "e", "a", "p"]
    assert [run.run_id for run in journal.recent("push")] == ["f", "b", "a", "p"]
    assert [run.run_id for run in journal.unfinished()] == ["e", "b"]
    ranged, ended, queued = journal.get("p"), journal.get("a"), journal.get("e")
    assert ranged is not None
    assert (ranged.first_slot, ranged.slot, ranged.slots, ranged.outcome) == (11, 20, 10, Outcome.MISSED)
    assert ended is not None
    assert (ended.result, ended.process, ended.schedule, ended.key, ended.once) == ("7", ME, "", None, False)
    assert queued is not None
    assert (queued.kwargs, queued.progress, queued.text, queued.retry_at) == ('{"user":3}', 0.0, "", None)
    assert (journal.requests(), journal.paused(), journal.schedules(), journal.revision()) == ([], {}, [], 0)
    assert (journal.log("a"), journal.successes("push")) == ("[]", set())
    journal.close()


def test_it_goes_on(path: Path) -> None:
    """Its slots stay claimed, its runs begin and end, its history is pruned."""
    journal = _opened(path)
    term = journal.begin_term(0, NOW)

    claims = [Claim(f"n{slot}", "push", slot, NOW) for slot in (21, 25, 30, 31)]
    assert journal.write(term, claims) == [False, False, False, True]
    assert journal.write(term, [Begin("e", 1, NOW), Finish("e", Outcome.SUCCEEDED, NOW)]) == [True, True]
    assert journal.write(term, [Finish("b", Outcome.SUCCEEDED, NOW)]) == [True]
    assert journal.write(term, [Seen("push", NOW, plan="every 5s")]) == [False]
    assert journal.marks() == {("push", ""): Mark(31, "every 5s")}
    assert journal.prune(keep_runs=2, before=0) == 3
    assert [run.run_id for run in journal.recent()] == ["n31", "f", "e"]
    journal.close()


def test_it_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    """But for the order of the columns that came later, a file tells nobody how old it is."""
    new = tmp_path / "new.sqlite3"
    for file in (path, new):
        _opened(file).close()

    assert _shape(path) == _shape(new)


def test_a_migration_that_fails_leaves_it_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it or nothing, so that the older version can go on."""
    broken = (*sqlite_schema.MIGRATIONS[1][:-1], "insert into nowhere values (0)")
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", (sqlite_schema.MIGRATIONS[0], broken))

    with pytest.raises(Exception, match="nowhere"):
        _opened(path)

    with closing(sqlite3.connect(path)) as old:
        assert old.execute("pragma user_version").fetchone() == (1,)
        assert old.execute("select name, last_slot, rows from tasks where id = 1").fetchall() == [("push", 30, 4)]
    monkeypatch.undo()
    _opened(path).close()


OPEN_ONE = """
import sys
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
print("ready", flush=True)
sys.stdin.readline()
journal = SqliteJournal(sys.argv[1])
journal.open(this_process())
print(journal.term(), len(journal.recent()), len(journal.marks()))
journal.close()
"""


def test_many_processes_may_bring_it_up_to_date_at_once(path: Path) -> None:
    """All workers of a new release; one of them does it."""
    assert at_once(OPEN_ONE, path, 6) == [f"{TERM + 1} 5 1\n"] * 6


def _opened(path: Path) -> SqliteJournal:
    journal = SqliteJournal(path)
    journal.open(ME)
    return journal


def _shape(path: Path) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as connection:
        shape: dict[str, object] = {"version": connection.execute("pragma user_version").fetchone()}
        for kind, name, table, text in connection.execute("select type, name, tbl_name, sql from sqlite_master"):
            columns = connection.execute(
                'select name, type, "notnull", dflt_value, pk from pragma_table_info(?)', (name,)
            )
            shape[name] = (kind, table, sorted(columns, key=str) if kind == "table" else text)
    return shape

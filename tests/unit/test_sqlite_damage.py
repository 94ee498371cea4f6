"""A file that is not a journal, or no longer: said at once, by its kind, and moved out of the way on demand."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onduty.errors import JournalDamaged, StoreUnavailable
from onduty.journal import Outcome
from onduty.journal.entries import Claim, Finish
from onduty.journal.memory import MemoryJournal
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
from support.at_once import at_once

NOW = 1_800_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path)
    journal.open(this_process())
    yield journal
    journal.close()


# At opening


def test_a_database_of_another_program_is_foreign(path: Path) -> None:
    """And left as it is."""
    _make_foreign(path)

    with pytest.raises(JournalDamaged, match=r"journal\.sqlite3 is a database of another program.*aside") as raised:
        SqliteJournal(path).open(this_process())

    assert raised.value.kind == "foreign"
    assert _ask(path, "select name from sqlite_master") == [("theirs",)]


def test_a_file_that_is_no_database_is_damaged(path: Path) -> None:
    """With the path, and what to do with it."""
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(
        JournalDamaged, match=r"journal\.sqlite3 is not a journal or is damaged.*move the file away"
    ) as raised:
        SqliteJournal(path).open(this_process())

    assert raised.value.kind == "damaged"


@pytest.mark.parametrize("length", [100, 4096, 5000, 9000, 40_000, -4096, -1])
def test_a_journal_that_was_cut_short_is_damaged(journal: SqliteJournal, path: Path, length: int) -> None:
    """A disk, or a copy, that lost its end. SQLite may find no error in what it takes for zeros: here, in no term."""
    _fill(journal)
    journal.close()
    os.truncate(path, length if length > 0 else path.stat().st_size + length)

    with pytest.raises(JournalDamaged, match=r"journal\.sqlite3 is not a journal or is damaged.*move the file away"):
        journal.open(this_process())


def test_a_journal_without_one_of_its_tables_is_damaged(journal: SqliteJournal, path: Path) -> None:
    """It says that it is ours, and is not."""
    journal.close()
    _ask(path, "drop table terms")

    with pytest.raises(JournalDamaged, match="no such table"):
        journal.open(this_process())


# In use


def test_damage_found_later_is_said_by_whatever_finds_it(journal: SqliteJournal, path: Path) -> None:
    """What can't be read is not guessed; what can be is read still."""
    term = _fill(journal)
    journal.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size // 2))
    journal.open(this_process())

    with pytest.raises(JournalDamaged, match=r"journal\.sqlite3.*malformed.*move the file away"):
        journal.prune(0, NOW + 1)
    with pytest.raises(JournalDamaged, match="malformed"):
        journal.recent(limit=1000)
    assert journal.term() == term


@pytest.mark.parametrize("table", ["runs", "requests", "revision", "tasks"])
def test_tables_changed_by_another_program_are_damage(journal: SqliteJournal, path: Path, table: str) -> None:
    """Found by the next who needs them."""
    term = journal.begin_term(0, NOW)
    _ask(path, f"drop table {table}")

    def ask() -> None:
        journal.write(term, [Claim("a", "task", None, NOW)])
        journal.revision()

    with pytest.raises(JournalDamaged, match=rf"no such table: (main\.)?{table}"):
        ask()


@pytest.mark.parametrize(
    "change",
    [
        "update terms set process = null",
        "update terms set process = '[]'",
        "update runs set outcome = 'exploded', ended_at = null",
        "update runs set retry_at = 'x'",
        "update tasks set last_slot = 'abc'",
        "update terms set term = 9223372036854775807",
        "delete from revision",
    ],
)
def test_values_that_no_journal_holds_are_damage(journal: SqliteJournal, path: Path, change: str) -> None:
    """Of a sound file; a term that died of them again and again would be the last word of all workers."""
    term = journal.begin_term(0, NOW)
    journal.write(term, [Claim("a", "task", 5, NOW)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma ignore_check_constraints = on")
        db.execute(change)
        db.commit()

    def ask() -> None:
        journal.marks()
        journal.unfinished()
        journal.revision()
        journal.begin_term(0, NOW)

    with pytest.raises(JournalDamaged, match="holds what no journal holds"):
        journal.begin_term(0, NOW)
    with pytest.raises(JournalDamaged, match="holds what no journal holds"):
        ask()


@pytest.mark.parametrize("length", [0, 100, 5000, 40_000])
def test_a_file_cut_short_in_use_is_damage_at_the_next_word(journal: SqliteJournal, path: Path, length: int) -> None:
    """This connection has all of it in memory, and would not notice by itself."""
    term = _fill(journal)
    journal.term()
    _from_outside("os.truncate(path, int(sys.argv[2]))", path, length)

    for ask in _questions(journal, term):
        with pytest.raises(JournalDamaged, match="its end is missing"):
            ask()
    assert _begin_anew(journal, term) > term


def test_a_file_made_smaller_in_good_order_is_no_damage(journal: SqliteJournal, path: Path) -> None:
    """Somebody tidied up by hand."""
    term = _fill(journal)
    assert journal.prune(0, NOW + 1) == 500
    before = path.stat().st_size
    _ask(path, "vacuum")
    _ask(path, "pragma wal_checkpoint(truncate)")
    assert path.stat().st_size < before

    assert journal.write(term, [Claim("new", "task", 501, NOW), Claim("old", "task", 500, NOW)]) == [True, False]


# Set aside


def test_setting_aside_moves_the_file_and_its_logs_and_a_new_one_begins(journal: SqliteJournal, path: Path) -> None:
    """Together, so that what can be read of it is read with SQLite, from a name that says what it is, and when."""
    term = journal.begin_term(0, NOW)
    journal.write(term, [Claim("a", "task", 10, NOW)])
    other = SqliteJournal(path)
    other.open(this_process())  # so that closing ours leaves the logs where they are

    aside = journal.set_aside("damaged")

    assert aside.parent == path.parent
    assert aside.name.startswith("journal.sqlite3.damaged-2")
    assert aside.name.endswith("Z")
    assert {file.name for file in path.parent.iterdir()} == {aside.name, f"{aside.name}-wal", f"{aside.name}-shm"}
    with pytest.raises(StoreUnavailable, match="not open"):
        journal.term()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        other.write(term, [Claim("b", "task", 11, NOW)])
    assert _ask(aside, "select run_id from runs") == [("a",)]

    newer = _begin_anew(journal, term)
    assert journal.marks() == {}
    other.open(this_process())
    assert other.term() == newer
    other.close()


def test_a_foreign_file_is_called_foreign(path: Path) -> None:
    """It may be dear to somebody."""
    _make_foreign(path)
    journal = SqliteJournal(path)
    with pytest.raises(JournalDamaged) as raised:
        journal.open(this_process())

    aside = journal.set_aside(raised.value.kind)

    assert aside.name.startswith("journal.sqlite3.foreign-")
    assert _ask(aside, "select name from sqlite_master") == [("theirs",)]
    assert _begin_anew(journal, 7) == 8
    journal.close()


def test_garbage_set_aside_again_and_again_overwrites_nothing(path: Path) -> None:
    """Within the same second as well."""
    journal = SqliteJournal(path)
    asides = []
    for number in range(3):
        path.write_bytes(b"garbage %d" % number * 100)
        with pytest.raises(JournalDamaged):
            journal.open(this_process())
        asides.append(journal.set_aside("damaged"))

    assert [aside.read_bytes()[:9] for aside in asides] == [b"garbage 0", b"garbage 1", b"garbage 2"]
    assert not path.exists()


def test_a_log_left_behind_by_another_worker_is_not_taken_for_the_new_file_s(path: Path) -> None:
    """It opened the old file between the moves; the leader moves what it left out of the way as well."""
    old = SqliteJournal(path)
    old.open(this_process())
    old.write(old.begin_term(0, NOW), [Claim("a", "task", 10, NOW)])
    log = path.with_name("journal.sqlite3-wal")
    left = subprocess.run(["cat", log], capture_output=True, check=True).stdout
    old.set_aside("damaged")
    log.write_bytes(left)

    with pytest.raises(JournalDamaged) as refused:
        old.open(this_process())
    old.set_aside(refused.value.kind)
    old.open(this_process())

    assert (old.term(), old.recent()) == (0, [])
    old.close()


SET_ASIDE_AND_ASK = """
import sys, time
from onduty.errors import JournalDamaged, StoreUnavailable
from onduty.journal import Request
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
path, number = sys.argv[1:]
journal, asked = SqliteJournal(path), 0
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + 2
while time.monotonic() < until:
    try:
        journal.open(this_process())
        for _ in range(20):
            journal.request(Request(f"{number}-{asked}", "trigger", "task", 0, kwargs="x" * 1000))
            asked += 1
        if number == "0":
            journal.set_aside("damaged")
    except JournalDamaged as error:
        if number == "0":
            journal.set_aside(error.kind)  # others left their logs between the moves, or began a new file beside them
    except StoreUnavailable:
        pass  # at worst it is not there
print(asked)
"""


def test_files_that_are_set_aside_again_and_again_under_load_stay_whole(path: Path) -> None:
    """Those who ask meanwhile are told at worst to ask again; no file gets another one's log."""
    asked = [int(answer) for answer in at_once(SET_ASIDE_AND_ASK, path, 3)]

    files = [file for file in path.parent.iterdir() if not file.name.endswith(("-wal", "-shm"))]
    assert len(files) > 1
    assert all(_ask(file, "pragma quick_check(1)") == [("ok",)] for file in files)
    assert sum(asked) > 0


def test_what_can_not_be_set_aside_stays_whole(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three or none; and the error says what to do."""
    journal.begin_term(0, NOW)
    other = SqliteJournal(path)
    other.open(this_process())
    rename = os.rename

    def refuse(source: str, target: str) -> None:
        if source == str(path):
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StoreUnavailable, match=r"can't be set aside as journal\.sqlite3\.damaged-.*write its folder"):
        journal.set_aside("damaged")

    names = {file.name for file in path.parent.iterdir()}
    assert names == {"journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"}
    other.close()


def test_a_file_that_is_gone_can_not_be_set_aside(journal: SqliteJournal, path: Path) -> None:
    """Whoever took it away made room for a new one."""
    path.unlink()

    with pytest.raises(StoreUnavailable, match="can't be set aside"):
        journal.set_aside("damaged")
    journal.set_aside("deleted")
    assert _begin_anew(journal, 0) > 0


def test_only_a_journal_that_was_to_be_opened_can_set_aside(path: Path) -> None:
    """Others have not seen that anything is wrong."""
    with pytest.raises(StoreUnavailable, match="never opened"):
        SqliteJournal(path).set_aside("damaged")


def test_a_journal_in_memory_has_nothing_to_set_aside() -> None:
    """Nor can it be damaged."""
    with pytest.raises(StoreUnavailable, match="no file"):
        MemoryJournal().set_aside("damaged")


def _fill(journal: SqliteJournal) -> int:
    """500 rows, all of them in the file and none in its log."""
    term = journal.begin_term(0, NOW)
    slots = range(1, 501)
    journal.write(term, [Claim(f"r{slot}", "task", slot, NOW, kwargs="x" * 500) for slot in slots])
    journal.write(term, [Finish(f"r{slot}", Outcome.SUCCEEDED, NOW) for slot in slots])
    _ask(journal._file.path, "pragma wal_checkpoint(truncate)")
    return term


def _questions(journal: SqliteJournal, term: int) -> list[Callable[[], object]]:
    return [
        journal.term,
        journal.revision,
        lambda: journal.write(term, [Claim("new", "task", 1000, NOW)]),
        lambda: journal.set_paused("task", NOW),
    ]


def _begin_anew(journal: SqliteJournal, floor: int) -> int:
    """As the leader does after damage: with a new file and a new term."""
    if journal._file.path.exists():
        journal.set_aside("damaged")
    journal.open(this_process())
    return journal.begin_term(floor, NOW)


def _make_foreign(path: Path) -> None:
    _ask(path, "create table theirs(x)")


def _ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def _from_outside(statement: str, path: Path, *arguments: object) -> None:
    """By another process: closing a plain descriptor of the file here would drop SQLite's locks."""
    program = f"import os, sys; path = sys.argv[1]; {statement}"
    subprocess.run([sys.executable, "-c", program, path, *map(str, arguments)], check=True)

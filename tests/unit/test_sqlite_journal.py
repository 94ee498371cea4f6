"""Faults that only a file shared by processes can have."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onduty.errors import ConfigError, StoreUnavailable
from onduty.journal import Claim, Finish, Outcome
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process

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


CLAIM_ALL = """
import json, sys
from onduty.journal import Claim
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
journal = SqliteJournal(sys.argv[1])
journal.open(this_process())
print("open", flush=True)
sys.stdin.readline()
term, mine = journal.term(), []
for first in range(1, int(sys.argv[2]) + 1, 5):
    slots = range(first, first + 5)
    claims = [Claim(f"{sys.argv[3]}-{slot}", "task", slot, 0) for slot in slots]
    mine += [slot for slot, ok in zip(slots, journal.write(term, claims)) if ok]
print(json.dumps(mine))
journal.close()
"""


def test_eight_processes_that_claim_the_same_slots_share_them_out(journal: SqliteJournal, path: Path) -> None:
    """Each slot goes to one of them, and nobody is told that the database is locked."""
    journal.begin_term(0, NOW)
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, str(path), "2000", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "open\n"
    answers = [claimer.communicate("go\n", timeout=60) for claimer in claimers]

    assert [error for _, error in answers if error] == []
    claimed = [slot for answer, _ in answers for slot in json.loads(answer)]
    assert sorted(claimed) == list(range(1, 2001))


def test_many_processes_may_make_the_file_at_once(path: Path) -> None:
    """The first start of an app with many workers."""
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, str(path), "0", "x"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]

    answers = [opener.communicate("go\n", timeout=60) for opener in openers]

    assert [error for _, error in answers if error] == []
    assert {answer for answer, _ in answers} == {"open\n[]\n"}


def test_the_file_is_nobody_else_s_to_read(journal: SqliteJournal, path: Path) -> None:
    """State and arguments of runs may be private."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_on_a_full_disk_nothing_is_half_written_and_all_goes_on_with_room(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k,mode=700", "tmpfs", disk], check=True)
    try:
        journal = SqliteJournal(disk / "journal.sqlite3")
        journal.open(this_process())
        term = journal.begin_term(0, NOW)
        filler = disk / "filler"
        _fill(filler)
        written: list[Claim] = []

        with pytest.raises(StoreUnavailable, match=r"journal\.sqlite3.*(space|disk)"):
            _write_for_ever(journal, term, written)
        batch = written[-99:]
        refused = {claim.run_id for claim in batch}
        assert not any(journal.get(run_id) for run_id in refused)

        filler.unlink()
        assert journal.write(term, batch) == [True] * len(batch)
        journal.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def _write_for_ever(journal: SqliteJournal, term: int, written: list[Claim]) -> None:
    for first in range(1, 100_000, 99):
        batch = [
            Claim(f"r{slot}", "task", slot, NOW, kwargs=json.dumps("x" * 500)) for slot in range(first, first + 99)
        ]
        written.extend(batch)
        journal.write(term, batch)


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    """And left as it is."""
    other = sqlite3.connect(path)
    other.execute("create table theirs(x)")
    other.commit()
    other.close()

    with pytest.raises(ConfigError, match="another program"):
        SqliteJournal(path).open(this_process())


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """With the path, and what to do with it."""
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(ConfigError, match=r"journal\.sqlite3 is not a journal or is damaged.*move the file away"):
        SqliteJournal(path).open(this_process())


def test_a_journal_of_a_newer_version_is_refused(journal: SqliteJournal, path: Path) -> None:
    """An older program must not write into tables it does not know."""
    journal.close()
    newer = sqlite3.connect(path)
    newer.execute("pragma user_version = 99")
    newer.close()

    with pytest.raises(ConfigError, match=r"newer onduty.*99"):
        SqliteJournal(path).open(this_process())


def test_a_journal_deleted_while_open_accepts_nothing_more(journal: SqliteJournal, path: Path) -> None:
    """Else the old file and a new one would both accept the same slot."""
    term = journal.begin_term(0, NOW)
    path.unlink()

    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        journal.write(term, [Claim("a", "task", 1, NOW)])

    journal.open(this_process())
    assert journal.term() == 0


def test_a_forked_child_harms_nothing(journal: SqliteJournal, path: Path) -> None:
    """It lets go without closing, and the parent goes on writing under its locks."""
    term = journal.begin_term(0, NOW)
    child = os.fork()
    if child == 0:
        journal.forget_in_child()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert journal.write(term, [Claim("a", "task", 1, NOW), Finish("a", Outcome.SUCCEEDED, NOW)]) == [True, True]
    reader = sqlite3.connect(path)
    assert reader.execute("select count(*) from runs").fetchone() == (1,)
    reader.close()


def test_a_journal_that_is_not_open_says_so() -> None:
    """Nothing is opened by asking."""
    with pytest.raises(StoreUnavailable, match="not open"):
        SqliteJournal("nowhere.sqlite3").term()

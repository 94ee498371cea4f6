"""Faults that only a file shared by processes can have."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onduty.errors import ConfigError, JournalDamaged, StoreUnavailable
from onduty.journal import Mark, Outcome
from onduty.journal.entries import Begin, Claim, Finish, Lost
from onduty.journal.sqlite import SqliteJournal
from onduty.journal.sqlite_file import CHECKPOINT_AFTER
from onduty.process import this_process
from support.disks import immutable

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


def test_the_file_is_nobody_else_s_to_read(journal: SqliteJournal, path: Path) -> None:
    """State and arguments of runs may be private."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_no_batch_needs_the_folder_for_temporary_files(journal: SqliteJournal) -> None:
    """Which may be full, or read-only in a hardened service; SQLite puts aside there what a statement may take back."""
    seen: set[str] = set()

    def look() -> int:
        for descriptor in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                seen.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        return 0

    term = journal.begin_term(0, NOW)
    journal.write(term, [Claim(f"{number}", "task", None, NOW, kwargs="x" * 6000) for number in range(640)])
    session = journal._file._session
    assert session is not None
    session.connection.set_progress_handler(look, 20)
    journal.write(term, [Claim(f"more {number}", "task", None, NOW, kwargs="x" * 6000) for number in range(64)])
    journal.write(term, [Finish(f"{number}", Outcome.SUCCEEDED, NOW, result="x" * 6000) for number in range(640)])

    assert str(journal._file.path) in seen
    assert [name for name in seen if "etilqs" in name] == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, so small that a test can fill it."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting takes root and Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k,mode=700", "tmpfs", disk], check=True)
    yield disk
    # Lazily: a test that failed may have left the journal open, and nothing may stay mounted.
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_on_a_full_disk_nothing_is_half_written_and_all_goes_on_with_room(disk: Path) -> None:
    """The error names the file and says what to do."""
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


def test_a_journal_that_finds_no_room_to_begin_with_is_named(disk: Path) -> None:
    """And begins when there is some."""
    filler = disk / "filler"
    _fill(filler)
    journal = SqliteJournal(disk / "journal.sqlite3")

    with pytest.raises(StoreUnavailable, match=r"journal\.sqlite3.*(space|disk)"):
        journal.open(this_process())

    filler.unlink()
    journal.open(this_process())
    assert journal.term() == 0
    journal.close()


def test_a_disk_that_became_read_only_is_named(disk: Path) -> None:
    """As after an error of the disk, when the kernel lets nobody write any more."""
    journal = SqliteJournal(disk / "journal.sqlite3")
    journal.open(this_process())
    journal.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    with pytest.raises(StoreUnavailable, match=r"journal\.sqlite3.*not mounted read-only"):
        journal.open(this_process())


def test_a_file_that_was_opened_while_nobody_could_write_it_is_written_as_soon_as_it_can_be(path: Path) -> None:
    """SQLite opens it for reading only then, and keeps to that for as long as the connection lives."""
    with closing(SqliteJournal(path)) as first:
        first.open(this_process())
        term = first.begin_term(0, NOW)
        journal = SqliteJournal(path)
        with immutable(path, Path(f"{path}-wal")):
            journal.open(this_process())
            assert journal.term() == term
            with pytest.raises(StoreUnavailable, match="readonly"):
                journal.write(term, [Claim("a", "task", 1, NOW)])

        assert journal.write(term, [Claim("a", "task", 1, NOW)]) == [True]
        journal.close()


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


def test_a_file_held_by_another_program_is_waited_for_and_then_named(path: Path) -> None:
    """Nothing was written; afterwards the same batch is."""
    journal = SqliteJournal(path, busy_seconds=0.05)
    journal.open(this_process())
    term = journal.begin_term(0, NOW)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")

    with pytest.raises(StoreUnavailable, match=r"journal\.sqlite3.*another process holds it"):
        journal.write(term, [Claim("a", "task", 1, NOW)])
    holder.execute("rollback")
    holder.close()

    assert journal.write(term, [Claim("a", "task", 1, NOW)]) == [True]
    journal.close()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_not_a_regular_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    """Opening a pipe would wait for ever."""
    make(path)

    with pytest.raises(JournalDamaged, match="not a regular file") as refused:
        SqliteJournal(path).open(this_process())
    assert refused.value.kind == "foreign"


def test_a_missing_folder_is_named(path: Path) -> None:
    """It is the caller's to make."""
    with pytest.raises(StoreUnavailable, match=r"no/journal\.sqlite3 can't be made.*No such file"):
        SqliteJournal(path.parent / "no" / "journal.sqlite3").open(this_process())


def test_an_empty_file_becomes_a_journal_nobody_else_reads(path: Path) -> None:
    """Somebody may have emptied it to begin anew."""
    path.touch()
    path.chmod(0o644)
    journal = SqliteJournal(path)
    journal.open(this_process())

    assert journal.term() == 0
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    journal.close()


def test_an_unknown_durability_is_refused(path: Path) -> None:
    """With the two there are."""
    with pytest.raises(ConfigError, match=r"durability='most': it is 'normal' or 'full'"):
        SqliteJournal(path, durability="most")  # type: ignore[arg-type]


def test_full_durability_writes_through(path: Path) -> None:
    """SQLite counts 2 for an fsync at each commit, 1 for one at each check-point."""
    for durability, number in (("normal", 1), ("full", 2)):
        journal = SqliteJournal(path, durability=durability)
        journal.open(this_process())
        asked = journal._file.read(lambda session: session.cursor.execute("pragma synchronous").fetchone())
        assert asked == (number,)
        journal.close()


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

    # Its logs are left, and a new file beside them would be read through them, should others have them open.
    with pytest.raises(JournalDamaged) as refused:
        journal.open(this_process())
    assert refused.value.kind == "deleted"
    aside = journal.set_aside(refused.value.kind)
    assert sorted(one.name for one in path.parent.glob("journal*")) == [f"{aside.name}-shm", f"{aside.name}-wal"]
    journal.open(this_process())
    assert journal.term() == 0


def test_a_journal_replaced_while_others_use_its_logs_is_noticed(journal: SqliteJournal, path: Path) -> None:
    """Only the old logs go out of the way; the new file is begun with."""
    journal.begin_term(0, NOW)
    other = SqliteJournal(path.with_name("other"))
    other.open(this_process())
    other.begin_term(41, NOW)
    other.close()
    path.with_name("other").rename(path)

    with pytest.raises(JournalDamaged, match="was replaced") as refused:
        journal.term()
    assert refused.value.kind == "replaced"
    journal.set_aside(refused.value.kind)
    journal.open(this_process())

    assert journal.term() == 42


def test_a_new_journal_is_safe_from_the_end_of_the_old_one(journal: SqliteJournal, path: Path) -> None:
    """Closing a file that was deleted must not take the log of its successor, which has the same name."""
    old = journal.begin_term(0, NOW)
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        file.unlink()
    successor = SqliteJournal(path)
    successor.open(this_process())
    term = successor.begin_term(0, NOW)

    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        journal.write(old, [Claim("a", "task", 1, NOW)])

    assert successor.write(term, [Claim("a", "task", 1, NOW)]) == [True]
    journal.open(this_process())
    assert journal.marks() == {("task", ""): Mark(1, None)}
    successor.close()
    assert journal.unfinished()[0].term == term


def test_a_second_journal_in_the_process_does_not_unlock_the_first(journal: SqliteJournal, path: Path) -> None:
    """POSIX drops all locks of a process on a file when it closes any descriptor of it, unless SQLite does it."""
    journal.begin_term(0, NOW)
    second = SqliteJournal(path)
    second.open(this_process())
    second.close()
    last = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select * from terms'); c.close()"
    subprocess.run([sys.executable, "-c", last, path], check=True)

    # Nobody else being there, the last to close deletes the log. It saw us.
    assert Path(f"{path}-wal").exists()


def test_every_touch_of_the_connection_goes_through_the_offload(path: Path) -> None:
    """In a patched worker SQLite belongs to one native thread; calls come from anywhere."""
    with ThreadPoolExecutor(1) as pool:
        touched: list[int] = []

        def offload(fn: Callable[..., Any], /, *args: Any) -> Any:
            def there() -> Any:
                touched.append(threading.get_ident())
                return fn(*args)

            return pool.submit(there).result()

        journal = SqliteJournal(path, offload=offload)
        journal.open(this_process())
        term = journal.begin_term(0, NOW)
        journal.write(term, [Claim("a", "task", 1, NOW)])
        journal.set_state(term, "task", "{}")
        asked = [
            journal.term(),
            journal.marks(),
            journal.unfinished(),
            journal.get("a"),
            journal.recent(),
            journal.state("task"),
        ]
        journal.prune(0, 0)
        journal.close()

    assert len(asked) == 6
    assert len(touched) == 12
    assert len(set(touched)) == 1
    assert threading.get_ident() not in touched


def test_terms_are_forgotten_with_the_last_of_their_runs(journal: SqliteJournal, path: Path) -> None:
    """A row tells which process it was of for as long as there is the row, whoever began it again."""
    me = this_process()
    terms = []
    for number in range(6):
        journal.close()
        journal.open(me._replace(pid=100 + number))
        terms.append(journal.begin_term(0, NOW))
        journal.write(terms[-1], [Claim(f"r{number}", "task", None, NOW, begin=False)])
    journal.write(terms[-1], [Begin("r1", 1, NOW), Finish("r0", Outcome.LOST, NOW)])
    journal.write(terms[-1], [Lost(run, NOW) for run in ("r0", "r2", "r3", "r5")])

    assert journal.prune(keep_runs=0, before=0) == 4
    assert [(run.run_id, run.process.pid) for run in journal.unfinished()] == [("r1", 105), ("r4", 104)]
    journal.write(terms[-1], [Lost("r1", NOW)])
    assert journal.prune(keep_runs=0, before=0) == 1
    known = journal._file.read(lambda session: session.cursor.execute("select term from terms").fetchall())
    assert known == [(terms[4],), (terms[5],)]
    assert [run.process.pid for run in journal.unfinished()] == [104]


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


def test_a_forked_child_may_not_open_the_file_again(journal: SqliteJournal, path: Path) -> None:
    """SQLite in the child believes in locks that only the parent has: what it wrote there was seen to get lost."""
    journal.begin_term(0, NOW)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            SqliteJournal(path).close()
            with pytest.raises(StoreUnavailable, match="not open in this process"):
                journal.term()
            journal.close()
            journal.open(this_process())
        except StoreUnavailable as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert "forked while that was open" in answer.read()

    assert journal.begin_term(0, NOW) == NOW // 1_000_000 + 1


def test_a_child_forked_before_the_journal_was_open_may_open_it(path: Path) -> None:
    """So does every worker of a server that preloads the app; and so does one whose parent had closed it in order."""
    journal = SqliteJournal(path)
    journal.open(this_process())
    journal.begin_term(41, NOW)
    journal.close()
    child = os.fork()
    if child == 0:
        try:
            journal.forget_in_child()
            journal.open(this_process())
            os._exit(journal.term())
        finally:
            os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


FORK_AND_CLOSE = """
import os, sys
from onduty.journal.sqlite import SqliteJournal
from onduty.journal.sqlite_file import CHECKPOINT_AFTER
from onduty.process import this_process
journal = SqliteJournal(sys.argv[1])
journal.open(this_process())
journal.begin_term(41, 10**15)
if os.fork() == 0:
    journal.forget_in_child()
    sys.stdin.readline()
    sys.exit(0)
journal.close()
print("closed", flush=True)
"""

WRITE_AND_DIE = """
import os, signal, sys
from onduty.journal.sqlite import SqliteJournal
from onduty.journal.sqlite_file import CHECKPOINT_AFTER
from onduty.process import this_process
journal = SqliteJournal(sys.argv[1])
journal.open(this_process())
journal.begin_term(0, 10**15)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_end_of_a_forked_child_takes_nothing_back(path: Path) -> None:
    """An interpreter that ends closes what it has: here a log that was replaced long ago, under the same name."""
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK_AND_CLOSE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "closed\n"
    killed = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, path], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL

    assert parent.communicate("end\n", timeout=30) == ("", None)  # read to the end, which is the child's
    journal = SqliteJournal(path)
    journal.open(this_process())
    assert journal.term() == 43
    journal.close()


def test_a_journal_that_is_not_open_says_so() -> None:
    """Nothing is opened by asking."""
    with pytest.raises(StoreUnavailable, match="not open"):
        SqliteJournal("nowhere.sqlite3").term()


def test_at_rest_the_log_is_written_back_into_the_file(journal: SqliteJournal, path: Path, tmp_path: Path) -> None:
    """Or SQLite would do it in the middle of a claim. A copy of the file alone then holds all of it."""
    term = journal.begin_term(0, NOW)
    for slot in range(CHECKPOINT_AFTER):
        journal.write(term, [Claim(f"run-{slot}", "task", slot + 1, NOW)])

    journal.rest()

    alone = tmp_path / "alone.sqlite3"
    subprocess.run(["cp", path, alone], check=True)  # by another process: closing the file here would drop locks
    with closing(sqlite3.connect(alone)) as copy:
        (last,) = copy.execute("select max(slot) from runs").fetchone()
    assert last == CHECKPOINT_AFTER

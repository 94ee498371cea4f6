"""Many processes, one file: nobody is told that it is locked, and nothing is accepted twice."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onduty.errors import TermLost
from onduty.journal import Mark, Outcome
from onduty.journal.entries import Claim, Finish
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
from support.at_once import at_once

NOW = 1_800_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    journal = _opened(path)
    yield journal
    journal.close()


# Each begins with another task, so that all get a share; each tries every slot.
CLAIM_ALL = """
import json, sys
from onduty.journal.entries import Claim
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
path, name = sys.argv[1:]
journal = SqliteJournal(path)
journal.open(this_process())
term, mine = journal.term(), []
print("ready", flush=True)
sys.stdin.readline()
for turn in range(100):
    task = (turn + 12 * int(name)) % 100
    for first in range(1, 101, 10):
        slots = range(first, first + 10)
        claims = [Claim(f"{name}-{task}-{slot}", f"task {task}", slot, 0) for slot in slots]
        mine += [(task, slot) for slot, ok in zip(slots, journal.write(term, claims)) if ok]
print(json.dumps(mine))
journal.close()
"""

OPEN_ALL = """
import sys
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    journal = SqliteJournal(f"{sys.argv[1]}.{number}")
    journal.open(this_process())
    assert journal.term() == 0
    journal.close()
"""

ASK_ALL = """
import json, sys
from onduty.journal import Request
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
path, name = sys.argv[1:]
journal = SqliteJournal(path)
journal.open(this_process())
print("ready", flush=True)
sys.stdin.readline()
asked = [journal.request(Request(f"{name}-{n}", "trigger", "task", 0, key=str(n))) for n in range(100)]
print(json.dumps(asked))
journal.close()
"""


def test_eight_processes_that_claim_the_same_slots_share_them_out(journal: SqliteJournal, path: Path) -> None:
    """Each of 10,000 slots goes to one of them."""
    journal.begin_term(0, NOW)

    shares = [json.loads(answer) for answer in at_once(CLAIM_ALL, path, 8)]

    claimed = sorted((task, slot) for share in shares for task, slot in share)
    assert claimed == [(task, slot) for task in range(100) for slot in range(1, 101)]
    assert sum(bool(share) for share in shares) > 1  # else they did not meet at all


def test_four_processes_that_ask_for_the_same_keys_are_answered_alike(journal: SqliteJournal, path: Path) -> None:
    """Whoever was first made the request, and the others are told of that one."""
    answers = [json.loads(answer) for answer in at_once(ASK_ALL, path, 4)]

    assert all(answer == answers[0] for answer in answers)
    assert sorted(answers[0]) == sorted(wanted.id for wanted in journal.requests())


def test_many_processes_may_make_the_file_at_once(path: Path) -> None:
    """The first start of an app with many workers; and the last to leave puts nobody out who just comes."""
    assert at_once(OPEN_ALL, path, 6) == [""] * 6


def test_a_file_that_is_being_made_by_another_process_is_waited_for(path: Path) -> None:
    """SQLite does not wait by itself when it switches to its log; the other holds the file for a moment only."""
    path.touch()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    let_go = threading.Timer(0.2, other.close)
    let_go.start()
    journal = SqliteJournal(path)

    journal.open(this_process())

    let_go.join()
    assert journal.term() == 0
    journal.close()


def test_a_slot_that_is_being_pruned_can_not_be_claimed_again(journal: SqliteJournal, path: Path) -> None:
    """Its row may be there, or gone, or going: the mark is beyond it."""
    term = journal.begin_term(0, NOW)
    slots = range(1, 5001)
    journal.write(term, [Claim(f"r{slot}", "task", slot, NOW) for slot in slots])
    journal.write(term, [Finish(f"r{slot}", Outcome.SUCCEEDED, NOW) for slot in slots])
    pruned: list[int] = []

    def prune_all() -> None:
        with closing(_opened(path)) as other:
            pruned.extend(iter(lambda: other.prune(0, 0), 0))

    pruner = threading.Thread(target=prune_all)
    pruner.start()
    accepted = []
    while pruner.is_alive():
        accepted += journal.write(term, [Claim(f"again{slot}", "task", slot, NOW) for slot in slots[::50]])
    pruner.join()
    accepted += journal.write(term, [Claim(f"again{slot}", "task", slot, NOW) for slot in slots])

    assert sum(pruned) == 5000
    assert not any(accepted)
    assert journal.write(term, [Claim("next", "task", 5001, NOW)]) == [True]


@pytest.mark.parametrize("how", ["backup", "vacuum into"])
def test_a_copy_restored_gives_no_slot_twice_that_it_knows_of(path: Path, tmp_path: Path, how: str) -> None:
    """Made while the journal was in use. The lock file remembers the term, so the copy begins no older one."""
    journal, copy = _opened(path), tmp_path / "copy.sqlite3"
    term = journal.begin_term(0, NOW)
    journal.write(term, [Claim(f"r{slot}", "task", slot, NOW) for slot in range(1, 11)])
    journal.write(term, [Claim(f"x{slot}", "task", slot, NOW, schedule="x") for slot in range(1, 6)])
    _copy(path, copy, how)
    journal.write(term, [Claim(f"r{slot}", "task", slot, NOW) for slot in range(11, 21)])
    journal.close()
    for part in ("-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)
    copy.replace(path)

    restored = _opened(path)
    assert restored.marks() == {("task", ""): Mark(10, None), ("task", "x"): Mark(5, None)}
    newer = restored.begin_term(term, NOW)
    again = [Claim(f"again{slot}", "task", slot, NOW) for slot in range(1, 11)]
    assert not any(restored.write(newer, again))
    assert restored.write(newer, [Claim("x", "task", 5, NOW, schedule="x"), Claim("b", "task", 11, NOW)]) == [
        False,
        True,
    ]
    with pytest.raises(TermLost):
        restored.write(term, [Claim("c", "task", 12, NOW)])
    restored.close()


def test_a_copy_put_in_place_while_the_journal_is_open_is_noticed(journal: SqliteJournal, path: Path) -> None:
    """The old file takes no more claims; in the new one the next term goes on from what it knows."""
    term = journal.begin_term(0, NOW)
    journal.write(term, [Claim("a", "task", 10, NOW)])
    copy = path.with_name("copy.sqlite3")
    _copy(path, copy, "vacuum into")
    for part in ("-wal", "-shm"):
        path.with_name(path.name + part).unlink()
    copy.replace(path)

    with pytest.raises(Exception, match="deleted or replaced"):
        journal.write(term, [Claim("b", "task", 11, NOW)])
    journal.open(this_process())
    newer = journal.begin_term(term, NOW)
    assert journal.write(newer, [Claim("a2", "task", 10, NOW), Claim("b", "task", 11, NOW)]) == [False, True]


def _opened(path: Path) -> SqliteJournal:
    journal = SqliteJournal(path)
    journal.open(this_process())
    return journal


def _copy(path: Path, copy: Path, how: str) -> None:
    # As another program does it: SQLite looks after the locks of all connections of a process, whoever made them.
    with closing(sqlite3.connect(path)) as source:
        if how == "backup":
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        else:
            source.execute("vacuum into ?", (str(copy),))


def test_an_older_copy_put_in_its_place_ends_the_term(journal: SqliteJournal, path: Path, tmp_path: Path) -> None:
    """It knows the term, but not what was written in it since: a slot could vanish, or be claimed twice."""
    term = journal.begin_term(0, NOW)
    journal.write(term, [Claim("a", "task", 1, NOW)])
    journal.close()
    shutil.copyfile(path, tmp_path / "backup")
    journal.open(this_process())
    journal.write(term, [Claim("b", "task", 2, NOW)])
    journal.close()
    os.replace(tmp_path / "backup", path)

    journal.open(this_process())
    assert journal.term() == term
    with pytest.raises(TermLost):
        journal.write(term, [Claim("c", "task", 3, NOW), Finish("a", Outcome.SUCCEEDED, NOW)])
    with pytest.raises(TermLost):
        journal.set_state(term, "task", "{}")

    assert journal.marks() == {("task", ""): Mark(1, None)}
    assert journal.write(journal.begin_term(0, NOW), [Claim("c", "task", 3, NOW)]) == [True]

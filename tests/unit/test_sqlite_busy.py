"""How long anybody waits for a journal that another one holds: a request a second, the leader longer."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onduty.errors import JournalBusy
from onduty.journal import Dynamic, Request
from onduty.journal.entries import Claim
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process

NOW = 1_800_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path, busy_seconds=5.0)
    journal.open(this_process())
    yield journal
    journal.close()


@pytest.fixture
def holder(journal: SqliteJournal, path: Path) -> Iterator[sqlite3.Connection]:
    """A shell with an open transaction, say."""
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("begin immediate")
    yield holder
    holder.close()


ASKING: list[Callable[[SqliteJournal], Any]] = [
    lambda journal: journal.request(Request("a", "trigger", "task", NOW)),
    lambda journal: journal.set_paused("task", NOW),
    lambda journal: journal.put_schedule(Dynamic("task", "x", "{}", "{}", NOW)),
    lambda journal: journal.drop_schedule("task", "x"),
]


@pytest.mark.parametrize("ask", ASKING, ids=["request", "pause", "put", "drop"])
def test_what_is_asked_for_waits_a_second(
    journal: SqliteJournal, holder: sqlite3.Connection, ask: Callable[[SqliteJournal], Any]
) -> None:
    """Then it says who is in the way, and nothing was written. It may be asked for again."""
    began = time.monotonic()
    with pytest.raises(JournalBusy, match=r"journal\.sqlite3.*another process holds it"):
        ask(journal)

    assert 0.8 < time.monotonic() - began < 3
    assert (journal.requests(), journal.paused(), journal.schedules()) == ([], {}, [])
    holder.execute("rollback")
    ask(journal)


def test_many_threads_that_ask_wait_the_same_second(journal: SqliteJournal, holder: sqlite3.Connection) -> None:
    """Not one after the other: a server's whole pool of threads would be gone for a minute."""
    refused: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        try:
            journal.request(Request("a", "trigger", "task", NOW))
        except JournalBusy:
            refused.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 8
    assert max(refused) < 3


def test_a_request_does_not_wait_for_a_leader_that_waits(journal: SqliteJournal, holder: sqlite3.Connection) -> None:
    """In the leader's own process its claims have more time; the request behind them has not."""
    term_begun = threading.Event()

    def lead() -> None:
        term_begun.set()
        journal.begin_term(0, NOW)

    leader = threading.Thread(target=lead)
    leader.start()
    term_begun.wait()
    time.sleep(0.1)  # until it waits in SQLite, where nobody can see it

    began = time.monotonic()
    journal.open(this_process())  # as whoever asks does, should the file have been replaced
    with pytest.raises(JournalBusy):
        journal.request(Request("a", "trigger", "task", NOW))
    assert time.monotonic() - began < 3

    holder.execute("rollback")
    leader.join()
    assert journal.term() == NOW // 1_000_000


def test_after_a_request_the_leader_is_as_patient_as_before(journal: SqliteJournal, path: Path) -> None:
    """Both use one connection."""
    term = journal.begin_term(0, NOW)
    journal.request(Request("a", "trigger", "task", NOW))
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("begin immediate")
    let_go = threading.Timer(1.5, holder.close)
    let_go.start()

    assert journal.write(term, [Claim("a", "task", None, NOW)]) == [True]
    let_go.join()

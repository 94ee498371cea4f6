"""Entries that are alike are written many at once, and nobody can tell: one by one they come to the same."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from onduty.journal import Journal, Outcome, Request
from onduty.journal import sqlite_many as many
from onduty.journal.entries import Begin, Claim, Entry, Finish, Passed
from onduty.journal.memory import MemoryJournal
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process

NOW = 1_800_000_000_000_000
FILES = ("at once", "by older SQLite", "each")
ME = this_process()
NEW_TERMS = {2: ME, 4: ME._replace(pid=ME.pid + 1)}
"""Before these batches. What is in progress then is the worker's own still, or another one's."""

MAKE: dict[str, Callable[[str, int], Entry]] = {
    "claim": lambda run_id, number: Claim(
        run_id, "ab"[number % 7 == 3], None, NOW + number, kwargs=f'{{"x":{number}}}'
    ),
    "queue": lambda run_id, number: Claim(run_id, "a", None, NOW + number, begin=number % 5 == 2),
    "slot": lambda run_id, number: Claim(run_id, "a", NOW + number, NOW + number),
    "slots": lambda run_id, number: Claim(run_id, f"t{number % 30}", NOW + number, NOW, begin=number % 5 != 2),
    "passed": lambda run_id, number: Passed(
        run_id, f"t{number % 30}", NOW + number - 3, NOW + number, 4, Outcome.MISSED, NOW, why="late"
    ),
    "once": lambda run_id, number: Claim(run_id, "a", None, NOW, key=f"k{number % 20}", once=True),
    "begin": lambda run_id, number: Begin(run_id, 1, NOW + number),
    "begin again": lambda run_id, number: Begin(run_id, 2, NOW + number),
    "succeed": lambda run_id, number: Finish(run_id, Outcome.SUCCEEDED, NOW + number, result=f"{number}"),
    "end": lambda run_id, number: Finish(run_id, list(Outcome)[number % 2], NOW + number, "no" if number % 2 else None),
}


def alike(kind: str, first: int, count: int) -> list[Entry]:
    return [MAKE[kind](f"run-{number}", number) for number in range(first, first + count)]


groups = st.builds(
    alike, st.sampled_from(list(MAKE)), st.sampled_from([0, 0, 0, 20, 55]), st.sampled_from([1, 16, 18, 70])
)
batches = st.lists(st.lists(groups, min_size=1, max_size=3).map(lambda some: list(chain(*some))), max_size=6)
asked_for = st.sets(st.integers(0, 80).map("run-{}".format), max_size=40)


@settings(max_examples=150, deadline=None)
@given(batches, asked_for)
@example([alike("slots", 55, 16), alike("slots", 0, 16)], set())  # all of them before their marks
@example([alike("passed", 55, 16), alike("passed", 0, 16)], set())
def test_what_is_written_at_once_is_what_is_written_one_by_one(batches: list[list[Entry]], asked: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        at_once, by_older_sqlite, each = (SqliteJournal(Path(folder, name)) for name in FILES)
        found = [tell(MemoryJournal(), batches, asked), tell(at_once, batches, asked)]
        with mock.patch.object(many, "KNOWS_UPDATE_FROM", False):
            found.append(tell(by_older_sqlite, batches, asked))
        with mock.patch.object(many, "SIZES", ()):
            found.append(tell(each, batches, asked))
        counted = [counts(Path(folder, name)) for name in FILES]

    assert all(one == found[0] for one in found)
    assert all(one == counted[0] for one in counted)


def tell(journal: Journal, batches: Iterable[list[Entry]], asked: set[str]) -> Any:
    """What it answers, and what it holds in the end."""
    journal.open(ME)
    term = journal.begin_term(0, NOW)
    for number, run_id in enumerate(sorted(asked)):
        journal.request(Request(run_id, "trigger", "a", NOW + number))
    answers = []
    for number, batch in enumerate(batches):
        if number in NEW_TERMS:
            journal.close()
            journal.open(NEW_TERMS[number])
            term = journal.begin_term(0, NOW)
        answers.append(journal.write(term, batch))
    held = (journal.recent(limit=1000), journal.requests(), journal.successes("a"), journal.marks())
    journal.close()
    return answers, held


def counts(file: Path) -> list[tuple[Any, ...]]:
    """What pruning goes by, and is shown nowhere."""
    connection = sqlite3.connect(file)
    try:
        return connection.execute("select name, schedule, rows from tasks order by id").fetchall()
    finally:
        connection.close()

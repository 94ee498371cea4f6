"""What a run costs the journal: counted in SQLite's own steps, which no other work on the machine changes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onduty.journal import Dynamic, Outcome, Request
from onduty.journal.entries import Again, Answered, Begin, Claim, Entry, Era, Finish, Lost, Note, Passed, Renamed, Seen
from onduty.journal.sqlite import SqliteJournal
from onduty.journal.sqlite_requests import request
from onduty.journal.sqlite_session import Session
from onduty.process import this_process

NOW = 1_800_000_000_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.sqlite3")
    journal.open(this_process())
    yield journal
    journal.close()


def test_a_plain_run_costs_three_statements(journal: SqliteJournal) -> None:
    """Its row and its mark, then its end; and per batch a look at the term, between begin and commit."""
    term = journal.begin_term(0, NOW)
    journal.write(term, [Claim("first", "task", 1, NOW), Finish("first", Outcome.SUCCEEDED, NOW)])

    with _statements(journal) as claiming:
        journal.write(term, [Claim("a", "task", 2, NOW), Claim("b", "task", 3, NOW)])
    with _statements(journal) as finishing:
        journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW), Finish("b", Outcome.FAILED, NOW, "no")])

    assert [text.split()[0] for text in claiming] == ["begin", "select", *["insert", "update"] * 2, "commit"]
    assert [text.split()[0] for text in finishing] == ["begin", "select", "update", "update", "commit"]


def test_many_that_are_alike_cost_as_many_statements_as_one(journal: SqliteJournal) -> None:
    """Asked for, or queued and begun, slots of as many tasks, run or passed over: 64 at a time."""
    term, ids = journal.begin_term(0, NOW), [f"{number:03}" for number in range(64)]
    journal.write(term, [Claim("first", "task", None, NOW), *(Seen(task, 0) for task in ids)])

    with _statements(journal) as said:
        journal.write(term, [Claim(run_id, "task", None, NOW, begin=False) for run_id in ids])
        journal.write(term, [Begin(run_id, 1, NOW) for run_id in ids])
        journal.write(term, [Finish(run_id, Outcome.SUCCEEDED, NOW) for run_id in ids])
        journal.write(term, [Passed(f"p{task}", task, 1, 1, 1, Outcome.MISSED, NOW) for task in ids])
        journal.write(term, [Claim(f"s{task}", task, 2, NOW) for task in ids])

    words = [text.split()[0] for text in said if text.split()[0] not in ("begin", "commit", "select")]
    asked, slots = ["insert", "update", "delete", "update", "update"], ["insert", "update"]
    assert words == [*asked, *slots, *slots]


def test_what_a_term_begins_with_is_no_question_more(journal: SqliteJournal, tmp_path: Path) -> None:
    """It is read in the transaction that begins the term, and asked for anew if anybody has written since."""
    touches = list[str]()

    def offload(fn: Callable[..., Any], *args: Any) -> Any:
        touches.append(fn.__name__)
        return fn(*args)

    journal, other = SqliteJournal(tmp_path / "journal.sqlite3", offload=offload), journal
    journal.open(this_process())
    try:
        other.request(Request("1", "trigger", "before", NOW))
        term = journal.begin_term(0, NOW)
        touches.clear()
        with _statements(journal) as said:
            known = journal.opening()
        assert known.asked_of == {("trigger", "before")}
        assert (touches, {text.split()[0] for text in said}) == ([], {"pragma"})

        term = journal.begin_term(term, NOW)
        journal.request(Request("2", "trigger", "here", NOW))
        assert journal.opening().asked_of == {("trigger", "before"), ("trigger", "here")}

        term = journal.begin_term(term, NOW)
        other.request(Request("3", "trigger", "meanwhile", NOW))
        other.set_paused("before", NOW)
        known = journal.opening()
        assert ("trigger", "meanwhile") in known.asked_of
        assert ("before", "") in known.paused
    finally:
        journal.close()


def test_what_a_term_begins_with_is_not_read_beside_a_call_that_was_left_alone(tmp_path: Path) -> None:
    """As when a greenlet is killed that waits for one: SQLite would make the whole server wait for its end."""
    touches, is_killed = list[str](), False

    def offload(fn: Callable[..., Any], *args: Any) -> Any:
        touches.append(fn.__name__)
        if is_killed:
            raise KeyboardInterrupt
        return fn(*args)

    journal = SqliteJournal(tmp_path / "journal.sqlite3", offload=offload)
    journal.open(this_process())
    try:
        journal.begin_term(0, NOW)
        is_killed = True
        with pytest.raises(KeyboardInterrupt):
            journal.revision()
        is_killed = False
        touches.clear()

        journal.opening()

        assert len(touches) == 1
    finally:
        journal.close()


def test_the_log_of_who_never_rests_is_used_again(journal: SqliteJournal, tmp_path: Path) -> None:
    """It comes to some size and stays so: to cut it off and let it grow again costs a commit each time."""
    log, term, sizes = tmp_path / "journal.sqlite3-wal", journal.begin_term(0, NOW), list[int]()

    for slot in range(2_500):
        journal.write(term, [Claim(f"run {slot}", "task", slot, NOW)])
        sizes.append(log.stat().st_size)

    assert sizes == sorted(sizes)
    assert sizes[-1] == sizes[-1_000] < 20_000_000, "it was written back, and begun again"


def test_the_cost_does_not_grow_with_history(journal: SqliteJournal) -> None:
    """Of a run, and of every question that is asked while the app works."""
    term = journal.begin_term(0, NOW)
    _add_history(journal, term, 1, 100)
    few = {name: _steps(journal, work) for name, work in _work(journal, term, 200).items()}
    _add_history(journal, term, 300, 30_000)
    many = {name: _steps(journal, work) for name, work in _work(journal, term, 50_000).items()}

    grown = {name: (few[name], many[name]) for name in few if many[name] > few[name] * 1.5}
    assert grown == {}


def test_the_cost_does_not_grow_with_tasks(journal: SqliteJournal) -> None:
    """Nor with their schedules."""
    term = journal.begin_term(0, NOW)
    _add_history(journal, term, 1, 10)
    few = {name: _steps(journal, work) for name, work in _work(journal, term, 200).items()}
    journal.write(term, [Claim(f"t{n}", f"task {n}", 1, NOW) for n in range(3000)])
    journal.write(term, [Claim(f"s{n}", "task", 1, NOW, schedule=f"room {n}") for n in range(3000)])
    journal.write(term, [Finish(f"{kind}{n}", Outcome.SUCCEEDED, NOW) for n in range(3000) for kind in "ts"])
    many = {name: _steps(journal, work) for name, work in _work(journal, term, 50_000).items()}

    grown = {name: (few[name], many[name]) for name in few if many[name] > few[name] * 1.5}
    assert grown == {}


def test_the_cost_does_not_grow_with_the_queue(journal: SqliteJournal) -> None:
    """Neither of what is taken from it, nor of what comes to it, nor of a cancellation: but for the counting."""
    term = journal.begin_term(0, NOW)
    costs = []
    for first, runs in ((0, 200), (200, 30_000)):
        _queue(journal, first, runs)
        work = {
            "asked": lambda first=first: journal.request(Request(f"new{first}", "trigger", "task", NOW)),
            "with a key": lambda first=first: journal.request(Request(f"k{first}", "trigger", "task", NOW, key="k")),
            "cancelled": lambda first=first: journal.request(Request(f"c{first}", "cancel", "task", NOW, target="0")),
            "of which tasks": journal.asked_of,
            "cancellations": lambda: journal.requests(["task", "late"], 200, "cancel"),
            "the oldest": lambda: journal.requests(["task"], 20, "trigger"),
            "of the last task": lambda: journal.requests(["late"], 20, "trigger"),
            "before": lambda first=first: journal.requests(["task"], 20, "trigger", f"c{first}"),
            "one": lambda: journal.asked("5"),
            "claim": lambda first=first: journal.write(term, [Claim(f"new{first}", "task", None, NOW)]),
            "answer": lambda first=first: journal.write(term, [Answered(f"c{first}")]),
        }
        costs.append({name: _steps(journal, one) for name, one in work.items()})

    few, many = costs
    assert {name: (few[name], many[name]) for name in few if many[name] > few[name] * 1.5} == {}


def test_a_step_of_pruning_costs_what_it_deletes(journal: SqliteJournal) -> None:
    """Not what is left to be deleted: it stands between two claims."""
    term = journal.begin_term(0, NOW)
    costs = []
    for first, runs in ((1, 2500), (2501, 40_000)):
        _add_history(journal, term, first, runs)
        costs.append(
            [_steps(journal, lambda: journal.prune(100, 0)), _steps(journal, lambda: journal.prune(10, NOW + 1))]
        )

    (few, few_old), (many, many_old) = costs
    assert many < few * 1.5
    assert many_old < few_old * 1.5


def test_no_statement_looks_through_all_runs(journal: SqliteJournal) -> None:
    """Nor sorts them, as SQLite itself explains each one. "The newest of all" walks down the rows, and stops."""
    term = journal.begin_term(0, NOW)
    with _statements(journal) as said:
        _do_everything(journal, term)

    plans = {text: _plan(journal, text) for text in said if text.split()[0] in ("select", "insert", "update", "delete")}
    newest = [text for text in plans if "from runs r cross join" in text and "where" not in text]
    walks = {
        text: plan
        for text, plan in plans.items()
        for step in plan
        if text not in newest and (re.match(r"SCAN (r|runs)\b", step) or ("ORDER BY" in step and " runs" in text))
    }
    assert len(plans) > 40
    assert len(newest) == 1
    assert [step for step in plans[newest[0]] if "ORDER BY" in step] == []
    assert walks == {}


def _work(journal: SqliteJournal, term: int, slot: int) -> dict[str, Callable[[], object]]:
    """To be done in this order."""
    key = Claim(f"k{slot}", "task", None, NOW, key="k")
    return {
        "claim": lambda: journal.write(term, [Claim(f"n{slot}", "task", slot, NOW)]),
        "finish": lambda: journal.write(term, [Finish(f"n{slot}", Outcome.SUCCEEDED, NOW)]),
        "a schedule's claim": lambda: journal.write(term, [Claim(f"x{slot}", "task", slot, NOW, schedule="x")]),
        "a schedule's end": lambda: journal.write(term, [Finish(f"x{slot}", Outcome.SUCCEEDED, NOW)]),
        "refused": lambda: journal.write(term, [Claim("late", "task", 3, NOW)]),
        "request": lambda: journal.request(Request(f"k{slot}", "trigger", "task", NOW, key="k")),
        "answer": lambda: journal.write(term, [key]),
        "same key": lambda: journal.request(Request("other", "trigger", "task", NOW, key="k")),
        "unfinished": journal.unfinished,
        "end": lambda: journal.write(term, [Finish(key.run_id, Outcome.SUCCEEDED, NOW)]),
        "begin": lambda: journal.write(term, [Claim(f"q{slot}", "task", None, NOW, False), Begin(f"q{slot}", 1, NOW)]),
        "again": lambda: journal.write(term, [Again(f"q{slot}", 1, NOW, NOW, "no"), Note(f"q{slot}", 0.5, "", "[]")]),
        "lost": lambda: journal.write(term, [Lost(f"q{slot}", NOW)]),
        "recent of all": journal.recent,
        "recent": lambda: journal.recent("task", 5),
        "get": lambda: journal.get(f"n{slot}"),
        "log": lambda: journal.log(f"q{slot}"),
        "state": lambda: journal.state("task"),
        "revision": journal.revision,
        "asked of": journal.asked_of,
        "counted": lambda: journal.count_asked("task"),
        "the oldest": lambda: journal.requests(["task"], 20, "trigger"),
        "of several": lambda: journal.requests(["task", "x"], 20, "cancel"),
        "before": lambda: journal.requests(["task"], 20, "trigger", "k"),
        "successes": lambda: journal.successes("task"),
    }


def _do_everything(journal: SqliteJournal, term: int) -> None:
    for work in _work(journal, term, 10).values():
        work()
    entries: list[Entry] = [
        Seen("task", 5, plan="every 5s"),
        Seen("task", 5, plan="every 9s"),
        Passed("p", "task", 11, 20, 10, Outcome.MISSED, NOW),
        Era("task", 5),
        Claim("o", "task", None, NOW, key="v7", once=True),
        Finish("o", Outcome.SUCCEEDED, NOW),
        Claim("o2", "task", None, NOW, key="v7", once=True),
        *(Claim(f"m{number}", "task", None, NOW, begin=False) for number in range(16)),
        *(Begin(f"m{number}", 1, NOW) for number in range(16)),
        *(Finish(f"m{number}", Outcome.SUCCEEDED, NOW) for number in range(16)),
        *(Passed(f"p{number}", f"t{number}", 1, 1, 1, Outcome.MISSED, NOW) for number in range(16)),
        *(Claim(f"s{number}", f"t{number}", 2, NOW) for number in range(16)),
        Renamed("task", "new"),
        Answered("nothing"),
    ]
    journal.write(term, entries)
    journal.set_state(term, "new", "{}", "x")
    journal.set_paused("task", NOW)
    journal.set_paused("task", None)
    journal.put_schedule(Dynamic("new", "x", "{}", "{}", NOW))
    journal.drop_schedule("new", "x")
    journal.begin_term(0, NOW)
    journal.prune(2, NOW)
    journal.prune(0, NOW * 2)
    for ask in (journal.marks, journal.requests, journal.paused, journal.schedules, journal.term):
        ask()


def _add_history(journal: SqliteJournal, term: int, first: int, runs: int) -> None:
    slots = range(first, first + runs)
    journal.write(term, [Claim(f"r{slot}", "task", slot, NOW) for slot in slots])
    journal.write(term, [Finish(f"r{slot}", Outcome.SUCCEEDED, NOW) for slot in slots])


def _queue(journal: SqliteJournal, first: int, runs: int) -> None:
    """Of one task very many, and a few of another that sorts before it."""

    def work(session: Session) -> None:
        for number in range(first, first + runs):
            request(session, Request(f"{number}", "trigger", "late" if number < 20 else "task", NOW))

    journal._file.write(work)


def _connection(journal: SqliteJournal) -> sqlite3.Connection:
    session = journal._file._session
    assert session is not None
    return session.connection


@contextmanager
def _statements(journal: SqliteJournal) -> Iterator[list[str]]:
    """The text of each statement, with its values."""
    said: list[str] = []
    connection = _connection(journal)
    connection.set_trace_callback(said.append)
    yield said
    connection.set_trace_callback(None)


def _steps(journal: SqliteJournal, work: Callable[[], object]) -> int:
    """How many instructions SQLite's machine needs for it."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = _connection(journal)
    connection.set_progress_handler(count, 1)
    work()
    connection.set_progress_handler(None, 1)
    return steps


def _plan(journal: SqliteJournal, statement: str) -> list[str]:
    return [row[3] for row in _connection(journal).execute(f"explain query plan {statement}")]

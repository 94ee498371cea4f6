"""A term from its first turn to its last, with real functions in real threads, on a clock that is moved by hand."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onduty import Context, Outcome, RunFailed, RunLost, SlotsPassed
from onduty._runtime.runner import Runner
from onduty.clock import SECOND
from onduty.errors import StoreUnavailable
from onduty.events import Advice, RetryDropped, RunStarted
from onduty.journal import Request
from onduty.journal.entries import Claim, Finish
from onduty.journal.sqlite import SqliteJournal
from onduty.process import _named, this_process
from support.shortage import no_free_descriptor
from support.stage import Stage, tick
from support.waiting import eventually


def test_every_slot_of_an_interval_is_run_once_and_in_order(stage: Stage) -> None:
    """The grid is kept, whatever the moment at which the term began."""

    @stage.duty.every(seconds=1)
    def beat() -> None: ...

    stage.begin()
    tick(stage, lambda: len(stage.rows("beat")) >= 5)

    slots = [record.slot for record in stage.rows("beat")]
    assert len(set(slots)) == len(slots)
    assert slots == sorted(slots)  # type: ignore[type-var]
    assert all(slot is not None and slot % SECOND == 0 for slot in slots)


def test_a_service_runs_through_the_term_and_ends_with_it(stage: Stage) -> None:
    """It is told at once, in mid-sleep, and its row says that it was stopped."""
    turns: list[int] = []

    @stage.duty.service
    def collector(ctx: Context) -> None:
        while ctx.sleep(1):
            turns.append(ctx.term)

    scheduler = stage.begin()
    tick(stage, lambda: len(turns) >= 3)
    stage.end(scheduler)

    assert len(set(turns)) == 1
    assert [record.slot for record in stage.rows("collector", Outcome.STOPPED)] == [None]
    assert scheduler.lingering == []


def test_a_service_that_raises_is_run_again_after_a_growing_while(stage: Stage) -> None:
    """For ever, with an event each time: 1, 2, 4 ... at most 60 seconds."""
    stage.hear(RunFailed)

    @stage.duty.service
    def fragile(ctx: Context) -> None:
        raise ValueError("again")

    stage.begin()
    tick(stage, lambda: len(stage.heard) >= 8, seconds=5)

    assert [event.retry_in for event in stage.heard[:8]] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert stage.heard[0].error == "ValueError: again"


def test_a_service_that_returns_is_done_for_this_term(stage: Stage) -> None:
    """And runs again in the next."""
    began: list[int] = []

    @stage.duty.service
    def once(ctx: Context) -> None:
        began.append(ctx.term)

    first = stage.begin()
    tick(stage, lambda: stage.rows("once"))
    stage.end(first)
    stage.begin()
    tick(stage, lambda: len(stage.rows("once")) == 2)

    assert len(began) == 2
    assert began[0] < began[1]


def test_a_failed_run_is_tried_again_under_the_same_id(stage: Stage) -> None:
    """A retry is not a new run."""
    attempts: list[tuple[str, int]] = []

    @stage.duty.every(hours=1, retries=2)
    def flaky(ctx: Context) -> str:
        attempts.append((ctx.run_id, ctx.attempt))
        if ctx.attempt < 3:
            raise OSError("not yet")
        return "at last"

    stage.begin()
    tick(stage, lambda: stage.rows("flaky"))

    assert [attempt for _, attempt in attempts] == [1, 2, 3]
    assert len({run_id for run_id, _ in attempts}) == 1
    assert (stage.rows("flaky")[0].attempt, stage.rows("flaky")[0].result) == (3, '"at last"')


def test_what_a_function_does_to_its_thread_is_the_outcome_of_its_run(stage: Stage) -> None:
    """``sys.exit`` ends the run and nothing else."""

    @stage.duty.every(seconds=1)
    def leaves() -> None:
        raise SystemExit(3)

    stage.begin()
    tick(stage, lambda: len(stage.rows("leaves", Outcome.FAILED)) >= 2)

    assert stage.rows("leaves", Outcome.FAILED)[0].error == "SystemExit: 3"


def test_while_a_run_is_in_progress_its_slots_are_skipped_with_a_row_each(stage: Stage) -> None:
    """The default for slots."""
    stage.hear(SlotsPassed)
    gate = threading.Event()

    @stage.duty.every(seconds=1)
    def slow() -> None:
        gate.wait()

    stage.begin()
    tick(stage, lambda: len(stage.rows("slow", Outcome.SKIPPED)) >= 3)
    gate.set()
    tick(stage, lambda: len(stage.rows("slow")) >= 2)

    assert {(event.task, event.key, event.outcome) for event in stage.heard} == {("slow", "", "skipped")}


def test_triggered_runs_wait_in_order_and_none_is_dropped(stage: Stage) -> None:
    """With their own arguments."""
    done: list[int] = []

    @stage.duty.task
    def export(user_id: int) -> None:
        done.append(user_id)

    scheduler = stage.begin()
    for number in range(20):
        scheduler.told.submit(export, export.call.bind((number,), {}))
    tick(stage, lambda: len(done) == 20)

    assert done == list(range(20))


def test_a_run_that_takes_too_long_is_asked_to_end(stage: Stage) -> None:
    """It counts as running until it really has; then it timed out."""

    @stage.duty.every(hours=1, timeout=5)
    def endless(ctx: Context) -> None:
        while ctx.sleep(1):
            pass

    stage.begin()
    tick(stage, lambda: stage.rows("endless", Outcome.TIMED_OUT))


def test_a_run_that_ignores_the_end_of_the_term_lingers_and_tells_how_it_ended(stage: Stage) -> None:
    """The lock does not wait for it, its row does."""
    gate = threading.Event()

    @stage.duty.service
    def deaf(ctx: Context) -> None:
        gate.wait()

    scheduler = stage.begin()
    tick(stage, lambda: stage.rows("deaf", None))
    scheduler.close("the worker is leaving", 2)
    tick(stage, lambda: scheduler.is_over)

    assert [run.task_name for run in scheduler.lingering] == ["deaf"]
    gate.set()
    eventually(lambda: scheduler.has_unwritten)
    scheduler.settle()
    assert scheduler.lingering == []
    assert len(stage.rows("deaf")) == 1


def test_a_row_that_says_that_we_run_what_we_do_not_is_lost(stage: Stage) -> None:
    """As in an older copy of the journal that was put back: nobody waits for its end."""
    begun: list[int] = []

    @stage.duty.service
    def only(ctx: Context) -> None:
        begun.append(ctx.term)

    old = stage.journal.begin_term(0, stage.clock.now())
    stage.journal.write(old, [Claim("old-1", "only", None, stage.clock.now())])
    scheduler = stage.begin()
    tick(stage, lambda: begun)

    assert begun == [scheduler._term.number]
    assert [row.run_id for row in stage.rows("only", Outcome.LOST)] == ["old-1"]


def test_while_a_service_lingers_elsewhere_the_next_term_does_not_start_it(stage: Stage) -> None:
    """Its process lives and its row has no outcome; once it has, the service starts."""
    began: list[int] = []

    @stage.duty.service
    def only(ctx: Context) -> None:
        began.append(ctx.term)

    elsewhere = _named(os.getppid())
    stage.journal.open(elsewhere)
    old = stage.journal.begin_term(0, stage.clock.now())
    stage.journal.write(old, [Claim("old-1", "only", None, stage.clock.now())])
    stage.journal.open(this_process())
    scheduler = stage.begin()
    tick(stage, lambda: scheduler.beat > 20)

    assert began == []
    stage.journal.open(elsewhere)
    stage.journal.write(scheduler._term.number, [Finish("old-1", Outcome.STOPPED, stage.clock.now())])
    stage.journal.open(this_process())
    tick(stage, lambda: began)


def test_runs_of_a_dead_process_are_lost_with_an_event(stage: Stage) -> None:
    """How far they came nobody knows."""

    stage.hear(RunLost)

    @stage.duty.every(hours=1)
    def cut() -> None: ...

    me = this_process()
    stage.journal.open(me._replace(started=me.started - 1))
    old = stage.journal.begin_term(0, stage.clock.now())
    stage.journal.write(old, [Claim("old-1", "cut", 10, stage.clock.now())])
    stage.journal.open(me)
    stage.begin()
    tick(stage, lambda: stage.rows("cut", Outcome.LOST))

    assert [event.run_id for event in stage.heard] == ["old-1"]


def test_who_can_not_be_seen_for_want_of_a_descriptor_is_looked_at_again(stage: Stage) -> None:
    """The term goes on. A number that nobody has is dead all the same, and who has another one may live."""
    alive = _named(os.getppid())
    with subprocess.Popen(["true"]) as child:
        gone = _named(child.pid)
    rows = {"gone": gone, "replaced": alive._replace(started=alive.started - 1), "alive": alive}
    for number, task in enumerate(rows, 1):
        stage.duty.every(hours=number)(_named_function(task))
    old = stage.journal.begin_term(0, stage.clock.now())
    for task, process in rows.items():
        stage.journal.open(process)
        stage.journal.write(old, [Claim(f"{task}-1", task, 10, stage.clock.now())])
    stage.journal.open(this_process())

    with no_free_descriptor():
        scheduler = stage.begin()
        tick(stage, lambda: stage.rows("gone", Outcome.LOST))
        at = scheduler.beat
        tick(stage, lambda: scheduler.beat > at + 5)
        assert [stage.rows(task, Outcome.LOST) for task in ("replaced", "alive")] == [[], []]
    tick(stage, lambda: stage.rows("replaced", Outcome.LOST))

    assert stage.rows("alive", Outcome.LOST) == []
    assert (scheduler.fault, scheduler.is_over) == (None, False)


def _named_function(name: str) -> Callable[[], None]:
    def function() -> None: ...

    function.__name__ = name
    return function


def test_what_was_due_between_two_terms_is_made_up_for_once(stage: Stage) -> None:
    """And the run knows which slots it stands for."""
    told: list[Any] = []

    @stage.duty.every(seconds=10)
    def report(ctx: Context) -> None:
        told.append(ctx.missed)

    stage.end(stage.begin_until("report", 1))
    stage.clock.advance(60)
    stage.begin()
    tick(stage, lambda: len(stage.rows("report")) >= 2)

    assert told[0] is None
    assert told[1].count == 5
    assert stage.rows("report", Outcome.MISSED)[0].slots == 5


def test_a_journal_that_fails_holds_tasks_and_loses_nothing(stage: Stage) -> None:
    """What had finished is written when it answers again, and the slots meanwhile are accounted for."""

    @stage.duty.every(seconds=1)
    def beat() -> None: ...

    scheduler = stage.begin_until("beat", 2)
    write = stage.journal.write

    def refuse(*_: Any) -> list[bool]:
        raise StoreUnavailable("the disk is full")

    stage.journal.write = refuse  # type: ignore[method-assign]
    tick(stage, lambda: scheduler.is_held)
    before = len(stage.rows("beat"))
    stage.clock.advance(5)
    assert len(stage.rows("beat")) == before
    stage.journal.write = write  # type: ignore[method-assign]
    tick(stage, lambda: not scheduler.is_held and len(stage.rows("beat")) > before)

    assert stage.rows("beat", None) == [] or len(stage.rows("beat", None)) == 1
    slots = [record for record in stage.journal.recent("beat", 500) if record.slot is not None]
    first = min(record.first_slot or 0 for record in slots)
    last = max(record.slot or 0 for record in slots)
    assert sum(record.slots for record in slots) == (last - first) // SECOND + 1


def test_a_leader_that_waits_for_the_journal_is_not_frozen(stage: Stage) -> None:
    """Somebody else's transaction is in the way, and `frozen_leader="kill"` would end a healthy worker for it.

    For a minute at a time: a disk that never answers is as good as a frozen leader.
    """

    @stage.duty.every(seconds=1)
    def beat() -> None: ...

    scheduler = stage.begin_until("beat", 2)
    write, asked, answers = stage.journal.write, threading.Event(), threading.Event()

    def wait(*entries: Any) -> list[bool]:
        asked.set()
        answers.wait(20)
        return write(*entries)

    stage.journal.write = wait  # type: ignore[method-assign]
    tick(stage, asked.is_set)
    pulses = []
    for _ in range(12):
        stage.clock.advance(10)
        pulses.append(scheduler.pulse)
    answers.set()

    assert len(set(pulses[:5])) == 5, "it is seen to turn each time"
    assert len(set(pulses[6:])) == 1, "and no more after a minute"
    eventually(lambda: scheduler.pulse == scheduler.beat > 1)


def test_a_leader_that_lost_the_lock_starts_nothing_more(stage: Stage) -> None:
    """In doubt we do not lead; what was running is told to end."""
    stopped = threading.Event()

    @stage.duty.every(seconds=1)
    def beat() -> None: ...

    @stage.duty.service
    def service(ctx: Context) -> None:
        while ctx.sleep(1):
            pass
        stopped.set()

    scheduler = stage.begin_until("beat", 2)
    stage.holds = False
    tick(stage, lambda: scheduler.is_over)

    assert scheduler.term_lost
    eventually(stopped.is_set)


def test_a_journal_deleted_under_a_term_ends_it_and_the_next_goes_beyond(stage: Stage, tmp_path: Path) -> None:
    """Else the old file and a new one could both accept a slot; and tasks must not be held for ever."""
    path = tmp_path / "journal.sqlite3"
    journal = SqliteJournal(path)
    journal.open(this_process())
    stage.journal = journal  # type: ignore[assignment]

    @stage.duty.every(seconds=1)
    def beat() -> None: ...

    scheduler = stage.begin_until("beat", 2)
    path.unlink()
    tick(stage, lambda: scheduler.is_over)
    assert scheduler.damage is not None

    journal.set_aside(scheduler.damage.kind)
    journal.open(this_process())
    journal.begin_term(scheduler._term.number, 0)
    stage.begin_until("beat", 2)
    for one in stage.schedulers:
        stage.end(one)
    journal.close()


def test_state_goes_on_in_the_next_term(stage: Stage) -> None:
    """What the first leader kept, the second one reads."""
    seen: list[int] = []

    @stage.duty.service
    def collector(ctx: Context) -> None:
        ctx.state["seen"] = ctx.state.get("seen", 0) + 1
        seen.append(ctx.state["seen"])

    first = stage.begin()
    tick(stage, lambda: stage.rows("collector"))
    stage.end(first)
    stage.begin()
    tick(stage, lambda: len(stage.rows("collector")) == 2)

    assert seen == [1, 2]


def test_async_functions_run_as_tasks_and_as_services(stage: Stage) -> None:
    """On one private loop, and they end like the others."""
    turns: list[str] = []

    @stage.duty.every(hours=1)
    async def fetch() -> str:
        return "fetched"

    @stage.duty.service
    async def listen(ctx: Context) -> None:
        while await ctx.asleep(0.001):
            turns.append("turn")

    scheduler = stage.begin()
    tick(stage, lambda: stage.rows("fetch") and len(turns) > 3)
    stage.end(scheduler)

    assert stage.rows("fetch")[0].result == '"fetched"'
    assert len(stage.rows("listen", Outcome.STOPPED)) == 1


def test_a_run_that_was_claimed_ahead_begins_on_its_slot(stage: Stage) -> None:
    """Its row is there a moment before, and the function is not called before the clock says so."""
    begun: list[int] = []

    @stage.duty.every(seconds=10)
    def beat() -> None:
        begun.append(stage.clock.now())

    stage.begin()
    eventually(lambda: len(begun) == 1)
    slot = stage.clock.now() + 10 * SECOND
    stage.clock.wait_for_sleepers(1)

    stage.clock.advance(10 - 0.001)
    (row,) = eventually(lambda: [row for row in stage.rows("beat", None) if row.slot == slot])
    stage.clock.wait_for_sleepers(2)  # the scheduler, and the run itself
    assert len(begun) == 1
    assert row.started_at == slot

    stage.clock.advance(0.001)
    eventually(lambda: len(begun) == 2)
    assert begun[1] == slot


def test_a_busy_task_is_not_claimed_ahead(stage: Stage) -> None:
    """A run that ends within that moment must not cost the next slot."""
    held, ended = threading.Event(), threading.Event()

    @stage.duty.every(seconds=10)
    def beat() -> None:
        held.wait(10)
        ended.set()

    stage.begin()
    slot = stage.clock.now() + 10 * SECOND
    eventually(lambda: stage.rows("beat", None))
    stage.clock.wait_for_sleepers(1)
    stage.clock.advance(10 - 0.001)
    stage.clock.wait_for_sleepers(1)

    held.set()
    eventually(lambda: stage.rows("beat"))
    stage.clock.wait_for_sleepers(1)
    stage.clock.advance(0.001)

    eventually(lambda: [row for row in stage.rows("beat") if row.slot == slot])
    assert stage.rows("beat", Outcome.SKIPPED) == []


def test_all_missed_slots_are_run_in_order_if_that_was_asked_for(stage: Stage) -> None:
    """One after the other, though the next is due while the first still runs; none of them is skipped."""
    ran: list[int] = []

    @stage.duty.every(seconds=1, missed="all")
    def beat(ctx: Context) -> None:
        assert ctx.slot is not None
        ran.append(round(ctx.slot.timestamp()))

    stage.begin()
    eventually(lambda: len(ran) == 1)
    stage.end(stage.schedulers[0])
    stage.clock.advance(seconds=5.5)
    stage.begin()

    eventually(lambda: len(ran) == 6)
    assert ran == list(range(ran[0], ran[0] + 6))
    assert stage.rows("beat", Outcome.SKIPPED) == []


def test_a_queued_run_is_left_to_the_next_leader(stage: Stage) -> None:
    """A leader that is leaving begins nothing: what waits is begun in the next term, and ends there."""
    begun: list[int] = []

    @stage.duty.task
    def export(ctx: Context) -> None:
        begun.append(ctx.term)
        if ctx.term == first_term:
            while ctx.sleep(1):
                pass

    first = stage.begin()
    first_term = stage.journal.term()
    ids = [first.told.submit(export, "{}") for _ in range(2)]
    eventually(lambda: len(stage.rows("export", None)) == 2 and begun)
    stage.end(first)
    assert begun == [first_term]

    stage.begin()
    eventually(lambda: begun == [first_term, first_term + 1])
    eventually(lambda: stage.journal.get(ids[1]).outcome is Outcome.SUCCEEDED)  # type: ignore[union-attr]


def test_a_retry_is_left_to_the_next_leader(stage: Stage) -> None:
    """It waits in its row, with the error of the attempt before, and comes when it was to come."""
    tried: list[tuple[int, int]] = []

    @stage.duty.task(retries=3, backoff=60)
    def mail(ctx: Context) -> None:
        tried.append((ctx.term, ctx.attempt))
        if ctx.attempt == 1:
            raise ConnectionError("no answer")

    first = stage.begin()
    run_id = first.told.submit(mail, "{}")
    row = eventually(lambda: [row for row in stage.rows("mail", None) if row.retry_at is not None])[0]
    assert "no answer" in (row.error or "")
    stage.end(first)
    second = stage.begin()
    tick(stage, lambda: stage.rows("mail"), seconds=5)

    assert tried == [(first._term.number, 1), (second._term.number, 2)]
    (row,) = stage.rows("mail")
    assert (row.run_id, row.attempt) == (run_id, 2)


def test_a_retry_that_will_not_come_is_said(stage: Stage) -> None:
    """Cancelled while it waits, its row keeps the failure, and an event says that it was to be tried again."""
    stage.hear(RetryDropped)

    @stage.duty.task(retries=3, backoff=60)
    def mail() -> None:
        raise ConnectionError("no answer")

    scheduler = stage.begin()
    run_id = scheduler.told.submit(mail, "{}")
    eventually(lambda: [row for row in stage.rows("mail", None) if row.retry_at is not None])
    scheduler.told.cancel(run_id)

    (row,) = eventually(lambda: stage.rows("mail", Outcome.FAILED))
    (told,) = stage.heard
    assert (told.run_id, told.attempt) == (row.run_id, 1)


class _Unshowable(Exception):  # a user's
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class _Odd(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("lazy")


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (_Unshowable(), Outcome.FAILED),
        (ValueError("file-\udcff"), Outcome.FAILED),  # what os.fsdecode makes of a name that is no UTF-8
        (_Odd(a=1), Outcome.SUCCEEDED),
        (_deep(), Outcome.SUCCEEDED),
    ],
    ids=["an error that can't be shown", "an error that is no text", "an odd result", "a deep result"],
)
def test_whatever_a_run_raises_or_returns_it_ends(tmp_path: Path, end: Any, outcome: Outcome) -> None:
    """Its row says so, and the next slot of its task is run."""
    stage = Stage()
    stage.journal = SqliteJournal(tmp_path / "journal.sqlite3")  # type: ignore[assignment]
    stage.journal.open(this_process())
    ended: list[int] = []

    @stage.duty.every(seconds=1)
    def odd() -> Any:
        ended.append(1)
        if len(ended) > 1:
            return None
        if isinstance(end, Exception):
            raise end
        return end

    scheduler = stage.begin()
    tick(stage, lambda: len(ended) >= 2)
    stage.end(scheduler)

    assert stage.rows("odd", outcome)
    assert scheduler.fault is None
    stage.journal.close()


def test_a_service_that_has_failed_a_thousand_times_is_run_again(stage: Stage) -> None:
    """A pause that doubles each time is a number no machine knows, after 17 hours of a database that is away."""
    tries: list[int] = []

    @stage.duty.service
    def collect(ctx: Context) -> None:
        tries.append(1)
        raise ConnectionError("the database is down")

    scheduler = stage.begin()
    eventually(lambda: scheduler.snapshot()["collect"]["failures"] == 1)
    scheduler._lanes["collect"].in_a_row = 2000
    tick(stage, lambda: len(tries) >= 4, seconds=61)

    assert scheduler.fault is None


def test_a_fault_of_ours_costs_the_term_and_no_outcome(stage: Stage) -> None:
    """What had finished is still written down; what was decided and not written is left to the next leader."""
    done = threading.Event()

    @stage.duty.task
    def work() -> None:
        done.set()

    scheduler = stage.begin()
    run_id = scheduler.told.submit(work, "{}")
    eventually(lambda: done.is_set() and stage.journal.get(run_id).outcome is not None)  # type: ignore[union-attr]
    later = scheduler.told.submit(work, "{}")
    write, stage.journal.write = stage.journal.write, _broken_at_finish(stage.journal.write)  # type: ignore[method-assign]
    eventually(lambda: scheduler.is_over)
    stage.journal.write = write  # type: ignore[method-assign]

    assert scheduler.fault is not None
    scheduler.settle()
    record = stage.journal.get(later)
    assert record is None or record.outcome is Outcome.SUCCEEDED
    assert scheduler.lingering == []


def _broken_at_finish(write: Callable[..., list[bool]]) -> Callable[..., list[bool]]:
    def broken(term: int, entries: Any) -> list[bool]:
        if any(isinstance(entry, Finish) for entry in entries):
            raise ValueError("on purpose")
        return write(term, entries)

    return broken


def test_what_can_t_be_handed_over_has_failed_and_the_others_of_its_batch_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is free for the loop of the first ``async def``."""

    def no_loop(runner: Runner) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Runner, "_host", no_loop)

    @stage.duty.task
    async def waits() -> None: ...

    @stage.duty.task
    def export() -> None: ...

    for task in ("waits", "export"):
        stage.ask(Request(task, "trigger", task, stage.clock.now()))
    stage.begin_until("export", 1)
    (row,) = stage.rows("waits", Outcome.FAILED)

    assert row.error is not None
    assert "Too many open files" in row.error


def test_a_run_does_not_wait_for_who_listens_to_its_beginning(stage: Stage) -> None:
    begun = threading.Event()
    heard: list[bool] = []

    @stage.duty.task
    def export() -> None:
        begun.set()

    @stage.duty.on(RunStarted)
    def listen(event: RunStarted) -> None:
        heard.append(begun.wait(20))

    stage.ask(Request("a", "trigger", "export", stage.clock.now()))
    stage.begin_until("export", 1)

    assert heard == [True]


def test_a_run_that_stops_the_loop_of_all_async_runs_stops_nobody(stage: Stage) -> None:
    """``loop.stop()`` ends a program of one's own; here others live on the same loop."""
    import asyncio

    turns: list[int] = []

    @stage.duty.every(seconds=1)
    async def careless() -> None:
        turns.append(1)
        if len(turns) == 1:
            asyncio.get_running_loop().stop()

    stage.begin()
    tick(stage, lambda: len(turns) >= 3)

    eventually(lambda: len(stage.rows("careless")) >= 2)


def test_many_that_are_due_at_once_are_not_all_begun_before_the_first_one_gets_to_run(stage: Stage) -> None:
    """The loop has more to decide right away, and lets the runs have the interpreter all the same."""
    in_progress: list[int] = []
    scheduler: list[Any] = []
    for number in range(5000):

        @stage.duty.every(seconds=60, name=f"task-{number}")
        def look() -> None:
            in_progress.append(len(scheduler[0].lingering) if len(in_progress) % 50 == 0 else 0)

    scheduler.append(stage.begin())

    tick(stage, lambda: len(in_progress) >= 5000)
    assert max(in_progress) < 1000
    stage.end(scheduler[0])


def test_a_run_begins_when_all_clocks_show_its_second(stage: Stage) -> None:
    """``time.strftime`` shows the kernel's last tick: a report at midnight would be named after the day before."""
    stage.clock.lag = 0.006
    begun: dict[str, list[int]] = {"minutely": [], "often": []}

    @stage.duty.cron("* * * * *")
    def minutely() -> None:
        begun["minutely"].append(stage.clock.now())

    @stage.duty.every(seconds=0.5)
    def often() -> None:
        begun["often"].append(stage.clock.now())

    stage.begin()
    eventually(lambda: begun["often"])
    slot = stage.clock.now() // (60 * SECOND) * (60 * SECOND) + 60 * SECOND
    stage.clock.wait_for_sleepers(1)
    stage.clock.advance((slot - stage.clock.now()) / SECOND)
    eventually(lambda: begun["often"][-1] == slot)
    stage.clock.wait_for_sleepers(2)  # the scheduler, and the run itself
    assert begun["minutely"] == []

    stage.clock.advance(0.006)

    eventually(lambda: begun["minutely"] == [slot + 6_000])


def test_who_holds_up_a_worker_that_leaves_is_named(stage: Stage) -> None:
    """Once, while it is waited for; a service that never looks is the commonest mistake."""
    stage.hear(Advice)
    begun, go = threading.Event(), threading.Event()

    @stage.duty.service
    def deaf(ctx: Context) -> None:
        begun.set()
        go.wait(20)

    @stage.duty.service
    def listens(ctx: Context) -> None:
        while ctx.sleep(1):
            pass

    scheduler = stage.begin()
    assert begun.wait(20)
    scheduler.close("the worker is leaving", 10)
    tick(stage, lambda: stage.heard)
    stage.clock.advance(3)
    go.set()
    eventually(lambda: scheduler.is_over)

    (said,) = [one.text for one in stage.heard]
    assert said.startswith("deaf was told to end, and is given ")
    assert "ctx.sleep()" in said

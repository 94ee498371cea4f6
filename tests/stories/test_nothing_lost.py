"""Dead leaders, full disks, clocks set back: afterwards the journal says of every slot what became of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Sequence

import pytest

from onduty import Context, Outcome, RunLost
from onduty.clock import SECOND
from onduty.errors import StoreFull
from onduty.events import JournalFailed, JournalRecovered, RunStopped
from onduty.journal import Request, RunRecord
from onduty.journal.entries import Begin, Claim, Entry, Lost, Note
from onduty.journal.memory import MemoryJournal
from onduty.process import ProcessId, _named, this_process
from support.stage import Stage, tick
from support.waiting import eventually


def a_dead_worker_was_running(
    stage: Stage, task: str, *, key: str | None = None, run_id: str = "dead", process: ProcessId | None = None
) -> str:
    """Its row is all that is left of it; or, in ``process``, will be."""
    me = this_process()
    stage.journal.open(process or me._replace(pid=2**22 - 1, started=1))
    number = stage.journal.begin_term(0, stage.clock.now())
    claim = Claim(run_id, task, None, stage.clock.now(), key=key, once=key is not None)
    assert stage.journal.write(number, [claim]) == [True]
    stage.journal.open(me)
    return claim.run_id


def spans(rows: Sequence[RunRecord]) -> list[tuple[int, int]]:
    return sorted((row.first_slot or 0, row.slot or 0) for row in rows if row.slot is not None)


def accounted_for(rows: Sequence[RunRecord], every: int = SECOND) -> bool:
    """Each slot from the first to the last is in one row, and in no other."""
    found = spans(rows)
    return all(after[0] == before[1] + every for before, after in itertools.pairwise(found))


def test_a_lost_run_is_run_again_where_that_was_asked_for(stage: Stage) -> None:
    """Under the new term, as the next attempt of the same run."""
    stage.hear(RunLost)
    seen: list[tuple[str, int]] = []

    @stage.duty.task(retry_lost=True)
    def export(ctx: Context) -> None:
        ctx.log.warning("again")
        seen.append((ctx.run_id, ctx.attempt))

    run_id = a_dead_worker_was_running(stage, "export")
    stage.journal.write(stage.journal.term(), [Note(run_id, 0.5, "", '[[1.5,"INFO","its last words"]]')])
    stage.begin()
    eventually(lambda: stage.rows("export"))

    assert seen == [(run_id, 2)]
    assert "its last words" in stage.journal.log(run_id)
    assert [(told.run_id, told.again) for told in stage.heard] == [(run_id, True)]


def test_a_lost_run_that_waits_for_its_turn_can_be_cancelled(stage: Stage) -> None:
    """It never begins again, and its row says so; the other one was not overtaken."""
    stage.hear(RunStopped)
    begun: list[str] = []

    @stage.duty.task(retry_lost=True)
    def export(ctx: Context) -> None:
        begun.append(ctx.run_id)
        while ctx.sleep(1):
            pass

    for run_id in ("first", "second"):
        a_dead_worker_was_running(stage, "export", run_id=run_id)
    stage.begin()
    eventually(lambda: begun)
    stage.ask(Request("ask", "cancel", "export", stage.clock.now(), target="second"))
    eventually(lambda: stage.rows("export", Outcome.STOPPED))

    assert begun == ["first"]
    assert [row.run_id for row in stage.rows("export", Outcome.STOPPED)] == ["second"]
    assert [(told.run_id, told.why) for told in stage.heard] == [("second", "it was cancelled")]


@pytest.mark.parametrize("target", ["dead", None], ids=["the run", "the task"])
def test_what_was_cancelled_while_it_lingered_elsewhere_is_not_run_again(stage: Stage, target: str | None) -> None:
    """Its process can't be told, and may do it to the end; but once that has died, nobody begins it anew."""
    stage.hear(RunLost)
    begun: list[str] = []

    @stage.duty.task(retry_lost=True)
    def export(ctx: Context) -> None:
        begun.append(ctx.run_id)

    with subprocess.Popen(["sleep", "60"]) as elsewhere:
        try:
            a_dead_worker_was_running(stage, "export", process=_named(elsewhere.pid))
            scheduler = stage.begin()
            tick(stage, lambda: scheduler.beat > 5)
            stage.ask(Request("ask", "cancel", "export", stage.clock.now(), target=target))
            tick(stage, lambda: not stage.journal.asked_of())
        finally:
            elsewhere.kill()
    stage.ask(Request("next", "trigger", "export", stage.clock.now()))
    tick(stage, lambda: stage.rows("export"))

    assert begun == ["next"]
    assert [(told.run_id, told.again) for told in stage.heard] == [("dead", False)]
    assert len(stage.rows("export", Outcome.LOST)) == 1


def test_a_lost_run_comes_before_what_was_never_begun_and_is_told_once(stage: Stage) -> None:
    """However often leaders change before it gets its turn: until then it is queued."""
    stage.hear(RunLost)
    begun: list[str] = []

    @stage.duty.task(retry_lost=True)
    def export(ctx: Context) -> None:
        begun.append(ctx.run_id)

    for run_id in ("first", "second"):
        a_dead_worker_was_running(stage, "export", run_id=run_id)
    number = stage.journal.begin_term(0, stage.clock.now())
    now = stage.clock.now()
    stage.journal.write(number, [Claim("waits", "export", None, now, begin=False)])
    number = stage.journal.begin_term(0, now)
    lost = [Lost("first", now, again=True), Lost("second", now, again=True)]
    assert stage.journal.write(number, lost) == [True, True]
    stage.begin()
    eventually(lambda: len(begun) == 3)

    assert begun == ["first", "second", "waits"]
    assert stage.heard == []


def test_what_its_workers_die_of_is_not_run_for_ever(stage: Stage) -> None:
    """Three times more, then it is lost."""
    died: list[int] = []

    @stage.duty.task(retry_lost=True)
    def export(ctx: Context) -> None:
        died.append(ctx.attempt)

    a_dead_worker_was_running(stage, "export")
    me = this_process()
    stage.journal.open(me._replace(pid=2**22 - 1, started=1))
    for attempt in (2, 3, 4):
        number = stage.journal.begin_term(0, stage.clock.now())
        assert stage.journal.write(number, [Begin("dead", attempt, stage.clock.now())]) == [True]
    stage.journal.open(me)
    stage.begin()
    eventually(lambda: stage.rows("export", Outcome.LOST))

    assert died == []
    assert stage.rows("export", Outcome.LOST)[0].attempt == 4


def test_what_is_to_succeed_once_is_tried_again_when_its_worker_died(stage: Stage) -> None:
    """Nobody knows how far it came; it has not succeeded."""

    @stage.duty.once(key="v7")
    def migrate() -> None: ...

    a_dead_worker_was_running(stage, "migrate", key="v7")
    stage.begin()
    tick(stage, lambda: stage.rows("migrate"))

    assert len(stage.rows("migrate", Outcome.LOST)) == 1


def test_slots_that_the_leader_before_may_have_run_are_lost(stage: Stage) -> None:
    """It had reserved them when the power went; they get their row, and are not run a second time."""

    @stage.duty.every(seconds=1)
    def push() -> None: ...

    @stage.duty.every(seconds=1, retry_lost=True)
    def idempotent() -> None: ...

    stage.end(stage.begin_until("push", 3))
    died = stage.clock.now()
    stage.clock.advance(30)
    stage.begin(lost_until=died + 10 * SECOND)
    tick(stage, lambda: stage.rows("push", Outcome.MISSED) and stage.rows("idempotent", Outcome.MISSED))

    (lost,) = stage.rows("push", Outcome.LOST)
    assert lost.slots == 10
    assert "could not write it down" in (lost.error or "")
    assert stage.rows("idempotent", Outcome.LOST) == []
    assert accounted_for(stage.journal.recent("push", 500))


class FullAtTimes(MemoryJournal):
    """As on a disk without room."""

    is_full = False

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        if self.is_full:
            raise StoreFull("database or disk is full")
        return super().write(term, entries)


def test_what_runs_on_a_full_disk_is_reserved_wherever_the_clock_jumps(stage: Stage) -> None:
    """Beyond what was reserved, the next leader would not know that it may have run."""
    stage.journal = journal = FullAtTimes()
    journal.open(this_process())
    runs: list[int] = []

    @stage.duty.every(seconds=1)
    def push() -> None:
        runs.append(stage.clock.now())

    stage.begin_until("push", 1)
    journal.is_full = True
    count = len(runs)
    tick(stage, lambda: len(runs) > count)
    before = stage.reserved_at
    stage.clock.step(90)
    count = len(runs)
    tick(stage, lambda: len(runs) > count, seconds=0.1)

    assert runs[-1] > before + 60 * SECOND
    assert stage.reserved_at > before + 60 * SECOND


def test_runs_go_on_while_the_disk_is_full_and_are_written_down_when_there_is_room(stage: Stage) -> None:
    """The next leader is told in the meantime, in case this one dies before that."""
    stage.journal = journal = FullAtTimes()
    journal.open(this_process())
    stage.hear(JournalFailed)
    stage.hear(JournalRecovered)
    runs: list[int] = []

    @stage.duty.every(seconds=1)
    def push() -> None:
        runs.append(1)

    scheduler = stage.begin_until("push", 2)
    journal.is_full = True
    written = len(stage.rows("push"))
    count = len(runs)
    tick(stage, lambda: len(runs) >= count + 5)
    assert stage.gap
    assert len(stage.rows("push")) == written
    assert not scheduler.is_held

    journal.is_full = False
    tick(stage, lambda: len(stage.rows("push")) >= written + 5)
    # Told a moment after they are written, when the next leader need not know any more.
    eventually(lambda: [type(told) for told in stage.heard] == [JournalFailed, JournalRecovered])
    assert not stage.gap
    assert stage.heard[0].runs_go_on
    assert accounted_for(stage.journal.recent("push", 500))


def test_a_clock_set_back_by_an_hour_silences_nothing_and_repeats_nothing_by_the_calendar(stage: Stage) -> None:
    """An interval goes on from the new present; a cron line keeps to what it has already run."""
    stage.clock.advance(3600)

    @stage.duty.every(seconds=1)
    def push() -> None: ...

    @stage.duty.cron("* * * * *")
    def report() -> None: ...

    stage.begin_until("report", 1)
    pushed, reported = len(stage.rows("push")), len(stage.rows("report"))
    stage.clock.step(-3600)
    tick(stage, lambda: len(stage.rows("push")) >= pushed + 5)
    assert stage.rows("push")[-1].slot < stage.rows("push")[0].slot  # type: ignore[operator]
    later = stage.clock.now() + 180 * SECOND
    tick(stage, lambda: (stage.rows("push")[-1].slot or 0) > later, seconds=20)

    assert len(stage.rows("report")) == reported


def test_a_clock_set_forward_is_a_span_that_was_missed(stage: Stage) -> None:
    """Suspended or stepped: one run for what passed, no burst."""

    @stage.duty.every(seconds=1)
    def push() -> None: ...

    stage.begin_until("push", 2)
    before = len(stage.rows("push"))
    stage.clock.step(3600)
    tick(stage, lambda: stage.rows("push", Outcome.MISSED))
    tick(stage, lambda: len(stage.rows("push")) >= before + 2)

    (missed,) = stage.rows("push", Outcome.MISSED)
    assert missed.slots > 3500
    assert accounted_for(stage.journal.recent("push", 500))


def test_a_renamed_task_keeps_its_mark_and_its_state(stage: Stage) -> None:
    """``was=`` names what it was called before."""
    seen: list[int] = []

    def collect(ctx: Context) -> None:
        ctx.state["n"] = ctx.state.get("n", 0) + 1
        seen.append(ctx.state["n"])

    stage.duty.every(seconds=1, name="old")(collect)
    stage.end(stage.begin_until("old", 2))
    stage.duty._registry._declared.clear()
    stage.duty.every(seconds=1, name="new", was="old")(collect)
    stage.clock.advance(10)
    stage.begin()
    tick(stage, lambda: stage.rows("new", Outcome.MISSED))
    tick(stage, lambda: len(seen) >= 5)

    assert seen == list(range(1, len(seen) + 1))
    assert stage.journal.recent("old") == []
    assert accounted_for(stage.journal.recent("new", 500))


@pytest.mark.parametrize("had_run", ["", "a", "b", "a b"])
def test_names_that_move_up_take_each_its_own_along(stage: Stage, had_run: str) -> None:
    """a is called b now, and b is called c: in whichever order they stand, and whichever of them had ever run."""

    def noted(was: str) -> Callable[[Context], None]:
        def work(ctx: Context) -> None:
            ctx.state["ran"] = [*ctx.state.get("ran", []), was]

        return work

    def declare(*names: tuple[str, str | None], of: str) -> None:
        stage.duty._registry._declared.clear()
        for (name, was), function in zip(names, of, strict=True):
            stage.duty.task(name=name, was=was)(noted(function))

    def ask(task: str, run_id: str) -> None:
        stage.ask(Request(run_id, "trigger", task, stage.clock.now()))

    declare(("a", None), ("b", None), of="ab")
    first = stage.begin()
    for task in had_run.split():
        ask(task, f"first {task}")
        eventually(lambda task=task: stage.rows(task, Outcome.SUCCEEDED))
    stage.end(first)
    ask("a", "asked a")
    ask("b", "asked b")
    for _ in range(2):
        declare(("b", "a"), ("c", "b"), of="ab")
        again = stage.begin()
        eventually(lambda: all((row := stage.journal.get(f"asked {one}")) and row.outcome for one in "ab"))
        stage.end(again)

    for task, was in (("b", "a"), ("c", "b")):
        assert {one.run_id for one in stage.journal.recent(task)} == {f"asked {was}"} | {
            f"first {one}" for one in had_run.split() if one == was
        }
        assert set(json.loads(stage.journal.state(task))["ran"]) == {was}
    assert stage.journal.recent("a") == []


def test_a_leader_that_wakes_up_late_writes_nothing_under_its_old_term(stage: Stage) -> None:
    """Stopped and overtaken: what it runs is told to end, its state is refused, its slots stay the other's."""
    go = threading.Event()
    refused: list[str] = []

    @stage.duty.task
    def export(ctx: Context) -> None:
        go.wait(20)
        try:
            ctx.state["who"] = "the old one"
        except Exception as error:  # noqa: BLE001  # a bare one, as users write
            refused.append(type(error).__name__)
            assert not ctx.sleep(1)

    @stage.duty.every(seconds=1)
    def push() -> None: ...

    old = stage.begin_until("push", 2)
    old.told.submit(next(one for one in stage.duty.tasks if one.name == "export"), "{}")
    eventually(lambda: stage.rows("export", None))
    stage.begin()
    go.set()
    tick(stage, lambda: old.is_over and refused)

    assert old.term_lost
    assert refused == ["TermLost"]
    tick(stage, lambda: len(stage.rows("push")) >= 6)
    assert accounted_for(stage.journal.recent("push", 500))

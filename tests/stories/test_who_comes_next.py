"""A lane whose run goes another way than by coming back: whoever waits there has its turn all the same."""

from __future__ import annotations

import json
import threading

import pytest

from onduty import Context, Outcome
from onduty.clock import SECOND, to_datetime
from onduty.journal import Dynamic, Request
from onduty.journal.entries import Again, Claim
from support.stage import Stage, tick
from support.waiting import eventually


def ask(stage: Stage, kind: str, task: str, run_id: str, target: str | None = None) -> None:
    stage.ask(Request(run_id, kind, task, stage.clock.now(), target=target))


def outcome(stage: Stage, run_id: str) -> Outcome | None:
    record = stage.journal.get(run_id)
    return record.outcome if record else None


def test_whoever_waits_behind_a_cancelled_retry_begins(stage: Stage) -> None:
    """The retry was an hour away."""
    failed = threading.Event()

    @stage.duty.task(retries=5, backoff=3600)
    def export(ctx: Context) -> None:
        if ctx.run_id == "a":
            failed.set()
            raise OSError("on purpose")

    stage.begin()
    ask(stage, "trigger", "export", "a")
    eventually(lambda: failed.is_set() and (row := stage.journal.get("a")) and row.retry_at)
    ask(stage, "trigger", "export", "b")
    ask(stage, "cancel", "export", "stop-a", "a")
    eventually(lambda: outcome(stage, "b"))

    assert (outcome(stage, "a"), outcome(stage, "b")) == (Outcome.FAILED, Outcome.SUCCEEDED)


def test_a_newer_run_takes_the_place_of_a_retry(stage: Stage) -> None:
    """``overlap="cancel"``: nobody is in progress then, so it begins."""
    begun: list[int] = []

    @stage.duty.every(seconds=10, overlap="cancel", retries=3, backoff=3600)
    def tick_(ctx: Context) -> None:
        begun.append(ctx.attempt)
        raise OSError("on purpose")

    stage.begin()
    tick(stage, lambda: len(begun) >= 4)

    assert set(begun) == {1}


def test_whoever_waits_behind_a_refused_run_begins(stage: Stage) -> None:
    """What has succeeded once is refused when the term begins; a trigger may wait behind it already."""
    begun: list[str] = []

    @stage.duty.once(key="v7")
    def migrate(ctx: Context) -> None:
        begun.append(ctx.run_id)

    first = stage.begin()
    eventually(lambda: stage.rows("migrate"))
    stage.end(first)
    stage.journal.request(Request("again", "trigger", "migrate", stage.clock.now()))
    stage.begin()
    eventually(lambda: outcome(stage, "again"))

    assert begun[-1] == "again"


def test_a_service_that_is_resumed_before_it_has_ended_begins_again(stage: Stage) -> None:
    """It was told to end, and takes its time."""
    begun: list[int] = []
    may_end = threading.Event()

    @stage.duty.service
    def slow(ctx: Context) -> None:
        begun.append(1)
        while ctx.sleep(1):
            pass
        may_end.wait(20)

    stage.begin()
    eventually(lambda: begun)
    stage.journal.set_paused("slow", stage.clock.now())
    stage.ring()
    eventually(lambda: stage.schedulers[0]._lanes["slow"].paused)
    stage.journal.set_paused("slow", None)
    stage.ring()
    eventually(lambda: not stage.schedulers[0]._lanes["slow"].paused)
    may_end.set()
    eventually(lambda: len(begun) == 2)

    (row,) = stage.rows("slow", Outcome.STOPPED)
    assert row.error == "it was paused"


def test_a_schedule_dropped_before_its_run_s_time_is_over_costs_nothing(stage: Stage) -> None:
    """The alarm of its time-out rings in a lane that is gone."""

    @stage.duty.task(timeout=3)
    def export() -> None: ...

    scheduler = stage.begin()
    stage.journal.put_schedule(Dynamic("export", "room", json.dumps({"every": 1}), "{}", stage.clock.now()))
    tick(stage, lambda: stage.rows("export"))
    eventually(lambda: not any(lane.in_progress for lane in scheduler._lanes.values()))
    stage.journal.drop_schedule("export", "room")
    stage.ring()
    eventually(lambda: len(scheduler._lanes) == 1)
    stage.clock.advance(5)
    ask(stage, "trigger", "export", "after")
    eventually(lambda: outcome(stage, "after"))

    assert scheduler.fault is None


def test_what_a_dropped_schedule_was_to_try_again_waits_for_the_task_s_own(stage: Stage) -> None:
    """Each had a lane of its own; the next term finds both in one, and two retries at once."""
    inside: set[str] = set()
    met: list[set[str]] = []

    @stage.duty.task(retries=1)
    def export(ctx: Context) -> None:
        inside.add(ctx.run_id)
        met.append(set(inside))
        ctx.sleep(5)
        inside.remove(ctx.run_id)

    now = stage.clock.now()
    term = stage.journal.begin_term(0, now)
    claims = [Claim("own", "export", None, now), Claim("room", "export", now, now, schedule="room")]
    stage.journal.write(term, [*claims, *(Again(one.run_id, 1, now + SECOND, now, "on purpose") for one in claims)])
    stage.begin()
    tick(stage, lambda: outcome(stage, "own") and outcome(stage, "room"))

    assert met == [{"own"}, {"room"}]


def test_an_instant_asked_for_while_nobody_is_on_duty_is_made_up_for(stage: Stage) -> None:
    """It was in the future when somebody asked."""

    @stage.duty.task
    def export() -> None: ...

    at = stage.clock.now() + 60 * SECOND
    spec = json.dumps({"at": to_datetime(at).isoformat()})
    stage.journal.put_schedule(Dynamic("export", "soon", spec, "{}", stage.clock.now()))
    stage.clock.advance(120)
    stage.begin()
    eventually(lambda: stage.rows("export"))

    (row,) = stage.rows("export")
    assert row.slot == at


def test_what_is_to_succeed_once_waits_while_it_is_paused(stage: Stage) -> None:
    """Until it is resumed."""

    @stage.duty.once(key="v7")
    def migrate() -> None: ...

    @stage.duty.task
    def other() -> None: ...

    stage.journal.set_paused("migrate", stage.clock.now())
    stage.begin()
    ask(stage, "trigger", "other", "x")
    eventually(lambda: outcome(stage, "x"))
    assert stage.journal.recent("migrate") == []
    stage.journal.set_paused("migrate", None)
    stage.ring()
    eventually(lambda: stage.rows("migrate"))


def test_words_that_no_store_takes_are_kept_without_them(stage: Stage) -> None:
    """A file's name may hold bytes that are no text."""

    @stage.duty.task
    def export(ctx: Context) -> None:
        ctx.progress(0.5, "file \udcff")

    scheduler = stage.begin()
    ask(stage, "trigger", "export", "a")
    eventually(lambda: outcome(stage, "a"))

    assert scheduler.fault is None
    assert stage.journal.get("a").text == "file ?"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["service", "task", "once", "every"])
def test_a_renamed_task_of_any_kind_keeps_what_it_had(stage: Stage, kind: str) -> None:
    """Also what has no slots of its own."""
    seen: list[int] = []

    def work(ctx: Context) -> None:
        ctx.state["n"] = n = ctx.state.get("n", 0) + 1
        seen.append(n)
        while kind == "service" and ctx.sleep(1):
            pass

    def declare(one: Stage, name: str, was: str | None) -> None:
        duty = one.duty
        decorators = {
            "service": lambda: duty.service(name=name, was=was),
            "task": lambda: duty.task(name=name, was=was),
            "once": lambda: duty.once(key="v7", name=name, was=was),
            "every": lambda: duty.every(seconds=10, name=name, was=was),
        }
        decorators[kind]()(work)

    declare(stage, "old", None)
    first = stage.begin()
    if kind == "task":
        ask(stage, "trigger", "old", "a")
    eventually(lambda: seen == [1])
    stage.end(first)
    after = Stage()
    after.journal, after.clock = stage.journal, stage.clock
    declare(after, "new", "old")
    second = after.begin()
    if kind == "once":
        after.clock.advance(5)
    elif kind == "task":
        ask(after, "trigger", "new", "b")
    if kind != "once":
        tick(after, lambda: len(seen) == 2)
    after.end(second)

    assert seen == ([1] if kind == "once" else [1, 2])
    assert json.loads(after.journal.state("new")) == {"n": seen[-1]}
    assert after.journal.recent("old") == []

"""``onduty.testing.use``: what production decides, in the thread of the test, with time in its hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from onduty import AlreadyStarted, AppError, Context, OnDuty, Outcome, RunFailed, TermBegan, TermEnded, TermLost
from onduty.clock import SECOND, to_micros
from onduty.testing import ManualClock, Rehearsal, use

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def duty() -> OnDuty:
    return OnDuty(lambda environ, start_response: [], name="shop")


def outcomes(t: Rehearsal, task: Any) -> list[str]:
    return [row.outcome.value if row.outcome else "none" for row in t.runs(task)]


def test_what_was_triggered_runs_in_this_thread_and_answers(duty: OnDuty) -> None:
    """In the order of the triggers, with their arguments, and nothing runs before it is asked for."""
    threads: list[int] = []

    @duty.task
    def double(number: int) -> int:
        threads.append(threading.get_ident())
        return 2 * number

    with use(duty) as t:
        first, second = double.trigger(1), double.trigger(number=2)
        assert (first.status, threads) == ("queued", [])

        runs = t.run_due()

        assert [run.id for run in runs] == [first.id, second.id]
        assert [(run.task, run.slot, run.outcome, run.result) for run in runs] == [
            ("double", None, Outcome.SUCCEEDED, 2),
            ("double", None, Outcome.SUCCEEDED, 4),
        ]
        assert t.run_due() == []
    assert set(threads) == {threading.get_ident()}


def test_time_goes_from_slot_to_slot(duty: OnDuty) -> None:
    """Each run at its instant, of all tasks in one order; none before its time and none left out."""
    seen: list[tuple[str, datetime, int]] = []
    clock = ManualClock(NOON)

    def note(name: str, ctx: Context) -> None:
        assert ctx.slot is not None
        seen.append((name, ctx.slot, clock.now()))

    @duty.every(minutes=20)
    def often(ctx: Context) -> None:
        note("often", ctx)

    @duty.cron("30 * * * *")
    def hourly(ctx: Context) -> None:
        note("hourly", ctx)

    with use(duty, clock=clock) as t:
        assert t.run_due() == []
        assert t.advance(minutes=19, seconds=59.999) == []
        runs = t.advance(hours=1)

    minutes = [(name, (slot - NOON) // timedelta(minutes=1)) for name, slot, _ in seen]
    assert minutes == [("often", 20), ("hourly", 30), ("often", 40), ("often", 60)]
    assert all(to_micros(slot) == at for _, slot, at in seen)
    assert [run.slot for run in runs] == [slot for _, slot, _ in seen]


def test_a_day_of_seconds_is_accounted_for_slot_by_slot(duty: OnDuty) -> None:
    """One row each, in order, and history is not pruned."""

    @duty.every(seconds=10)
    def beat() -> None: ...

    with use(duty) as t:
        began = t.clock.now()
        assert len(t.advance(hours=24)) == 8640
        slots = [row.slot for row in t.runs(beat)]

    assert slots == list(range(began + 10 * SECOND, began + 86_400 * SECOND + 1, 10 * SECOND))


def test_to_the_next_slot(duty: OnDuty) -> None:
    """``until`` takes what ``next_slot`` answers, on the test's clock."""

    @duty.cron("0 3 * * *", timezone="Asia/Shanghai")
    def nightly(ctx: Context) -> str:
        return str(ctx.slot)

    with use(duty, clock=ManualClock(NOON)) as t:
        (run,) = t.advance(until=nightly.next_slot())
        assert run.result == "2026-05-02 03:00:00+08:00"

        with pytest.raises(ValueError, match="only goes forward"):
            t.advance(until=NOON)


def test_on_the_first_day_every_task_runs_at_once(duty: OnDuty) -> None:
    """``new``: each ``every`` its current slot, each ``once`` its key; else the app has been on duty for long."""
    ran: list[str] = []

    @duty.every(hours=1)
    def hourly() -> None:
        ran.append("hourly")

    @duty.once(key="v1")
    def migrate() -> None:
        ran.append("migrate")

    with use(duty) as t:
        t.run_due()
        assert ran == []
        assert t.runs(migrate) == []
    with use(duty, new=True) as t:
        t.run_due()
        t.lose_leadership()
        t.run_due()

    assert sorted(ran) == ["hourly", "migrate"]


def test_what_a_run_raises_is_raised_here_after_the_others_have_run(duty: OnDuty) -> None:
    """With its own traceback; the outcome is kept too, and who wants to look at that alone says so."""
    ran: list[str] = []

    @duty.task
    def broken() -> None:
        raise KeyError("on purpose")

    @duty.task
    def fine() -> None:
        ran.append("fine")

    with use(duty) as t:
        broken.trigger()
        fine.trigger()
        with pytest.raises(KeyError, match="on purpose") as caught:
            t.run_due()
        assert caught.traceback[-1].name == "broken"
        assert ran == ["fine"]
        broken.trigger()
        (run,) = t.run_due(raising=False)
        assert (run.outcome, run.error) == (Outcome.FAILED, "KeyError: 'on purpose'")
        assert t.run_due() == []
    with use(duty, raising=False) as t:
        broken.trigger()
        assert t.run_due()[0].outcome is Outcome.FAILED


def test_a_run_that_will_be_tried_again_has_not_failed_yet(duty: OnDuty) -> None:
    """Each attempt when its time has come; only the last one's error is raised."""

    @duty.task(retries=2, backoff=10)
    def flaky(ctx: Context, succeeds_at: int) -> int:
        if ctx.attempt < succeeds_at:
            raise OSError(ctx.attempt)
        return ctx.attempt

    with use(duty) as t:
        run = flaky.trigger(3)
        t.run_due()
        assert (run.status, run.error) == ("queued", "OSError: 1")
        t.advance(seconds=60)
        assert (run.outcome, run.result) == (Outcome.SUCCEEDED, 3)

        flaky.trigger(99)
        with pytest.raises(OSError, match="3"):
            t.advance(minutes=2)


def test_the_person_at_the_keyboard_is_heard(duty: OnDuty) -> None:
    """An interrupt is no run's outcome."""

    @duty.task
    def slow() -> None:
        raise KeyboardInterrupt

    with use(duty) as t:
        slow.trigger()
        with pytest.raises(KeyboardInterrupt):
            t.run_due(raising=False)


def test_a_sleep_moves_the_clock_and_others_run_meanwhile(duty: OnDuty) -> None:
    """As in production: other tasks keep to their slots, and the sleeper's own slots are skipped."""
    seen: list[tuple[str, int]] = []

    @duty.every(minutes=1)
    def tick() -> None:
        seen.append(("tick", seconds()))

    @duty.cron("*/2 * * * *")
    def slow(ctx: Context) -> None:
        seen.append(("begins", seconds()))
        assert ctx.sleep(150)
        seen.append(("wakes", seconds()))

    with use(duty) as t:
        began = t.clock.now()

        def seconds() -> int:
            return (t.clock.now() - began) // SECOND

        t.advance(minutes=5)

        assert outcomes(t, slow) == ["succeeded", "skipped"]
        assert outcomes(t, tick) == ["succeeded"] * 5
    assert [when for name, when in seen if name == "tick"] == [60, 120, 180, 240, 300]
    assert [one for one in seen if one[0] != "tick"] == [("begins", 120), ("wakes", 270)]


def test_a_time_out_wakes_a_sleeper(duty: OnDuty) -> None:
    """On the test's clock, at the instant."""

    @duty.task(timeout=5)
    def endless(ctx: Context) -> None:
        while ctx.sleep(60):
            pass

    with use(duty) as t:
        began, run = t.clock.mono(), endless.trigger()
        t.run_due()
        assert (run.outcome, t.clock.mono() - began) == (Outcome.TIMED_OUT, 5.0)


def test_a_view_may_wait_for_the_run_it_triggered(duty: OnDuty) -> None:
    """``wait`` runs what is due, since nobody else would; a run that needs longer lets time pass."""

    @duty.task
    def export(ctx: Context) -> str:
        ctx.sleep(3)
        return "done"

    with use(duty) as t:
        began, run = t.clock.mono(), export.trigger()
        assert run.wait(timeout=10) is Outcome.SUCCEEDED
        assert (run.result, t.clock.mono() >= began + 3) == ("done", True)


def test_a_service_is_given_turns_and_goes_on_from_its_state(duty: OnDuty) -> None:
    """It is told to end when they are over; what comes due while it sleeps is run."""
    ticks: list[int] = []

    @duty.service
    def collector(ctx: Context) -> None:
        while ctx.sleep(10):
            ctx.state["seen"] = ctx.state.get("seen", 0) + 1
            ctx.progress(0.5, f"{ctx.state['seen']} seen")

    @duty.every(seconds=5)
    def tick() -> None:
        ticks.append(1)

    with use(duty) as t:
        run = t.turns(collector, 3)

        assert (run.outcome, run.text, collector.state) == (Outcome.STOPPED, "3 seen", {"seen": 3})
        assert len(ticks) == 6
        t.turns(collector, 2)
        assert collector.state == {"seen": 5}
        t.lose_leadership()
        t.turns(collector)
        assert collector.state == {"seen": 6}
        assert len({row.term for row in t.runs(collector)}) == 2


def test_a_service_that_fails_is_told_of_and_begins_again(duty: OnDuty) -> None:
    """After the pause that it has in production."""

    @duty.service
    def fragile(ctx: Context) -> None:
        raise ValueError("again")

    with use(duty) as t:
        with pytest.raises(ValueError, match="again"):
            t.turns(fragile)
        began = t.clock.mono()
        t.turns(fragile, raising=False)
        t.turns(fragile, raising=False)
        assert t.clock.mono() - began == 3


def test_a_service_that_does_not_run_or_does_not_end_fails_the_test(duty: OnDuty) -> None:
    """It has returned, is paused, or does not look at what ``sleep`` answers."""

    @duty.service
    def short(ctx: Context) -> None: ...

    @duty.service
    def deaf(ctx: Context) -> None:
        while True:
            ctx.sleep(1)

    with use(duty) as t:
        t.turns(short)
        with pytest.raises(AssertionError, match="short does not run"):
            t.turns(short)
        with pytest.raises(AssertionError, match="deaf does not end"):
            t.turns(deaf)


def test_a_lost_term_stops_what_runs_and_refuses_what_it_writes(duty: OnDuty) -> None:
    """From within a run; what was queued behind it is left to the next term."""
    duty_terms: list[int] = []

    @duty.task
    def long(ctx: Context) -> None:
        duty_terms.append(ctx.term)
        if len(duty_terms) > 1:
            return
        t.lose_leadership()
        assert ctx.stopping
        assert not ctx.sleep(60)
        with pytest.raises(TermLost):
            ctx.state["seen"] = 1
        assert not duty.is_leading

    with use(duty) as t:
        first, second = long.trigger(), long.trigger()
        began = t.clock.mono()
        assert [run.id for run in t.run_due()] == [first.id]
        assert (first.outcome, second.status, t.clock.mono()) == (Outcome.STOPPED, "queued", began)

        assert [run.id for run in t.run_due()] == [second.id]
        assert second.outcome is Outcome.SUCCEEDED
        assert duty.is_leading
    assert duty_terms[0] < duty_terms[1]


def test_a_run_that_fails_after_its_term_does_not_hold_up_the_next_one(duty: OnDuty) -> None:
    """It could be tried again, but the next term has begun: so it has failed, and the task goes on."""

    @duty.task(retries=2)
    def flaky(ctx: Context, loses: bool) -> None:
        if loses:
            t.lose_leadership()
            raise OSError("too late")

    with use(duty, raising=False) as t:
        first = flaky.trigger(True)
        t.run_due()
        second = flaky.trigger(False)
        t.run_due()

        assert (first.outcome, first.error) == (Outcome.FAILED, "OSError: too late")
        assert second.outcome is Outcome.SUCCEEDED


def test_missed_slots_are_caught_up_as_the_task_says(duty: OnDuty) -> None:
    """Nobody was on duty; the next term looks at ``missed``."""
    counts: list[int] = []

    @duty.every(hours=1)
    def latest(ctx: Context) -> None:
        counts.append(ctx.missed.count if ctx.missed else 0)

    @duty.every(hours=1, missed="all")
    def each() -> None: ...

    @duty.every(hours=1, missed="skip")
    def none() -> None: ...

    with use(duty) as t:
        t.advance(hours=1)
        runs = t.miss(latest, 3)

        assert counts == [0, 2]
        assert sorted(str(run.task) for run in runs) == ["each", "each", "each", "latest"]
        assert [(row.outcome, row.slots) for row in t.runs(none)] == [(Outcome.SUCCEEDED, 1), (Outcome.MISSED, 3)]
        t.advance(hours=1)
        assert outcomes(t, latest) == ["succeeded", "missed", "succeeded", "succeeded"]


def test_only_what_has_slots_can_miss_them(duty: OnDuty) -> None:
    """A task without a schedule, or one instant twice."""

    @duty.task
    def export() -> None: ...

    @duty.at(NOON)
    def noon() -> None: ...

    with use(duty, clock=ManualClock(NOON - timedelta(hours=1))) as t:
        with pytest.raises(ValueError, match="export has no 1 slots"):
            t.miss(export)
        with pytest.raises(ValueError, match="noon has no 2 slots"):
            t.miss(noon, 2)
        assert [run.task for run in t.miss(noon)] == ["noon"]


def test_a_journal_that_fails_holds_tasks_and_a_full_one_does_not(duty: OnDuty) -> None:
    """What was due meanwhile is made good when it answers again."""
    ran: list[int] = []

    @duty.every(minutes=1)
    def tick() -> None:
        ran.append(t.clock.now())

    with use(duty) as t:
        with t.fail_journal():
            t.advance(minutes=3)
            assert ran == []
        t.advance(seconds=30)
        assert len(ran) == 1
        with t.fail_journal(full=True):
            t.advance(minutes=3)
            assert len(ran) == 4
        t.advance(minutes=1)
        assert sum(row.slots for row in t.runs(tick)) == 7


def test_async_runs_share_a_loop_and_sleep_on_the_test_s_clock(duty: OnDuty) -> None:
    """What comes due meanwhile runs, plain functions and async ones, also on top of each other."""
    loops: list[Any] = []

    @duty.every(minutes=10)
    async def fetch(ctx: Context) -> str:
        loops.append(asyncio.get_running_loop())
        await ctx.asleep(90)
        return "fetched"

    @duty.every(minutes=1)
    async def tick(ctx: Context) -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)

    @duty.every(minutes=1)
    def tock(ctx: Context) -> None:
        asyncio.run(asyncio.sleep(0))
        ctx.sleep(1)

    @duty.service
    async def listen(ctx: Context) -> None:
        while await ctx.asleep(60):
            ctx.state["turns"] = ctx.state.get("turns", 0) + 1

    with use(duty) as t:
        t.advance(minutes=12)
        t.turns(listen, 3)

        assert outcomes(t, fetch) == ["succeeded"]
        assert outcomes(t, tick) == ["succeeded"] * 15
        assert outcomes(t, tock) == ["succeeded"] * 15
        assert listen.state == {"turns": 3}
    assert len(set(loops)) == 1
    assert loops[0].is_closed()


def test_an_async_test_may_run_what_is_due(duty: OnDuty) -> None:
    """Though a loop runs in its thread already."""

    @duty.task
    async def fetch() -> str:
        await asyncio.sleep(0)
        return "fetched"

    async def test() -> Any:
        with use(duty) as t:
            run = fetch.trigger()
            t.run_due()
            await asyncio.sleep(0)
            return run.result

    assert asyncio.run(test()) == "fetched"


def test_levels_are_obeyed(duty: OnDuty) -> None:
    """Paused, resumed, cancelled, scheduled while the app runs."""

    @duty.every(minutes=1)
    def push() -> None: ...

    @duty.task
    def poll(room: int) -> int:
        return room

    with use(duty) as t:
        push.pause()
        assert t.advance(minutes=2) == []
        push.resume()
        poll.schedule("room-42", every=20, kwargs={"room": 42})
        runs = t.advance(minutes=1)
        assert sorted((str(run.task), run.result) for run in runs) == [("poll", 42)] * 4 + [("push", None)]
        assert [row.slots for row in t.runs(push) if row.outcome is Outcome.SKIPPED] == [2]
        poll.unschedule("room-42")
        first, second = poll.trigger(1), poll.trigger(2)
        second.cancel()
        assert [run.id for run in t.run_due()] == [first.id]
        assert second.outcome is Outcome.STOPPED


def test_work_of_each_worker_runs_too(duty: OnDuty) -> None:
    """``on="every_worker"``, whoever leads."""

    @duty.every(minutes=1, on="every_worker")
    def warm() -> str:
        return "warm"

    @duty.service(on="every_worker")
    def watch(ctx: Context) -> None:
        while ctx.sleep(1):
            pass

    with use(duty) as t:
        assert t.run_due() == []
        run = warm.trigger()
        assert [(one.id, one.result) for one in t.run_due()] == [(run.id, "warm")]
        t.lose_leadership()
        assert [one.result for one in t.advance(minutes=2)] == ["warm", "warm"]
        assert t.turns(watch, 2).outcome is Outcome.STOPPED


def test_listeners_hear_what_they_hear_in_production(duty: OnDuty) -> None:
    """Of terms and runs, in the test's thread."""
    heard: list[Any] = []
    for kind in (TermBegan, RunFailed, TermEnded):
        duty.on(kind)(heard.append)

    @duty.task
    def broken() -> None:
        raise ValueError("no")

    with use(duty, raising=False) as t:
        broken.trigger()
        t.run_due()

    assert [type(event) for event in heard] == [TermBegan, RunFailed, TermEnded]


def test_who_asks_is_told_of_this_rehearsal(duty: OnDuty) -> None:
    """``is_leading``, ``leader()`` and ``status()``."""

    @duty.task
    def export() -> None: ...

    with use(duty) as t:
        assert (duty.is_leading, duty.leader()) == (False, None)
        t.run_due()
        leader = duty.leader()
        assert leader is not None
        assert duty.is_leading
        assert to_micros(leader.since) == t.clock.now()
        assert duty.status()["tasks"]["export"]["waiting"] == 0
    assert not duty.is_leading


def test_a_task_that_triggers_itself_for_ever_fails_the_test(duty: OnDuty, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time would never move."""
    monkeypatch.setattr("onduty.testing.play.ENDLESS", 100)

    @duty.task
    def again() -> None:
        again.trigger()

    with use(duty) as t:
        again.trigger()
        with pytest.raises(AssertionError, match="does a task trigger itself"):
            t.run_due()


def test_each_use_begins_with_nothing_and_one_is_used_at_a_time(duty: OnDuty) -> None:
    """No state, no request and no row of the test before."""

    @duty.task
    def export(ctx: Context) -> None:
        ctx.state["seen"] = 1

    with use(duty) as t:
        export.trigger()
        t.run_due()
        export.trigger()
        with pytest.raises(AlreadyStarted, match="one test at a time"), use(duty):
            pass
    with use(duty) as t:
        assert (t.run_due(), t.runs(export), export.state) == ([], [], {})


def test_what_has_no_duty_is_refused() -> None:
    """An app that was never given one, and an ``OnDuty`` without an app."""
    with pytest.raises(AppError, match="no OnDuty"), use(object()):
        pass
    with pytest.raises(AppError, match="init_app"), use(OnDuty()):
        pass


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_shared_is_touched(empty: Path) -> None:
    """No folder, no thread, and no descriptor is left."""
    duty = OnDuty(lambda environ, start_response: [], name="shop", dir=empty / "duty")

    @duty.every(seconds=1)
    async def beat(ctx: Context) -> None:
        await ctx.asleep(0.1)

    def facts() -> tuple[int, list[str], list[Path]]:
        descriptors = len(list(Path("/dev/fd").iterdir()))
        return descriptors, sorted(one.name for one in threading.enumerate()), list(empty.iterdir())

    before = facts()
    with use(duty) as t:
        assert len(t.advance(seconds=3)) == 3
        assert facts()[1:] == before[1:]
    assert facts() == before


def test_what_may_have_run_without_a_row_is_lost_also_if_the_task_was_paused_then(duty: OnDuty) -> None:
    """The journal was full and the leader went away; after the pause nobody may say that it was skipped."""
    ran: list[str] = []

    @duty.every(minutes=1)
    def tick() -> None:
        ran.append("tick")

    with use(duty) as t:
        t.run_due()
        with t.fail_journal(full=True):
            t.advance(minutes=2)
            t.lose_leadership()
        tick.pause()
        t.advance(minutes=2)
        tick.resume()
        t.run_due()

        assert len(ran) == 2
        assert [(row.outcome, row.slots) for row in t.runs(tick)] == [(Outcome.LOST, 2), (Outcome.SKIPPED, 2)]

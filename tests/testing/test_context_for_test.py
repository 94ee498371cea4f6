"""``Context.for_test``: a task's function is called like any other, and ends."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from onduty import ArgumentError, Context, OnDuty, TermLost
from onduty.testing import ManualClock

duty = OnDuty()


@duty.service
def collector(ctx: Context) -> None:
    while ctx.sleep(1):
        ctx.state["seen"] = ctx.state.get("seen", 0) + 1


def test_a_service_turns_as_often_as_its_sleeps_answer_true() -> None:
    """Nothing waits, and what it keeps can be looked at."""
    ctx = Context.for_test(state={"seen": 4}, sleeps=3)

    collector(ctx)

    assert ctx.state == {"seen": 7}
    assert (ctx.slept, ctx.stopping) == ([1, 1, 1], True)


def test_unless_told_a_loop_turns_once() -> None:
    """Every loop that listens ends by itself."""
    ctx = Context.for_test()

    collector(ctx)

    assert ctx.state == {"seen": 1}


def test_a_run_is_told_what_the_test_says() -> None:
    """The slot in its own time zone, the term, the attempt, the id."""
    due = datetime(2026, 3, 29, 3, tzinfo=ZoneInfo("Europe/Berlin"))
    ctx = Context.for_test(slot=due, term=7, attempt=2, run_id="r1")

    assert (ctx.slot, ctx.term, ctx.attempt, ctx.run_id, ctx.missed) == (due, 7, 2, "r1", None)
    assert str(ctx.slot).endswith("+02:00")
    assert Context.for_test().slot is None


def test_progress_is_remembered_and_sleep_moves_a_clock_that_was_given() -> None:
    """In the order in which it was said."""
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=timezone.utc))
    began, ctx = clock.now(), Context.for_test(sleeps=2, clock=clock)

    ctx.progress(0.5, "half")
    ctx.sleep(60)
    ctx.progress(1)

    assert ctx.progressed == [(0.5, "half"), (1.0, "")]
    assert clock.now() - began == 60_000_000


def test_a_run_can_be_told_to_end_and_lose_its_term() -> None:
    """Then it may write no more, as in production."""
    ctx = Context.for_test(sleeps=5)
    ctx.stop()
    assert (ctx.sleep(1), ctx.stopping) == (False, True)

    ctx.lose_term()
    with pytest.raises(TermLost):
        ctx.state["seen"] = 1


def test_an_async_function_sleeps_alike() -> None:
    """``await ctx.asleep`` counts as ``ctx.sleep`` does."""
    ctx = Context.for_test(sleeps=2)

    async def listen(ctx: Context) -> int:
        turns = 0
        while await ctx.asleep(1):
            turns += 1
        return turns

    assert asyncio.run(listen(ctx)) == 2


def test_what_production_refuses_is_refused_here() -> None:
    """State that is no JSON, a slot without a time zone, progress beyond the end, a name that is misspelt."""
    with pytest.raises(ArgumentError):
        Context.for_test(state={"now": object()})
    with pytest.raises(ArgumentError):
        Context.for_test(slot=datetime(2026, 1, 1))  # noqa: DTZ001  # on purpose
    with pytest.raises(ArgumentError):
        Context.for_test().progress(2)
    with pytest.raises(ArgumentError, match=r"sleep=.*sleeps"):
        Context.for_test(sleep=2)  # type: ignore[call-arg]


def test_a_loop_that_does_not_listen_is_told_of() -> None:
    """The test fails instead of hanging: in production such a loop would hold up each reload."""

    def deaf(ctx: Context) -> None:
        while True:
            ctx.sleep(1)

    with pytest.raises(AssertionError, match="does not end"):
        deaf(Context.for_test())

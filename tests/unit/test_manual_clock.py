"""The clock in a test's hand: it moves when told, and whoever waits on it really wakes."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest

from onduty.clock import SECOND, Clock, Wakeup, to_micros
from onduty.testing import ManualClock

Start = Callable[[Callable[[], object]], threading.Thread]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def start() -> Iterator[Start]:
    """Run a function in a thread; at the end each must have ended by itself."""
    threads: list[threading.Thread] = []

    def begin(function: Callable[[], object]) -> threading.Thread:
        threads.append(threading.Thread(target=function, daemon=True))
        threads[-1].start()
        return threads[-1]

    yield begin
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "still waiting"


def test_time_stands_still_until_it_is_told_to_move(clock: ManualClock) -> None:
    """Two looks with anything in between give the same instant."""
    port: Clock = clock

    assert (port.now(), port.mono()) == (port.now(), port.mono())


def test_it_starts_where_it_is_told() -> None:
    """At an aware datetime or at microseconds since the epoch; at a fixed instant otherwise, so that tests repeat."""
    new_year = datetime(2030, 1, 1, tzinfo=timezone.utc)

    assert ManualClock(new_year).now() == to_micros(new_year)
    assert ManualClock(5).now() == 5
    assert ManualClock().now() == ManualClock().now()


def test_a_start_without_a_zone_is_refused() -> None:
    """It names no instant; the error says what to add."""
    with pytest.raises(ValueError, match=r"2030, 1, 1.*timezone\.utc"):
        ManualClock(datetime(2030, 1, 1))  # noqa: DTZ001


def test_advancing_moves_both_hands(clock: ManualClock) -> None:
    """Exactly, on the wall and on the monotonic clock alike; units add up."""
    wall, mono = clock.now(), clock.mono()

    clock.advance(timedelta(hours=1), minutes=1)
    clock.advance(0.000001)

    assert clock.now() - wall == 3660 * SECOND + 1
    assert clock.mono() - mono == pytest.approx(3660.000001)


def test_time_is_not_advanced_backwards(clock: ManualClock) -> None:
    """The error names the value and the call that sets a wall clock back."""
    with pytest.raises(ValueError, match=r"-5\.0 s.*step"):
        clock.advance(-5)


def test_a_step_moves_the_wall_clock_only(clock: ManualClock) -> None:
    """As an administrator or a time server may, forward or back; seconds that were waited for are not touched."""
    wall, mono = clock.now(), clock.mono()

    clock.step(-90)

    assert clock.now() == wall - 90 * SECOND
    assert clock.mono() == mono


def test_a_wait_ends_when_its_time_has_passed_and_not_before(clock: ManualClock, start: Start) -> None:
    """``advance`` returns when the waits that came due have ended, so the next line of a test may rely on it."""
    answers: list[bool] = []
    thread = start(lambda: answers.append(clock.wait(Wakeup(), 5)))
    clock.wait_for_sleepers(1)

    clock.advance(4.999999)
    assert clock.sleepers == 1

    clock.advance(0.000001)
    assert clock.sleepers == 0
    thread.join(20)
    assert answers == [False]


def test_a_step_ends_no_wait(clock: ManualClock, start: Start) -> None:
    """Waiting is measured on the monotonic clock, and a real wait does not notice a step either."""
    start(lambda: clock.wait(Wakeup(), 5))
    clock.wait_for_sleepers(1)

    clock.step(3600)

    assert clock.sleepers == 1
    clock.advance(5)


def test_a_wait_ends_when_the_wakeup_is_set(clock: ManualClock, start: Start) -> None:
    """Whatever the time, and the answer says that it was the wakeup."""
    answers: list[bool] = []
    wakeup = Wakeup()
    thread = start(lambda: answers.append(clock.wait(wakeup, None)))
    clock.wait_for_sleepers(1)
    clock.advance(hours=1000)

    wakeup.set()

    thread.join(20)
    assert answers == [True]


def test_a_wakeup_that_is_set_is_not_waited_for(clock: ManualClock) -> None:
    """Set before, or set when the time is over as well: the wakeup is what the answer tells."""
    wakeup = Wakeup()
    wakeup.set()

    assert clock.wait(wakeup, None) is True
    assert clock.wait(wakeup, 0) is True


@pytest.mark.parametrize("timeout", [0, -1, -0.0])
def test_no_time_to_wait_is_no_wait(clock: ManualClock, timeout: float) -> None:
    """A deadline that lies in the past is over."""
    assert clock.wait(Wakeup(), timeout) is False


def test_the_shortest_wait_is_still_a_wait(clock: ManualClock, start: Start) -> None:
    """Less than a microsecond is not nothing, else a loop that computes such a remainder would spin for ever."""
    start(lambda: clock.wait(Wakeup(), 1e-9))
    clock.wait_for_sleepers(1)

    clock.advance(0.000001)

    assert clock.sleepers == 0


@pytest.mark.parametrize("timeout", [None, math.inf])
def test_a_wait_without_end_ends_by_its_wakeup_only(clock: ManualClock, start: Start, timeout: float | None) -> None:
    """No time that passes is enough."""
    wakeup = Wakeup()
    start(lambda: clock.wait(wakeup, timeout))
    clock.wait_for_sleepers(1)

    clock.advance(hours=1_000_000)

    assert clock.sleepers == 1
    wakeup.set()


def test_one_advance_wakes_all_that_are_due_and_nobody_else(clock: ManualClock, start: Start) -> None:
    """Also when they wait on the same wakeup."""
    shared = Wakeup()
    for seconds in (1, 2, 3, 4):
        start(lambda seconds=seconds: clock.wait(shared, seconds))  # type: ignore[misc]
    for seconds in (1, 10):
        start(lambda seconds=seconds: clock.wait(Wakeup(), seconds))  # type: ignore[misc]
    clock.wait_for_sleepers(6)

    clock.advance(3)

    assert clock.sleepers == 2
    clock.advance(7)
    assert clock.sleepers == 0


def test_a_loop_can_be_led_slot_by_slot(clock: ManualClock, start: Start) -> None:
    """Advance, wait until the loop is parked again, look: every round is done, none is lost, none is guessed."""
    wakeup, rounds = Wakeup(), list[float]()

    def loop() -> None:
        while not clock.wait(wakeup, 5):
            rounds.append(clock.mono())

    start(loop)
    clock.wait_for_sleepers(1)
    for expected in range(1, 201):
        clock.advance(5)
        clock.wait_for_sleepers(1)
        assert len(rounds) == expected

    assert rounds == [5.0 * n for n in range(1, 201)]
    wakeup.set()


def test_time_passes_in_one_leap(clock: ManualClock, start: Start) -> None:
    """As for a machine that was suspended: the loop sees the time at which it woke, once."""
    wakeup, seen = Wakeup(), list[float]()

    def loop() -> None:
        while not clock.wait(wakeup, 1):
            seen.append(clock.mono())

    start(loop)
    clock.wait_for_sleepers(1)
    clock.advance(minutes=1)
    clock.wait_for_sleepers(1)

    assert seen == [60.0]
    wakeup.set()


def test_no_wait_is_missed_however_threads_interleave(clock: ManualClock, start: Start) -> None:
    """Many loops, and time moved from two threads at once without looking whether anybody is parked yet."""
    done = []

    def loop() -> None:
        for _ in range(50):
            clock.wait(Wakeup(), 1)
        done.append(True)

    def move() -> None:
        while len(done) < 8:
            clock.advance(0.5)

    for _ in range(8):
        start(loop)
    for thread in [start(move), start(move)]:
        thread.join(60)

    assert len(done) == 8
    assert clock.sleepers == 0


def test_waiting_for_sleepers_that_never_come_says_how_many_did(clock: ManualClock, start: Start) -> None:
    """A failing test names the fact it waited for, after the real seconds it was ready to wait."""
    wakeup = Wakeup()
    start(lambda: clock.wait(wakeup, 5))
    clock.wait_for_sleepers(1)
    begun = time.monotonic()

    with pytest.raises(AssertionError, match=r"1 of 3 sleepers .* 0\.05 s"):
        clock.wait_for_sleepers(3, timeout=0.05)

    assert 0.04 <= time.monotonic() - begun < 10
    wakeup.set()


def test_a_sleeper_that_was_woken_is_none(clock: ManualClock, start: Start) -> None:
    """From the moment its wakeup is set it counts no more, although its thread may not have run yet."""
    wakeup = Wakeup()
    start(lambda: clock.wait(wakeup, 5))
    clock.wait_for_sleepers(1)

    wakeup.set()

    assert clock.sleepers == 0


def test_a_wait_on_an_event_loop_ends_when_time_or_somebody_ends_it_and_holds_up_nobody() -> None:
    """It is a sleeper like any other; the loop's other tasks go on meanwhile."""
    clock = ManualClock()

    async def story() -> list[str]:
        told: list[str] = []
        woken = asyncio.Event()

        async def sleep(name: str, event: asyncio.Event) -> None:
            await clock.await_for(event, 10)
            told.append(name)

        sleepers = [asyncio.create_task(sleep("by time", asyncio.Event())), asyncio.create_task(sleep("woken", woken))]
        while clock.sleepers < 2:  # noqa: ASYNC110  # it has no event for that
            await asyncio.sleep(0)
        woken.set()
        await sleepers[1]
        await asyncio.to_thread(clock.advance, 10)
        await sleepers[0]
        return told

    assert asyncio.run(story()) == ["woken", "by time"]


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 10**400])
def test_what_is_no_duration_is_refused(seconds: float) -> None:
    """With the value, before anything has moved."""
    clock = ManualClock()
    before = clock.now()

    with pytest.raises(ValueError, match=f"{seconds!r:.40}.*no duration"):
        clock.advance(seconds)

    assert clock.now() == before

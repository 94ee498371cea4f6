"""Instants without floats, a flag that is never missed, and the machine's own clock."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from onduty.clock import SECOND, Clock, SystemClock, Wakeup, to_datetime, to_micros
from onduty.testing import ManualClock


@pytest.mark.parametrize(
    "instant",
    [
        datetime(1970, 1, 1, tzinfo=timezone.utc),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=timezone.utc),
        datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
        datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    ],
    ids=str,
)
def test_an_instant_survives_the_way_to_microseconds_and_back(instant: datetime) -> None:
    """Exact to the microsecond, in either direction of the epoch and in both of two equal wall times."""
    back = to_datetime(to_micros(instant))

    assert back == instant.astimezone(timezone.utc)
    assert back.microsecond == instant.microsecond


def test_an_instant_can_be_seen_from_a_zone() -> None:
    """The same instant, shown by that zone's clock."""
    seen = to_datetime(0, ZoneInfo("Asia/Shanghai"))

    assert seen.isoformat() == "1970-01-01T08:00:00+08:00"


@pytest.fixture
def parked() -> Iterator[Callable[[Wakeup], tuple[threading.Thread, list[bool]]]]:
    """Park a thread on a wakeup; at the end every one must be gone."""
    threads: list[threading.Thread] = []

    def park(wakeup: Wakeup) -> tuple[threading.Thread, list[bool]]:
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(wakeup.wait(30)))
        threads.append(thread)
        thread.start()
        return thread, answers

    yield park
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


class TestWakeup:
    """A flag that one thread waits for and others set."""

    def test_one_that_is_set_is_not_waited_for(self) -> None:
        """Set before the wait began, it is not missed; and it stays set until cleared."""
        wakeup = Wakeup()
        wakeup.set()

        assert wakeup.wait() is True
        assert wakeup.wait(0) is True
        assert wakeup.is_set()

    def test_cleared_it_can_be_waited_for_again(self) -> None:
        """The answer says whether the flag is set, not whether it ever was."""
        wakeup = Wakeup()
        wakeup.set()
        wakeup.clear()

        assert not wakeup.is_set()
        assert wakeup.wait(0.001) is False

    def test_setting_it_wakes_everybody(self, parked: Callable[[Wakeup], tuple[threading.Thread, list[bool]]]) -> None:
        """Whoever waits, however many, sees it set."""
        wakeup = Wakeup()
        waiters = [parked(wakeup) for _ in range(5)]

        wakeup.set()

        for thread, answers in waiters:
            thread.join(10)
            assert answers == [True]

    def test_a_nudge_ends_the_wait_and_sets_nothing(
        self, parked: Callable[[Wakeup], tuple[threading.Thread, list[bool]]]
    ) -> None:
        """So that a waiter looks again, at a clock that has been moved."""
        wakeup = Wakeup()
        thread, answers = parked(wakeup)

        while thread.is_alive():  # it may not have begun to wait yet, and a nudge is not kept
            wakeup.nudge()
            thread.join(0.001)

        assert answers == [False]
        assert not wakeup.is_set()

    def test_a_signal_handler_may_set_it_whatever_it_interrupts(self) -> None:
        """Also the very thread that is in the middle of setting it: else the process would hang for good."""
        wakeup = Wakeup()

        def interrupted() -> None:
            with wakeup._changed:  # where a signal may find the thread
                wakeup.set()

        thread = threading.Thread(target=interrupted, daemon=True)
        thread.start()
        thread.join(10)

        assert not thread.is_alive()
        assert wakeup.is_set()

    def test_a_signal_that_sets_it_ends_the_wait_of_the_main_thread(self) -> None:
        """The handler runs inside the waiting thread, and the wait ends all the same."""
        wakeup = Wakeup()
        before = signal.signal(signal.SIGUSR1, lambda *_: wakeup.set())
        timer = threading.Timer(0.02, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
        timer.start()
        try:
            assert wakeup.wait(30) is True
        finally:
            timer.join()
            signal.signal(signal.SIGUSR1, before)


class TestSystemClock:
    """The machine's own."""

    def test_it_tells_the_time_of_the_machine(self) -> None:
        """Whole microseconds of UTC, and a monotonic reading in seconds."""
        clock: Clock = SystemClock()
        before = time.time_ns() // 1000

        now = clock.now()

        assert isinstance(now, int)
        assert before <= now <= time.time_ns() // 1000
        assert clock.mono() <= clock.mono()

    def test_other_clocks_are_not_further_behind_than_it_says(self) -> None:
        """``time.localtime()`` shows the new second when ``lag`` has passed since it began.

        Not on a machine that stands still just then: a processor that does not tick leaves that clock where it is.
        """
        clock = SystemClock()
        shown = 0
        for _ in range(5):
            second = clock.now() // SECOND + 1
            while clock.now() < second * SECOND + clock.lag * SECOND:
                time.sleep(0.0005)
            shown += time.mktime(time.localtime()) >= second
        assert shown >= 4

    def test_a_wait_ends_when_its_time_has_passed(self) -> None:
        """Not before: the answer ``False`` means that the seconds are over."""
        clock = SystemClock()
        begun = time.monotonic()

        assert clock.wait(Wakeup(), 0.02) is False
        assert time.monotonic() - begun >= 0.019

    def test_a_wait_ends_when_the_wakeup_is_set(self) -> None:
        """At once, and the answer tells why."""
        wakeup = Wakeup()
        timer = threading.Timer(0.02, wakeup.set)
        timer.start()

        assert SystemClock().wait(wakeup, None) is True

        timer.join()


def test_both_clocks_speak_the_same_units() -> None:
    """Code that is right under one is right under the other: microseconds on the wall, seconds on the monotonic."""
    for clock in (SystemClock(), ManualClock(to_datetime(SystemClock().now()))):
        assert abs(clock.now() - time.time_ns() // 1000) < 3600 * SECOND
        assert isinstance(clock.mono(), float)

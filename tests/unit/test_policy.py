"""The elector's decisions, as tables."""

from __future__ import annotations

import pytest

from onduty._runtime import policy
from onduty._runtime.policy import FrozenWatch, Sample, Signs, Verdict
from onduty.election import Tenure
from onduty.journal import Newest
from onduty.process import this_process


@pytest.mark.parametrize(
    ("since_vacant", "seconds"),
    [
        (None, policy.SLOW_POLL),
        (0.0, 0.0005),
        (0.002, 0.0005),
        (0.01, 0.0025),
        (0.9, 0.005),
        (1.0, policy.SLOW_POLL),
    ],
)
def test_a_standby_hurries_only_after_an_end_of_file(since_vacant: float | None, seconds: float) -> None:
    """The lock is freed a moment after the hub's end-of-file, not at it."""
    assert policy.next_try(since_vacant) == seconds


def test_two_are_woken_by_the_end_of_the_leader() -> None:
    """More would only take the processor from the one that wins; the others look by themselves soon after."""
    assert [policy.is_next(place) for place in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("grace", "limit", "seconds"),
    [(10.0, 30.0, 10.0), (10.0, 15.0, 4.0), (4.0, 5.0, 0.0), (8.0, 8.0, 0.0), (1.0, None, 10.0)],
)
def test_waiting_for_a_successor_and_grace_fit_into_the_servers_own_time(
    grace: float, limit: float | None, seconds: float
) -> None:
    """Both come before the moment at which the server kills the worker."""
    assert policy.patience(grace, limit) == seconds


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        (Signs(), None),
        (Signs(leaving="SIGTERM"), "SIGTERM"),
        (Signs(leaving="SIGTERM", holds_lock=False), "the lock was lost"),
        (Signs(term_lost=True, fault="broken"), "a newer term"),
        (Signs(fault="broken"), "broken"),
    ],
)
def test_the_gravest_reason_to_step_down_is_told(signs: Signs, reason: str | None) -> None:
    """And without one the leader goes on."""
    told = policy.why_step_down(signs)

    assert told == reason or (reason is not None and told is not None and told.startswith(reason))


def test_runs_get_their_grace_only_while_nobody_else_can_lead() -> None:
    """Who lost the lock stops at once."""
    assert policy.deserves_grace(Signs(leaving="SIGTERM"))
    assert not policy.deserves_grace(Signs(holds_lock=False))
    assert not policy.deserves_grace(Signs(term_lost=True))


def watch(samples: list[tuple[float, int, float | None, bool]]) -> Verdict:
    eye = FrozenWatch()
    verdict = Verdict("turning", 0)
    for sample in samples:
        verdict = eye.see(Sample(*sample))
    return verdict


def test_a_leader_whose_beat_grows_is_turning() -> None:
    """However slowly, it is alive."""
    assert watch([(second, second // 9, 0.0, False) for second in range(40)]).seconds < 9


def test_a_stopped_leader_is_named_so_after_ten_seconds() -> None:
    """The kernel says so, hence it is certain and may be killed."""
    verdict = watch([(second, 5, 1.0, True) for second in range(12)])

    assert (verdict.state, verdict.is_frozen, verdict.may_kill()) == ("stopped", True, True)
    assert not watch([(second, 5, 1.0, True) for second in range(9)]).is_frozen


def test_how_long_a_leader_is_stopped_is_counted_from_when_it_was() -> None:
    """A debugger stops one that is merely busy, and a second later lets it go on."""
    busy = [(second, 5, second * 0.9, False) for second in range(60)]
    stopped = [(60 + second, 5, 54.0, True) for second in range(12)]
    goes_on = [(72 + second, 5, 54.0, False) for second in range(32)]

    assert not any(watch(busy + stopped[:count]).may_kill() for count in range(10))
    assert watch(busy + stopped).may_kill()
    assert not any(watch(busy + stopped + goes_on[:count]).may_kill() for count in range(1, 30))
    assert watch(busy + stopped + goes_on).may_kill()


def test_a_busy_leader_is_never_killed() -> None:
    """It uses the processor: it may be held up by a run, and come back."""
    verdict = watch([(second, 5, second * 0.9, False) for second in range(100)])

    assert (verdict.state, verdict.is_frozen, verdict.may_kill()) == ("busy", True, False)


def test_a_blocked_leader_may_be_killed_after_thirty_seconds_and_not_before() -> None:
    """A disk can take its time."""
    assert not watch([(second, 5, 1.0, False) for second in range(30)]).may_kill()
    assert watch([(second, 5, 1.0, False) for second in range(32)]).may_kill()


def test_a_standby_that_overslept_knows_nothing_of_that_span() -> None:
    """A suspended machine freezes everybody; nobody is to be blamed."""
    samples: list[tuple[float, int, float | None, bool]] = [(second, 5, 1.0, False) for second in range(8)]

    assert watch([*samples, (500.0, 5, 1.0, False)]) == ("unknown", 0)
    assert watch([*samples, (500.0, 6, 1.0, False)]) == ("turning", 0)
    assert watch(samples[:1]) == ("unknown", 0)


@pytest.mark.parametrize(
    ("boot", "clean", "gap", "until"),
    [
        ("the same", False, False, 0),  # killed: the journal has all rows
        ("the same", True, True, 50),  # the disk was full
        ("before", False, False, 50),  # a power cut
        ("before", True, False, 50),  # a moment after it had let go: its last rows may be gone all the same
    ],
)
def test_slots_are_in_doubt_when_their_rows_may_be_missing(boot: str, clean: bool, gap: bool, until: int) -> None:
    """And only up to what was reserved, or up to now."""
    me = this_process()._replace(boot="the same")
    last = Tenure(me._replace(boot=boot), 1, 0, clean, reserved_until=50, gap=gap)

    assert policy.lost_until(last, me.boot, Newest(1, 9), 60) == until
    assert policy.lost_until(last, me.boot, Newest(1, 9), 40) == min(until, 40)
    assert policy.lost_until(None, me.boot, Newest(1, 9), 60) == 0


def test_what_a_leader_ran_before_the_clock_was_set_back_is_in_doubt_too() -> None:
    """It had reserved a minute, and our clock shows less than its own did then."""
    me = this_process()
    last = Tenure(me, 1, 0, clean=False, reserved_until=policy.RESERVE + 100, gap=True)

    assert policy.lost_until(last, me.boot, Newest(1, 0), 100) == 100
    assert policy.lost_until(last, me.boot, Newest(1, 0), 99) == last.reserved_until


def test_a_journal_that_has_not_heard_of_the_last_leader_s_newest_row_lacks_it() -> None:
    """It is new, or an older copy: what that leader ran is in another file, up to what it had reserved."""
    me = this_process()
    last = Tenure(me, 7, 0, clean=True, reserved_until=50, row=9)

    assert policy.lost_until(last, me.boot, Newest(6, 9), 60) == 50
    assert policy.lost_until(last, me.boot, Newest(0, 0), 40) == 40
    assert policy.lost_until(last, me.boot, Newest(7, 9), 60) == 0
    assert policy.lost_until(last._replace(reserved_until=0), me.boot, Newest(6, 9), 60) == 60
    assert policy.lost_until(last, me.boot, Newest(7, 8), 60) == 50, "a copy made during that very term"

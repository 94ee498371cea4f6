"""Intervals: an exact grid since the epoch, and errors that say what to write instead."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from onduty.clock import SECOND, to_micros
from onduty.errors import DeclarationError
from onduty.schedules import Slots
from onduty.schedules.interval import Interval, interval

NOON = to_micros(datetime(2026, 3, 1, 12, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("said", "micros"),
    [
        ({"seconds": 5}, 5 * SECOND),
        ({"seconds": 0.1}, 100_000),
        ({"seconds": 0.001}, 1_000),
        ({"seconds": 1.000001}, 1_000_001),
        ({"minutes": 1, "seconds": 30}, 90 * SECOND),
        ({"minutes": 0, "seconds": 30}, 30 * SECOND),
        ({"hours": 1, "minutes": 1, "seconds": 1}, 3661 * SECOND),
        ({"minutes": 0.1}, 6 * SECOND),
        ({"hours": 0.0001}, 360_000),
        ({"seconds": Decimal("0.123456")}, 123_456),
        ({"seconds": timedelta(milliseconds=250)}, 250_000),
        ({"delta": timedelta(days=7)}, 7 * 86_400 * SECOND),
        ({"hours": 24 * 36_525}, 36_525 * 86_400 * SECOND),
    ],
    ids=str,
)
def test_what_a_user_writes_becomes_exact_microseconds(said: dict[str, Any], micros: int) -> None:
    """Units add up, and a float means the decimal it is printed as: 0.1 s is 100,000 microseconds, not nearly so."""
    assert interval(**said) == Interval(micros)


@pytest.mark.parametrize(
    ("said", "value", "remedy"),
    [
        ({}, "every()", "seconds=5"),
        ({"seconds": 0}, "seconds=0", "must be positive"),
        ({"seconds": 0, "minutes": 0.0}, "minutes=0.0", "must be positive"),
        ({"seconds": -1}, "-1", "must be positive"),
        ({"minutes": 5, "seconds": -1}, "-1", "must be positive"),
        ({"seconds": timedelta(seconds=-1)}, "days=-1", "must be positive"),
        ({"delta": timedelta(0)}, "timedelta(0)", "must be positive"),
        ({"seconds": float("nan")}, "nan", "finite"),
        ({"seconds": float("inf")}, "inf", "finite"),
        ({"minutes": float("-inf")}, "-inf", "finite"),
        ({"seconds": Decimal("sNaN")}, "sNaN", "finite"),
        ({"seconds": True}, "True", "a number"),
        ({"seconds": "5"}, "'5'", "a number"),
        ({"seconds": [5]}, "[5]", "a number"),
        ({"seconds": 1j}, "1j", "a number"),
        ({"seconds": [10**5000]}, "a list", "a number"),
        ({"minutes": timedelta(minutes=5)}, "minutes=", "timedelta stands alone"),
        ({"delta": 5}, "delta=5", "seconds="),
        ({"delta": timedelta(5), "minutes": 1}, "minutes=1", "keep either"),
        ({"seconds": timedelta(5), "minutes": 1}, "minutes=1", "keep either"),
        ({"seconds": timedelta(5), "delta": timedelta(5)}, "delta=", "keep either"),
        ({"seconds": 1 / 3}, "0.3333333333333333", "nearest is 0.333333 s"),
        ({"seconds": 5.0000001}, "5.0000001", "nearest is 5 s"),
        ({"seconds": 0.0009}, "0.0009", "@duty.service"),
        ({"seconds": 1e-300}, "1e-300", "@duty.service"),
        ({"seconds": Decimal("1e-999999999")}, "1E-999999999", "@duty.service"),
        ({"hours": 24 * 36_525 + 1}, "hours=876601", "@duty.at"),
        ({"delta": timedelta.max}, "timedelta", "@duty.at"),
        ({"seconds": 1e300}, "1e+300", "@duty.at"),
        ({"seconds": 10**5000}, "16610 bits", "@duty.at"),
        ({"seconds": Decimal("1e999999999")}, "1E+999999999", "@duty.at"),
        ({"seconds": 5, "offset": float("nan")}, "offset=nan", "finite"),
        ({"seconds": 5, "offset": 1e-7}, "offset=1e-07", "nearest is 0 s"),
        ({"seconds": 5, "offset": "1"}, "offset='1'", "a number"),
        ({"seconds": 5, "offset": 1e12}, "offset=1000000000000.0", "hundred years"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_length_that_makes_no_grid_is_refused_by_value_with_a_remedy(
    said: dict[str, Any], value: str, remedy: str
) -> None:
    """Whatever is no length of time, or none that has an exact grid, is a DeclarationError on the spot."""
    with pytest.raises(DeclarationError) as refused:
        interval(**said)

    assert value in str(refused.value)
    assert remedy in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("micros", [0, -5, 999, 1_000_000.0, True, "5", None, 36_525 * 86_400 * SECOND + 1])
def test_the_schedule_itself_refuses_what_its_constructor_function_refuses(micros: Any) -> None:
    """An Interval that exists has a grid, however it was made."""
    with pytest.raises(DeclarationError):
        Interval(micros)


def test_slots_are_whole_multiples_since_the_epoch() -> None:
    """Every process names the slots alike without asking: they are multiples of the length since 1970."""
    every = interval(seconds=7)

    slot = every.next_after(NOON)

    assert slot % (7 * SECOND) == 0
    assert slot - 7 * SECOND <= NOON < slot
    assert every.latest(NOON) == slot - 7 * SECOND


def test_a_slot_is_its_own_latest_and_not_its_own_next() -> None:
    """At the very instant of a slot, that slot is due and the next one is a whole interval away."""
    every = interval(minutes=1)

    assert every.latest(NOON) == NOON
    assert every.next_after(NOON) == NOON + 60 * SECOND
    assert every.next_after(NOON - 1) == NOON


def test_an_offset_moves_the_grid() -> None:
    """``hours=1, offset=900`` is due at a quarter past."""
    every = interval(hours=1, offset=900)

    assert every.next_after(NOON) == NOON + 900 * SECOND
    assert every == interval(hours=1, offset=timedelta(minutes=15))
    assert str(every) == "every 3600 s, offset 900 s"


def test_the_grid_goes_on_before_the_epoch() -> None:
    """Instants before 1970 are negative and on the same grid; a clock that was reset to 1970 breaks nothing."""
    every = interval(seconds=10)

    assert every.latest(-1) == -10 * SECOND
    assert every.next_after(-1) == 0
    assert every.between(-25 * SECOND, 0) == Slots(-20 * SECOND, 0, 3)


def test_a_century_of_slots_is_counted_without_walking() -> None:
    """The count is exact where there are billions, and costs no more than for two."""
    every = interval(seconds=0.001)
    century = 36_525 * 86_400 * SECOND

    assert every.between(NOON, NOON + century) == Slots(NOON + 1_000, NOON + century, century // 1_000)


def test_a_span_excludes_its_start_and_includes_its_end() -> None:
    """``between`` speaks of the slots later than one instant and not later than another."""
    every = interval(seconds=5)

    assert every.between(NOON, NOON + 5 * SECOND) == Slots(NOON + 5 * SECOND, NOON + 5 * SECOND, 1)
    assert every.between(NOON, NOON + 5 * SECOND - 1) is None
    assert every.between(NOON, NOON) is None
    assert every.between(NOON, NOON - 60 * SECOND) is None


def test_equal_grids_are_equal_schedules() -> None:
    """Two spellings of one grid are one schedule, in a comparison and in a set; another grid is another."""
    one, two = interval(seconds=60, offset=-1), interval(minutes=1, offset=59)

    assert one == two
    assert len({one, two, interval(minutes=1)}) == 2


def test_an_interval_knows_no_zone_and_runs_when_first_seen() -> None:
    """Its grid is UTC, and a task never seen before runs its current slot at once."""
    every = interval(seconds=0.25)

    assert every.zone is timezone.utc
    assert every.runs_when_first_seen is True
    assert str(every) == "every 0.25 s"

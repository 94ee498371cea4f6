"""One instant: its slot, its zone, and what is refused."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from onduty.clock import SECOND, to_micros
from onduty.errors import DeclarationError
from onduty.schedules import Slots
from onduty.schedules.once import At

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SLOT = to_micros(NOON)


def test_there_is_one_slot_and_no_other() -> None:
    """Before the instant it is the next one, from then on the latest one."""
    at = At(NOON)

    assert (at.next_after(SLOT - 1), at.latest(SLOT - 1)) == (SLOT, None)
    assert (at.next_after(SLOT), at.latest(SLOT)) == (None, SLOT)
    assert at.latest(SLOT + 10**15) == SLOT


def test_a_span_excludes_its_start_and_includes_its_end() -> None:
    """The slot is counted once by two spans that touch at it."""
    at = At(NOON)

    assert at.between(SLOT - SECOND, SLOT) == Slots(SLOT, SLOT, 1)
    assert at.between(SLOT, SLOT + SECOND) is None
    assert at.between(SLOT - SECOND, SLOT - 1) is None


def test_an_instant_past_when_first_seen_does_not_run_by_itself() -> None:
    """A deploy must not repeat last year's migration."""
    assert At(NOON).runs_when_first_seen is False


def test_one_instant_is_one_schedule_in_whatever_zone_it_is_written() -> None:
    """Equal and equally hashed when they give the same slot; each shows it in its own zone."""
    berlin = ZoneInfo("Europe/Berlin")
    here, there = At(NOON), At(NOON.astimezone(berlin))

    assert here == there
    assert len({here, there, At(NOON + timedelta(microseconds=1))}) == 2
    assert there.zone is berlin
    assert str(there) == "at 2026-03-01T13:00:00+01:00"
    assert repr(here) == f"At({NOON!r})"


def test_the_second_of_two_equal_wall_times_is_told_by_its_fold() -> None:
    """02:30 on the autumn night comes twice, and ``fold=1`` means the later one."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    assert At(first.replace(fold=1)).instant - At(first).instant == 3600 * SECOND


def test_microseconds_are_kept() -> None:
    """No float on the way: the slot is the very microsecond."""
    assert At(datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)).instant % SECOND == 999_999


def test_a_naive_datetime_names_no_instant_and_is_refused() -> None:
    """The error says how to add a time zone, rather than guess the machine's."""
    with pytest.raises(DeclarationError, match="no time zone") as refused:
        At(datetime(2026, 3, 1, 12))  # noqa: DTZ001

    assert "2026, 3, 1, 12" in str(refused.value)
    assert "tzinfo=timezone.utc" in str(refused.value)


@pytest.mark.parametrize(
    "value", [None, 5, "2026-03-01T12:00Z", date(2026, 3, 1), timedelta(1), NOON.timetz()], ids=repr
)
def test_what_is_no_datetime_is_refused_by_value(value: Any) -> None:
    """The error names what was given and what is taken."""
    with pytest.raises(DeclarationError, match=r"aware datetime\.datetime") as refused:
        At(value)

    assert repr(value) in str(refused.value)


@pytest.mark.parametrize(
    "instant",
    [
        datetime.max.replace(tzinfo=ZoneInfo("America/New_York")),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
    ],
)
def test_an_instant_that_is_none_in_utc_is_refused(instant: datetime) -> None:
    """Nobody could show it, and whoever tried would fail in its place."""
    with pytest.raises(DeclarationError, match="years 1 to 9999"):
        At(instant)

"""Cron lines in their zone: slots, both changes of the clocks, and what is refused at declaration."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from onduty.clock import SECOND, to_datetime, to_micros
from onduty.errors import DeclarationError
from onduty.schedules import Slots
from onduty.schedules.cron import COUNT_LIMIT, Cron

DAY = 86_400 * SECOND


def instant(zone: str, *wall: int) -> int:
    return to_micros(datetime(*wall, tzinfo=ZoneInfo(zone)))  # type: ignore[misc,arg-type]


def following(cron: Cron, zone: str, *wall: int, n: int) -> list[str]:
    """The ``n`` slots after that time on the wall, as the wall shows them, with their offset from UTC."""
    slots, now = [], instant(zone, *wall)
    for _ in range(n):
        slot = cron.next_after(now)
        assert slot is not None
        slots.append(to_datetime(slot, cron.zone).strftime("%d %H:%M %z"))
        assert cron.latest(slot) == slot
        assert cron.latest(slot - 1) == cron.latest(now)
        now = slot
    return slots


def test_a_line_is_read_in_its_own_zone() -> None:
    """Three in the morning in Shanghai, whatever the clock of the machine says."""
    cron = Cron("0 3 * * *", "Asia/Shanghai")

    assert cron.next_after(to_micros(datetime(2026, 5, 1, tzinfo=timezone.utc))) == to_micros(
        datetime(2026, 5, 1, 19, tzinfo=timezone.utc)
    )
    assert str(cron) == "cron 0 3 * * * (Asia/Shanghai)"


def test_without_a_zone_a_line_is_read_in_utc() -> None:
    """The default does not depend on the machine."""
    assert Cron("0 3 * * *").next_after(0) == 3 * 3600 * SECOND
    assert Cron("0 3 * * *").zone is timezone.utc


def test_a_first_seen_cron_waits() -> None:
    """Three in the morning means three in the morning, also on the day of the first deploy."""
    assert Cron("0 3 * * *").runs_when_first_seen is False


@pytest.mark.parametrize(
    ("line", "slots"),
    [
        ("*/15 9-10 * * MON-FRI", ["02 09:00", "02 09:15", "02 09:30"]),
        ("0 0 L * *", ["31 00:00", "30 00:00", "31 00:00"]),
        ("0 0 LW * *", ["31 00:00", "30 00:00", "29 00:00"]),
        ("0 12 * * 5L", ["27 12:00", "24 12:00", "29 12:00"]),
        ("0 12 * * MON#2", ["09 12:00", "13 12:00", "11 12:00"]),
        ("0 0 13 * FRI", ["06 00:00", "13 00:00", "20 00:00"]),
        ("0 0 */10 * TUE", ["31 00:00", "21 00:00", "21 00:00"]),
        ("0 0 1 JAN,JUL *", ["01 00:00", "01 00:00", "01 00:00"]),
    ],
)
def test_fields_mean_what_they_mean_to_debians_cron(line: str, slots: list[str]) -> None:
    """Names, lists, ranges, steps, last days, and the rule by which the two day fields go together."""
    found = following(Cron(line), "UTC", 2026, 3, 1, n=3)

    assert [slot.removesuffix(" +0000") for slot in found] == slots


def test_a_leap_day_is_waited_for() -> None:
    """Eight years, where a century leaves one out."""
    cron = Cron("0 0 29 2 *")

    assert cron.next_after(instant("UTC", 2096, 3, 1)) == instant("UTC", 2104, 2, 29)
    assert cron.latest(instant("UTC", 2104, 2, 28)) == instant("UTC", 2096, 2, 29)


class TestInSpring:
    """In Berlin, on 29 March 2026, 01:59 CET is followed by 03:00 CEST."""

    def test_a_time_of_day_that_is_skipped_comes_due_at_the_change(self) -> None:
        """A nightly job runs that night too, once, and as near to its time as there is."""
        assert following(Cron("30 2 * * *", "Europe/Berlin"), "Europe/Berlin", 2026, 3, 28, n=3) == [
            "28 02:30 +0100",
            "29 03:00 +0200",
            "30 02:30 +0200",
        ]

    def test_two_times_that_fall_together_are_one_slot(self) -> None:
        """Two and three o'clock are the same instant that night."""
        assert following(Cron("0 2,3 * * *", "Europe/Berlin"), "Europe/Berlin", 2026, 3, 29, n=3) == [
            "29 03:00 +0200",
            "30 02:00 +0200",
            "30 03:00 +0200",
        ]

        begin = instant("Europe/Berlin", 2026, 3, 29)
        slot = begin + 2 * 3600 * SECOND
        assert Cron("0 2,3 * * *", "Europe/Berlin").between(begin, begin + 12 * 3600 * SECOND) == Slots(slot, slot, 1)

    def test_a_rhythm_follows_the_clock_on_the_wall(self) -> None:
        """Every half past: the one that the wall does not show does not come."""
        assert following(Cron("30 * * * *", "Europe/Berlin"), "Europe/Berlin", 2026, 3, 29, 1, n=3) == [
            "29 01:30 +0100",
            "29 03:30 +0200",
            "29 04:30 +0200",
        ]
        assert following(Cron("*/30 2 * * *", "Europe/Berlin"), "Europe/Berlin", 2026, 3, 28, 12, n=1) == [
            "30 02:00 +0200"
        ]

    def test_a_whole_day_that_is_skipped_is_caught_up_at_its_end(self) -> None:
        """Samoa had no 30 December 2011."""
        assert following(Cron("0 12 * * *", "Pacific/Apia"), "Pacific/Apia", 2011, 12, 29, n=3) == [
            "29 12:00 -1000",
            "31 00:00 +1400",
            "31 12:00 +1400",
        ]


class TestInAutumn:
    """In Berlin, on 25 October 2026, 02:59 CEST is followed by 02:00 CET."""

    def test_a_time_of_day_that_comes_twice_counts_once(self) -> None:
        """The nightly job runs the first time, not again an hour later."""
        assert following(Cron("30 2 * * *", "Europe/Berlin"), "Europe/Berlin", 2026, 10, 24, n=3) == [
            "24 02:30 +0200",
            "25 02:30 +0200",
            "26 02:30 +0100",
        ]

    def test_seen_from_the_repeated_hour_the_next_slot_lies_ahead(self) -> None:
        """At 02:15 of the second time, half past two has been: the answer must not lie in the past."""
        cron = Cron("30 2 * * *", "Europe/Berlin")
        now = instant("Europe/Berlin", 2026, 10, 25, 2, 15) + 3600 * SECOND

        assert cron.next_after(now) == instant("Europe/Berlin", 2026, 10, 26, 2, 30)
        assert cron.latest(now) == instant("Europe/Berlin", 2026, 10, 25, 2, 30)

    def test_a_rhythm_goes_on_through_both_hours(self) -> None:
        """Every twenty minutes, six times between two and three."""
        assert following(Cron("*/20 2 * * *", "Europe/Berlin"), "Europe/Berlin", 2026, 10, 25, n=7) == [
            "25 02:00 +0200",
            "25 02:20 +0200",
            "25 02:40 +0200",
            "25 02:00 +0100",
            "25 02:20 +0100",
            "25 02:40 +0100",
            "26 02:00 +0100",
        ]

    def test_a_day_that_comes_twice_counts_once(self) -> None:
        """Kwajalein crossed the date line in 1969 and had most of 30 September again, into another day of UTC."""
        assert following(Cron("0 12 * * *", "Pacific/Kwajalein"), "Pacific/Kwajalein", 1969, 9, 30, n=2) == [
            "30 12:00 +1100",
            "01 12:00 -1200",
        ]
        assert following(Cron("0 */12 * * *", "Pacific/Kwajalein"), "Pacific/Kwajalein", 1969, 9, 30, n=3) == [
            "30 12:00 +1100",
            "30 12:00 -1200",
            "01 00:00 -1200",
        ]

    def test_half_an_hour_is_a_change_like_any_other(self) -> None:
        """On Lord Howe Island, 01:59 +11 is followed by 01:30 +10:30; no minute from two on is left out."""
        zone = "Australia/Lord_Howe"

        assert following(Cron("*/10 1,2 * * *", zone), zone, 2026, 4, 5, 1, 25, n=6) == [
            "05 01:30 +1100",
            "05 01:40 +1100",
            "05 01:50 +1100",
            "05 01:30 +1030",
            "05 01:40 +1030",
            "05 01:50 +1030",
        ]
        assert following(Cron("* 2 * * *", zone), zone, 2026, 4, 5, 1, 25, n=1) == ["05 02:00 +1030"]


@pytest.mark.parametrize(
    ("zone", "first", "hours"),
    [("Europe/Berlin", (2026, 3, 29), 23), ("Europe/Berlin", (2026, 10, 25), 25), ("Asia/Shanghai", (2026, 3, 29), 24)],
)
def test_a_day_has_the_minutes_it_has(zone: str, first: tuple[int, int, int], hours: int) -> None:
    """23 hours in spring, 25 in autumn, 24 where clocks do not change: counted, first and last."""
    begin = instant(zone, *first)
    end = to_micros(datetime(*first, tzinfo=ZoneInfo(zone)) + timedelta(days=1))

    assert Cron("* * * * *", zone).between(begin - 1, end - 1) == Slots(begin, end - 60 * SECOND, hours * 60)


def test_a_span_excludes_its_start_and_includes_its_end() -> None:
    """Two spans that touch count every slot once."""
    cron, noon = Cron("0 12 * * *"), 12 * 3600 * SECOND

    assert cron.between(noon, noon + DAY) == Slots(noon + DAY, noon + DAY, 1)
    assert cron.between(noon, noon + DAY - 1) is None
    assert cron.between(noon, noon) is None
    assert cron.between(noon, 0) is None


def test_a_month_of_minutes_is_counted_in_no_time() -> None:
    """A leader that comes back after 30 days knows its 43,200 missed slots long before the next one."""
    cron, now = Cron("* * * * *", "Europe/Berlin"), instant("Europe/Berlin", 2026, 4, 10)
    begun = time.process_time()

    slots = cron.between(now - 30 * DAY, now)

    assert slots == Slots(now - 30 * DAY + 60 * SECOND, now, 43_200)
    assert time.process_time() - begun < 1


def test_counting_stops_at_the_limit_and_first_and_last_stay_exact() -> None:
    """Nobody waits for the number of minutes since the epoch, but the newest of them is what is run."""
    cron, now = Cron("* * * * *"), instant("UTC", 2026, 4, 10)

    assert cron.between(0, now + 1) == Slots(60 * SECOND, now, COUNT_LIMIT)


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("0 3 * * *", " 0  03 *\t* * "),
        ("0 0 * * SUN", "0 0 * * 7"),
        ("0 0 * * 0L", "0 0 * * 7L"),
        ("0,30 3 * * *", "*/30 3 * * *"),
        ("0 0 1 jan *", "0 0 1 1 *"),
    ],
)
def test_lines_that_mean_the_same_are_the_same_schedule(line: str, same: str) -> None:
    """A line spelt anew is no new schedule, in a comparison and in a set."""
    assert Cron(line) == Cron(same)
    assert hash(Cron(line)) == hash(Cron(same))


def test_another_line_or_zone_is_another_schedule() -> None:
    """And where clocks change, so is a rhythm that differs from a time of day only then."""
    lines = [Cron("0 3 * * *"), Cron("0 4 * * *"), Cron("0 3 * * 1"), Cron("0 3 * * *", "Europe/Berlin")]

    assert len({*lines}) == len(lines)
    assert Cron("0 0 1 * 1") != Cron("0 0 1 * *")
    assert Cron("0,30 3 * * *", "Europe/Berlin") != Cron("*/30 3 * * *", "Europe/Berlin")


@pytest.mark.parametrize(
    ("line", "value", "remedy"),
    [
        ("61 * * * *", "'61' as minute", "0-59"),
        ("* 24 * * *", "'24' as hour", "0-23"),
        ("0 0 32 * *", "'32' as day of month", "1-31"),
        ("0 0 * FOO *", "'FOO' as month", "JAN-DEC"),
        ("0 0 * * MON#6", "'MON#6' as day of week", "MON#2"),
        ("5-1 * * * *", "'5-1'", "0-59"),
        ("*/0 * * * *", "'*/0'", "steps"),
        ("1,,2 * * * *", "'1,,2'", "lists"),
        ("-1 * * * *", "'-1'", "0-59"),
        ("9" * 5000 + " * * * *", "'9999", "0-59"),
        ("", "''", "five fields"),
        ("* * *", "'* * *'", "five fields"),
        ("* * * * * *", "'* * * * * *'", "every(seconds=...)"),
        ("0 3 * * * backup.sh --all", "backup.sh", "five fields"),
        ("@daily", "'@daily'", "'0 0 * * *'"),
        ("@reboot", "'@reboot'", "five fields"),
        (None, "None", "'0 3 * * *'"),
        (5, "5", "'0 3 * * *'"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_line_that_cannot_be_read_is_refused_field_by_field(line: Any, value: str, remedy: str) -> None:
    """The error names the field, what stood in it, and what it takes."""
    with pytest.raises(DeclarationError) as refused:
        Cron(line)

    assert value in str(refused.value)
    assert remedy in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("line", "zone", "obstacle"),
    [
        ("0 0 30 2 *", "UTC", "no date fits"),
        ("0 0 31 2,4,6 *", "Europe/Berlin", "no date fits"),
        ("0 0 */31 * 1#5", "UTC", "no date fits"),
        ("* 2 * 3 0L", "Europe/Berlin", "always skip its hour"),
    ],
)
def test_a_line_that_never_comes_due_is_refused_at_once(line: str, zone: str, obstacle: str) -> None:
    """30 February, a fifth Monday on the first, an hour that is skipped every year: said at declaration, quickly."""
    begun = time.process_time()

    with pytest.raises(DeclarationError, match="never comes due") as refused:
        Cron(line, zone)

    assert repr(line) in str(refused.value)
    assert obstacle in str(refused.value)
    assert time.process_time() - begun < 1


def test_a_day_of_week_saves_a_day_of_month_that_never_comes() -> None:
    """Both fields restricted, either may match: on every version of the parser, each Monday in February."""
    assert Cron("0 0 30 2 MON").next_after(instant("UTC", 2026, 1, 1)) == instant("UTC", 2026, 2, 2)


def test_an_unknown_zone_is_refused_with_the_likely_one() -> None:
    """At declaration, not at the first slot."""
    with pytest.raises(DeclarationError, match="did you mean 'Asia/Shanghai'"):
        Cron("0 3 * * *", "Asia/Shangai")


def test_where_the_calendar_ends_so_do_the_slots() -> None:
    """An answer at the edges of what a date can say is None, not an OverflowError."""
    cron = Cron("0 0 * * *", "Asia/Shanghai")
    end, begin = instant("UTC", 9999, 12, 31), instant("UTC", 1, 1, 1)

    assert cron.next_after(end) is None
    assert cron.latest(begin) is None
    assert cron.next_after(10**30) is None
    assert cron.latest(-(10**30)) is None

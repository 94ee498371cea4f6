"""What holds for every schedule, every instant and every change of the clocks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import strategies as st

from onduty.clock import SECOND, to_datetime, to_micros
from onduty.errors import DeclarationError
from onduty.schedules import Schedule
from onduty.schedules.cron import Cron
from onduty.schedules.interval import Interval, interval
from onduty.schedules.once import At

MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
YEAR_2000, YEAR_2040 = 946_684_800 * SECOND, 2_208_988_800 * SECOND

# Changes of the clocks that are hard in some way: either direction, half an hour, at or across midnight, a whole day.
CHANGES = {
    "Europe/Berlin": ["2026-03-29T01", "2026-10-25T01"],
    "America/New_York": ["2026-03-08T07", "2026-11-01T06"],
    "Australia/Lord_Howe": ["2026-04-04T15", "2026-10-03T15:30"],
    "America/Nuuk": ["2024-03-31T01", "2024-10-27T01"],
    "America/Sao_Paulo": ["2017-10-15T03", "2018-02-18T02"],
    "America/St_Johns": ["2010-03-14T03:31", "2010-11-07T02:31"],
    "Pacific/Apia": ["2011-12-30T10", "2011-09-24T14"],
    "Pacific/Kwajalein": ["1969-09-30T13", "1993-08-21T12"],
    "Africa/Casablanca": ["2026-02-15T02", "2026-03-22T02"],
    "Asia/Beirut": ["2026-03-28T22", "2026-10-24T21"],
    "Asia/Kathmandu": ["1985-12-31T18:30"],
    "Asia/Shanghai": ["2026-03-29T01"],
    "UTC": ["2026-03-29T01"],
}


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, int]:
    """A zone, and the beginning of a day, on a minute, in which its clocks change, or nearly."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = datetime.fromisoformat(_padded(draw(st.sampled_from(CHANGES[zone])))).replace(tzinfo=timezone.utc)
    return zone, to_micros(change) + draw(st.integers(-1560, 120)) * MINUTE


def _padded(hour: str) -> str:
    return hour if ":" in hour else f"{hour}:00"


@st.composite
def times(draw: st.DrawFn) -> tuple[str, str, set[int], set[int]]:
    """The first two fields of a line, and the minutes and hours they mean, told apart from how they are written."""

    def one(highest: int) -> tuple[str, set[int]]:
        step = draw(st.integers(1, highest))
        some = draw(st.sets(st.integers(0, highest), min_size=1, max_size=4))
        return draw(
            st.sampled_from(
                [
                    ("*", set(range(highest + 1))),
                    (f"*/{step}", set(range(0, highest + 1, step))),
                    (",".join(map(str, sorted(some))), some),
                    (f"{min(some)}-{max(some)}", set(range(min(some), max(some) + 1))),
                    (f"0-{highest}", set(range(highest + 1))),
                ]
            )
        )

    (minute, minutes), (hour, hours) = one(59), one(23)
    return minute, hour, minutes, hours


@st.composite
def crons(draw: st.DrawFn) -> Cron:
    minute, hour, _, _ = draw(times())
    day = draw(st.sampled_from(["*", "*/2", "1", "13,31", "L", "LW", "10-20"]))
    month = draw(st.sampled_from(["*", "*", "2", "MAR,OCT", "*/3"]))
    weekday = draw(st.sampled_from(["*", "*", "1", "SAT,SUN", "5L", "2#1"]))
    try:
        return Cron(f"{minute} {hour} {day} {month} {weekday}", draw(st.sampled_from(sorted(CHANGES))))
    except DeclarationError:
        assume(False)
        raise


instants = st.integers(YEAR_2000, YEAR_2040)
intervals = st.builds(Interval, st.integers(1_000, 400 * DAY), st.integers(-DAY, DAY))
ats = st.builds(lambda micros: At(to_datetime(micros)), instants)
schedules: st.SearchStrategy[Schedule] = st.one_of(intervals, crons(), ats)


@given(schedules, instants)
def test_now_lies_between_the_latest_slot_and_the_next(schedule: Schedule, now: int) -> None:
    """``latest(t) <= t < next_after(t)``, and there is nothing between the two."""
    latest, following = schedule.latest(now), schedule.next_after(now)

    assert latest is None or latest <= now
    assert following is None or following > now
    if latest is not None:
        assert schedule.latest(latest) == latest
        assert schedule.next_after(latest) == following
        assert schedule.next_after(latest - 1) == latest
    if following is not None:
        assert schedule.latest(following) == following
        assert schedule.latest(following - 1) == latest


@given(schedules, instants, st.integers(1, 40))
def test_a_span_is_what_stepping_through_it_finds(schedule: Schedule, after: int, steps: int) -> None:
    """``between`` agrees in first, last and count with asking for the next slot again and again."""
    slots, last = [], after
    while len(slots) < steps and (slot := schedule.next_after(last)) is not None:
        assert slot > last
        slots.append(slot)
        last = slot

    found = schedule.between(after, last)

    assert (found and (found.first, found.last, found.count)) == ((slots[0], last, len(slots)) if slots else None)
    assert schedule.between(last, last) is None


@given(schedules, instants, st.integers(0, 90 * DAY), st.integers(0, 90 * DAY))
def test_spans_that_touch_add_up(schedule: Schedule, start: int, one: int, other: int) -> None:
    """No slot is lost or counted twice where two leaders divide the time between them, however they divide it."""
    assume(not isinstance(schedule, Cron) or one + other < 60 * DAY)
    middle, end = start + one, start + one + other
    parts = [schedule.between(start, middle), schedule.between(middle, end)]
    whole = schedule.between(start, end)

    assert sum(part.count for part in parts if part) == (whole.count if whole else 0)
    assert (whole and whole.first) == next((part.first for part in parts if part), None)
    assert (whole and whole.last) == next((part.last for part in reversed(parts) if part), None)


@given(st.integers(1_000, 400 * DAY), st.integers(-(10**15), 10**15), st.integers(-(10**17), 10**17))
def test_every_slot_of_an_interval_is_on_its_grid(every: int, offset: int, now: int) -> None:
    """Whole multiples since the epoch plus the offset, exact at any distance."""
    schedule = Interval(every, offset)

    assert (schedule.next_after(now) - offset) % every == 0
    assert (schedule.latest(now) - offset) % every == 0
    assert schedule.next_after(now) - schedule.latest(now) == every


@given(st.integers(1_000, 10**15))
def test_a_float_of_whole_microseconds_is_taken_exactly(micros: int) -> None:
    """As long as a float can tell microseconds apart, what it prints is what is meant."""
    assert interval(seconds=micros / SECOND).every_us == micros


@given(st.integers(1_000, 400 * DAY), st.integers(-5, 5), st.integers(0, DAY))
def test_intervals_with_one_grid_are_one_schedule(every: int, turns: int, offset: int) -> None:
    """Equal, and equally hashed, when they give the same slots."""
    one, other = Interval(every, offset), Interval(every, offset + turns * every)

    assert one == other
    assert hash(one) == hash(other)


@given(crons())
def test_a_line_read_twice_is_one_schedule(cron: Cron) -> None:
    """Equal, and equally hashed, from another object of the same words."""
    again = Cron(cron.line.lower(), cron.zone)

    assert again == cron
    assert hash(again) == hash(cron)


@given(changes(), times())
def test_slots_near_a_change_of_the_clocks_are_those_of_the_rule(
    change: tuple[str, int], time: tuple[str, str, set[int], set[int]]
) -> None:
    """A rhythm comes due at every minute the wall shows that fits; a time of day once, at the change if it is skipped.

    Told here minute by minute, without any arithmetic of offsets.
    """
    (zone, start), (minute, hour, minutes, hours) = change, time
    cron, end = Cron(f"{minute} {hour} * * *", zone), start + DAY

    def fits(wall: datetime) -> bool:
        return wall.minute in minutes and wall.hour in hours

    if minute.startswith("*") or hour.startswith("*"):
        walls = [to_datetime(slot, cron.zone) for slot in range(start, end, MINUTE)]
        expected = {to_micros(wall) for wall in walls if fits(wall)}
    else:
        expected = _due_once(cron.zone, start, fits)

    slots, last = [], start - 1
    while (slot := cron.next_after(last)) is not None and slot < end:
        slots.append(slot)
        last = slot
    assert slots == sorted(slot for slot in expected if start <= slot < end)
    found = cron.between(start - 1, end - 1)
    assert (found.count if found else 0) == len(slots)
    assert cron.latest(end - 1) == (slots[-1] if slots else cron.latest(start - 1))


def _due_once(zone: tzinfo, start: int, fits: Callable[[datetime], bool]) -> set[int]:
    """Each wall time of the days around, once: as itself, or as the first minute that the wall shows after it."""
    due, was_skipped = set(), False
    # From so long before that the skipped day of Samoa lies within, to some hours after the end.
    wall = to_datetime(start, zone).replace(tzinfo=None, fold=0) - timedelta(hours=26)
    for _ in range((26 + 24 + 26) * 60):
        if was_skipped or fits(wall):
            here = wall.replace(tzinfo=zone).astimezone(timezone.utc)
            was_skipped = here.astimezone(zone).replace(tzinfo=None) != wall
            if not was_skipped:
                due.add(to_micros(here))
        wall += timedelta(minutes=1)
    return due


@given(crons(), instants)
def test_where_clocks_never_change_the_parsers_own_walk_agrees(cron: Cron, now: int) -> None:
    """In UTC both walks, forward and back, find the same slots."""
    here = Cron(cron.line)
    start = to_datetime(now - now % SECOND)
    forward, back = CronSim(cron.line, start), CronSim(cron.line, start, reverse=True)
    last, first = to_micros(start), to_micros(start) - 1

    for _ in range(5):
        slot, before = here.next_after(last), here.latest(first)
        assert slot == to_micros(next(forward))
        assert before == to_micros(next(back))
        assert slot is not None
        assert before is not None
        last, first = slot, before - 1


@given(instants, st.sampled_from(sorted(CHANGES)))
def test_an_instant_is_one_schedule_in_every_zone(micros: int, zone: str) -> None:
    """``at`` compares by what it gives."""
    here, there = At(to_datetime(micros)), At(to_datetime(micros, ZoneInfo(zone)))

    assert here == there
    assert hash(here) == hash(there)
    assert there.instant == micros

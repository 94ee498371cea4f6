"""What is due, what was missed, what comes next."""

from __future__ import annotations

import pytest

from onduty._runtime.agenda import ALL_AT_MOST, Agenda, Opened, delay
from onduty.clock import SECOND
from onduty.journal import Mark
from onduty.options import Options
from onduty.schedules import Slots
from onduty.schedules.cron import Cron
from onduty.schedules.interval import Interval
from onduty.schedules.once import At

NOW = 1_800_000_000 * SECOND
TEN = Interval(10 * SECOND)


def opened(schedule: object, mark: int | None, began: int = NOW, lost_until: int = 0, **options: object) -> Agenda:
    agenda = Agenda()
    known = None if mark is None else Mark(mark, str(schedule))
    agenda.add("task", schedule, Options(**options), known, began, lost_until)  # type: ignore[arg-type]
    return agenda


def test_a_task_never_seen_runs_its_current_slot_at_once_then_on_its_grid() -> None:
    """An interval's first run does not wait for the grid."""
    agenda = opened(TEN, None, NOW + 3)

    (due,) = agenda.due(NOW + 3)

    assert (due.run, due.passed) == ((NOW,), None)
    assert agenda.next_at() == NOW + 10 * SECOND


def test_a_task_never_seen_has_missed_nothing() -> None:
    """Its current slot is run, also where missed slots are skipped."""
    (due,) = opened(TEN, None, NOW + 3, missed="skip").due(NOW + 3)

    assert (due.run, due.passed) == ((NOW,), None)


def test_a_cron_never_seen_waits_and_asks_to_be_remembered() -> None:
    """Its mark is written at once, so that a slot due while the leader changes is not forgotten."""
    agenda = Agenda()

    opened = agenda.add("task", Cron("* * * * *"), Options(), None, NOW + 1)

    assert opened == Opened(seen=NOW + 1)
    assert agenda.due(NOW + 1) == []


def test_a_slot_on_time_is_run_and_nothing_is_missed() -> None:
    """One slot, one run."""
    agenda = opened(TEN, NOW)

    assert agenda.due(NOW + 9 * SECOND) == []
    (due,) = agenda.due(NOW + 10 * SECOND)

    assert (due.run, due.passed, due.stands_for) == ((NOW + 10 * SECOND,), None, None)
    assert agenda.due(NOW + 10 * SECOND) == []


def test_of_missed_slots_the_latest_runs_once_and_stands_for_the_others() -> None:
    """The default; the others are one range."""
    agenda = opened(TEN, NOW - 50 * SECOND)

    (due,) = agenda.due(NOW + 1)

    others = Slots(NOW - 40 * SECOND, NOW - 10 * SECOND, 4)
    assert (due.run, due.passed, due.stands_for) == ((NOW,), others, others)


def test_missed_slots_can_all_be_run_in_order() -> None:
    """Oldest first."""
    (due,) = opened(TEN, NOW - 30 * SECOND, missed="all").due(NOW + 1)

    assert due.run == (NOW - 20 * SECOND, NOW - 10 * SECOND, NOW)
    assert due.passed is None


def test_of_too_many_missed_slots_the_newest_hundred_run() -> None:
    """The rest is one range, so a month of an interval of a tenth of a second is no flood."""
    (due,) = opened(Interval(SECOND // 10), NOW - 1000 * SECOND, missed="all").due(NOW)

    assert len(due.run) == ALL_AT_MOST
    assert due.run[-1] == NOW
    assert due.passed is not None
    assert due.passed.count == 10_000 - ALL_AT_MOST
    assert due.passed.last < due.run[0]


def test_missed_slots_can_be_skipped_but_one_due_in_this_term_runs() -> None:
    """Skipping is about what was due while nobody was on duty."""
    agenda = opened(TEN, NOW - 30 * SECOND, began=NOW + 1, missed="skip")

    (late,) = agenda.due(NOW + 1)
    (due,) = agenda.due(NOW + 10 * SECOND)

    assert late.run == ()
    assert late.passed == Slots(NOW - 20 * SECOND, NOW, 3)
    assert due.run == (NOW + 10 * SECOND,)


def test_slots_older_than_the_window_are_only_recorded() -> None:
    """Yesterday's report is not wanted tomorrow."""
    hourly = Interval(3600 * SECOND)

    (due,) = opened(hourly, NOW - 30 * 3600 * SECOND, missed="once", missed_window=60).due(NOW + 120 * SECOND)

    assert due.run == ()
    assert due.passed is not None
    assert due.passed.count == 30


def test_a_leader_that_was_held_up_runs_the_latest_slot() -> None:
    """Late by several slots within its own term, it does not hurry through all of them."""
    agenda = opened(TEN, NOW)

    (due,) = agenda.due(NOW + 35 * SECOND)

    assert due.run == (NOW + 30 * SECOND,)
    assert due.passed == Slots(NOW + 10 * SECOND, NOW + 20 * SECOND, 2)


def test_an_instant_that_was_missed_runs_and_is_over() -> None:
    """A schedule may have no next slot."""
    from onduty.clock import to_datetime

    agenda = opened(At(to_datetime(NOW - 5 * SECOND)), NOW - 60 * SECOND)

    (due,) = agenda.due(NOW)

    assert due.run == (NOW - 5 * SECOND,)
    assert agenda.next_at() is None


def test_jitter_delays_the_start_and_not_the_slot() -> None:
    """The same delay in every process, less than what was asked for."""
    agenda = opened(TEN, NOW, jitter=5)
    slot = NOW + 10 * SECOND
    late = delay("task", slot, 5 * SECOND)

    assert 0 <= late < 5 * SECOND
    assert agenda.next_at() == slot + late
    assert agenda.due(slot + late - 1) == []
    assert agenda.due(slot + late)[0].run == (slot,)


@pytest.mark.parametrize("missed", ["once", "all", "skip"])
def test_every_slot_is_run_or_passed_and_none_twice(missed: str) -> None:
    """Whatever the looks at the clock, the agenda accounts for each slot once."""
    agenda = opened(Interval(SECOND), NOW - 10 * SECOND, missed=missed)
    run: list[int] = []
    passed = 0

    for at in (0, 1, 1.5, 2, 7, 7.2, 8, 30):
        for due in agenda.due(NOW + round(at * SECOND)):
            run.extend(due.run)
            passed += due.passed.count if due.passed else 0

    assert len(run) == len(set(run))
    assert len(run) + passed == 10 + 30


def test_a_slot_alone_is_given_a_moment_early_and_not_again() -> None:
    """With the instant before which it must not begin, jitter included."""
    agenda = opened(TEN, NOW)
    slot = NOW + 10 * SECOND
    early = slot - 2_000

    assert agenda.soon(early - 1, slot - 1, 64, lambda name: True) == []
    (due,) = agenda.soon(early, slot, 64, lambda name: True)

    assert (due.run, due.at) == ((slot,), slot)
    assert agenda.soon(early, slot, 64, lambda name: True) == []
    assert agenda.due(slot) == []
    assert agenda.next_at() == slot + 10 * SECOND


@pytest.mark.parametrize(
    ("schedule", "mark", "may"),
    [(Interval(1_000), NOW - 500, True), (TEN, NOW - 20 * SECOND, True), (TEN, NOW - 10 * SECOND + 1, False)],
    ids=["another close behind", "late already", "its task is busy"],
)
def test_a_slot_that_is_not_alone_waits_for_its_instant(schedule: Interval, mark: int, may: bool) -> None:
    """What becomes of it depends on what is due, and what still runs, by then."""
    agenda = opened(schedule, mark, NOW - 500)
    before = agenda.next_at()

    assert agenda.soon(NOW - 1, NOW + 2_000, 64, lambda name: may) == []
    assert agenda.next_at() == before


def test_a_task_that_is_known_as_it_is_has_nothing_written_down() -> None:
    """Ten thousand of them are put on the agenda at each start of a term."""
    assert Agenda().add("task", TEN, Options(), Mark(NOW, str(TEN)), NOW + 1) == Opened()


def test_a_changed_schedule_catches_up_only_from_now_on() -> None:
    """What the new one would have been due for before was never promised to anybody."""
    agenda = Agenda()

    opened = agenda.add("task", TEN, Options(), Mark(NOW - 3600 * SECOND, "every 60 s"), NOW + 1)

    assert opened == Opened(seen=NOW + 1)
    assert agenda.due(NOW + 9 * SECOND) == []
    (due,) = agenda.due(NOW + 10 * SECOND)
    assert (due.run, due.passed) == ((NOW + 10 * SECOND,), None)


@pytest.mark.parametrize(
    ("schedule", "ahead", "goes_on"),
    [
        (TEN, 59, False),
        (TEN, 61, True),
        (Interval(600 * SECOND), 599, False),
        (Interval(600 * SECOND), 601, True),
        (Cron("* * * * *"), 24 * 3600, False),
        (Cron("* * * * *"), 26 * 3600, True),
    ],
)
def test_a_clock_that_was_set_back_far_silences_nobody(schedule: Interval, ahead: int, goes_on: bool) -> None:
    """A small step back only delays; where the mark is out of reach, a new era begins. Seen at the start of a term."""
    agenda = Agenda()

    opened = agenda.add("task", schedule, Options(), Mark(NOW + ahead * SECOND, str(schedule)), NOW)

    assert opened == (Opened(era=NOW) if goes_on else Opened())
    slot = agenda.next_slot("task")
    assert slot is not None
    assert (slot <= NOW + 600 * SECOND) is goes_on or slot > NOW + ahead * SECOND


def test_a_clock_that_is_set_back_during_a_term_is_noticed() -> None:
    """The tasks whose mark is out of reach go on from the new present, and each is told of once."""
    agenda = opened(TEN, NOW)
    assert agenda.set_back(NOW + 3600 * SECOND) == []
    agenda.due(NOW + 3600 * SECOND)
    assert agenda.set_back(NOW + 3599 * SECOND) == [], "less than a minute: what was decided stays decided"

    assert agenda.set_back(NOW + 5) == ["task"]
    assert agenda.set_back(NOW + 6) == []

    assert agenda.due(NOW + 9 * SECOND) == []
    (due,) = agenda.due(NOW + 10 * SECOND)
    assert (due.run, due.passed) == ((NOW + 10 * SECOND,), None)


@pytest.mark.parametrize("at_the_start", [True, False])
def test_a_clock_that_is_set_right_again_repeats_nothing(at_the_start: bool) -> None:
    """What was decided before it was set back is not due once more, as missed or late; what came since is."""
    agenda = opened(TEN, NOW + 7200 * SECOND, NOW if at_the_start else NOW + 7200 * SECOND)
    if not at_the_start:
        assert agenda.set_back(NOW + 7200 * SECOND) == []
        assert agenda.set_back(NOW) == ["task"]
    assert [due.run for due in agenda.due(NOW + 10 * SECOND)] == [(NOW + 10 * SECOND,)], "it is not silent meanwhile"

    right_again, late = agenda.due(NOW + 7220 * SECOND)

    assert (right_again.decided, right_again.run, right_again.passed) == (NOW + 7200 * SECOND, (), None)
    assert (late.run, late.passed) == ((NOW + 7220 * SECOND,), Slots(NOW + 7210 * SECOND, NOW + 7210 * SECOND, 1))
    mark = agenda.remove("task")
    assert mark is not None
    assert mark.slot == NOW + 7220 * SECOND


def test_where_a_task_was_before_its_clock_was_set_back_outlives_a_term() -> None:
    """The next leader reads it with the mark."""
    agenda = Agenda()
    agenda.add("task", TEN, Options(), Mark(NOW, str(TEN), NOW + 100 * SECOND), NOW + 1)

    right_again, due = agenda.due(NOW + 110 * SECOND)

    assert right_again.decided == NOW + 100 * SECOND
    assert due.run == (NOW + 110 * SECOND,)


def test_slots_that_may_have_run_without_a_row_are_lost_and_not_run() -> None:
    """Up to the instant that the leader before had reserved; later ones are missed like any other."""
    agenda = opened(TEN, NOW - 60 * SECOND, NOW + 1, lost_until=NOW - 25 * SECOND)

    lost, late = agenda.due(NOW + 1)

    assert (lost.run, lost.lost) == ((), Slots(NOW - 50 * SECOND, NOW - 30 * SECOND, 3))
    assert (late.run, late.passed) == ((NOW,), Slots(NOW - 20 * SECOND, NOW - 10 * SECOND, 2))


def test_a_task_taken_off_is_due_no_more_and_says_how_far_it_came() -> None:
    """As it is paused, or its dynamic schedule is gone; it can be put on again."""
    agenda = opened(TEN, NOW)
    agenda.due(NOW + 10 * SECOND)

    assert agenda.remove("task") == Mark(NOW + 10 * SECOND, str(TEN))
    assert agenda.remove("task") is None
    assert agenda.due(NOW + 100 * SECOND) == []

    agenda.add("task", TEN, Options(), Mark(NOW + 100 * SECOND, str(TEN)), NOW + 100 * SECOND)
    assert [due.run for due in agenda.due(NOW + 110 * SECOND)] == [(NOW + 110 * SECOND,)]

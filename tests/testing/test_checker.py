"""The checker of runs is checked: every planted hole, double and overlap is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onduty import Context, OnDuty, Outcome
from onduty.clock import SECOND, to_datetime
from onduty.journal import RunRecord
from onduty.options import Options
from onduty.process import this_process
from onduty.schedules import Schedule, Slots
from onduty.schedules.cron import Cron
from onduty.schedules.interval import Interval
from onduty.testing import ManualClock, Ran, check_facts, check_runs, use

ME = this_process()
START = 1_767_225_600 * SECOND
PASSED = (Outcome.SKIPPED, Outcome.MISSED, Outcome.LOST)
RAN = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.STOPPED)


def row(run_id: str, slot: int | None, outcome: Outcome | None = Outcome.SUCCEEDED, **more: Any) -> RunRecord:
    """One run that began on its slot and took a millisecond, unless told otherwise."""
    began = more.pop("started_at", None if outcome in PASSED[:2] else slot)
    said = {
        "first_slot": slot,
        "slots": 1,
        "attempt": 0 if began is None else 1,
        "ended_at": None if outcome is None else (slot or START) + 1000,
        "task": "tick",
        "created_at": slot or START,
        **more,
    }
    return RunRecord(
        run_id=run_id,
        slot=slot,
        term=1,
        process=ME,
        started_at=began,
        outcome=outcome,
        kwargs="{}",
        result=None,
        error=None,
        **said,
    )


SCHEDULES: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(Interval, st.integers(5_000, 3600 * SECOND), st.integers(0, 3600 * SECOND)),
    st.sampled_from([Cron("*/7 * * * *"), Cron("30 2 * * *", "Europe/Berlin"), Cron("0 9 * * 1-5", "Asia/Shanghai")]),
)


@dataclass
class History:
    """A schedule, ``slots`` of it one after the other, and one row for each or for a range of them."""

    schedule: Schedule
    slots: list[int]
    rows: list[RunRecord]

    def covered(self, one: RunRecord) -> list[int]:
        assert one.first_slot is not None
        assert one.slot is not None
        return [slot for slot in self.slots if one.first_slot <= slot <= one.slot]

    def check(self, rows: Sequence[RunRecord], **more: Any) -> Any:
        return check_runs(rows, self.schedule, since=self.slots[0], until=self.slots[-1], **more)


@st.composite
def histories(draw: st.DrawFn) -> History:
    schedule = draw(SCHEDULES)
    slots: list[int] = []
    at = START + draw(st.integers(0, 400 * 86_400)) * SECOND
    for _ in range(draw(st.integers(1, 30))):
        slot = schedule.next_after(at)
        assert slot is not None
        slots.append(slot)
        at = slot
    rows, left = [], list(slots)
    while left:
        count = draw(st.integers(1, min(4, len(left)))) if draw(st.booleans()) else 1
        taken, left = left[:count], left[count:]
        outcome = draw(st.sampled_from(PASSED if count > 1 else PASSED + RAN))
        more = {"first_slot": taken[0], "slots": count, "started_at": None} if outcome in PASSED else {}
        rows.append(row(f"r{len(rows)}", taken[-1], outcome, **more))
    return History(schedule, slots, draw(st.permutations(rows)))


def spelt(found: Sequence[Slots], slots: list[int]) -> list[int]:
    return [slot for one in found for slot in slots if one.first <= slot <= one.last]


@given(histories())
def test_a_whole_history_is_all_right(history: History) -> None:
    """Whatever the schedule, in whatever order the rows come."""
    report = history.check(history.rows)

    assert report.ok, str(report)
    assert report.due == len(history.slots)
    assert str(report) == f"tick: {len(history.slots)} slots, all accounted for"


@given(histories(), st.data())
def test_every_hole_is_found_and_no_other(history: History, data: st.DataObject) -> None:
    """Any rows are taken out; exactly their slots are missing, and nothing is wrong with the rest."""
    gone = data.draw(st.sets(st.sampled_from([one.run_id for one in history.rows])))

    report = history.check([one for one in history.rows if one.run_id not in gone])

    expected = sorted(slot for one in history.rows if one.run_id in gone for slot in history.covered(one))
    assert spelt(report.missing, history.slots) == expected
    assert sum(one.count for one in report.missing) == len(expected)
    assert (report.doubled, report.overlapping, report.unfit) == ((), (), ())


@given(histories(), st.data())
def test_every_double_is_found_and_no_other(history: History, data: st.DataObject) -> None:
    """Any slots get a second row."""
    twice = data.draw(st.sets(st.sampled_from(history.slots)))
    more = [row(f"again {slot}", slot, Outcome.MISSED) for slot in twice]

    report = history.check(data.draw(st.permutations([*history.rows, *more])))

    assert spelt([one.slots for one in report.doubled], history.slots) == sorted(twice)
    assert all(any(name.startswith("again") for name in one.by) for one in report.doubled)
    assert (report.missing, report.overlapping, report.unfit) == ((), (), ())


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=30))
def test_every_overlap_is_found_and_no_other(concurrency: int, runs: list[tuple[int, int]]) -> None:
    """By counting, at each beginning, what is in progress."""
    rows = [
        row(f"r{number}", None, started_at=START + began, ended_at=START + began + lasts)
        for number, (began, lasts) in enumerate(sorted(runs))
    ]

    report = check_runs(rows, None, options=Options(concurrency=concurrency))

    expected = []
    for number, (began, _) in enumerate(sorted(runs)):
        open_ones = [one for one in sorted(runs)[:number] if sum(one) > began]
        if len(open_ones) + 1 > concurrency:
            expected.append((START + began, len(open_ones) + 1))
    assert [(one.at, len(one.by)) for one in report.overlapping] == expected


@given(histories(), st.data())
def test_from_outside_every_hole_and_double_is_found_too(history: History, data: st.DataObject) -> None:
    """Of facts that the runs wrote themselves, with their slot or only with the instant at which they began."""
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(history.slots), max_size=len(history.slots)))
    named = data.draw(st.booleans())
    facts = [
        Ran("tick", slot if named else None, slot, slot, pid)
        for slot, count in zip(history.slots, times, strict=True)
        for pid in range(count)
    ]

    report = check_facts(facts, history.schedule, since=history.slots[0], until=history.slots[-1])

    assert spelt(report.missing, history.slots) == [slot for slot, n in zip(history.slots, times, strict=True) if not n]
    assert [one.slots.first for one in report.doubled] == [
        slot for slot, n in zip(history.slots, times, strict=True) if n > 1
    ]
    assert report.unfit == ()


@given(histories(), st.data())
def test_facts_and_rows_must_agree(history: History, data: st.DataObject) -> None:
    """A slot may be excused by its row; what ran without one, and what is said to have run and did not, is named."""
    ran = [one.slot for one in history.rows if one.outcome in RAN and one.slot is not None]
    facts = [Ran("tick", slot) for slot in ran]
    span = {"since": history.slots[0], "until": history.slots[-1]}
    assert check_facts(facts, history.schedule, rows=history.rows, **span).ok

    forgotten = data.draw(st.sets(st.sampled_from(ran))) if ran else set()
    unwritten = [one for one in history.rows if one.slot not in forgotten]
    unseen = [fact for fact in facts if fact.slot not in forgotten]

    assert len(check_facts(facts, history.schedule, rows=unwritten, **span).unfit) == len(forgotten)
    report = check_facts(unseen, history.schedule, rows=history.rows, **span)
    succeeded = {one.slot for one in history.rows if one.outcome is Outcome.SUCCEEDED}
    assert spelt(report.missing, history.slots) == sorted(forgotten & succeeded)
    assert len(report.unfit) == len(forgotten & succeeded)


GRID = Interval(10 * SECOND)
SLOT = START + 10 * SECOND


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (row("r", SLOT + 1), "is no slot of every 10 s"),
        (row("r", SLOT, Outcome.MISSED, first_slot=START, slots=3), "there are 2"),
        (row("r", SLOT, first_slot=START, slots=2), "2 slots in one row are succeeded"),
        (row("r", SLOT, started_at=None), "it is succeeded and never began"),
        (row("r", SLOT, Outcome.MISSED)._replace(started_at=SLOT), "it began and is missed"),
        (row("r", SLOT, ended_at=SLOT - 1), "it ended before it began"),
        (row("r", SLOT, started_at=SLOT - SECOND), "began 1 s before its time"),
        (row("r", SLOT, started_at=SLOT + 9 * SECOND, ended_at=SLOT + 9 * SECOND), "began 9 s late"),
        (row("r", SLOT, None), "it has no outcome"),
        (row("r", SLOT, Outcome.TIMED_OUT), "the task has no timeout"),
        (row("r", SLOT, attempt=2), "it was tried 2 times"),
    ],
)
def test_what_can_not_be_so_is_named(wrong: RunRecord, said: str) -> None:
    """One objection each, in words."""
    report = check_runs([wrong], GRID, options=Options(), within=5)

    (objection,) = report.unfit
    assert objection.startswith("r: ")
    assert said in objection
    assert said in str(report)


def test_what_options_allow_is_no_fault() -> None:
    """Retries, time-outs, jitter, replaced runs; and what is still in progress, if the test says so."""
    options = Options(retries=1, timeout=1, jitter=5, overlap="cancel")
    rows = [
        row("a", SLOT, Outcome.TIMED_OUT, attempt=2, started_at=SLOT + 5 * SECOND, ended_at=SLOT + 6 * SECOND),
        row("b", SLOT + 10 * SECOND, Outcome.SKIPPED)._replace(started_at=SLOT + 16 * SECOND),
        row("c", SLOT + 20 * SECOND, None, started_at=SLOT + 25 * SECOND),
    ]

    report = check_runs(rows, GRID, options=options, settled=False)

    assert report.unfit == ("b: it ended before it began",)
    assert check_facts([Ran("tick", SLOT)] * 2, GRID, options=options).ok


def test_a_run_without_an_end_goes_on_and_a_lost_one_is_not_blamed() -> None:
    """The next one overlaps with the former, not with the latter."""
    unended, lost = row("a", START, None), row("a", START, Outcome.LOST, ended_at=SLOT + 5)

    assert check_runs([unended, row("b", SLOT)], GRID, settled=False).overlapping[0].by == ("a", "b")
    assert check_runs([lost, row("b", SLOT)], GRID).ok


def test_holes_at_the_ends_are_found_if_the_span_is_told() -> None:
    """As instants or as microseconds; without one the span is that of the rows."""
    rows = [row("a", SLOT)]

    assert check_runs(rows, GRID).ok
    report = check_runs(rows, GRID, since=to_datetime(START), until=SLOT + 25 * SECOND)
    assert [one.count for one in report.missing] == [1, 2]
    assert [one.count for one in check_runs([], GRID, since=START, until=SLOT).missing] == [2]
    assert check_runs([], GRID).ok


def test_rows_of_several_tasks_need_the_task() -> None:
    """Else one's holes would be filled by another's rows."""
    duty = OnDuty()

    @duty.every(seconds=10)
    def tick() -> None: ...

    rows = [row("a", START), row("b", SLOT, task="tock"), row("c", SLOT + 10 * SECOND)]

    with pytest.raises(ValueError, match="several tasks, tick and tock"):
        check_runs(rows, GRID)
    assert check_runs(rows, tick).missing == (Slots(SLOT, SLOT, 1),)
    with pytest.raises(ValueError, match="neither its slot nor when it began"):
        check_facts([Ran("tick", None)], tick)


def test_many_findings_are_told_in_few_lines() -> None:
    """Twenty of a kind."""
    rows = [row(f"{n}", START + n * 20 * SECOND) for n in range(100)]

    lines = str(check_runs(rows, GRID)).splitlines()

    assert lines[0] == "tick: 199 slots, 99 of them missing"
    assert lines[1] == "  missing: 2026-01-01T00:00:10+00:00"
    assert (len(lines), lines[-1]) == (22, "  missing: and 79 more")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(1, 200)),
        st.tuples(st.just("leap"), st.integers(1, 200)),
        st.tuples(st.just("miss"), st.integers(1, 5)),
        st.tuples(st.just("lose"), st.just(0)),
        st.tuples(st.just("fail"), st.integers(1, 60)),
        st.tuples(st.just("pause"), st.integers(1, 60)),
    ),
    max_size=12,
)


@given(
    STEPS,
    st.sampled_from(["once", "all", "skip"]),
    st.sampled_from(["skip", "queue", "cancel"]),
    st.integers(0, 25),
    st.integers(0, 2),
    st.integers(1, 2),
)
def test_what_the_engine_does_is_all_right_whatever_happens(
    steps: list[tuple[str, int]], missed: Any, overlap: Any, seconds: int, retries: int, concurrency: int
) -> None:
    """Every slot is accounted for by rows, and by what the runs say themselves."""
    duty = OnDuty(lambda environ, start_response: [], name="shop")
    facts: list[Ran] = []

    @duty.every(seconds=10, missed=missed, overlap=overlap, retries=retries, concurrency=concurrency)
    def tick(ctx: Context) -> None:
        assert ctx.slot is not None
        began = clock.now()
        ctx.sleep(seconds)
        facts.append(Ran("tick", round(ctx.slot.timestamp()) * SECOND, began, clock.now()))
        if len(facts) % 5 == 4:
            raise OSError("now and then")

    clock = ManualClock(datetime(2026, 1, 1, tzinfo=timezone.utc))
    with use(duty, clock=clock, raising=False) as t:
        for step, much in steps:
            if step == "advance":
                t.advance(seconds=much)
            elif step == "leap":
                clock.advance(much)
            elif step == "miss":
                t.miss(tick, much)
            elif step == "lose":
                t.lose_leadership()
            elif step == "fail":
                with t.fail_journal(full=much % 2 == 0):
                    t.advance(seconds=much)
            else:
                tick.pause()
                t.advance(seconds=much)
                tick.resume()
        t.advance(minutes=2)
        rows = t.runs(tick)
        span = {"since": START + 1, "until": clock.now() - 60 * SECOND}
        report = check_runs(rows, tick, settled=False, **span)  # type: ignore[arg-type]
        outside = check_facts(facts, tick, rows=rows, **span)  # type: ignore[arg-type]

    assert report.ok, str(report)
    assert outside.ok, str(outside)

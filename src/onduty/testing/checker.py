"""Did each slot run once, or stand in a row that says why not? Pure: from rows, or from what runs themselves wrote.

::

    report = check_runs(nightly.runs(limit=1000), nightly)
    assert report.ok, str(report)

Each slot of the schedule opens a window: from its instant, or later by its jitter, to the next one's. Rows name their
slot; what was only seen from outside is matched by the window in which it began. The span is that of what is given,
from the first slot to the last, unless ``since`` and ``until`` say more: then holes at the ends are found too.

Not for a span in which the clock was set back, or of which rows have been pruned. A run whose worker died is taken to
have ended when it began: how long it went on nobody knows, so an overlap with it may be overlooked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from onduty.clock import to_micros
from onduty.journal import Outcome, RunRecord
from onduty.options import Options
from onduty.schedules import Schedule, Slots
from onduty.tasks import Declared
from onduty.testing.report import Doubled, RunReport, shown
from onduty.testing.spans import Span, covered_twice, gaps, overlaps
from onduty.testing.windows import NEVER_RAN, Windows


class Ran(NamedTuple):
    """One execution, as the run itself wrote it down, with instants in microseconds UTC.

    ``slot`` or ``started`` must be known. Without ``ended`` it is taken to have ended when it began.
    """

    task: str
    slot: int | None
    started: int | None = None
    ended: int | None = None
    pid: int = 0


Instant = datetime | int | None


def check_runs(
    rows: Iterable[RunRecord],
    of: Declared | Schedule | None,
    *,
    options: Options | None = None,
    since: Instant = None,
    until: Instant = None,
    key: str = "",
    timezone: str = "UTC",
    within: float | None = None,
    settled: bool = True,
) -> RunReport:
    """Judge a task by its rows in the journal, in any order.

    ``of``: the task or service, which brings its ``options``; or a schedule; or ``None``, if there is none. ``key``: of
    a dynamic schedule. ``timezone``: of a cron line that names none. ``within``: seconds after its window has opened
    by which each run must have begun. ``settled``: nothing is in progress any more, so each row has an outcome.
    """
    windows = Windows(of, options, timezone, within)
    mine = sorted((row for row in rows if row.schedule == key and windows.concerns(row.task)), key=_by_slot)
    unfit = [f"{row.run_id}: {what}" for row in mine for what in windows.objections(row, settled=settled)]
    spans = [Span(row.first_slot, row.slot, row.run_id) for row in mine if row.first_slot is not None]
    schedule = windows.schedule
    first, last = _ends(spans, since, until)
    busy = [
        Span(row.started_at, row.started_at if row.outcome is Outcome.LOST else row.ended_at, row.run_id)
        for row in mine
        if row.started_at is not None
    ]
    return RunReport(
        windows.name,
        _count(schedule, first, last),
        tuple(gaps(schedule, spans, first, last)) if schedule else (),
        tuple(covered_twice(schedule, spans)) if schedule else (),
        tuple(overlaps(busy, windows.concurrency)),
        tuple(unfit),
    )


def check_facts(
    facts: Iterable[Ran],
    of: Declared | Schedule,
    *,
    rows: Iterable[RunRecord] | None = None,
    options: Options | None = None,
    since: Instant = None,
    until: Instant = None,
    timezone: str = "UTC",
    within: float | None = None,
) -> RunReport:
    """Judge a task from outside: by what its runs wrote while they ran, whatever the journal says of it.

    With ``rows`` a slot without a fact may stand there, unless as *succeeded*: who failed, was stopped or has not ended
    may not have come to write one. And the two must agree: what ran has its row, and what is *succeeded* there ran. A
    task with ``retries`` may run a slot once for each attempt.
    """
    windows = Windows(of, options, timezone, within)
    schedule = windows.schedule
    assert schedule is not None, "without a schedule there are no slots to check"
    by_slot: dict[int, list[Ran]] = defaultdict(list)
    unfit: list[str] = []
    for fact in facts:
        if windows.concerns(fact.task):
            slot = windows.slot_of(fact)
            by_slot[slot].append(fact)
            unfit += [f"pid {fact.pid}: {what}" for what in windows.objections_to(fact, slot)]
    spans = [Span(slot, slot, f"pid {ran[0].pid}") for slot, ran in sorted(by_slot.items())]
    first, last = _ends(spans, since, until)
    if rows is not None:
        excused, objections = _compare(
            by_slot, [row for row in rows if not row.schedule and windows.concerns(row.task)]
        )
        spans = sorted([*spans, *excused])
        unfit += objections
    twice = [(slot, ran) for slot, ran in sorted(by_slot.items()) if len(ran) > windows.most_attempts]
    busy = [
        Span(fact.started, fact.started if fact.ended is None else fact.ended, f"pid {fact.pid}")
        for ran in by_slot.values()
        for fact in ran
        if fact.started is not None
    ]
    return RunReport(
        windows.name,
        _count(schedule, first, last),
        tuple(gaps(schedule, spans, first, last)),
        tuple(Doubled(Slots(slot, slot, 1), tuple(f"pid {fact.pid}" for fact in ran)) for slot, ran in twice),
        tuple(overlaps(busy, windows.concurrency)),
        tuple(unfit),
    )


def _compare(by_slot: dict[int, list[Ran]], rows: list[RunRecord]) -> tuple[list[Span], list[str]]:
    """Slots of which no fact need tell, and where the journal and those that ran do not agree."""
    slotted = [(row, row.first_slot, row.slot) for row in rows if row.slot is not None and row.first_slot is not None]
    excused = [Span(first, last, row.run_id) for row, first, last in slotted if row.outcome is not Outcome.SUCCEEDED]
    # Nobody knows of a lost one whether it ran; a range of them says just that.
    known = sorted(Span(first, last, "") for row, first, last in slotted if row.outcome not in NEVER_RAN)
    wrong = [
        f"{shown(Slots(slot, slot, 1))} ran, and no row says so" for slot in sorted(by_slot) if not _within(slot, known)
    ]
    wrong += [
        f"{row.run_id}: {shown(Slots(last, last, 1))} is {row.outcome.value} in the journal and never ran"
        for row, _, last in slotted
        if row.outcome is Outcome.SUCCEEDED and last not in by_slot
    ]
    return excused, wrong


def _within(slot: int, spans: list[Span]) -> bool:
    """Whether it lies in one of ``spans``, which are in order and apart."""
    number = bisect_right(spans, slot, key=lambda span: span.first)
    last = spans[number - 1].last if number else None
    return last is not None and slot <= last


def _ends(spans: list[Span], since: Instant, until: Instant) -> tuple[int | None, int | None]:
    first = _micros(since) if since is not None else min((span.first for span in spans), default=None)
    lasts = [span.last for span in spans if span.last is not None]
    last = _micros(until) if until is not None else max(lasts, default=None)
    return first, last


def _count(schedule: Schedule | None, first: int | None, last: int | None) -> int:
    found = schedule.between(first - 1, last) if schedule and first is not None and last is not None else None
    return found.count if found else 0


def _micros(instant: datetime | int) -> int:
    return to_micros(instant) if isinstance(instant, datetime) else instant


def _by_slot(row: RunRecord) -> tuple[int, int]:
    return (row.slot or 0, row.created_at)

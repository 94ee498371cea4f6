"""Did two ever lead at once, did a slot run twice, was one forgotten? Pure, from what leaders wrote themselves.

A tenure is what one process did under one term, from its first to its last written beat. Between the last beat and the
death of a killed leader up to one beat is not seen, which can only hide an overlap shorter than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from onduty.journal import Outcome, RunRecord

Fact = dict[str, Any]
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Tenure:
    """``first`` and ``last`` in nanoseconds of the machine's monotonic clock."""

    pid: int
    term: int
    first: int
    last: int


def tenures(facts: Iterable[Fact]) -> list[Tenure]:
    """In the order in which they began."""
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for fact in facts:
        if fact["kind"] in ("begin", "beat", "end"):
            key, at = (fact["pid"], fact["term"]), fact["t"]
            first, last = spans.get(key, (at, at))
            spans[key] = min(first, at), max(last, at)
    found = [Tenure(pid, term, first, last) for (pid, term), (first, last) in spans.items()]
    return sorted(found, key=lambda one: one.first)


def overlaps(found: Sequence[Tenure]) -> list[tuple[Tenure, Tenure, float]]:
    """Pairs that led at one time, with the seconds for which they did."""
    together = []
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            shared = min(one.last, other.last) - other.first
            if shared >= 0:
                together.append((one, other, shared / SECOND_NS))
    return together


def gaps(found: Sequence[Tenure]) -> list[float]:
    """Seconds in which nobody led, between each two tenures."""
    return [(after.first - before.last) / SECOND_NS for before, after in pairwise(found)]


def check_slots(facts: Iterable[Fact], rows: Sequence[RunRecord], task: str, every: int, offset: int = 0) -> list[str]:
    """What is wrong with the slots of ``task`` (grid: ``every`` and ``offset``, microseconds); empty: nothing is.

    Each slot ran at most once. From the first to the last that ran, each slot of the grid ran or stands in a row that
    says why not: *lost*, *missed* or *skipped*. What ran has its row; what the journal calls succeeded ran.
    """
    times_run = Counter(fact["slot"] for fact in facts if fact["kind"] == "slot" and fact["task"] == task)
    if not times_run:
        return [f"{task} never ran"]
    wrong = [f"{slot} ran {times} times" for slot, times in times_run.items() if times > 1]
    wrong += [f"{slot} is not on the grid" for slot in times_run if (slot - offset) % every]
    excused: set[int] = set()
    in_journal: set[int] = set()
    for row in rows:
        if row.task != task or row.slot is None or row.first_slot is None:
            continue
        covered = range(row.first_slot, row.slot + 1, every)
        if len(covered) != row.slots:
            wrong.append(f"the row {row.run_id} counts {row.slots} slots from {row.first_slot} to {row.slot}")
        wrong += [f"{slot} has two rows" for slot in in_journal.intersection(covered)]
        in_journal.update(covered)
        if row.outcome in (Outcome.LOST, Outcome.MISSED, Outcome.SKIPPED):
            excused.update(covered)
        elif row.outcome is None:
            wrong.append(f"the row {row.run_id} of slot {row.slot} has no outcome")
        elif row.slot not in times_run:
            wrong.append(f"{row.slot} is {row.outcome.value} in the journal and never ran")
    wrong += [f"{slot} ran without a row" for slot in times_run if slot not in in_journal]
    wanted = range(min(times_run), max(times_run) + 1, every)
    wrong += [f"{slot} was forgotten" for slot in wanted if slot not in times_run and slot not in excused]
    return wrong

"""Was it once? Pure: from what tasks, workers and journal told, the list of what was wrong, empty if nothing was.

Judged are the words of the tasks themselves (``told``) against the rows of the journal (``rows``): a task never ran
on two workers at a time, no slot ran twice, every slot that came due has exactly one row, and every kill was
followed by a take-over within the limit. And whether everybody heard of it (:func:`deaf`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

LIMIT_US = 2_000_000
"""The longest take-over that passes, in microseconds."""

Facts = list[dict[str, Any]]


def judge(told: Facts, rows: Facts, passed: Facts, kills: int, grids: dict[str, tuple[int, int]]) -> list[str]:
    """Everything that was wrong, in words.

    ``told``: ``task``, ``slot`` (epoch seconds or ``None``), ``pid``, ``term``, ``at`` (microseconds) of every run;
    ``rows``: ``task``, ``first``, ``slot`` of the journal; ``passed``: the take-overs, ``us`` each;
    ``kills``: how many there must be; ``grids``: of each scheduled task its interval and last judged slot, in seconds.
    """
    wrong = [*_together(told), *_twice(told)]
    for task, (step, last) in grids.items():
        wrong += _accounted(task, step, last, [row for row in rows if row["task"] == task], told)
    if len(passed) != kills:
        wrong.append(f"{kills} kills were asked for, {len(passed)} happened")
    for one in passed:
        if one["us"] is None:
            wrong.append(f"nobody took over from {one['killed']}")
        elif not 0 <= one["us"] <= LIMIT_US:
            wrong.append(f"the take-over from {one['killed']} took {one['us'] / 1e6:.3f} s")
    return wrong


def deaf(heard: list[list[int | None]], workers: int) -> list[str]:
    """Of each kill, what the clients did not hear. ``heard``: microseconds until the heartbeat came, one a client."""
    wrong = []
    for number, times in enumerate(heard, 1):
        if len(times) != workers:
            wrong.append(f"before kill {number} {len(times)} of {workers} workers had a client")
        if None in times:
            wrong.append(f"after kill {number} {times.count(None)} of {len(times)} clients heard no heartbeat any more")
    return wrong


def _together(told: Facts) -> list[str]:
    """Tenures of one task that overlap: some run of one lies between two runs of the other."""
    wrong = []
    spans: dict[str, dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in told:
        spans[one["task"]][one["term"], one["pid"]].append(one["at"])
    for task, tenures in spans.items():
        ordered = sorted((min(ats), max(ats), tenure) for tenure, ats in tenures.items())
        for (_, end, (_, before)), (begin, _, (_, after)) in pairwise(ordered):
            if begin <= end:
                wrong.append(f"{task} ran on {before} and {after} at the same time")
    return wrong


def _twice(told: Facts) -> list[str]:
    counts = Counter((one["task"], one["slot"]) for one in told if one["slot"] is not None)
    return [f"{task} ran {count} times for slot {slot}" for (task, slot), count in counts.items() if count > 1]


def _accounted(task: str, step: int, last: int, rows: Facts, told: Facts) -> list[str]:
    """From the first slot the journal knows up to ``last``, each slot in exactly one row, and each run in one."""
    covered: Counter[int] = Counter()
    for row in rows:
        if row["slot"] is not None:
            covered.update(range(row["first"] or row["slot"], row["slot"] + 1, step))
    due = range(min(covered), last + 1, step) if covered else range(0)
    lost = [f"{task}: slot {slot} has neither run nor row" for slot in due if not covered[slot]]
    doubled = [f"{task}: slot {slot} has {count} rows" for slot, count in covered.items() if count > 1]
    stray = [
        f"{task} ran for slot {one['slot']} without a row"
        for one in told
        if one["task"] == task and one["slot"] not in covered
    ]
    return [*lost, *doubled, *stray]

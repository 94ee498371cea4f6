"""Did two ever lead at once? Pure, from what leaders wrote themselves. What became of slots ``onduty.testing`` checks.

A tenure is what one process did under one term, from its first to its last written beat. Between the last beat and the
death of a killed leader up to one beat is not seen, which can only hide an overlap shorter than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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

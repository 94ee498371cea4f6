"""Spans of time or of slots, laid side by side: what is between them, and what lies in two of them. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from onduty.schedules import Schedule, Slots
from onduty.testing.report import Doubled, Overlap


class Span(NamedTuple):
    """From ``first`` to ``last``, both included (``None``: it goes on); ``name`` says whose it is."""

    first: int
    last: int | None
    name: str


def gaps(schedule: Schedule, spans: list[Span], first: int | None, last: int | None) -> Iterator[Slots]:
    """Slots from ``first`` to ``last`` that lie in none of ``spans``."""
    if first is None or last is None:
        return
    reached = first - 1
    for span in sorted(spans):
        found = schedule.between(reached, min(span.first - 1, last)) if span.first > reached else None
        if found is not None:
            yield found
        reached = max(reached, span.first if span.last is None else span.last)
    found = schedule.between(reached, last) if reached < last else None
    if found is not None:
        yield found


def covered_twice(schedule: Schedule, spans: list[Span]) -> Iterator[Doubled]:
    """Slots that lie in more than one of ``spans``."""
    before: Span | None = None
    for span in sorted(spans):
        assert span.last is not None
        if before is not None and before.last is not None and span.first <= before.last:
            shared = schedule.between(span.first - 1, min(span.last, before.last))
            if shared is not None:
                yield Doubled(shared, (before.name, span.name))
        if before is None or before.last is None or span.last > before.last:
            before = span


def overlaps(spans: list[Span], at_most: int) -> Iterator[Overlap]:
    """Beginnings of spans in the midst of ``at_most`` others; one that ends at that very instant is over."""
    open_ends: list[tuple[float, str]] = []
    for span in sorted(spans, key=lambda span: span.first):
        while open_ends and open_ends[0][0] <= span.first:
            heapq.heappop(open_ends)
        heapq.heappush(open_ends, (float("inf") if span.last is None else span.last, span.name))
        if len(open_ends) > at_most:
            yield Overlap(span.first, tuple(sorted(name for _, name in open_ends)))

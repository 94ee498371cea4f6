"""What a check of runs has found, for a test to look at and for people to read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from onduty.clock import to_datetime
from onduty.schedules import Slots

SHOWN = 20
"""Findings of one kind that are spelt out."""


class Doubled(NamedTuple):
    """Slots that more than one row, or too many executions, stand for: ``by`` run ids, or pids."""

    slots: Slots
    by: tuple[str, ...]


class Overlap(NamedTuple):
    """At this instant (microseconds UTC) one more run began than ``concurrency`` allows; ``by``: all in progress."""

    at: int
    by: tuple[str, ...]


class RunReport(NamedTuple):
    """The answer of a check; write ``assert report.ok, str(report)``.

    ``due``: how many slots there were. ``missing``: slots that nothing stands for, neither a run nor a row that says
    why not. ``unfit``: what can't be so, in words: an outcome without a beginning, a slot that the schedule does not
    have, a run before its time.
    """

    task: str
    due: int
    missing: tuple[Slots, ...]
    doubled: tuple[Doubled, ...]
    overlapping: tuple[Overlap, ...]
    unfit: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not (self.missing or self.doubled or self.overlapping or self.unfit)

    def __str__(self) -> str:
        if self.ok:
            return f"{self.task}: {self.due} slots, all accounted for"
        missing = sum(slots.count for slots in self.missing)
        found = [
            *_few("missing", (shown(slots) for slots in self.missing)),
            *_few("twice", (f"{shown(one.slots)}, by {', '.join(one.by)}" for one in self.doubled)),
            *_few("overlapping", (f"{_at(one.at)}, {', '.join(one.by)}" for one in self.overlapping)),
            *_few("unfit", self.unfit),
        ]
        return "\n  ".join([f"{self.task}: {self.due} slots, {missing} of them missing", *found])


def shown(slots: Slots) -> str:
    """``2026-01-01T00:00:00+00:00``, or from that one to another."""
    if slots.count == 1:
        return _at(slots.first)
    return f"{slots.count} slots from {_at(slots.first)} to {_at(slots.last)}"


def _at(instant: int) -> str:
    return to_datetime(instant).isoformat()


def _few(kind: str, lines: Iterable[str]) -> list[str]:
    found = [f"{kind}: {line}" for line in lines]
    return found[:SHOWN] + ([f"{kind}: and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])

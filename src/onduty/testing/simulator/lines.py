"""How far each schedule has come, by what the journal has accepted, and the promises about slots.

A slot is decided once (in one era), and none is passed over without a row or a range.
"""

from __future__ import annotations

from onduty.journal.entries import Claim, Era, Passed, Seen
from onduty.schedules import Schedule
from onduty.testing.simulator.world import World


class Line:
    """One schedule of one task. ``plan``: what it goes by, as far as the journal was told."""

    __slots__ = ("era", "mark", "plan")

    def __init__(self) -> None:
        self.mark: int | None = None
        self.era = 0
        self.plan: Schedule | None = None


class Lines:
    """By task and key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: dict[tuple[str, str], Line] = {}

    def of(self, task: str, schedule: str) -> Line:
        return self._lines.setdefault((task, schedule), Line())

    def claimed(self, claim: Claim, slot: int) -> None:
        self._move(claim, slot, slot)

    def repeated(self, entry: Claim | Passed, last: int | None) -> None:
        """With the era that was begun beside it, perhaps, which has set back the mark."""
        line = self.of(entry.task, entry.schedule)
        if last is not None and line.mark is not None:
            line.mark = max(line.mark, last)

    def passed(self, passed: Passed) -> None:
        line = self.of(passed.task, passed.schedule)
        if line.plan is not None:
            slots = line.plan.between(passed.first - 1, passed.last)
            if slots is None or (slots.first, slots.last, slots.count) != (passed.first, passed.last, passed.count):
                self._world.violate(f"A range counts its slots, yet {passed} is not {slots}.")
        self._move(passed, passed.first, passed.last)

    def seen(self, seen: Seen, *, accepted: bool) -> None:
        line = self.of(seen.task, seen.schedule)
        if accepted:
            line.mark = seen.at if line.mark is None else max(line.mark, seen.at)
        if seen.plan is not None:
            line.plan = self._world.plans[seen.plan]

    def era(self, era: Era) -> None:
        line = self.of(era.task, era.schedule)
        line.era += 1
        line.mark = era.at

    def _move(self, entry: Claim | Passed, first: int, last: int) -> None:
        line = self.of(entry.task, entry.schedule)
        where = f"{entry.task}/{entry.schedule}" if entry.schedule else entry.task
        if line.mark is not None and first <= line.mark:
            self._world.violate(
                f"A slot is decided once, yet {where} had come to {line.mark}, and {first} was accepted."
            )
        if line.mark is not None and line.plan is not None:
            due = line.plan.next_after(line.mark)
            if due != first:
                went = f"{where} went from {line.mark} to {first}, past {due}"
                self._world.violate(f"Each slot has a row or a range, yet {went}.")
        line.mark = last

"""What is due, what was missed, what comes next: pure, with the time passed in.

The agenda never decides twice about a slot: what :meth:`Agenda.due` answers is behind it, and whoever asked must
write it down before it asks again.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from typing import NamedTuple

from onduty.clock import SECOND
from onduty.journal import Mark
from onduty.options import Missed, Options
from onduty.schedules import Schedule, Slots

ALL_AT_MOST = 100
"""How many missed slots ``missed="all"`` runs, the newest ones."""


class Due(NamedTuple):
    """A task's slots that came due: ``run`` are to be run, in order; ``passed`` and ``lost`` are only written down.

    ``stands_for``: the range of missed slots that the run is the answer to. ``at``: the instant before which a slot
    that was asked for early must not begin. ``lost``: slots that may have run without a row, so nobody runs them.
    ``decided``: the clock, once set back, is right again; slots up to this one were decided before.
    """

    name: str
    run: tuple[int, ...]
    passed: Slots | None = None
    stands_for: Slots | None = None
    at: int = 0
    lost: Slots | None = None
    decided: int | None = None


class Opened(NamedTuple):
    """What is to be written down about a task that was put on the agenda.

    ``era``: the clock was set back, and the task's mark goes back to this instant, in a new era. ``seen``: then, its
    mark is at least this, and its schedule the present one.
    """

    era: int | None = None
    seen: int | None = None


class _Plan:
    __slots__ = (
        "furthest",
        "jitter",
        "lost_until",
        "mark",
        "missed",
        "name",
        "on_time_from",
        "schedule",
        "slot",
        "window",
    )

    def __init__(self, name: str, schedule: Schedule, options: Options, now: int, lost_until: int) -> None:
        self.name = name
        self.schedule = schedule
        self.missed: Missed = options.missed
        self.window = round(options.missed_window * SECOND)
        self.jitter = round(options.jitter * SECOND)
        self.on_time_from = now
        """Slots before this one came due while nobody was on duty."""
        self.lost_until = lost_until
        """Slots up to this one may have been run without a row."""
        self.slot: int | None = None
        """The earliest slot nobody has decided about."""
        self.mark: int | None = None
        """The latest slot somebody has."""
        self.furthest: int | None = None
        """The latest one before the clock was set back, if it was."""

    def begin_era(self, now: int) -> None:
        if self.mark is not None:
            self.furthest = self.mark if self.furthest is None else max(self.mark, self.furthest)
        self.go_on_after(now)
        self.on_time_from = now

    def go_on_after(self, mark: int) -> None:
        self.mark = mark
        self.slot = self.schedule.next_after(mark)

    def due_at(self, slot: int) -> int:
        return slot + delay(self.name, slot, self.jitter) if self.jitter else slot


class Agenda:
    """The order of the day of one term."""

    def __init__(self) -> None:
        self._newest = 0
        self._plans: dict[str, _Plan] = {}
        self._heap: list[tuple[int, str, int]] = []

    def add(
        self,
        name: str,
        schedule: Schedule,
        options: Options,
        mark: Mark | None,
        now: int,
        lost_until: int = 0,
        since: int | None = None,
    ) -> Opened:
        """Go on after ``mark``, where the journal knows the task; ``lost_until``: see :class:`Due`, ``lost``.

        A changed schedule catches up on nothing: it begins now, or at ``since``, when somebody asked for it. A task
        that was never seen gets its mark at once, or the next leader would take it for new again and forget a slot that
        came due in between.
        """
        plan = self._plans[name] = _Plan(name, schedule, options, now, lost_until)
        opened = self._open(plan, mark, now, now if since is None else min(since, now))
        self._push(plan)
        return opened

    def _open(self, plan: _Plan, mark: Mark | None, now: int, since: int) -> Opened:
        schedule = plan.schedule
        slot = mark.slot if mark else None
        plan.furthest = mark.furthest if mark else None
        if mark is None or slot is None:
            current = schedule.latest(now) if schedule.runs_when_first_seen else None
            plan.go_on_after(since if current is None else current - 1)
            plan.on_time_from = now if current is None else current
            return Opened(seen=plan.mark)
        if slot - now > schedule.set_back_after:
            plan.mark = slot
            plan.begin_era(now)
            return Opened(era=now, seen=None if mark.plan == str(schedule) else now)
        if mark.plan is not None and mark.plan != str(schedule):
            plan.go_on_after(max(slot, since))
            return Opened(seen=plan.mark)
        plan.go_on_after(slot)
        return Opened(seen=slot if mark.plan is None else None)

    def remove(self, name: str) -> Mark | None:
        """Take a task off; its mark, or ``None`` if it is not on the agenda."""
        plan = self._plans.pop(name, None)
        return Mark(plan.mark, str(plan.schedule), plan.furthest) if plan else None

    def set_back(self, now: int) -> list[str]:
        """Tasks whose mark lies too far ahead, because the clock was set back: they go on from ``now``.

        Cheap unless it was; ask before :meth:`due`.
        """
        newest, self._newest = self._newest, now
        if now >= newest:
            return []
        moved = []
        for plan in self._plans.values():
            if plan.mark is not None and plan.mark - now > plan.schedule.set_back_after:
                plan.begin_era(now)
                moved.append(plan.name)
        if moved:
            self._heap = []
            for plan in self._plans.values():
                self._push(plan)
        else:
            self._newest = newest  # a small step: what was decided stays decided
        return moved

    def next_at(self) -> int | None:
        """When the next slot is due."""
        return self._heap[0][0] if self._heap else None

    def next_slot(self, name: str) -> int | None:
        plan = self._plans.get(name)
        return plan.slot if plan else None

    def due(self, now: int, at_most: int | None = None) -> list[Due]:
        """What has come due by ``now``, each task once, the longest due first; the rest stays due."""
        found: list[Due] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(found) != at_most:
            _, name, slot = heapq.heappop(heap)
            plan = self._plans.get(name)
            if plan is not None and plan.slot == slot:  # else it was taken off, or put on anew
                found.append(self._take(plan, slot, now))
        return found

    def soon(self, now: int, until: int, at_most: int, may: Callable[[str], bool]) -> list[Due]:
        """Slots that come due by ``until``, of tasks that ``may``, to be claimed ahead and begun on the instant.

        Ask :meth:`due` first. A slot with company, late or close behind, waits for that: what becomes of it depends on
        what is due then.
        """
        found: list[Due] = []
        passed_over: list[tuple[int, str, int]] = []
        heap = self._heap
        while heap and heap[0][0] <= until and len(found) + len(passed_over) < at_most:
            item = heapq.heappop(heap)
            at, name, slot = item
            plan = self._plans.get(name)
            if plan is None or plan.slot != slot:
                continue
            following = plan.schedule.next_after(slot)
            alone = at > now and slot >= plan.on_time_from and (following is None or plan.due_at(following) > until)
            if alone and slot > plan.lost_until and may(name):
                plan.slot, plan.mark = following, slot
                self._push(plan)
                found.append(Due(name, (slot,), at=at))
            else:
                passed_over.append(item)
        for item in passed_over:
            heapq.heappush(heap, item)
        return found

    def _take(self, plan: _Plan, slot: int, now: int) -> Due:
        schedule = plan.schedule
        if plan.furthest is not None and slot <= plan.furthest <= now:
            decided, plan.furthest = plan.furthest, None
            plan.go_on_after(decided)
            self._push(plan)
            return Due(plan.name, (), decided=decided)
        if plan.lost_until and slot <= plan.lost_until:
            return self._lose(plan, slot, min(plan.lost_until, now))
        following = schedule.next_after(slot)
        if following is None or plan.due_at(following) > now:
            plan.slot, plan.mark = following, slot
            self._push(plan)
            if slot >= plan.on_time_from:
                return Due(plan.name, (slot,))
            return self._late(plan, slot, slot, now)
        newest = schedule.latest(now)
        assert newest is not None
        while plan.due_at(newest) > now:  # its jitter has not passed yet
            earlier = schedule.latest(newest - 1)
            assert earlier is not None
            newest = earlier
        plan.go_on_after(newest)
        self._push(plan)
        return self._late(plan, slot, newest, now)

    def _lose(self, plan: _Plan, first: int, until: int) -> Due:
        lost = plan.schedule.between(first - 1, until)
        assert lost is not None
        plan.go_on_after(lost.last)
        self._push(plan)
        return Due(plan.name, (), lost=lost)

    def _late(self, plan: _Plan, first: int, newest: int, now: int) -> Due:
        """Slots that came due while nobody was on duty, or while the leader was held up."""
        schedule, oldest = plan.schedule, now - plan.window
        during_term = newest >= plan.on_time_from
        if newest < oldest or (plan.missed == "skip" and not during_term):
            return Due(plan.name, (), passed=schedule.between(first - 1, newest))
        run = _newest(schedule, max(first, oldest), newest) if plan.missed == "all" else (newest,)
        passed = schedule.between(first - 1, run[0] - 1)
        return Due(plan.name, run, passed=passed, stands_for=passed if plan.missed == "once" else None)

    def _push(self, plan: _Plan) -> None:
        if plan.slot is not None:
            heapq.heappush(self._heap, (plan.due_at(plan.slot), plan.name, plan.slot))


def delay(name: str, slot: int, jitter: int) -> int:
    """Microseconds, from 0 to less than ``jitter``, by which this slot starts late: the same in every process."""
    digest = hashlib.blake2b(f"{name}/{slot}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % jitter


def _newest(schedule: Schedule, first: int, newest: int) -> tuple[int, ...]:
    slots = [newest]
    while len(slots) < ALL_AT_MOST:
        earlier = schedule.latest(slots[-1] - 1)
        if earlier is None or earlier < first:
            break
        slots.append(earlier)
    return tuple(reversed(slots))

"""The runs that are asked for, in the order in which they were, and those that are not wanted any more.

They leave the journal in the transaction that makes them rows. Until a lane has room for them they stay there: a long
queue costs the leader no memory, and the next one no time.
"""

from __future__ import annotations

from collections.abc import Mapping

from onduty._runtime.desk import Desk
from onduty._runtime.execution import Execution
from onduty._runtime.lanes import Lane
from onduty.clock import Clock
from onduty.journal import Journal, Request
from onduty.journal.entries import Answered

MOST_AT_ONCE = 200

COUNT_EVERY = 1.0
"""Seconds between two counts, which cost the more the longer a queue is."""


Cancel = tuple[Request, list[Request]]
Found = dict[str, list[Request]]


class Asked:
    """Of one term. Its methods raise ``StoreUnavailable``, and what they were about is asked for still."""

    def __init__(self, journal: Journal, lanes: Mapping[str, Lane], desk: Desk, clock: Clock) -> None:
        self._journal = journal
        self._lanes = lanes
        self._desk = desk
        self._clock = clock
        self._called = {lane.declared.chosen.was or lane.task: lane.task for lane in lanes.values()}
        """What is called so now, by its name and by the one before; code of before may still ask for that."""
        self._called |= {lane.task: lane.task for lane in lanes.values()}
        self._names: dict[str, list[str]] = {}  # by which names each was asked for, in the last look
        self._left: dict[str, int] = {}  # tasks, in the order of their turns, and how many were left at the last count
        self._count_mono = clock.mono() + COUNT_EVERY  # not before the first slot of the term
        self._half_done: str | None = None
        self._cancelled: set[str] = set()  # tasks of which something was, in the last look
        self._cancelled_by: set[str] = set()  # and by which names
        self._refused: set[str] = set()  # requests whose key was in progress

    @property
    def has_room(self) -> bool:
        """Whether there are runs that are asked for, and room for some of them."""
        return any(self._lanes[task].room for task in self._left if task not in self._cancelled)

    def left(self, task: str) -> int:
        """How many runs of it are asked for, and not taken; what came lately is not counted yet. From any thread."""
        return self._left.get(task, 0)

    def hear(self, asked: set[tuple[str, str]]) -> list[str]:
        """Learn of which tasks something is asked, each as (kind, task); answers those that nobody here knows."""
        self._names = {}
        for kind, name in sorted(asked):
            if kind == "trigger" and name in self._called:
                self._names.setdefault(self._called[name], []).append(name)
                self._left.setdefault(self._called[name], 0)
        self._cancelled_by = {name for kind, name in asked if kind == "cancel" and name in self._called}
        self._cancelled = {self._called[name] for name in self._cancelled_by}
        return sorted(name for kind, name in asked if kind == "trigger" and name not in self._called)

    def cancels(self) -> list[Cancel]:
        """What is cancelled, oldest first, each with what it takes out of the queue. Nothing is done about it yet."""
        if not self._cancelled:
            return []
        cancels = self._journal.requests(self._cancelled_by, MOST_AT_ONCE, "cancel")
        return [(one, self._asked_before(one)) for one in cancels]

    def withdraw(self, cancels: list[Cancel]) -> bool:
        """What waits or is only asked for never begins, what is in progress is told to end.

        ``True``: look again when that is written. Until then nothing more is taken of these tasks.
        """
        spare, never = MOST_AT_ONCE, set[str]()
        for cancel, asked_before in cancels:
            if cancel.id != self._half_done:  # what has begun since is none of its business
                if cancel.target is None:
                    self._desk.cancel_all(self._called[cancel.task])
                else:
                    self._desk.cancel(cancel.target)
            unwanted = [one for one in asked_before if one.id not in never]
            for one in unwanted[:spare]:
                # Without its key: another run may have that by now.
                self._desk.decline(self._desk.requested(self._called[one.task], one.kwargs, one.id))
                never.add(one.id)
            if len(unwanted) > spare:
                self._half_done = cancel.id
                break
            spare -= len(unwanted)
            self._desk.write(Answered(cancel.id))
        return bool(cancels)

    def read(self) -> Found:
        """The oldest of each task that has room, as many as it may have room for in a moment. Hand them to :meth:`take`
        before anything else is read.
        """
        found, spare = Found(), MOST_AT_ONCE
        for task in [task for task in self._left if task not in self._cancelled]:
            lane = self._lanes[task]
            if lane.room and spare:
                most = min(lane.room_when_idle, spare) + len(self._refused)
                found[task] = self._journal.requests(self._names.get(task, [task]), most, "trigger")
                spare -= min(len(found[task]), lane.room, spare)
        return found

    def take(self, read: Found) -> bool:
        """Hand the desk as many as there is room for. ``True``: there would be room for more."""
        spare = MOST_AT_ONCE
        for task, found in read.items():
            wanted = min(self._lanes[task].room, spare)
            if not wanted:
                continue
            taken = [one for one in found if one.id not in self._refused][:wanted]
            for one in taken:
                self._desk.request(self._desk.requested(task, one.kwargs, one.id, one.key))
            spare -= len(taken)
            left = self._left.pop(task) - len(taken)
            if len(found) >= wanted or len(found) > len(taken):
                self._left[task] = max(left, 0)  # behind the others, which may have had no turn
        return spare < MOST_AT_ONCE and self.has_room

    def refused(self, run: Execution) -> None:
        """Its claim was: its key is in progress, so it stays asked for; or else it has become a run before."""
        self._left.setdefault(run.task_name, 0)  # should the journal not answer now, it is refused once more
        if run.key is not None and self._journal.get(run.run_id) is None:
            self._refused.add(run.run_id)
        else:
            self._desk.write(Answered(run.run_id))

    def _asked_before(self, cancel: Request) -> list[Request]:
        """What it takes out of the queue: all of its task, or the one that it names."""
        task = self._called[cancel.task]
        if cancel.target is None:
            return self._journal.requests(self._names.get(task, [task]), MOST_AT_ONCE * 2, "trigger", cancel.id)
        found = self._journal.asked(cancel.target)
        return [found] if found and found.kind == "trigger" and self._called.get(found.task) == task else []

    def count(self) -> None:
        """Now and then: how many are left."""
        mono = self._clock.mono()
        if mono >= self._count_mono:
            self._count_mono = mono + COUNT_EVERY
            self._refused.clear()  # another try
            self._left = {task: self._count(task) for task in self._left}

    def _count(self, task: str) -> int:
        return sum(self._journal.count_asked(name) for name in self._names.get(task, [task]))

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


class Asked:
    """Of one term. Its methods raise ``StoreUnavailable``, and what they were about is asked for still."""

    def __init__(self, journal: Journal, lanes: Mapping[str, Lane], desk: Desk, clock: Clock) -> None:
        self._journal = journal
        self._lanes = lanes
        self._desk = desk
        self._clock = clock
        self._left: dict[str, int] = {}  # tasks, in the order of their turns, and how many were left at the last count
        self._count_mono = clock.mono() + COUNT_EVERY  # not before the first slot of the term
        self._half_done: str | None = None
        self._cancelled: set[str] = set()  # tasks of which something was, in the last look
        self._refused: set[str] = set()  # requests whose key was in progress

    @property
    def has_room(self) -> bool:
        """Whether there are runs that are asked for, and room for some of them."""
        return any(self._lanes[self._now(task)].room for task in self._left if task not in self._cancelled)

    def left(self, task: str) -> int:
        """How many runs of it are asked for, and not taken; what came lately is not counted yet. From any thread."""
        return sum(count for name, count in list(self._left.items()) if self._now(name) == task)

    def look(self) -> list[str]:
        """Learn of which tasks runs are asked for; answers those that nobody here knows."""
        asked = self._journal.asked_of()
        known = {(kind, task) for kind, task in asked if self._now(task) in self._lanes}
        for kind, task in sorted(known):
            if kind == "trigger":
                self._left.setdefault(task, 0)
        self._cancelled = {task for kind, task in known if kind == "cancel"}
        return sorted(task for kind, task in asked - known if kind == "trigger")

    def cancels(self) -> list[Cancel]:
        """What is cancelled, oldest first, each with what it takes out of the queue. Nothing is done about it yet."""
        if not self._cancelled:
            return []
        cancels = self._journal.requests(self._cancelled, MOST_AT_ONCE, "cancel")
        return [(one, self._asked_before(one)) for one in cancels]

    def withdraw(self, cancels: list[Cancel]) -> bool:
        """What waits or is only asked for never begins, what is in progress is told to end.

        ``True``: look again when that is written. Until then nothing more is taken of these tasks.
        """
        spare, never = MOST_AT_ONCE, set[str]()
        for cancel, asked_before in cancels:
            if cancel.id != self._half_done:  # what has begun since is none of its business
                if cancel.target is None:
                    self._desk.cancel_all(self._now(cancel.task))
                else:
                    self._desk.cancel(cancel.target)
            unwanted = [one for one in asked_before if one.id not in never]
            for one in unwanted[:spare]:
                # Without its key: another run may have that by now.
                self._desk.decline(self._desk.requested(self._now(one.task), one.kwargs, one.id))
                never.add(one.id)
            if len(unwanted) > spare:
                self._half_done = cancel.id
                break
            spare -= len(unwanted)
            self._desk.write(Answered(cancel.id))
        return bool(cancels)

    def take(self) -> bool:
        """Hand the desk as many as there is room for. ``True``: there would be room for more."""
        spare = MOST_AT_ONCE
        for task in [task for task in self._left if task not in self._cancelled]:
            lane = self._lanes[self._now(task)]
            wanted = min(lane.room, spare)
            if not wanted:
                continue
            found = self._journal.requests((task,), wanted + len(self._refused), "trigger")
            taken = [one for one in found if one.id not in self._refused][:wanted]
            for one in taken:
                self._desk.request(self._desk.requested(lane.name, one.kwargs, one.id, one.key))
            spare -= len(taken)
            left = self._left.pop(task) - len(taken)
            if len(found) >= wanted or len(found) > len(taken):
                self._left[task] = max(left, 0)  # behind the others, which may have had no turn
        return spare < MOST_AT_ONCE and self.has_room

    def refused(self, run: Execution) -> None:
        """Its claim was: its key is in progress, so it stays asked for; or else it has become a run before."""
        waits = self._journal.asked(run.run_id) if run.key is not None else None
        if waits is not None and self._journal.get(run.run_id) is None:
            self._refused.add(run.run_id)
            self._left.setdefault(waits.task, 0)
        else:
            self._desk.write(Answered(run.run_id))

    def _now(self, task: str) -> str:
        """What it is called now: code of before may still ask for it, or have been the last to."""
        if task not in self._lanes:
            for lane in list(self._lanes.values()):
                if lane.declared.chosen.was == task:
                    return lane.task
        return task

    def _asked_before(self, cancel: Request) -> list[Request]:
        """What it takes out of the queue: all of its task, or the one that it names."""
        if cancel.target is None:
            return self._journal.requests((cancel.task,), MOST_AT_ONCE * 2, "trigger", cancel.id)
        found = self._journal.asked(cancel.target)
        return [found] if found and (found.kind, found.task) == ("trigger", cancel.task) else []

    def count(self) -> None:
        """Now and then: how many are left."""
        mono = self._clock.mono()
        if mono >= self._count_mono:
            self._count_mono = mono + COUNT_EVERY
            self._refused.clear()  # another try
            self._left = {task: self._journal.count_asked(task) for task in self._left}

"""The runs that are asked for, in the order in which they were, and those that are not wanted any more.

They leave the journal in the transaction that makes them rows. Until a lane has room for them they stay there: a long
queue costs the leader no memory, and the next one no time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onduty._runtime.desk import Desk
from onduty._runtime.lanes import Lane
from onduty.clock import Clock
from onduty.journal import Journal, Request
from onduty.journal.entries import Answered

MOST_AT_ONCE = 200

COUNT_EVERY = 1.0
"""Seconds between two counts, which cost the more the longer a queue is."""


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

    @property
    def has_room(self) -> bool:
        """Whether there are runs that are asked for, and room for some of them."""
        return any(self._lanes[task].room for task in self._left)

    def left(self, task: str) -> int:
        """How many runs of it are asked for, and not taken; what came lately is not counted yet. From any thread."""
        return self._left.get(task, 0)

    def look(self, asked: Collection[tuple[str, str]]) -> bool:
        """Learn what there is, by kind and task. ``True``: before any is taken, look again when this is written."""
        for task in sorted(task for kind, task in asked if kind == "trigger"):
            if task in self._lanes:
                self._left.setdefault(task, 0)
        cancelled = {task for kind, task in asked if kind == "cancel" and task in self._lanes}
        if cancelled:
            self._withdraw(cancelled)
        return bool(cancelled)

    def take(self) -> bool:
        """Hand the desk as many as there is room for. ``True``: there would be room for more."""
        self._count()
        spare = MOST_AT_ONCE
        for task in list(self._left):
            wanted = min(self._lanes[task].room, spare)
            if not wanted:
                continue
            found = self._journal.requests((task,), wanted, "trigger")
            for one in found:
                self._desk.request(self._desk.requested(task, one.kwargs, one.id, one.key))
            spare -= len(found)
            left = self._left.pop(task) - len(found)
            if len(found) == wanted:
                self._left[task] = max(left, 0)  # behind the others, which may have had no turn
        return self.has_room

    def _withdraw(self, tasks: Collection[str]) -> None:
        """Cancel; what is only asked for never begins."""
        spare, never = MOST_AT_ONCE, set[str]()
        for cancel in self._journal.requests(tasks, MOST_AT_ONCE, "cancel"):
            unwanted = [one for one in self._asked_before(cancel) if one.id not in never]
            if cancel.id != self._half_done:  # what has begun since is none of its business
                if cancel.target is None:
                    self._desk.cancel_all(cancel.task)
                else:
                    self._desk.cancel(cancel.target)
            for one in unwanted[:spare]:
                self._desk.decline(self._desk.requested(one.task, one.kwargs, one.id, one.key))
                never.add(one.id)
            if len(unwanted) > spare:
                self._half_done = cancel.id
                break
            spare -= len(unwanted)
            self._desk.write(Answered(cancel.id))

    def _asked_before(self, cancel: Request) -> list[Request]:
        """What it takes out of the queue: all of its task, or the one that it names."""
        if cancel.target is None:
            return self._journal.requests((cancel.task,), MOST_AT_ONCE * 2, "trigger", cancel.id)
        found = self._journal.asked(cancel.target)
        return [found] if found and (found.kind, found.task) == ("trigger", cancel.task) else []

    def _count(self) -> None:
        mono = self._clock.mono()
        if mono >= self._count_mono:
            self._count_mono = mono + COUNT_EVERY
            self._left = {task: self._journal.count_asked(task) for task in self._left}

"""What others have asked for, brought from the journal to the desk and the planner, if anything was written since.

Pauses and dynamic schedules are levels: whatever they are now is how it shall be. Runs, and their cancellations, are
:class:`Asked`.
"""

from __future__ import annotations

from collections.abc import Callable

from onduty import events as ev
from onduty._runtime.asked import Asked, Cancel
from onduty._runtime.desk import Desk
from onduty._runtime.lanes import Lane, lane_name
from onduty._runtime.planner import Planner
from onduty._runtime.term import Term
from onduty.clock import Clock
from onduty.events import Events
from onduty.journal import Dynamic, Opening


class Controls:
    """``lane_for`` makes the lane of a dynamic schedule, or says ``None`` where this code does not know its task."""

    def __init__(
        self,
        term: Term,
        lanes: dict[str, Lane],
        desk: Desk,
        planner: Planner,
        clock: Clock,
        events: Events,
        lane_for: Callable[[Dynamic], Lane | None],
    ) -> None:
        self._term = term
        self._lanes = lanes
        self._desk = desk
        self._planner = planner
        self._clock = clock
        self._events = events
        self._lane_for = lane_for
        self._revision: int | None = None  # that of the last look
        self._levels: int | None = None  # that of what the planner knows of pauses and schedules
        self._dynamic: dict[str, Dynamic] = {}
        self._dropped: set[str] = set()
        self._strangers: set[tuple[str, str]] = set()
        self.asked = Asked(term.journal, lanes, desk, clock)

    def open(self, opening: Opening) -> None:
        """The levels with which the term begins: lanes are made and marked as paused."""
        self._levels = opening.revision
        for dynamic in opening.schedules:
            self._adopt(dynamic)
        for lane in self._lanes.values():
            lane.paused = self._is_paused(lane, opening.paused)
            if lane.paused:
                self._events.emit(ev.TaskPaused(self._clock.now(), self._term.app, lane.task, lane.key))

    def look(self) -> bool:
        """Bring desk and planner in line, if anything was written since the last look. Raises ``StoreUnavailable``.

        ``True``: there is more to do than is done at once; look again when this is written.
        """
        journal = self._term.journal
        revision = journal.revision()
        self._forget_dropped()
        self.asked.count()
        if revision == self._revision:
            return False
        if revision != self._levels:
            paused, dynamics = journal.paused(), journal.schedules()
            for task in sorted({task for task, _ in paused} - {lane.task for lane in self._lanes.values()}):
                self._is_strange(task, "its pause holds nothing up")
            self._plan(dynamics)
            for lane in list(self._lanes.values()):
                self._set_paused(lane, self._is_paused(lane, paused))
            self._levels = revision
        self._revision = None
        more = self.asked.withdraw(self.cancels(journal.asked_of()))
        self._revision = None if more else revision
        return more

    def cancels(self, asked_of: set[tuple[str, str]]) -> list[Cancel]:
        """Learn what is asked for, and what is cancelled; nothing is done about it yet."""
        for task in self.asked.hear(asked_of):
            self._is_strange(task, "a run is asked for; it waits for a worker that does")
        return self.asked.cancels()

    def _is_strange(self, task: str, consequence: str) -> None:
        """Once for each: code that is being deployed, or has been, may know it, or another app in the same folder."""
        if (task, consequence) in self._strangers:
            return
        self._strangers.add((task, consequence))
        now = next((lane.task for lane in self._lanes.values() if lane.declared.chosen.was == task), None)
        remedy = (
            f"It is {now} now: ask for it by that name"
            if now
            else f"If it was renamed, say was={task!r}; if it is of another app, give each a name= of its own"
        )
        text = f"the worker on duty does not declare {task}: {consequence}. {remedy}"
        self._events.emit(ev.Advice(self._clock.now(), self._term.app, text))

    # Levels

    @staticmethod
    def _is_paused(lane: Lane, paused: dict[tuple[str, str], int]) -> bool:
        return (lane.task, "") in paused or (lane.task, lane.key) in paused

    def _set_paused(self, lane: Lane, paused: bool) -> None:
        if paused == lane.paused:
            return
        facts = (self._clock.now(), self._term.app, lane.task, lane.key)
        if paused:
            self._planner.pause(lane)
            self._events.emit(ev.TaskPaused(*facts))
        else:
            self._planner.resume(lane)
            self._events.emit(ev.TaskResumed(*facts))

    def _adopt(self, dynamic: Dynamic) -> Lane | None:
        made = self._lane_for(dynamic)
        if made is None:
            self._is_strange(dynamic.task, f"nothing runs by its schedule {dynamic.key!r}")
            return None
        self._dynamic[made.name] = dynamic
        lane = self._lanes.setdefault(made.name, made)
        lane.schedule, lane.kwargs, lane.since = made.schedule, made.kwargs, dynamic.at
        return lane

    def _forget_dropped(self) -> None:
        """The lanes of schedules that are gone, once nothing is left in them."""
        for name in list(self._dropped):
            lane = self._lanes[name]
            if name in self._dynamic:
                self._dropped.discard(name)
            elif not lane.in_progress and not lane.waiting:
                self._dropped.discard(name)
                del self._lanes[name]

    def _plan(self, dynamics: list[Dynamic]) -> None:
        """Put new and changed schedules on the agenda, and take off those that are gone."""
        wanted = {lane_name(one.task, one.key): one for one in dynamics}
        for name in [name for name in self._dynamic if name not in wanted]:
            del self._dynamic[name]
            self._planner.agenda.remove(name)
            lane = self._lanes[name]
            lane.schedule = None
            self._dropped.add(name)
        self._forget_dropped()
        changed = {name: one for name, one in wanted.items() if self._dynamic.get(name) != one}
        if not changed:
            return
        marks = self._term.journal.marks()
        for name, dynamic in changed.items():
            mark = self._planner.agenda.remove(name)
            adopted = self._adopt(dynamic)
            if adopted is not None:
                known = marks.get((dynamic.task, dynamic.key))
                if mark is not None:
                    known = mark._replace(plan=known.plan if known else None)
                self._planner.plan(adopted, known)

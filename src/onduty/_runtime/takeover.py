"""What a term begins with: the names, marks, levels, requests and runs that the terms before it have left."""

from __future__ import annotations

from collections.abc import Mapping

from onduty import events as ev
from onduty._runtime.controls import Controls
from onduty._runtime.desk import Desk
from onduty._runtime.lanes import Lane
from onduty._runtime.planner import Planner
from onduty._runtime.recovery import Found, Recovery
from onduty._runtime.term import Term
from onduty.clock import Clock
from onduty.events import Events
from onduty.journal.entries import Renamed

LOOK_AGAIN = 0.2
"""Seconds between two looks at runs that linger in another process."""


class Takeover:
    """:meth:`begin` once, and :meth:`watch` for as long as :attr:`is_watching`. Both raise ``StoreUnavailable``, and
    have decided nothing then.
    """

    def __init__(
        self,
        term: Term,
        lanes: Mapping[str, Lane],
        desk: Desk,
        planner: Planner,
        controls: Controls,
        recovery: Recovery,
        clock: Clock,
        events: Events,
    ) -> None:
        self._term = term
        self._lanes = lanes
        self._desk = desk
        self._planner = planner
        self._controls = controls
        self._recovery = recovery
        self._clock = clock
        self._events = events

    @property
    def is_watching(self) -> bool:
        """Whether a run lingers in another process."""
        return self._recovery.is_watching

    def begin(self) -> bool:
        """``True``: more is cancelled than is taken out at once; look again."""
        self._rename()
        opening = self._term.journal.opening()
        self._controls.open(opening)
        cancels = self._controls.cancels(opening.asked_of)
        found = self._recovery.look(opening.unfinished, self._clock.mono(), first=True)
        # All is known that is to be known.
        for lane in self._lanes.values():
            self._planner.plan(lane, opening.marks.get((lane.task, lane.key)))
        self._are_lost(found)
        for lane, record in found.queued:
            self._desk.requeue(lane, record, found.logs.get(record.run_id))
        more = self._controls.asked.withdraw(cancels)  # before anything begins
        for lane in list(self._lanes.values()):
            self._desk.freed(lane)
            self._desk.run_once(lane)
        return more

    def watch(self) -> None:
        """What lingered may have ended, or its process died: begin what waits for that."""
        found = self._recovery.look(self._term.journal.unfinished(), self._clock.mono(), first=False)
        self._are_lost(found)
        for lane in [*found.freed, *(lane for lane, _ in found.lost)]:
            self._desk.freed(lane)

    def _rename(self) -> None:
        """What was renamed in an earlier term is refused, and costs nothing more."""
        chosen = ((lane.declared.chosen.was, lane.task) for lane in self._lanes.values())
        names = {was: task for was, task in chosen if was}
        if names:
            # Of a chain, a to b and b to c, the one that makes room comes first.
            order = sorted(names, key=lambda was: _steps(was, names))
            self._term.journal.write(self._term.number, [Renamed(was, names[was]) for was in order])

    def _are_lost(self, found: Found) -> None:
        for lane, record in found.lost:
            again = self._desk.lost(lane, record, found.logs.get(record.run_id))
            facts = (record.task, record.run_id, record.slot, record.attempt, record.term, again)
            self._events.emit(ev.RunLost(self._clock.now(), self._term.app, *facts))


def _steps(name: str, names: Mapping[str, str]) -> int:
    """How often it goes on from one to the next; the registry lets none come back to where it began."""
    count = 0
    while name in names:
        name, count = names[name], count + 1
    return count

"""What earlier terms left behind: rows without an outcome, and what has become of them.

::

    never begun, or to be tried again  ──▶ queued: it is begun under our term
    its process died                   ──▶ lost
    its process lives                  ──▶ lingering: counts as running until it has an outcome or its process dies

A process of another container can't be seen. If the leader before us let go by itself, or nothing is known of it (its
lock's file was deleted), its runs may linger there, so they are given ``UNSEEN_FOR`` seconds; else the kernel took the
lock from a dead process, and they are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onduty._runtime.lanes import Lane, lane_name
from onduty._runtime.term import Term
from onduty.journal import RunRecord
from onduty.process import ProcessId, is_alive

UNSEEN_FOR = 60.0


class Found:
    """One look. ``freed``: lanes in which something stopped counting as running. ``logs``: of what may be run again, by
    run id.
    """

    def __init__(self) -> None:
        self.lost: list[tuple[Lane, RunRecord]] = []
        self.queued: list[tuple[Lane, RunRecord]] = []
        self.freed: list[Lane] = []
        self.logs: dict[str, str] = {}


class Recovery:
    """Looks once when a term begins, and again for as long as something lingers."""

    def __init__(
        self,
        term: Term,
        lanes: Mapping[str, Lane],
        began_mono: float,
        is_alive: Callable[[ProcessId], bool | None] = is_alive,
    ) -> None:
        self._term = term
        self._is_alive = is_alive
        self._lanes = lanes
        self._began_mono = began_mono

    @property
    def is_watching(self) -> bool:
        return any(lane.foreign for lane in self._lanes.values())

    def look(self, unfinished: Sequence[RunRecord], now_mono: float, *, first: bool) -> Found:
        """Sort the unfinished rows; lingering ones go in and out of ``lane.foreign``. Raises ``StoreUnavailable``."""
        found = Found()
        lingering: dict[str, set[str]] = {name: set() for name in self._lanes}
        for record in unfinished:
            lane = self._lane_of(record)
            # Tasks this code does not know are left alone: a newer or older version of it may.
            if lane is None or record.term >= self._term.number:
                continue
            if record.attempt == 0 or record.retry_at is not None:
                if first:
                    found.queued.append((lane, record))
                    self._read_log(record, found)
            elif self._lives(record, now_mono):
                lingering[lane.name].add(record.run_id)
            else:
                found.lost.append((lane, record))
                if lane.declared.chosen.retry_lost:
                    self._read_log(record, found)
        for name, lane in list(self._lanes.items()):
            if lane.foreign - lingering[name]:
                found.freed.append(lane)
            lane.foreign = lingering[name]
        return found

    def _read_log(self, record: RunRecord, found: Found) -> None:
        if record.attempt:
            found.logs[record.run_id] = self._term.journal.log(record.run_id)

    def _lane_of(self, record: RunRecord) -> Lane | None:
        """Its own, or, when its dynamic schedule is gone, that of its task."""
        return self._lanes.get(lane_name(record.task, record.schedule)) or self._lanes.get(record.task)

    def _lives(self, record: RunRecord, now_mono: float) -> bool:
        if record.process == self._term.me:
            return False  # who has runs left is no candidate; a copy of the journal may say otherwise
        try:
            alive = self._is_alive(record.process)
        except OSError:
            return True  # not to be seen for now, for want of a descriptor: it is looked at again
        if alive is None:
            return self._term.may_linger and now_mono - self._began_mono < UNSEEN_FOR
        return alive

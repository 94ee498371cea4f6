"""What processes ask of the leader, in this process's memory: requests, pauses and dynamic schedules.

Plain data without a lock: the journal that owns it has one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeVar

from onduty.journal import KINDS, Dynamic, Kind, Request

Value = TypeVar("Value")


class MemoryRequests:
    """``revision`` grows with every change that somebody asked for."""

    def __init__(self) -> None:
        self.revision = 0
        self.paused: dict[tuple[str, str], int] = {}
        self.waiting: dict[str, Request] = {}
        self._schedules: dict[tuple[str, str], Dynamic] = {}

    def requested(self, task: str, key: str) -> str | None:
        """The id of the trigger that waits for this (task, key), unless it is to be cancelled."""
        same = None
        for one in self.waiting.values():
            if (one.kind, one.task, one.key) == ("trigger", task, key):
                same = one.id
            elif (one.kind, one.task) == ("cancel", task) and one.target in (None, same):
                same = None
        return same

    def asked(self, tasks: Collection[str] | None, kind: Kind | None, before: str | None) -> Iterator[Request]:
        """Oldest first."""
        for one in self.waiting.values() if before is None or before in self.waiting else ():
            if one.id == before:
                return
            if (tasks is None or one.task in tasks) and kind in (None, one.kind):
                yield one

    def asked_of(self) -> set[tuple[str, str]]:
        """Each (kind, task) of which there are requests."""
        return {(one.kind, one.task) for one in self.waiting.values() if one.kind in KINDS}

    def cancels(self, task: str, run_id: str) -> bool:
        """Whether somebody wants an accepted run of ``task`` to be cancelled."""
        return any(
            (one.kind, one.task) == ("cancel", task) and one.target in (None, run_id) for one in self.waiting.values()
        )

    def add(self, wanted: Request) -> None:
        if wanted.id not in self.waiting:
            self.waiting[wanted.id] = wanted
            self.revision += 1

    def answer(self, request_id: str) -> bool:
        return self.waiting.pop(request_id, None) is not None

    def set_paused(self, task: str, at: int | None, schedule: str) -> None:
        place = (task, schedule)
        if (place in self.paused) is (at is not None):
            return
        if at is None:
            del self.paused[place]
        else:
            self.paused[place] = at
        self.revision += 1

    def put_schedule(self, dynamic: Dynamic) -> None:
        self._schedules[dynamic.task, dynamic.key] = dynamic
        self.revision += 1

    def drop_schedule(self, task: str, key: str) -> bool:
        if self._schedules.pop((task, key), None) is None:
            return False
        self.revision += 1
        return True

    def schedules(self, task: str | None) -> list[Dynamic]:
        return [one for place, one in sorted(self._schedules.items()) if task in (None, place[0])]

    def rename(self, old: str, new: str) -> None:
        self.paused = renamed(self.paused, old, new)
        moved = {place: one._replace(task=place[0]) for place, one in renamed(self._schedules, old, new).items()}
        self._schedules = moved
        self.waiting = {one.id: one._replace(task=new) if one.task == old else one for one in self.waiting.values()}
        self.revision += 1


def renamed(table: dict[tuple[str, str], Value], old: str, new: str) -> dict[tuple[str, str], Value]:
    """What is kept of ``old``, by (task, more), is kept of ``new``, unless ``new`` has the same already."""
    moved = {(new, more): value for (task, more), value in table.items() if task == old}
    return moved | {place: value for place, value in table.items() if place[0] != old}

"""A context without an engine, to call a task's function with, as any other function.

``ctx.sleep`` answers at once: ``True`` so many times, then ``False``. State is kept in memory under production's rules
(JSON, copies, a limit), and what the function says of itself is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from onduty.calls import to_json
from onduty.clock import to_micros
from onduty.context import Context
from onduty.errors import ArgumentError, TermLost
from onduty.schedules import Slots
from onduty.testing.clock import ManualClock

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEAF_AFTER = 100
"""Sleeps that answered ``False``, after which the function is taken for one that never ends."""


class Given(TypedDict, total=False):
    """What ``Context.for_test`` takes, all of it optional.

    ``state``: what the task has kept so far. ``slot``: when the run was due, an aware ``datetime``; ``missed``: the
    slots it stands for. ``sleeps``: how often ``sleep`` answers ``True`` (1). ``clock``: each sleep moves it.
    """

    state: Mapping[str, Any]
    slot: datetime
    missed: Slots
    sleeps: int
    term: int
    attempt: int
    run_id: str
    task: str
    clock: ManualClock


class ContextForTest(Context):
    """What ``Context.for_test`` answers: a context that a test can ask, and tell to end."""

    __slots__ = ("_hand",)

    def __init__(self, **given: Unpack[Given]) -> None:
        self._hand = _Hand(given)
        super().__init__(self._hand)

    @property
    def slept(self) -> list[float]:
        """The seconds of each sleep that answered ``True``."""
        return list(self._hand.slept)

    @property
    def progressed(self) -> list[tuple[float, str]]:
        """What ``progress`` was told, oldest first."""
        return list(self._hand.progressed)

    def stop(self) -> None:
        """From now on the run must end: ``stopping`` is true and ``sleep`` answers ``False``."""
        self._hand.stopping = True

    def lose_term(self) -> None:
        """As :meth:`stop`; and assignments to ``state`` raise ``TermLost``, as for a worker that leads no longer."""
        self._hand.term_lost = True
        self.stop()


class _Hand:
    """Satisfies ``onduty.context.RunInProgress``."""

    def __init__(self, given: Given) -> None:
        if unknown := [name for name in given if name not in Given.__annotations__]:
            known = ", ".join(Given.__annotations__)
            raise ArgumentError(f"for_test({unknown[0]}=...): a context is not made of that, but of {known}")
        slot = given.get("slot")
        if slot is not None and slot.utcoffset() is None:
            raise ArgumentError(f"slot={slot!r} has no time zone, so it names no instant: add tzinfo=timezone.utc")
        self.slot = None if slot is None else to_micros(slot)
        self.zone = None if slot is None else slot.tzinfo
        self.missed = given.get("missed")
        self.term = given.get("term", 1)
        self.attempt = given.get("attempt", 1)
        self.run_id = given.get("run_id", "run")
        self.task_name = given.get("task", "task")
        self.stopping = self.told = self.is_over = self.term_lost = False
        self.slept: list[float] = []
        self.progressed: list[tuple[float, str]] = []
        self._state = to_json(dict(given.get("state", {})), "state=")
        self._sleeps = given.get("sleeps", 1)
        self._clock = given.get("clock")

    def pause(self, seconds: float | timedelta) -> bool:
        seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        self._sleeps -= 1
        if self._sleeps < -DEAF_AFTER:
            raise AssertionError(f"{self.task_name} does not end: ctx.sleep has answered False {DEAF_AFTER} times")
        if self._sleeps < 0 or self.stopping:
            self.stopping = self.told = True
            return False
        self.slept.append(seconds)
        if self._clock is not None:
            self._clock.advance(seconds)
        return True

    async def apause(self, seconds: float | timedelta) -> bool:
        return self.pause(seconds)

    def note_progress(self, fraction: float, text: str) -> None:
        self.progressed.append((fraction, text))

    def note_line(self, line: str) -> None:
        pass  # loggers say it to pytest's caplog

    def load_state(self) -> str:
        return self._state

    def change_state(self, change: Callable[[str], str]) -> None:
        if self.term_lost:
            raise TermLost(f"the term is over, as the test wants it, and the state of {self.task_name} was not changed")
        self._state = change(self._state)

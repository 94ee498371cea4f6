"""Users' functions run in the thread that asks, one after the other: no thread and no pool, and the same outcome.

A run that sleeps is not left: it lets time pass, and what comes due meanwhile is run on top of it. So a run may
outlast slots of other tasks, and of its own, as it does in production.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from onduty._runtime.desk import CANCELLED
from onduty._runtime.execution import Execution
from onduty._runtime.runner import Runner
from onduty.clock import Clock
from onduty.context import Context, current
from onduty.testing.loops import Loops, outside_any_loop

if TYPE_CHECKING:
    from onduty._runtime.execution import Scope

DEAF_AFTER = 100
"""Sleeps that answered ``False``, after which a service is taken for one that never ends."""


class Part(NamedTuple):
    """One run that is to be performed, by whom, and since when (microseconds UTC)."""

    runner: HereRunner
    execution: Execution
    since: int


class Cast:
    """All parts of a rehearsal: ``ready`` in order, ``services`` by name, until somebody gives them turns.

    ``later``: those that came due while others took longer than the test has said; they are the next one's.
    ``on_stage``: how many are being performed, one on top of the other. ``failed``: by whose fault, oldest first.
    """

    def __init__(self, began: Callable[[Part], None]) -> None:
        self.ready: deque[Part] = deque()
        self.later: deque[Part] = deque()
        self.services: dict[str, Part] = {}
        self.failed: list[tuple[str, BaseException]] = []
        self.began = began
        self.on_stage = 0
        self.loops = Loops()

    def enter(self, part: Part) -> None:
        if part.execution.declared.is_service:
            self.services[part.execution.task_name] = part
        else:
            self.ready.append(part)

    def dismiss(self, runner: HereRunner) -> list[Execution]:
        """Those of ``runner`` that were not performed yet, and now never will be."""
        left = [part for part in (*self.later, *self.ready, *self.services.values()) if part.runner is runner]
        self.later, self.ready = (
            deque(part for part in parts if part.runner is not runner) for parts in (self.later, self.ready)
        )
        self.services = {name: part for name, part in self.services.items() if part.runner is not runner}
        return [part.execution for part in left]

    @contextlib.contextmanager
    def performing(self, part: Part) -> Iterator[None]:
        self.began(part)
        self.on_stage += 1
        try:
            yield
        finally:
            self.on_stage -= 1


class HereRunner(Runner):
    """Hands what it is to start to its ``cast``; whoever drives the rehearsal performs it."""

    def __init__(self, cast: Cast, clock: Clock, scope: Callable[[], Scope] | None, loop: Callable[[], Any]) -> None:
        super().__init__(clock, scope, loop)
        self._cast = cast
        self._turns: dict[str, int] = {}

    def perform(self, part: Part, turns: int | None = None) -> None:
        """Call its function, here; ``turns``: a service is told to end after so many sleeps."""
        execution = part.execution
        if turns is not None:
            self._turns[execution.run_id] = turns
        with self._cast.performing(part):
            if execution.declared.call.is_async:
                self._cast.loops.run(self._perform_async(execution))
            else:
                with outside_any_loop():
                    self._in_fresh_context(execution)

    async def aperform(self, part: Part) -> None:
        """The same from within an ``async def`` run, whose loop it shares."""
        if not part.execution.declared.call.is_async:
            self.perform(part)
            return
        import asyncio

        with self._cast.performing(part):
            create = asyncio.get_running_loop().create_task
            await contextvars.Context().run(create, self._perform_async(part.execution))

    # What a Runner does with threads

    def _hand_over(self, execution: Execution) -> None:
        self._cast.enter(Part(self, execution, self._clock.now()))

    def grow(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    def _call(self, execution: Execution) -> Callable[[], Any]:
        call = super()._call(execution)
        turns = self._turns.pop(execution.run_id, None)
        if turns is None:
            return call
        context = _Counting(execution, turns)
        current.set(context)
        return partial(execution.declared.call.function, context)

    def _end(self, execution: Execution, value: Any, error: BaseException | None) -> None:
        super()._end(execution, value, error)
        if isinstance(error, KeyboardInterrupt):
            raise error  # of the person at the keyboard, not of the run
        if error is not None:
            self._cast.failed.append((execution.run_id, error))


class _Counting(Context):
    """The context of a service that is told to end after so many sleeps."""

    __slots__ = ("_execution", "_turns")

    def __init__(self, execution: Execution, turns: int) -> None:
        super().__init__(execution)
        self._execution = execution
        self._turns = turns

    def sleep(self, seconds: float | timedelta) -> bool:
        self._count()
        return super().sleep(seconds)

    async def asleep(self, seconds: float | timedelta) -> bool:
        self._count()
        return await super().asleep(seconds)

    def _count(self) -> None:
        self._turns -= 1
        if self._turns < 0:
            self._execution.halt(CANCELLED)
        if self._turns < -DEAF_AFTER:
            raise AssertionError(
                f"{self._execution.task_name} does not end: ctx.sleep has answered False {DEAF_AFTER} times"
            )

"""One run in progress: what the engine keeps of it, and how it is told to end.

The scheduler makes it, the runner's thread lives in it, the context shows it. ``halt`` is the only message that goes
in; its keeper hears that there is something to write down, and that it has ended.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Protocol

from onduty._runtime.threads import stay_behind
from onduty.clock import Clock, Wakeup
from onduty.context import Context
from onduty.errors import ArgumentError, OnDutyError, TermLost
from onduty.journal import Outcome
from onduty.schedules import Slots
from onduty.tasks import Declared

LONGEST_SLEEP = 1e9
"""Seconds, some 30 years: beyond it the machine's own waits overflow."""

LINES = 500
LOG_LIMIT = 64 * 1024
"""Characters of JSON: of a run's log, its newest lines are kept that fit."""


if TYPE_CHECKING:

    class Scope(Protocol):
        """What surrounds a run, such as a framework's app context. Opened and closed in the run's own thread."""

        def open(self) -> None: ...
        def close(self) -> None: ...

    class StateBox(Protocol):
        """The state of one task, for this term."""

        def load(self) -> str: ...
        def change(self, change: Callable[[str], str]) -> None: ...

    class Keeper(Protocol):
        """Who keeps a run; called in the run's own thread."""

        def came_back(self, run: Execution) -> None:
            """It has ended, and its outcome is set."""

        def noted(self, run: Execution) -> None:
            """Its progress or its log has changed; told once until ``is_noted`` is taken back."""


class Execution:
    """Satisfies ``onduty.context.RunInProgress``.

    ``lane`` is where it belongs. ``why`` says why it was halted; ``told`` that the function has looked and knows.
    ``not_before_mono``: when the function may be called. ``is_noted``: ``progress`` or ``lines`` are to be written
    down; ``lines`` are JSON, the newest ``LINES``. ``is_over``: the function has returned, and threads that it has left
    behind write nothing any more.
    """

    # What most runs never change, so that making one costs little; whoever makes it sets the first six.
    zone: tzinfo | None = None
    key: str | None = None
    once = False
    missed: Slots | None = None
    triggered = False
    attempt = 1
    stopping = False
    unwanted = False
    told = False
    why: str | None = None
    progress = 0.0
    text = ""
    is_noted = False
    is_over = False
    not_before_mono = 0.0
    started_mono = 0.0
    outcome: Outcome | None = None
    error: str | None = None
    trace: str | None = None
    result: str | None = None
    ended_at = 0
    lines: deque[str] | None = None
    _scope: Scope | None = None
    _inhabitant: object = None
    _wakeup: Wakeup | None = None
    _alarms: set[Callable[[], object]] | None = None

    def __init__(
        self,
        declared: Declared,
        run_id: str,
        slot: int | None,
        term: int,
        lane: str,
        kwargs: str,
        box: StateBox,
        keeper: Keeper,
        clock: Clock,
    ) -> None:
        self.declared = declared
        self.run_id = run_id
        self.slot = slot
        self.term = term
        self.lane = lane
        self.kwargs = kwargs
        self.box = box
        self.keeper = keeper
        self._clock = clock
        self._home = os.getpid()

    @property
    def task_name(self) -> str:
        return self.declared.name

    def context(self) -> Context:
        return Context(self)

    @contextlib.contextmanager
    def surrounded(self, scope: Scope) -> Iterator[None]:
        """Within ``scope``, which belongs to the calling thread, or asyncio task, alone."""
        scope.open()
        self._scope, self._inhabitant = scope, self._caller()
        try:
            yield
        finally:
            self._scope = None
            scope.close()

    def halt(self, why: str, *, unwanted: bool = False) -> None:
        """Ask it to end; the first reason stands. From any thread, again and again.

        ``unwanted``: nor shall it begin, if it still waits for a thread.
        """
        if self.why is None:
            self.why = why
        self.unwanted = self.unwanted or unwanted
        # The flag before the waiters: a sleeper makes its wakeup first and looks at the flag after, so one of the two
        # sees the other.
        self.stopping = True
        self._wake()

    def leave(self) -> None:
        """The function has returned; to be called in its thread, once its outcome is known."""
        self.is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.set()
        for alarm in list(self._alarms) if self._alarms else ():
            # The loop it would wake is closed; then nobody sleeps there.
            with contextlib.suppress(RuntimeError):
                alarm()

    def pause(self, seconds: float | timedelta) -> bool:
        if self.declared.call.is_async:
            raise OnDutyError(f"ctx.sleep() would block the event loop of {self.task_name}: await ctx.asleep()")
        seconds = _checked(seconds)
        if not self._must_end:
            if self._wakeup is None:
                self._wakeup = Wakeup()
            scope = self._scope_of_this_turn()
            if scope is not None:
                scope.close()
            try:
                if not self._must_end:
                    self._clock.wait(self._wakeup, seconds)
                    stay_behind(self._home)
            finally:
                if scope is not None:
                    scope.open()
        return self._go_on()

    async def apause(self, seconds: float | timedelta) -> bool:
        import asyncio

        seconds = _checked(seconds)
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        if self._alarms is None:
            self._alarms = set()

        def alarm() -> object:
            return loop.call_soon_threadsafe(woken.set)

        self._alarms.add(alarm)
        scope = self._scope_of_this_turn()
        if scope is not None:
            scope.close()
        try:
            if not self._must_end:
                await self._clock.await_for(woken, seconds)
        finally:
            self._alarms.discard(alarm)
            if scope is not None:
                scope.open()
        return self._go_on()

    def note_progress(self, fraction: float, text: str) -> None:
        self._refuse_late("progress")
        # What came from a file name may hold what no store takes for text.
        self.progress, self.text = fraction, text.encode(errors="replace").decode()
        self._note()

    def note_line(self, line: str) -> None:
        self._kept_lines().append(line)
        self._note()

    def take_over(self, log: str | None) -> None:
        """Go on with the log of the attempts before."""
        if log is not None:
            self._kept_lines().extend(json.dumps(line, separators=(",", ":")) for line in json.loads(log))

    def log(self) -> str | None:
        """Its lines as a JSON list; ``None``: it has said nothing."""
        lines = list(self.lines or ())
        room = LOG_LIMIT
        for number, line in enumerate(reversed(lines)):
            room -= len(line) + 1
            if room < 0:
                lines = lines[len(lines) - number :]
                break
        return f"[{','.join(lines)}]" if lines else None

    def _kept_lines(self) -> deque[str]:
        lines: deque[str] | None = self.lines
        if lines is None:
            lines = vars(self).setdefault("lines", deque(maxlen=LINES))  # in one step: two threads may be first
        return lines

    def _note(self) -> None:
        if not self.is_noted:
            self.is_noted = True
            self.keeper.noted(self)

    def load_state(self) -> str:
        return self.box.load()

    def change_state(self, change: Callable[[str], str]) -> None:
        self._refuse_late("state")
        try:
            self.box.change(change)
        except TermLost:
            # From here on even a loop with a bare "except Exception" ends.
            self.halt("the term was lost")
            raise

    def _scope_of_this_turn(self) -> Scope | None:
        """What a service leaves when it goes to sleep: nothing, such as a database session, is held asleep.

        A helper thread or a child task that sleeps has at most a copy of it, and the service goes on meanwhile.
        """
        return self._scope if self.declared.is_service and self._caller() == self._inhabitant else None

    def _caller(self) -> object:
        if not self.declared.call.is_async:
            return threading.get_ident()
        import asyncio

        return asyncio.current_task()

    def _go_on(self) -> bool:
        if self.stopping:
            self.told = True
        return not self._must_end

    @property
    def _must_end(self) -> bool:
        return self.stopping or self.is_over

    def _refuse_late(self, what: str) -> None:
        if self.is_over:
            raise OnDutyError(
                f"run {self.run_id} of {self.task_name} has ended, and its ctx.{what} can't be changed any more:"
                " let the run wait for the threads it starts"
            )


def _checked(seconds: Any) -> float:
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or seconds < 0 or (isinstance(seconds, float) and not math.isfinite(seconds)):
        raise ArgumentError(f"sleep({seconds!r}): give zero or more seconds, or a timedelta")
    return float(min(seconds, LONGEST_SLEEP))

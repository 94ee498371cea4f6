"""Where users' functions run: a thread each for services, a growing pool for everything else.

Whatever a function does, raising, ``sys.exit``, forking, never returning, its thread brings back an outcome or keeps
running; it does not reach the scheduler's loop. A thread can't be killed: a run that ignores ``stopping`` occupies its
thread until it ends or the process does.
"""

from __future__ import annotations

import contextvars
import json
import os
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from onduty._runtime import capture
from onduty._runtime.execution import Execution
from onduty._runtime.pool import Pool
from onduty._runtime.threads import spawn, stay_behind
from onduty.clock import SECOND, Clock, Wakeup
from onduty.context import current
from onduty.errors import TermLost
from onduty.journal import Outcome

if TYPE_CHECKING:
    from onduty._runtime.aio import AsyncHost
    from onduty._runtime.execution import Scope

_NO_SCOPE = nullcontext()

_TRACE_LIMIT = 16 * 1024
_RESULT_LIMIT = 64 * 1024


class Runner:
    """One per engine. ``start`` is called by one scheduler thread at a time per execution's owner."""

    def __init__(self, clock: Clock, scope: Callable[[], Scope] | None, server_loop: Callable[[], Any]) -> None:
        self._clock = clock
        self._make_scope = scope
        self._server_loop = server_loop
        self._aio: AsyncHost | None = None
        self._pid = os.getpid()
        self._pool = Pool(clock, self._in_fresh_context)

    def start(self, execution: Execution) -> None:
        """Hand it to a thread and return; say :meth:`grow` when all are handed over that come together.

        One that finds no thread of its own, or no loop, has failed.
        """
        execution.started_mono = max(self._clock.mono(), execution.not_before_mono)
        try:
            self._hand_over(execution)
        except Exception as error:  # noqa: BLE001  # no thread, no descriptor for a loop: the others of its batch go on
            self._end(execution, None, error)

    def _hand_over(self, execution: Execution) -> None:
        if execution.declared.call.is_async:
            self._host().submit(self._perform_async(execution))
        elif execution.declared.is_service:
            spawn(f"service-{execution.task_name}", self._in_fresh_context, execution)
        else:
            self._pool.put(execution)

    def finished(self, execution: Execution) -> None:
        """The scheduler has taken the outcome of a pooled run; its thread is free."""
        if not execution.declared.is_service and not execution.declared.call.is_async:
            self._pool.has_ended()

    def grow(self) -> bool:
        """See that there are threads for what was handed over. Answers whether to look again soon."""
        return self._pool.grow()

    def stop(self) -> None:
        """Let idle threads end; busy ones end when their run does."""
        self._pool.stop()
        if self._aio is not None:
            self._aio.stop()

    def _host(self) -> AsyncHost:
        if self._aio is None:
            from onduty._runtime.aio import AsyncHost

            self._aio = AsyncHost(self._server_loop)
        return self._aio

    def _in_fresh_context(self, execution: Execution) -> None:
        stay_behind(self._pid)
        contextvars.Context().run(self._perform, execution)

    def _perform(self, execution: Execution) -> None:
        error: BaseException | None = None
        value = None
        try:
            with self._scope_of(execution):
                call = self._call(execution)
                early = self._early(execution)
                if early > 0:
                    self._clock.wait(Wakeup(), early)
                    stay_behind(self._pid)
                value = call() if self._may_begin(execution) else None
        except BaseException as caught:  # noqa: BLE001  # sys.exit in a run ends the run, not its thread
            error = caught
        self._end(execution, value, error)

    async def _perform_async(self, execution: Execution) -> None:
        error: BaseException | None = None
        value = None
        try:
            with self._scope_of(execution):
                call = self._call(execution)
                early = self._early(execution)
                if early > 0:
                    import asyncio

                    await asyncio.sleep(early)
                value = await call() if self._may_begin(execution) else None
        except BaseException as caught:  # noqa: BLE001  # as above; a cancelled coroutine is a run that failed
            error = caught
        self._end(execution, value, error)

    def _early(self, execution: Execution) -> float:
        """Seconds until its instant; most have none."""
        return execution.not_before_mono - self._clock.mono() if execution.not_before_mono else 0.0

    @staticmethod
    def _may_begin(execution: Execution) -> bool:
        """Not what was cancelled while it waited for a thread, or for its instant."""
        execution.told = execution.unwanted
        return not execution.unwanted

    def _scope_of(self, execution: Execution) -> AbstractContextManager[None]:
        return execution.surrounded(self._make_scope()) if self._make_scope else _NO_SCOPE

    def _call(self, execution: Execution) -> Callable[[], Any]:
        """The user's call, ready to be made, in this context of variables."""
        declared, context = execution.declared.call, execution.context()
        current.set(context)
        function = partial(declared.function, context) if declared.takes_context else declared.function
        return partial(function, **json.loads(execution.kwargs)) if execution.kwargs != "{}" else function

    def _end(self, execution: Execution, value: Any, error: BaseException | None) -> None:
        if os.getpid() != self._pid:
            stay_behind(self._pid)
            # The function forked, and its child has come back here instead of exiting. Nothing here belongs to it.
            os._exit(0 if error is None else 1)
        execution.outcome = judge(execution, error)
        if error is not None:
            execution.error, execution.trace = _as_text(error)
        elif value is not None:
            execution.result, why = _as_result(value)
            if why:
                execution.note_line(capture.line(self._clock.now() / SECOND, "INFO", f"its result is not kept: {why}"))
        execution.ended_at = self._clock.now()
        execution.leave()
        execution.keeper.came_back(execution)


def judge(execution: Execution, error: BaseException | None) -> Outcome:
    """How a run ended, from what it was told and what it did."""
    if isinstance(error, TermLost):
        return Outcome.STOPPED
    if execution.why == TIMED_OUT:
        return Outcome.TIMED_OUT
    if error is not None:
        return Outcome.FAILED
    # Returning after having been told is an early end; a run that never looked has done its work.
    return Outcome.STOPPED if execution.told else Outcome.SUCCEEDED


TIMED_OUT = "its timeout has passed"


def _as_text(error: BaseException) -> tuple[str, str]:
    """Its last line and the whole. It may be of a user's own type, and refuse to be shown."""
    try:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))[-_TRACE_LIMIT:]
        shown = f"{type(error).__name__}: {error}"[:1000]
    except Exception as problem:  # noqa: BLE001  # as above
        shown = trace = f"{type(error).__name__}, which can't be shown: {type(problem).__name__}"
    # What came from a file name or a broken header may hold what no store takes for text.
    return shown.encode(errors="replace").decode(), trace.encode(errors="replace").decode()


def _as_result(value: Any) -> tuple[str | None, str]:
    """The returned value as JSON if it is plain and small, else why not; a task may return what it likes."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except Exception as error:  # noqa: BLE001  # it may be of any type, or too deep
        return None, _as_text(error)[0]
    if len(text) > _RESULT_LIMIT:
        return None, f"{len(text)} characters of JSON, and {_RESULT_LIMIT} is the most"
    return text, ""

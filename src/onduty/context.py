"""What a run is handed: when to stop, who it is, and what it may keep.

A run learns that it must end in one way only: ``stopping`` turns true and ``sleep`` answers ``False``, at once
and for good, be it that the worker leaves, that the term was lost, that it took too long or was cancelled.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, MutableMapping
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any, Protocol

from onduty.calls import to_json
from onduty.clock import to_datetime
from onduty.errors import ArgumentError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from onduty.schedules import Slots
    from onduty.testing.by_hand import ContextForTest, Given

STATE_LIMIT = 256 * 1024
"""Bytes of JSON that ``ctx.state`` may hold."""

current: ContextVar[Context | None] = ContextVar("onduty_run", default=None)
"""The context of the run that this code is part of, if it is."""


if TYPE_CHECKING:  # what only types name is not made: ten such classes are 60 kB in every worker (measured)

    class RunInProgress(Protocol):
        """What the engine keeps of a run and the context shows."""

        run_id: str
        slot: int | None
        term: int
        attempt: int
        stopping: bool
        told: bool
        is_over: bool
        missed: Slots | None
        zone: tzinfo | None

        @property
        def task_name(self) -> str: ...
        def pause(self, seconds: float | timedelta) -> bool: ...
        async def apause(self, seconds: float | timedelta) -> bool: ...
        def note_progress(self, fraction: float, text: str) -> None: ...
        def note_line(self, line: str) -> None: ...
        def load_state(self) -> str: ...
        def change_state(self, change: Callable[[str], str]) -> None: ...


class Context:
    """The first argument of a run that asks for it. Made by onduty, and of use inside its run only.

    A thread that outlives the run is told to end as the run itself would be, and can't write any more.
    """

    __slots__ = ("_run", "_state")

    def __init__(self, run: RunInProgress) -> None:
        self._run = run
        self._state: State | None = None

    @staticmethod
    def for_test(**given: Unpack[Given]) -> ContextForTest:
        """A context to call a function with directly: ``collector(Context.for_test(state={"seen": 2}, sleeps=3))``.

        ``sleep`` answers at once: ``True`` so many times (1), then ``False``. What else can be given, and what the
        context remembers for the test, is told in ``onduty.testing.by_hand``.
        """
        from onduty.testing.by_hand import ContextForTest

        return ContextForTest(**given)

    def sleep(self, seconds: float | timedelta) -> bool:
        """Wait ``seconds`` or a ``timedelta``; ``True``, or ``False`` as soon as the run must end, in mid-wait too."""
        return self._run.pause(seconds)

    async def asleep(self, seconds: float | timedelta) -> bool:
        """As :meth:`sleep`, for ``async def``."""
        return await self._run.apause(seconds)

    @property
    def stopping(self) -> bool:
        """Whether the run must end now; a CPU-bound loop looks at this between its steps."""
        if self._run.stopping:
            self._run.told = True
        return self._run.stopping or self._run.is_over

    @property
    def term(self) -> int:
        """The fencing number: grows with every take-over. Give it to the resources you write to."""
        return self._run.term

    @property
    def slot(self) -> datetime | None:
        """The instant this run was due, in its schedule's time zone; ``None`` for services and triggered runs."""
        slot = self._run.slot
        return None if slot is None else to_datetime(slot, self._run.zone or timezone.utc)

    @property
    def missed(self) -> Slots | None:
        """The slots before this one that nobody ran and this run stands for, if any."""
        return self._run.missed

    @property
    def run_id(self) -> str:
        """The name of this run in the journal; the same in each of its attempts."""
        return self._run.run_id

    @property
    def attempt(self) -> int:
        """1 for the first try, 2 for the first retry, and so on."""
        return self._run.attempt

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger named after the task, whose records carry ``run_id``, ``term`` and ``attempt``.

        What it says, and what any other logger says inside the run, is kept with the run: its newest 64 KiB.
        """
        extra = {"run_id": self._run.run_id, "term": self._run.term, "attempt": self._run.attempt}
        return logging.LoggerAdapter(logging.getLogger(f"onduty.task.{self._run.task_name}"), extra)

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the run is, from 0 to 1; kept with the run within a second."""
        if not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
            raise ArgumentError(f"progress({fraction!r}): give a fraction from 0 to 1")
        self._run.note_progress(float(fraction), str(text))

    def keep(self, line: str) -> None:
        """Keep a line of its log, JSON, with the run; for ``onduty`` itself."""
        self._run.note_line(line)

    @property
    def state(self) -> State:
        """What the task keeps from run to run and from worker to worker: see :class:`State`."""
        if self._state is None:
            self._state = State(self._run)
        return self._state

    @state.setter
    def state(self, value: object) -> None:
        raise ArgumentError(
            "ctx.state can't be replaced: set its keys, ctx.state['seen'] = 3, or ctx.state.update(...)"
        )


class State(MutableMapping[str, Any]):
    """A small JSON object that outlives the worker.

    An assignment is durable and fenced when it returns: under a lost term it raises ``TermLost``, and from then on the
    run is stopping. What you read is a copy; assign it back to keep a change. At most 256 KiB of JSON.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunInProgress) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"ctx.state has keys: ctx.state[{name!r}], or ctx.state.get({name!r})")

    def _load(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self._run.load_state())
        return loaded

    def _change(self, change: Callable[[dict[str, Any]], object]) -> None:
        def changed(text: str) -> str:
            data: dict[str, Any] = json.loads(text)
            change(data)
            return self._checked(to_json(data, "ctx.state"))

        self._run.change_state(changed)

    def _checked(self, text: str) -> str:
        if len(text.encode()) > STATE_LIMIT:
            raise ArgumentError(
                f"ctx.state of {self._run.task_name} would be {len(text.encode())} bytes of JSON, more than "
                f"{STATE_LIMIT}; keep large data in a file or a database and its name here"
            )
        return text

    def __getitem__(self, key: str) -> Any:
        return self._load()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise ArgumentError(f"ctx.state[{key!r}]: keys are text, as in any JSON object")
        self._change(lambda data: data.__setitem__(key, value))

    def __delitem__(self, key: str) -> None:
        self._change(lambda data: data.__delitem__(key))

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Several keys in one durable write."""
        given = dict(*args, **kwargs)
        self._change(lambda data: data.update(given))

    def clear(self) -> None:
        self._change(lambda data: data.clear())

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())

    def __repr__(self) -> str:
        return repr(self._load())

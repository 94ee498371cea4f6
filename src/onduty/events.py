"""Facts, told as they happen; sentences, counters and pages are made by those who listen.

A listener is called in the thread where the fact happened, in the process where it happened (of a run: the
worker on duty), so it must be quick. One that raises is logged and the others are still called.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda kind: kind


_log = logging.getLogger("onduty.events")


@dataclass_transform(eq_default=False)
class _Fact:
    """What a dataclass does, without its 0.25 ms for each of twenty classes, which every worker would pay at import.

    A class gets its ``__init__`` when the first of its kind is made.
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = (*cls._fields, *inspect.get_annotations(cls))

        if not TYPE_CHECKING:  # there each class has its own, made of its fields

            def first_of_its_kind(self, *values, **named):
                cls.__init__ = _init(cls)
                cls.__init__(self, *values, **named)

            cls.__init__ = first_of_its_kind

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def _init(cls: type[_Fact]) -> Any:
    sets = "; ".join(f"self.{name} = {name}" for name in cls._fields)
    made: dict[str, Any] = {}
    exec(f"def __init__(self, {', '.join(cls._fields)}): {sets}", made)  # noqa: S102  # our own names, as in namedtuple
    made["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return made["__init__"]


class Event(_Fact):
    """Something that happened at ``at`` (microseconds since the epoch, UTC) in the scope ``app``. Do not change it."""

    at: int
    app: str


class WorkerReady(Event):
    """This process serves requests and takes part in the election from now on."""

    server: str
    evidence: str
    folder: str
    tasks: int


class TermBegan(Event):
    """This process is on duty from now on."""

    term: int


class TermEnded(Event):
    """This process is no longer on duty; ``why`` says who or what ended it."""

    term: int
    why: str
    lingering: int


class LeaderFrozen(Event):
    """A standby sees that the leader (``pid``) holds the lock but does not turn its loop.

    ``state``: *stopped* (by a signal; certain), *busy* (it uses the processor) or *blocked*. ``may_kill``: the setting
    ``frozen_leader`` allows it, should it last.
    """

    pid: int
    state: str
    seconds: float
    killed: bool
    may_kill: bool


class LeaderThawed(Event):
    """A leader that was frozen turns its loop again."""

    pid: int


class LockHeldByOthers(Event):
    """The leader is dead, yet its lock is held: by a process that inherited the descriptor (``pids``)."""

    dead: int
    pids: tuple[int, ...]


class JournalFailed(Event):
    """The journal can't be asked or written; tasks are held, services go on.

    ``runs_go_on``: it is only full; tasks run too, and are written down as soon as there is room.
    """

    error: str
    runs_go_on: bool


class JournalSetAside(Event):
    """The journal was damaged or not ours (``error``); it lies in ``moved`` now, and a new one was begun."""

    error: str
    moved: str


class JournalRecovered(Event):
    """The journal answers again; what was due meanwhile is caught up as ``missed`` says."""


class EngineFault(Event):
    """A fault of onduty itself or of the machine under it; the term was given up, the election goes on."""

    error: str


class Advice(Event):
    """The surroundings are not as they should be; ``text`` says what is wrong and what mends it."""

    text: str


class EmitsDropped(Event):
    """A worker (``peer``) does not read what is emitted to its clients; ``dropped`` messages are lost to it by now."""

    peer: str
    dropped: int


class RunEvent(Event):
    """The parent of all events of one run."""

    task: str
    run_id: str
    slot: int | None
    attempt: int


class RunStarted(RunEvent):
    """The run has been claimed and handed to its thread."""


class RunSucceeded(RunEvent):
    """It returned. ``seconds`` from start to end."""

    seconds: float


class RunFailed(RunEvent):
    """It raised ``error`` (the last line; ``trace`` is the whole); tried again after ``retry_in`` seconds, or never."""

    seconds: float
    error: str
    trace: str
    retry_in: float | None


class RetryDropped(RunEvent):
    """It had failed and was to be tried again, and is not: ``why`` says who or what came in between."""

    why: str


class RunTimedOut(RunEvent):
    """It was asked to end after its ``timeout``, and has; tried again after ``retry_in`` seconds, or never."""

    seconds: float
    retry_in: float | None


class RunOverdue(RunEvent):
    """Its ``timeout`` has passed and it was asked to end; it counts as running until it really has."""

    timeout: float


class RunStopped(RunEvent):
    """It ended early because it was told to: the worker is leaving, the term was lost, or somebody cancelled it."""

    seconds: float
    why: str


class RunLingers(RunEvent):
    """It did not end within ``grace``: the lock is released, and it counts as running until it or its process ends."""


class RunLost(RunEvent):
    """Its process died while it ran; how far it came is not known. ``again``: it is run once more (``retry_lost``)."""

    term: int
    again: bool


class TaskPaused(Event):
    """Nothing becomes due any more, until it is resumed; told at the start of each term too. ``key``: of a schedule."""

    task: str
    key: str


class TaskResumed(Event):
    """It goes on from now."""

    task: str
    key: str


class SlotsPassed(Event):
    """``slots`` slots of ``task``, from ``first`` to ``last``, came due and were not run.

    ``outcome``: *missed* (nobody was on duty, or the leader was late), *skipped* (a run was in progress, or it was
    paused) or *lost* (they may have run). ``key``: of a schedule.
    """

    task: str
    first: int
    last: int
    slots: int
    outcome: str
    key: str


E = TypeVar("E", bound=Event)


class Events:
    """Where facts are emitted and listeners subscribe, by type; a parent type brings its children."""

    def __init__(self) -> None:
        self._listeners: list[tuple[type[Event], Callable[[Any], object]]] = []
        self._wanted: dict[type[Event], tuple[Callable[[Any], object], ...]] = {}

    def subscribe(self, kind: type[E], listener: Callable[[E], object]) -> None:
        self._listeners.append((kind, listener))
        self._wanted = {}

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens: on the hot path an event nobody wants is not even made."""
        found = self._wanted.get(kind)
        return bool(self._for(kind) if found is None else found)

    def emit(self, event: Event) -> None:
        for listener in self._for(type(event)):
            try:
                listener(event)
            except BaseException:  # noqa: BLE001  # a listener's failure is its own, and so is its sys.exit()
                _log.exception("a listener failed on %s", type(event).__name__)

    def _for(self, kind: type[Event]) -> tuple[Callable[[Any], object], ...]:
        found = self._wanted.get(kind)
        if found is None:
            found = tuple(listener for wanted, listener in self._listeners if issubclass(kind, wanted))
            self._wanted[kind] = found
        return found

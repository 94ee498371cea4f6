"""What a user declares: tasks and services.

Declaring is cheap and touches nothing: no thread, no file, no clock. Whatever can be refused is refused here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from onduty.calls import Call
from onduty.errors import ArgumentError, DeclarationError
from onduty.options import Options, printable
from onduty.schedules import Schedule

if TYPE_CHECKING:
    from onduty.context import Context
    from onduty.journal import RunRecord
    from onduty.run import Run

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:

    class Owner(Protocol):
        """What a declaration asks of the ``OnDuty`` that holds it."""

        def trigger(self, task: Task[Any, Any], kwargs: str, key: str | None = None) -> Run: ...
        def cancel(self, declared: Declared) -> None: ...
        def set_paused(self, declared: Declared, paused: bool) -> None: ...
        def put_schedule(self, task: Task[Any, Any], key: str, spec: str, kwargs: str) -> None: ...
        def drop_schedule(self, task: Task[Any, Any], key: str) -> bool: ...
        def read_schedules(self, task: Task[Any, Any]) -> list[DynamicSchedule]: ...
        def read_next_slot(self, task: Task[Any, Any]) -> datetime | None: ...
        def read_state(self, declared: Declared) -> dict[str, Any]: ...
        def read_runs(self, declared: Declared, limit: int) -> list[RunRecord]: ...


class DynamicSchedule(NamedTuple):
    """One of ``task.schedules()``: its key, its schedule as text, the arguments of its runs, and when it is due."""

    key: str
    schedule: str
    kwargs: dict[str, Any]
    paused: bool
    next_slot: datetime | None


class Declared:
    """A function under a name, with options: what tasks and services have in common."""

    is_service = False

    def __init__(self, owner: Owner, function: Callable[..., Any], name: str | None, options: Options) -> None:
        self.call = Call(function)
        self.name = _name_of(function, name)
        self.chosen = options
        self.owner = owner
        self.__name__ = self.name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @property
    def state(self) -> dict[str, Any]:
        """A copy of the last ``ctx.state``, read from the journal; from any worker."""
        return self.owner.read_state(self)

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The newest rows of the journal, newest first; from any worker."""
        if not isinstance(limit, int) or limit < 1:
            raise ArgumentError(f"runs(limit={limit!r}): give how many rows, 1 or more")
        return self.owner.read_runs(self, min(limit, sys.maxsize))

    def pause(self) -> None:
        """From now on nothing of it becomes due, until :meth:`resume`; a service ends. From any process.

        It survives deploys and is said at each start. Slots that pass meanwhile are recorded as skipped; what is
        triggered runs all the same.
        """
        self.owner.set_paused(self, True)

    def resume(self) -> None:
        """It goes on from now."""
        self.owner.set_paused(self, False)

    def cancel(self) -> None:
        """Tell its runs in progress to end, and take waiting ones out of the queue; a service starts again, unless
        paused.
        """
        self.owner.cancel(self)

    def once_key(self) -> str | None:
        """The name under which it is to succeed once; ``None``: it is no such task."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Service(Declared):
    """A loop that is always running on exactly one worker."""

    is_service = True

    def __init__(self, owner: Owner, function: Callable[..., Any], name: str | None, options: Options) -> None:
        super().__init__(owner, function, name, options)
        if not self.call.takes_context:
            raise DeclarationError(
                f"the service {self.name} could never be stopped, since it does not take the context. Write\n"
                f"    def {self.name}(ctx: Context) -> None:\n"
                f"        while ctx.sleep(1): ..."
            )
        _no_arguments(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, called here and now."""
        return self.call.function(*args, **kwargs)


class Task(Declared, Generic[P, R_co]):
    """A function that runs for the slots of a schedule, or when it is triggered.

    Type parameters: the run's own arguments (without the context), and what the function returns.
    """

    def __init__(
        self,
        owner: Owner,
        function: Callable[..., Any],
        name: str | None,
        options: Options,
        schedule: Callable[[str], Schedule] | None = None,
        once: str | Callable[[], str] | None = None,
    ) -> None:
        super().__init__(owner, function, name, options)
        self._schedule = schedule
        self._once = once
        if schedule is not None or once is not None:
            _no_arguments(self)

    def schedule_in(self, zone: str) -> Schedule | None:
        """Its schedule, in ``zone`` where it names none of its own; ``None``: it only runs when triggered."""
        return self._schedule(zone) if self._schedule else None

    def once_key(self) -> str | None:
        key = self._once() if callable(self._once) else self._once
        if key is not None and not _is_text(key):
            raise DeclarationError(f"the once key of {self.name} must be text, not {key!r}")
        return key

    def trigger(self, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Run it once more, now, on the worker on duty, with these arguments (plain JSON data). From any process.

        Durable when it returns. While nobody is on duty it waits, and a warning says so.

        Raises:
            ArgumentError: They do not fit the function, or are not JSON.
            JournalBusy: Another process held the journal for two seconds; nothing was written.
        """
        return self.owner.trigger(self, self.call.bind(args, kwargs))

    def options(self, *, key: str) -> Keyed[P]:
        """``task.options(key="user-3").trigger(...)``: while a run with that key is queued or running, it is the answer
        and no other one is made.
        """
        if not _is_text(key):
            raise ArgumentError(f"options(key={key!r}): a key is text, such as 'user-3'")
        return Keyed(self, key)

    def schedule(
        self,
        key: str,
        *,
        every: float | timedelta | None = None,
        cron: str | None = None,
        at: datetime | None = None,
        timezone: str | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Run it by one more schedule, named ``key``, with ``kwargs``; durable, an upsert. From any process.

        ``every`` in seconds or as a ``timedelta``; exactly one of ``every``, ``cron`` and ``at``. A changed schedule
        begins now; one said again as it was changes nothing. ``ctx.state`` and ``overlap`` are its own.

        Raises:
            DeclarationError: No such schedule can be.
            ArgumentError: ``kwargs`` do not fit the function, or are not JSON.
        """
        from onduty.schedules.spec import to_spec

        printable("key", key)
        self._refuse_local("schedule")
        if kwargs is not None and not (isinstance(kwargs, dict) and all(isinstance(name, str) for name in kwargs)):
            raise ArgumentError(f"schedule(kwargs={kwargs!r}): give the arguments by name, such as {{'user_id': 3}}")
        spec = to_spec(every=every, cron=cron, at=at, timezone=timezone)
        self.owner.put_schedule(self, key, spec, self.call.bind((), kwargs or {}))

    def unschedule(self, key: str) -> bool:
        """Take that schedule away; whether there was one. A run in progress goes on."""
        return self.owner.drop_schedule(self, key)

    def schedules(self) -> list[DynamicSchedule]:
        """Those made by :meth:`schedule`, by key."""
        return self.owner.read_schedules(self)

    def next_slot(self) -> datetime | None:
        """When its own schedule is due next; ``None``: it has none, or is paused."""
        return self.owner.read_next_slot(self)

    def _refuse_local(self, what: str) -> None:
        if self.chosen.on == "every_worker":
            raise DeclarationError(
                f'{self.name} has on="every_worker" and can\'t be given to {what}(): no one keeps it'
            )


class Keyed(Generic[P]):
    """A task together with a key; see :meth:`Task.options`."""

    def __init__(self, task: Task[P, Any], key: str) -> None:
        self._task = task
        self._key = key

    def trigger(self, *args: P.args, **kwargs: P.kwargs) -> Run:
        """As ``Task.trigger``; answers the run that has this key, be it new or not."""
        return self._task.owner.trigger(self._task, self._task.call.bind(args, kwargs), self._key)


class PlainTask(Task[P, R_co]):
    """A task whose function takes no context."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The function itself, called here and now."""
        result: R_co = self.call.function(*args, **kwargs)
        return result


class ContextTask(Task[P, R_co]):
    """A task whose function takes the context first."""

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The function itself, called here and now."""
        result: R_co = self.call.function(ctx, *args, **kwargs)
        return result


def _no_arguments(declared: Declared) -> None:
    if declared.call.needs:
        missing = ", ".join(declared.call.needs)
        raise DeclarationError(
            f"{declared.name} needs {missing}, and nobody is there to give it when a schedule or a term starts it; "
            "give a default, or name the first parameter ctx if it is meant to be the context"
        )


def _name_of(function: Callable[..., Any], name: str | None) -> str:
    if name is None:
        name = getattr(function, "__name__", "")
        if not name.isidentifier():
            raise DeclarationError(f'{function!r} has no name of its own; give name="..."')
    return printable("name", name)


def _is_text(key: object) -> bool:
    """Some, and such as any store takes: what came from a file name may hold halves of characters."""
    return isinstance(key, str) and key != "" and key.encode(errors="replace").decode() == key

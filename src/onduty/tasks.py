"""What a user declares: tasks and services, their options, and the registry behind the decorators.

Declaring is cheap and touches nothing: no thread, no file, no clock. Whatever can be refused is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, get_args

from onduty.calls import Call
from onduty.errors import AlreadyStarted, DeclarationError, DuplicateTask, UnknownTask
from onduty.schedules import Schedule

if TYPE_CHECKING:
    from onduty.context import Context
    from onduty.journal import RunRecord
    from onduty.run import Run

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

Missed = Literal["once", "skip", "all"]
Overlap = Literal["skip", "queue", "cancel"]
Where = Literal["leader", "every_worker"]


class Options(NamedTuple):
    """How a task behaves beside its schedule; durations in seconds. The table in the docs is the meaning.

    Made by :func:`checked`, unless the values are known to be right.
    """

    missed: Missed = "once"
    missed_window: float = 24 * 3600.0
    overlap: Overlap | None = None
    concurrency: int = 1
    timeout: float | None = None
    retries: int = 0
    backoff: float = 1.0
    jitter: float = 0.0
    on: Where = "leader"


def checked(given: dict[str, Any]) -> Options:
    """Options from what a user wrote.

    Raises:
        DeclarationError: No such option, or a value that makes no sense.
    """
    if unknown := [name for name in given if name not in Options._fields]:
        raise DeclarationError(f"{unknown[0]}= is not an option of a task; options are {', '.join(Options._fields)}")
    said = Options(**given)
    _one_of("missed", said.missed, get_args(Missed))
    _one_of("on", said.on, get_args(Where))
    if said.overlap is not None:
        _one_of("overlap", said.overlap, get_args(Overlap))
    _whole("concurrency", said.concurrency, least=1)
    _whole("retries", said.retries, least=0)
    return said._replace(
        missed_window=seconds("missed_window", said.missed_window),
        timeout=None if said.timeout is None else seconds("timeout", said.timeout, zero=False),
        backoff=seconds("backoff", said.backoff),
        jitter=seconds("jitter", said.jitter),
    )


class Owner(Protocol):
    """What a declaration asks of the ``OnDuty`` that holds it."""

    def trigger(self, task: Task[Any, Any], kwargs: str) -> Run: ...
    def read_state(self, declared: Declared) -> dict[str, Any]: ...
    def read_runs(self, declared: Declared, limit: int) -> list[RunRecord]: ...


class Declared:
    """A function under a name, with options: what tasks and services have in common."""

    is_service = False

    def __init__(self, owner: Owner, function: Callable[..., Any], name: str | None, options: Options) -> None:
        self.call = Call(function)
        self.name = _name_of(function, name)
        self.options = options
        self._owner = owner
        self.__name__ = self.name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @property
    def state(self) -> dict[str, Any]:
        """A copy of the last ``ctx.state``, read from the journal; from any worker."""
        return self._owner.read_state(self)

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The newest rows of the journal, newest first; from any worker."""
        return self._owner.read_runs(self, limit)

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
    ) -> None:
        super().__init__(owner, function, name, options)
        self._schedule = schedule
        if schedule is not None:
            _no_arguments(self)

    def schedule_in(self, zone: str) -> Schedule | None:
        """Its schedule, in ``zone`` where it names none of its own; ``None``: it only runs when triggered."""
        return self._schedule(zone) if self._schedule else None

    def trigger(self, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Run it once more, now, on the worker on duty, with these arguments (plain JSON data).

        Raises:
            ArgumentError: They do not fit the function, or are not JSON.
            NotOnDuty: This process is not the worker on duty.
        """
        return self._owner.trigger(self, self.call.bind(args, kwargs))


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


class Registry:
    """Every declaration of one ``OnDuty``, by name, in order; closed when the worker is ready."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}
        self._closed = False

    def add(self, declared: Declared) -> None:
        if self._closed:
            raise AlreadyStarted(
                f"{declared.name} is declared after the worker became ready, when its background work had begun; "
                "declare it at import time or in the app factory"
            )
        known = self._declared.get(declared.name)
        function: object = declared.call.function
        if known is not None and function is known:
            raise DuplicateTask(
                f"{declared.name} is a task already, by the decorator below this one: one decorator is enough, and "
                "every task can be triggered"
            )
        if known is not None:
            module = getattr(declared.call.function, "__module__", "app").rpartition(".")[2]
            raise DuplicateTask(
                f'there is a task named {declared.name} already; give one of them name="{module}.{declared.name}"'
            )
        self._declared[declared.name] = declared

    def close(self) -> None:
        self._closed = True

    def get(self, name: str) -> Declared:
        if name not in self._declared:
            known = ", ".join(self._declared) or "none is"
            raise UnknownTask(f"no task named {name!r} is declared here; declared: {known}")
        return self._declared[name]

    def find(self, name: str) -> Declared | None:
        return self._declared.get(name)

    def __iter__(self) -> Iterator[Declared]:
        return iter(list(self._declared.values()))

    def __len__(self) -> int:
        return len(self._declared)

    def __contains__(self, name: object) -> bool:
        return name in self._declared


def seconds(name: str, value: float | timedelta, *, zero: bool = True) -> float:
    """A duration given as number or ``timedelta``, in seconds; refuses what is not a sensible one."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DeclarationError(f"{name}={value!r} is not a duration; give seconds or a timedelta")
    if value < 0 or (value == 0 and not zero):
        raise DeclarationError(f"{name}={value!r} must be {'zero or more' if zero else 'more than zero'} seconds")
    return float(value)


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
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise DeclarationError(f"name={name!r} must be printable text of at most 200 characters")
    return name


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DeclarationError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DeclarationError(f"{name}={value!r} must be a whole number of at least {least}")

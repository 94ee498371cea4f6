"""``OnDuty``: the one object a user meets, and the only place where all rooms are put together."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from onduty import backends, servers
from onduty import events as ev
from onduty._runtime import forks
from onduty._runtime.engine import Engine
from onduty._runtime.lifecycle import State, lifecycle
from onduty.asking import Asking
from onduty.calls import check_listener
from onduty.clock import SystemClock, to_datetime
from onduty.config import resolve
from onduty.context import Context
from onduty.election import Leader
from onduty.errors import AppError, ConfigError, DeclarationError
from onduty.installation import engines_of_current_app, installation_of
from onduty.listeners import logging as sentences
from onduty.options import Where, checked, seconds
from onduty.registry import Registry
from onduty.run import Run
from onduty.schedules import Schedule
from onduty.tasks import ContextTask, Declared, PlainTask, Service, Task

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=ev.Event)


if TYPE_CHECKING:
    from onduty._runtime.lifecycle import Crew
    from onduty.installation import Installation

    class TaskDecorator(Protocol):
        """Turns a function into a task; what remains of its signature is what ``trigger`` takes."""

        @overload
        def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> ContextTask[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> PlainTask[P, R]: ...


class OnDuty:
    """Background work on exactly one worker of a web app.

    ``app``: a Flask app, or any WSGI or ASGI app together with ``name=``; without one, call :meth:`init_app` later.
    Settings are those of ``onduty.config.Settings``, as keywords; the environment and the app's config go before them.
    ``socketio``: the app's ``flask_socketio.SocketIO``, or python-socketio's ``Server``, ``AsyncServer``, ``WSGIApp``
    or ``ASGIApp``; what is emitted on any worker then reaches the clients of every worker, and clients stay connected
    whichever worker they reach.

    Declaring and installing start nothing. The work begins when this process serves, and never in a process that does
    not.
    """

    def __init__(self, app: Any = None, *, socketio: Any = None, **settings: Any) -> None:
        self._registry = Registry()
        self._asking = Asking(self._engine)
        self._events = ev.Events()
        self._clock = SystemClock()
        self._keywords = settings
        self._socketio = socketio
        self._engines: list[weakref.ref[Engine]] = []
        self._own: list[Engine] = []
        sentences.subscribe(self._events)
        if app is not None:
            self.init_app(app)
        else:
            self._hear_of_ready()
            lifecycle.enlist(_Lookout(self._miss_an_app))

    def init_app(self, app: Any, *, socketio: Any = None, **settings: Any) -> None:
        """Give ``app`` its own lock, journal and background work, by this duty's declarations.

        ``socketio`` may be without its app until the server starts.

        Raises:
            AppError: This app has it already.
            ConfigError: A setting can't be used.
        """
        installation = installation_of(app)
        keywords = {**self._keywords, **settings}
        defaults = {"timezone": "UTC", **installation.defaults}
        chosen = resolve(keywords, installation.config, defaults)
        engine = Engine(
            self._registry,
            chosen,
            self._events,
            lifecycle,
            self._clock,
            load_for_duty=lambda: backends.load_for_duty(chosen),
            open_journal=lambda path, offload: backends.open_journal(chosen, path, offload),
            open_scratch=backends.open_scratch,
            open_election=backends.open_election,
            scope=installation.scope,
            is_test=installation.is_test,
        )
        installation.attach(engine, _on_request)
        if installation.scope is None:
            self._own.append(engine)  # no app keeps it alive
        self._engines.append(weakref.ref(engine))
        sentences.make_visible()
        self._hear_of_ready()
        lifecycle.enlist(self._crew(app, engine, self._socketio if socketio is None else socketio, installation))

    @staticmethod
    def _hear_of_ready() -> None:
        forks.install(_after_fork)
        servers.recognise(lifecycle)

    def _miss_an_app(self) -> None:
        if self._engines:
            return
        texts = []
        if declared := ", ".join(one.name for one in self._registry):
            texts.append(f"{declared}: declared on an OnDuty without an app, so nothing of it runs")
        if self._socketio is not None:
            texts.append("socketio= of an OnDuty without an app: clients do not stay connected under several workers")
        for text in texts:
            sentences.make_visible()
            self._events.emit(ev.Advice(self._clock.now(), "", f"{text}; call duty.init_app(app)"))

    def _crew(self, app: Any, engine: Engine, socketio: Any, installation: Installation) -> Crew:
        if socketio is None:
            self._events.subscribe(ev.TermBegan, _reminder(app, engine.settings.name, self._events))
            return engine
        from onduty.socketio.crew import SocketCrew

        return SocketCrew(app, engine, socketio, lifecycle, self._clock, installation.is_test)

    # Declaring

    @overload
    def service(self, function: Callable[Concatenate[Context, ...], Any], /) -> Service: ...
    @overload
    def service(
        self, *, name: str | None = ..., on: Where = ..., was: str | None = ...
    ) -> Callable[[Callable[Concatenate[Context, ...], Any]], Service]: ...
    def service(
        self,
        function: Any = None,
        *,
        name: str | None = None,
        on: Where = "leader",
        was: str | None = None,
        **others: Any,
    ) -> Any:
        """A loop that is always running on exactly one worker; it must take ``ctx`` and end when ``ctx`` says so.

        ``was``: the name it had before, whose state it keeps.
        """

        if others:
            raise DeclarationError(
                f"service({next(iter(others))}=): options of a service are name, on and was; it begins again by itself "
                "whenever it has ended or failed"
            )

        def declare(function: Callable[..., Any]) -> Service:
            service = Service(self._asking, function, name, checked({"on": on, "was": was}))
            self._registry.add(service)
            return service

        return declare if function is None else declare(function)

    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> ContextTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> PlainTask[P, R]: ...
    @overload
    def task(self, *, name: str | None = ..., **options: Any) -> TaskDecorator: ...
    def task(self, function: Any = None, *, name: str | None = None, **options: Any) -> Any:
        """A function without a schedule, run by ``trigger``."""
        if options.get("on") == "every_worker":
            raise DeclarationError(
                'task(on="every_worker"): nothing would start it in each worker; every(), cron() and service() can'
            )
        decorator = self._task(None, name, options)
        return decorator if function is None else decorator(function)

    def every(
        self,
        delta: timedelta | None = None,
        /,
        *,
        seconds: float | None = None,
        minutes: float | None = None,
        hours: float | None = None,
        offset: float | timedelta = 0,
        jitter: float | timedelta = 0,
        name: str | None = None,
        **options: Any,
    ) -> TaskDecorator:
        """On a grid: whole multiples of the interval since 1970-01-01T00:00Z, plus ``offset`` seconds.

        ``jitter``: starts up to so many seconds late, by slot, the same in every process.
        """
        from onduty.schedules.interval import interval

        _not_bare(delta, "every", "to know how often", "seconds=5")
        checked(options)  # first: a misspelt seconds= is among them
        schedule = interval(seconds, minutes, hours, delta, offset)
        late = _jitter(jitter, schedule.every_us)
        return self._task(lambda _: schedule, name, {"jitter": late, **options})

    def cron(self, line: str, *, timezone: str | None = None, name: str | None = None, **options: Any) -> TaskDecorator:
        """By a cron line, in ``timezone`` or else in the app's setting of that name."""
        from onduty.schedules.cron import Cron

        _not_bare(line, "cron", "a line", '"0 3 * * *"')
        Cron(line, timezone or "UTC")  # refused here, where it is written
        return self._task(lambda zone: Cron(line, timezone or zone), name, options)

    def at(self, instant: datetime, *, name: str | None = None, **options: Any) -> TaskDecorator:
        """At one instant."""
        from onduty.schedules.once import At

        _not_bare(instant, "at", "an instant", "datetime(2030, 1, 1, tzinfo=timezone.utc)")
        schedule = At(instant)
        return self._task(lambda _: schedule, name, options)

    @overload
    def once(self, *, key: str, name: str | None = ..., **options: Any) -> TaskDecorator: ...
    @overload
    def once(self, *, key: Callable[[], str], name: str | None = ..., **options: Any) -> TaskDecorator: ...
    def once(self, *bare: Any, key: Any = None, name: str | None = None, **options: Any) -> TaskDecorator:
        """Run at the start of a term until it has succeeded once under ``key``, and never again.

        A migration, or what is due once for each release: ``key`` may be a function, asked when a term begins. One that
        fails is tried again by the next leader; ``retries`` come before that.
        """
        _not_bare(next(iter(bare), None), "once", "a key", 'key="v7"')
        if not callable(key) and (not isinstance(key, str) or not key):
            raise DeclarationError(f'once(key={key!r}): a key is text, such as "v7", or a function that answers it')
        return self._task(None, name, options, key)

    def on(self, kind: type[E]) -> Callable[[Callable[[E], Any]], Callable[[E], Any]]:
        """Call the decorated function on each event of that type, in the process where it happens.

        Raises:
            DeclarationError: ``kind`` is not one of the types in ``onduty.events``, or the function takes no event.
        """
        if not (isinstance(kind, type) and issubclass(kind, ev.Event)):
            raise DeclarationError(f"on({kind!r}): give a type of event, such as onduty.RunFailed")

        def subscribe(listener: Callable[[E], Any]) -> Callable[[E], Any]:
            check_listener(listener)
            self._events.subscribe(kind, listener)
            return listener

        return subscribe

    def _task(
        self,
        schedule: Callable[[str], Schedule] | None,
        name: str | None,
        options: dict[str, Any],
        once: str | Callable[[], str] | None = None,
    ) -> TaskDecorator:
        known = checked(options)
        if once is not None and known.on != "leader":
            raise DeclarationError('once(on="every_worker"): one success of all workers is what once means')

        def declare(function: Callable[..., Any]) -> Task[Any, Any]:
            probe = Declared(self._asking, function, name, known)
            kind: type[Task[Any, Any]] = ContextTask if probe.call.takes_context else PlainTask
            task = kind(self._asking, function, name, known, schedule, once)
            self._registry.add(task)
            return task

        return cast("TaskDecorator", declare)

    # Asking and steering

    @property
    def tasks(self) -> list[Declared]:
        """Everything declared, in order."""
        return list(self._registry)

    @property
    def is_leading(self) -> bool:
        """Whether this process is on duty, now; asks nobody."""
        return self._engine().is_leading

    def leader(self) -> Leader | None:
        """Who is on duty, from any process that shares the folder; ``None``: nobody answers."""
        known = self._engine().leader()
        if known is None or known.get("term") is None:
            return None
        return Leader(str(known["host"]), int(known["pid"]), int(known["term"]), to_datetime(int(known["since"])))

    def status(self) -> dict[str, Any]:
        """A snapshot as plain data."""
        return self._engine().snapshot()

    def get_run(self, run_id: str) -> Run | None:
        """A run by its id, also one that waits to be accepted; from any worker. ``None``: nobody knows it."""
        engine = self._engine()
        journal, own = engine.journal, engine.own_journal
        # In this order, for it may become a run just now.
        shared = journal and (journal.asked(run_id) or journal.get(run_id))
        known = shared or (own and own.get(run_id))
        return self._asking.run(known.task, run_id, is_own=not shared) if known else None

    def start(self) -> None:
        """Say by hand that this process serves, where no server does. Its work stops with the interpreter.

        Raises:
            OnDutyError: It was stopped before.
        """
        servers.by_hand(lifecycle)

    def stop(self) -> None:
        """Stop by hand, and return when stopped."""
        lifecycle.stop("stop() was called")

    def engine(self) -> Engine:
        """That of the app in whose context the caller is, or of the only app, or of the one that is being tested; for
        ``onduty`` itself.
        """
        return self._engine()

    def _engine(self) -> Engine:
        engines = [engine for engine in (ref() for ref in self._engines) if engine is not None]
        if len(engines) == 1:
            return engines[0]
        if not engines:
            raise AppError("this OnDuty has no app yet: call init_app(app) first")
        current = engines_of_current_app()
        for engine in engines:
            if any(engine is one for one in current):
                return engine
        rehearsing = [engine for engine in engines if engine.is_rehearsing]
        if len(rehearsing) == 1:
            return rehearsing[0]
        raise AppError(f"this OnDuty serves {len(engines)} apps; say which one: with app.app_context(): ...")


def _not_bare(given: object, kind: str, needs: str, example: str) -> None:
    """``given`` is the first argument, or the function that stands below a decorator without brackets."""
    if callable(given):
        name = getattr(given, "__qualname__", repr(given))
        raise DeclarationError(f"@duty.{kind} needs {needs}: @duty.{kind}({example}) above {name}")


def _jitter(jitter: float | timedelta, every_us: int) -> float:
    late = seconds("jitter", jitter)
    if late * 1_000_000 > every_us:
        raise ConfigError(f"jitter={late:g} s is longer than the interval itself ({every_us / 1_000_000:g} s)")
    return late


class _Lookout:
    """Crew that does nothing but ``look``, once this process serves."""

    def __init__(self, look: Callable[[], None]) -> None:
        self.start = look

    def leave(self) -> None: ...
    def stop(self) -> None: ...


def _reminder(app: Any, name: str, events: ev.Events) -> Callable[[ev.TermBegan], None]:
    @cache
    def made() -> Callable[[ev.TermBegan], None]:
        from onduty.socketio.reminder import Reminder  # here: hardly ever needed

        return Reminder(app, name, lifecycle, events.emit)

    def remind(event: ev.TermBegan) -> None:
        if "socketio" in getattr(app, "extensions", ()):
            made()(event)

    return remind


def _on_request() -> None:
    if lifecycle.state is State.IDLE:
        servers.first_request(lifecycle)


def _after_fork(caller: FrameType | None) -> None:
    lifecycle.forked()
    servers.after_fork(lifecycle, caller)

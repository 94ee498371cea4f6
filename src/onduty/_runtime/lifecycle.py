"""The life of this process, told by whoever knows the web server.

::

    idle ──ready()──▶ ready ──leaving()──▶ leaving
      └──never()──▶ never

``servers`` calls the four verbs; the engine enlists as crew and is started once, on *ready*. The state belongs
to a pid: a forked child begins again at *idle*, or at *never* when its parent was already serving, since a
worker's own child is not a worker.

Not promised: that *leaving* is ever heard. A process can be killed; the kernel then releases the lock.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from onduty.clock import Wakeup
from onduty.errors import OnDutyError

_log = logging.getLogger("onduty.lifecycle")

LONGEST_START = 5.0
"""Seconds for which the end of the process waits for a start that is under way in another thread."""

A_MOMENT = 0.005


class State(str, Enum):
    IDLE = "idle"
    READY = "ready"
    LEAVING = "leaving"
    NEVER = "never"


if TYPE_CHECKING:

    class Crew(Protocol):
        """What lives through a worker's life: one engine per app."""

        def start(self) -> None:
            """The process serves. May raise an ``OnDutyError``, which stops the server from starting if it has not."""

        def leave(self) -> None:
            """Begin to stop; return at once. May be called inside a signal handler, and again."""

        def stop(self) -> None:
            """Stop and return when stopped, within the crew's own grace. May be called again."""


class Lifecycle:
    """One per process, shared by all apps in it.

    ``server``: the name of the web server that was recognised, for status and messages.
    ``workers``: how many of us that server was told to have; ``None`` when it does not say. ``http2``: it speaks that.
    ``grace_limit``: seconds after which that server kills a stopping worker; ``None`` when it never does.
    ``loop``: returns the asyncio loop the server runs the app on, where there is one.
    ``successors``: whether the server is about to have other workers in place of this one; asked when it is leaving.
    """

    def __init__(self) -> None:
        self._crew: list[Crew] = []
        self._reset(State.IDLE)

    def _reset(self, state: State) -> None:
        self._pid = os.getpid()
        self._state = state
        self._why = ""
        self._signs: list[Callable[[], str | None]] = []
        self._midway: list[Callable[[], bool]] = []
        self._last: list[Callable[[], None]] = []
        self._started: list[Crew] = []
        self._starting: dict[object, int] = {}  # by start: the thread that it is under way in
        self.server = ""
        self.workers: int | None = None
        self.http2 = False
        self.grace_limit: float | None = None
        self.loop: Callable[[], object | None] = lambda: None
        self.successors: Callable[[], bool] = lambda: False

    def _here(self) -> None:
        # Some servers fork in C, where at-fork callbacks do not run (seen: uWSGI).
        if self._pid != os.getpid():
            self.forked()

    @property
    def state(self) -> State:
        self._here()
        return self._state

    @property
    def why(self) -> str:
        """The evidence or the reason for the present state."""
        return self._why

    def enlist(self, crew: Crew) -> None:
        """Start ``crew`` when the process is ready, or now if it is; if it refuses, the others go on."""
        self._here()
        self._crew.append(crew)
        if self._state is State.READY:
            try:
                self._start(crew)
            except OnDutyError:
                self.discharge(crew)
                raise

    @property
    def crew(self) -> list[Crew]:
        """Who is enlisted, started or not."""
        return list(self._crew)

    def discharge(self, crew: Crew) -> None:
        """Forget ``crew``; stopping it is the caller's business."""
        self._crew = [other for other in self._crew if other is not crew]
        self._started = [other for other in self._started if other is not crew]

    def ready(self, evidence: str) -> None:
        """Positive evidence that this process serves; the first one counts, later ones change nothing."""
        self._here()
        if self._state is not State.IDLE:
            return
        self._state, self._why = State.READY, evidence
        _log.debug("ready: %s", evidence)
        try:
            for crew in list(self._crew):
                if self.state is not State.READY:
                    return  # told to leave while the first ones started
                self._start(crew)
        except OnDutyError:
            self._state, self._why = State.NEVER, "could not start"
            raise

    def leaving(self, why: str) -> None:
        """The server is about to end this process. Safe in a signal handler; returns at once."""
        self._here()
        if self._state is not State.READY:
            return
        self._state, self._why = State.LEAVING, why
        for crew in list(self._started):
            crew.leave()

    def never(self, why: str) -> None:
        """This process will not serve, whatever it imports or calls later."""
        self._here()
        if self._state is State.IDLE:
            self._state, self._why = State.NEVER, why
            _log.debug("never: %s", why)

    def stop(self, why: str) -> None:
        """As :meth:`leaving`, and return when all crew has stopped: the last thing a worker does."""
        self.leaving(why)
        self._let_starts_finish()
        started, self._started = self._started, []
        for crew in started:
            crew.stop()
        last, self._last = self._last, []
        for end in last:
            end()

    def add_sign(self, sign: Callable[[], str | None]) -> None:
        """``sign()`` is asked about every 50 ms by a leader and answers why this process is leaving, or ``None``.

        It must be cheap and must not raise.
        """
        self._signs.append(sign)

    def look(self) -> None:
        """Ask the signs; the first one that answers means *leaving*."""
        if self._state is State.READY:
            for sign in self._signs:
                why = sign()
                if why:
                    self.leaving(why)
                    return

    def add_midway(self, is_midway: Callable[[], bool]) -> None:
        """``is_midway()``: whether a connection of this process is in a short moment in which it must not be closed."""
        self._midway.append(is_midway)

    def add_last(self, end: Callable[[], None]) -> None:
        """``end()`` is called once all crew has stopped: for what the last work of any of them may need."""
        self._last.append(end)

    def is_midway(self) -> bool:
        """Asked by a server that is about to close its connections; it need not wait for long."""
        return any(is_midway() for is_midway in self._midway)

    def forked(self) -> None:
        """Called in a forked child, before anything else of ours runs there."""
        served = self._state is not State.IDLE
        self._reset(State.NEVER if served else State.IDLE)
        if served:
            self._why = "a child of a worker"

    def _let_starts_finish(self) -> None:
        """Another thread may be about to start some, as where a reloader's main thread ends beside the one that serves.

        It would not be stopped: seen when a file changed 15 ms after the start.
        """
        me = threading.get_ident()
        for _ in range(round(LONGEST_START / A_MOMENT)):
            if all(thread == me for thread in list(self._starting.values())):
                return
            Wakeup().wait(A_MOMENT)

    def _start(self, crew: Crew) -> None:
        this = object()
        self._starting[this] = threading.get_ident()
        try:
            crew.start()
            self._started.append(crew)
            if self.state is State.LEAVING:
                # A signal, or the crew's own look at the signs, came while it started, when nobody knew of it yet.
                crew.leave()
        finally:
            self._starting.pop(this, None)  # a child that was forked meanwhile has begun anew


lifecycle = Lifecycle()
